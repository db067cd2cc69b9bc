"""One party of a run on several hosts: connects, agrees with the others on everything, computes, and keeps a record.

Before a share leaves: keys are checked by the connection; terms (versions, protocol, parameters, roster, program text, types of
inputs) are compared; the program is traced and shown to this party's policy; and only a party whose policy agrees sends the
digest of its equations, without which nobody goes on.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from ..errors import CheckpointError, ConfigError, PeerLost, ProtocolError, UsageError
from ..lang.array import Settings
from ..lang.program import Planned, Program
from ..lang.session import Session, decode_output, encode_input
from ..net.curve import Curve
from ..net.frame import VERSION, printable
from ..net.transcript import Transcript
from ..net.zeromq import ZeroMQ
from ..run import checkpoint
from ..run.agreement import Supplied, Terms, compare, exchange
from ..run.audit import ZEROS
from ..run.clock import Task
from ..run.execute import Measured, Party
from ..run.rehearse import Report
from ..run.store import EPOCH, Store, path_of
from ..run.store import prepare as deal
from .config import Config
from .disclosure import disclosure
from .local import Progress, choose_settings
from .party import prepare
from .policy import Request, approval_file, permit, spend

PREPARED = "mpc prep v1"  # what the keys of files from a dealer to a party are for
LOADED = EPOCH + 1  # the first epoch of what comes from earlier runs, whose shares need masks of their own
Held = dict[bytes, tuple[checkpoint.Header, bytes]]
Loaded = dict[str, tuple[checkpoint.Header, bytes]]  # name -> this party's file
GREETING = b"mpc before terms"  # the session of a connection until its parties have agreed on one


@dataclass(frozen=True)
class Finished:
    """What a run gave this party."""

    outputs: dict[str, np.ndarray]  # what it has learnt
    receivers: dict[str, tuple[str, ...]]  # of all outputs
    measured: Measured
    record: dict[str, Any]


@dataclass
class Seat:
    """This party, with its program and its own data, ready to take part in a run.

    data: its own inputs by name; those left out come from their `load` function. prepared: this party's file of `mpc prep
    --config`, or the folder with it; then the run does without the dealer. Raises ConfigError for keys that do not
    fit the roster, UsageError and InputError for data that do not fit the program: then nobody was called.
    """

    config: Config
    program: Program
    file: Path  # of the program
    data: Mapping[str, Any] = field(default_factory=dict)
    prepared: Path | None = None

    def __post_init__(self) -> None:
        config, program = self.config, self.program
        settings(config)
        strangers = [r for r in program.roles if r not in config.data_parties]
        if strangers:
            raise UsageError(f"the program names {strangers[0]!r}; parties with data are {', '.join(config.data_parties)}")
        own = [name for name, declared in program.inputs.items() if declared.party == config.me]
        foreign = [name for name in self.data if name not in own]
        if foreign:
            raise UsageError(f"input {foreign[0]!r} is not {config.me}'s: {', '.join(own) or 'it supplies nothing'}")
        found = {**program.load(set(own) - set(self.data)), **self.data}
        absent = [name for name in own if name not in found]
        if absent:
            raise UsageError(f"no data for input {absent[0]!r}: give --input {absent[0]}=FILE")
        self.data = {name: found[name] for name in own}
        self.source = read_source(self.file)

    @property
    def names(self) -> tuple[str, ...]:
        """Of those who take part: all, or all but a dealer who has done so before."""
        return self.config.data_parties if self.prepared else self.config.names

    def run(
        self,
        progress: Callable[[Report], Progress] | None = None,
        connect: float | None = None,
        ready: Callable[[Planned, Report], None] = lambda plan, cost: None,
    ) -> Finished:
        """Takes part in one run. connect: seconds to wait for the others. ready: told what all have agreed on, just before
        the first share leaves.

        Raises PeerLost, ProtocolError, ProgramMismatch, PolicyRefused, ConfigError, with the names of parties.
        """
        begun, clock = time.time(), time.perf_counter()
        names = self.names
        with named(self.config), opened(self.config, connect, len(names)) as (wire, channel):
            connected = time.perf_counter()
            store, held = self._store(), self._held()
            terms, session = exchange(channel, self._terms(store, held))
            compare(terms, names)
            loaded = _chosen(held, terms)
            wire.bind(session)
            if self.config.bulk:
                wire.seal_bulk(partial(self.config.endpoint, bulk=True), self.config.connect if connect is None else connect)
            plan = replace(self._plan(terms, loaded), dealt=self.config.names[-1] if store else "")
            asked = request(plan, self.source, {name: header.contents.program for name, (header, _) in loaded.items()})
            approvals = {name: t.approval for name, t in zip(names, terms, strict=True)}
            allowed = permit(self.config, asked, approvals)
            cost = plan.cost()
            prepare()
            ring = self.config.dtype.ring
            party = Party(self.config.number, len(self.config.data_parties), self.config.scheme, channel, store, ring)
            agreed = time.perf_counter()

            def begin() -> None:
                spend(self.config, allowed, session.hex(), asked.shows)
                ready(plan, cost)

            report = _by_task(progress(cost)) if progress else None
            numbers, supplied = plan.needs(self.config.number)
            taken = [loaded[stored.name] for stored in self.program.loads.values()]
            shares = [s for i, file in enumerate(taken) for s in checkpoint.shares_of(*file, LOADED + i)]
            values, measured = party.run(plan.equations, [shares[k] for k in numbers], supplied, EPOCH, report, begin=begin)
            outputs = {
                name: decode_output(value, array.dtype)
                for name, value, array in zip(plan.names, values, plan.results, strict=False)
                if value is not None
            }
            kept = self._keep(plan, party, values[len(plan.names) :])
            record = self._record(plan, session, terms, channel, measured)
        record["loaded"] = {name: header.mark.hex() for name, (header, _) in loaded.items()}
        record["kept"] = kept
        record["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun))
        record["seconds"] = {"connect": connected - clock, "agree": agreed - connected, "run": measured.seconds}
        return Finished(outputs, receivers(plan), measured, record)

    def _store(self) -> Store | None:
        if self.prepared is None:
            return None
        config, me = self.config, self.config.number
        path = path_of(self.prepared, me) if self.prepared.is_dir() else self.prepared
        key = config.secrets.shared(config.party[-1].key, PREPARED)
        used = config.path(config.state) / "used"
        return Store.open(path, me, len(config.data_parties), config.protocol, config.roster_digest, key, used)

    def _held(self) -> dict[str, tuple[Held, str]]:
        """What this party has of the results of earlier runs that the program takes: name -> what, and what is wrong."""
        return {
            name: candidates(self.config, name) for name in dict.fromkeys(stored.name for stored in self.program.loads.values())
        }

    def _keep(self, plan: Planned, party: Party, shares: list[Any]) -> dict[str, str]:
        """Has this party's shares of what the program stores written: name -> mark."""
        config, rest = self.config, iter(shares)
        marks = {}
        for kept in plan.kept:
            contents = replace(kept.contents, program=digest(self.source), roster=config.roster_digest)
            mine = [next(rest) for _ in kept.arrays]
            mark = checkpoint.save(party, folder(config, kept.name), mine, contents, vault(config, kept.name))
            marks[kept.name] = mark.hex()
        return marks

    def _terms(self, store: Store | None, held: dict[str, tuple[Held, str]]) -> Terms:
        config = self.config
        common = [
            ("package version", version()), ("wire version", str(VERSION)), ("protocol", config.protocol),
            ("parties", ", ".join(config.names)), ("roster version", str(config.roster)), ("roster", config.roster_digest),
            ("truncation", config.truncation), ("fraction bits", str(config.fraction)), ("bits of a word", str(config.bits)),
            ("primes of the field", ", ".join(map(str, config.primes)) or "none"),
            ("compare", config.compare), ("network", str(config.declared or "not declared")), ("encryption", config.encryption),
            ("preprocessing", f"{store.label.deal}, dealt before" if store else "in the run"),
        ]  # fmt: skip
        inputs = {}
        for name, value in self.data.items():
            part, dtype = encode_input(value, self.program.inputs[name].dtype, settings(config))
            inputs[name] = Supplied(list(part.shape), dtype.kind, dtype.fraction, dtype.ring)
        try:
            approval = approval_file(self.file, config.me).read_text()
        except (OSError, UnicodeDecodeError):
            approval = ""
        stored = {name: list(found) for name, (found, _) in held.items()}
        problem = next((f"{name}: {wrong}" for name, (found, wrong) in held.items() if wrong and not found), "")
        return Terms(common, self.source, inputs, stored, problem, approval)

    def _plan(self, terms: list[Terms], loaded: Loaded) -> Planned:
        """The program, traced with this party's data and the types of everybody else's."""
        data: dict[str, Any] = dict(self.data)
        data |= {parameter: loaded[stored.name][0].contents for parameter, stored in self.program.loads.items()}
        for p, (name, theirs) in enumerate(zip(self.config.names, terms, strict=False)):
            expected = {n for n, declared in self.program.inputs.items() if declared.party == name}
            if set(theirs.inputs) != expected:
                raise ProtocolError(p, "types of other inputs than it supplies")
            if p != self.config.number:
                types = {n: (tuple(s.shape), s.dtype) for n, s in theirs.inputs.items()}
                data |= types
        return plan(self.config, self.program, data)

    def _record(self, plan: Planned, session: bytes, terms: list[Terms], channel: Transcript, m: Measured) -> dict[str, Any]:
        """What `run.json` holds: no value, no share, no key."""
        config = self.config
        links = {}
        for p, name in enumerate(config.names):
            if p != config.number and p < channel.parties:
                sent, received = channel.digests(p)
                links[name] = {
                    "sent": m.sent.get(p, 0), "received": m.received.get(p, 0),
                    "messages_sent": channel.meter.messages_sent[p], "messages_received": channel.meter.messages_received[p],
                    "hash_sent": sent, "hash_received": received,
                }  # fmt: skip
        return {
            "me": config.me,
            "session": session.hex(),
            "program": plan.equations.digest.hex(),
            "source": digest(self.source),
            "file": self.file.name,
            "protocol": config.protocol,
            "trust": config.scheme.trust,
            "parties": list(config.names),
            "roster": {"version": config.roster, "digest": config.roster_digest},
            "parameters": {"truncation": config.truncation, "fraction": config.fraction, "bits": config.bits,
                           "primes": config.primes,
                           "compare": config.compare, "network": config.network},
            "encryption": config.encryption,
            "versions": {"mpc": version(), "wire": VERSION, "python": platform.python_version(), "numpy": np.__version__,
                         "zmq": zmq.zmq_version()},
            "inputs": {n: {"party": name, "type": f"{s.dtype}{s.shape}"}
                       for name, theirs in zip(config.names, terms, strict=False) for n, s in theirs.inputs.items()},
            "outputs": {n: list(to) for n, to in receivers(plan).items()},
            "preprocessing": dict(terms[0].common)["preprocessing"],
            "rounds": m.rounds,
            "links": links,
        }  # fmt: skip


def _chosen(held: dict[str, tuple[Held, str]], terms: list[Terms]) -> Loaded:
    """Of the results of earlier runs, the save that is whole at all parties. Raises CheckpointError, the same at all."""
    loaded = {}
    for name, (found, _) in held.items():
        mark = checkpoint.common([t.stored.get(name, []) for t in terms])
        if not mark:
            problem = next((printable(t.problem[:200]) for t in terms if t.problem), f"{name}: {checkpoint.DIFFERENT}")
            raise CheckpointError(f"what an earlier run has left cannot be used: {problem}. Nothing was sent.")
        loaded[name] = found[mark]
    return loaded


def folder(config: Config, name: str) -> Path:
    """Where a party keeps its share of a result."""
    return config.path(config.state) / "stored" / name


def vault(config: Config, name: str) -> checkpoint.Vault:
    """How."""
    return checkpoint.Vault(config.secrets.derived("mpc checkpoint v1"), config.roster_digest, folder(config, name) / "last")


def candidates(config: Config, name: str) -> tuple[Held, str]:
    """This party's files of a result that an earlier run has left, and what is wrong with them."""
    names = config.data_parties
    ring = config.dtype.ring
    return checkpoint.candidates(folder(config, name), config.number, config.protocol, names, ring, vault(config, name))


def stored(config: Config, name: str) -> checkpoint.Contents | None:
    """What this party knows of what an earlier run has left, if it can read it."""
    found, _ = candidates(config, name)
    return next((header.contents for header, _ in found.values()), None)


def version() -> str:
    """Of this package."""
    from importlib.metadata import version as installed

    return installed("mpc")


def digest(source: str) -> str:
    """Of a program's text."""
    return hashlib.blake2b(source.encode(), digest_size=32, person=b"mpc source v1").hexdigest()


def read_source(file: Path) -> str:
    """The text of a program, the same for every convention of line ends."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"cannot read {file} as UTF-8 text") from None


def settings(config: Config) -> Settings:
    """What a configuration fixes for the meaning of programs."""
    return choose_settings(config.truncation, config.dtype)


def plan(config: Config, program: Program, data: Mapping[str, Any]) -> Planned:
    """The program among the parties of a roster. data: per input an array, or (shape, dtype or None)."""
    parties = config.data_parties
    session = Session(config.scheme, config.protocol, len(parties), None, settings(config), parties)
    session.network, session.compare = config.declared, config.compare
    return program.plan(session, data)


def prepare_for(
    config: Config, planned: Planned, folder: Path, progress: Callable[[int, int], None] = lambda steps, size: None
) -> list[Path]:
    """Deals for one run beforehand, as the dealer of a roster: a file for each party, which that party alone can open and which
    nobody but this dealer can have written. Raises UsageError at anybody else."""
    if not config.scheme.has_dealer or config.number != len(config.party) - 1:
        who = f"{config.names[-1]} does" if config.scheme.has_dealer else f"protocol {config.protocol!r} has none"
        raise UsageError(f"{config.me} is not the dealer of this roster, who prepares: {who}")
    keys = [config.secrets.shared(config.party[p].key, PREPARED) for p in range(len(config.data_parties))]
    equations, roster = planned.equations, config.roster_digest
    return deal(equations, config.protocol, config.scheme, len(keys), folder, progress, roster, keys)


def receivers(plan: Planned) -> dict[str, tuple[str, ...]]:
    """Name of each output -> who learns it."""
    names = plan.session.names
    return {name: tuple(names[p] for p in to) for name, to in zip(plan.names, plan.receivers, strict=True)}


def request(plan: Planned, source: str, stored: Mapping[str, str] | None = None) -> Request:
    """What a policy is asked about. stored: name of what an earlier run has left -> digest of the program that did."""
    names, inputs, lines = plan.session.names, {}, {}
    for eqn in plan.equations.eqns:
        if eqn.op == "input" and eqn.params["name"] != ZEROS:
            shape = eqn.types[0].shape
            inputs[eqn.params["name"]] = (names[eqn.params["owner"]], shape[0] if shape else 1)
            lines[eqn.params["name"]] = str(eqn.where)
    lines |= {name: str(where) for name, where in zip(plan.names, plan.lines, strict=True)}
    shows = disclosure(plan.equations, plan.session.scope)
    return Request(digest(source), plan.equations.digest.hex(), inputs, receivers(plan), lines, dict(stored or {}), shows)


def _by_task(progress: Progress) -> Callable[[int, int, Task | None], None]:
    return lambda rounds, moved, task: progress(rounds, moved, f"{task.op}  {task.line}" if task else "")


@contextmanager
def opened(config: Config, connect: float | None, parties: int) -> Iterator[tuple[ZeroMQ, Transcript]]:
    """Connections to all other of the first `parties`; closed in order, or aborted with the error that leaves the block."""
    try:
        wire = ZeroMQ(
            config.number,
            parties,
            config.endpoint,
            GREETING,
            deadline=config.deadline,
            connect_deadline=config.connect if connect is None else connect,
            security=security(config) if config.encrypted else None,
        )
    except UsageError as error:  # an address that cannot be bound
        raise ConfigError(str(error)) from None
    channel = Transcript(wire)
    with channel:
        yield wire, channel


def security(config: Config) -> Curve:
    """The keys of this party's connections."""
    secrets = config.secrets
    peers = {i: m.key for i, m in enumerate(config.party) if i != config.number}
    return Curve(config.number, secrets.public, secrets.curve, peers, config.hosts())


@contextmanager
def named(config: Config) -> Iterator[None]:
    """Gives errors about a party its name."""
    try:
        yield
    except (PeerLost, ProtocolError) as error:
        if 0 <= error.party < len(config.names):
            error.name = config.names[error.party]
        raise

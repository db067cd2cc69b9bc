"""What a party allows: which program, which results for whom, how many rows, how many runs, whose signature."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ..errors import MPCError, PolicyRefused
from ..run import durable
from . import keys
from .config import Allow, Config
from .disclosure import Disclosure

TAG = "blake2b-256:"


@dataclass(frozen=True)
class Request:
    """A run that is asked for."""

    source: str  # digest of the program file
    program: str  # digest of its equations, shapes included
    inputs: dict[str, tuple[str, int]]  # name -> (who supplies it, rows)
    outputs: dict[str, tuple[str, ...]]  # name -> who learns it
    lines: dict[str, str]  # of inputs and outputs in the program
    stored: dict[str, str] = field(default_factory=dict)  # result of an earlier run -> digest of the program that left it
    shows: Disclosure = Disclosure({}, ())

    def block(self) -> str:
        """The lines of a configuration that would allow it."""
        outputs = ", ".join(f"{_toml(n)} = [{', '.join(map(_toml, to))}]" for n, to in self.outputs.items())
        return f"[[allow]]\nsource  = {_toml(TAG + self.source)}\noutputs = {{ {outputs} }}\n"


def _toml(text: str) -> str:
    return msgspec.json.encode(text).decode()  # a basic string of TOML is one of JSON


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a party has signed: this program file (and these equations, if `program` says which), revealing this."""

    by: str
    source: str
    program: str  # empty: with any shapes
    outputs: dict[str, list[str]]
    protocol: str
    truncation: str
    roster: str
    signature: str = ""

    def text(self) -> bytes:
        """What is signed."""
        return b"mpc approval v1\n" + msgspec.json.encode(msgspec.structs.replace(self, signature=""), order="sorted")


def approve(config: Config, source: str, outputs: Mapping[str, tuple[str, ...]], program: str = "") -> Approval:
    """Signed by this party's key. Raises ConfigError."""
    plain = {name: list(to) for name, to in outputs.items()}
    unsigned = Approval(config.me, source, program, plain, config.protocol, config.truncation, config.roster_digest)
    return msgspec.structs.replace(unsigned, signature=config.secrets.signature(unsigned.text()))


def approval_file(program: Path, party: str) -> Path:
    """Where `mpc approve` leaves an approval and `mpc run` looks for it: beside the program."""
    return program.with_name(f"{program.name}.{party}.approval")


def permit(config: Config, request: Request, approvals: Mapping[str, str]) -> Allow:
    """The entry of this party's policy that allows the run; approvals: party -> text of its approval file.

    Raises PolicyRefused, which says what is not allowed and where it stands in the program.
    """
    reasons = []
    for allow in entries(config, request):
        reason = _against(config, allow, request, approvals)
        if reason is None:
            return allow
        reasons.append(reason)
    if not reasons:
        reasons.append(f"its policy does not allow this program ({TAG}{request.source})")
    raise PolicyRefused(f"{config.me} refuses: {reasons[0]}. Nothing was sent.")


def entries(config: Config, request: Request) -> list[Allow]:
    """Those that speak of this program."""
    source, program = TAG + request.source, (TAG + request.program, "any")
    return [allow for allow in config.allow if allow.source == source or allow.program in program]


def _against(config: Config, allow: Allow, request: Request, approvals: Mapping[str, str]) -> str | None:
    """Why an entry does not allow a run, or None."""
    for name, to in request.outputs.items():
        if allow.outputs is not None:
            allowed = allow.outputs.get(name, [])
            for party in to:
                if party not in allowed:
                    return f"{party} may not learn {name!r} ({request.lines.get(name, '')})"
    for name, (owner, rows) in request.inputs.items():
        least = max(allow.min_rows, allow.inputs[name].min_rows if name in allow.inputs else 0)
        if rows < least:
            return f"input {name!r} of {owner} has {rows} rows, at least {least} are required ({request.lines.get(name, '')})"
    reason = _shows_too_much(config, allow, request)
    if reason:
        return reason
    for name, maker in request.stored.items():
        if allow.program != "any" and TAG + maker != allow.stored.get(name, TAG + request.source):
            return f"{name!r} was left by another program ({TAG}{maker}) than its policy takes it from"
    for party in allow.approvals:
        reason = _unapproved(config, party, request, approvals.get(party, ""))
        if reason:
            return reason
    if allow.runs is not None and used(config, allow) >= allow.runs:
        return f"all {allow.runs} runs that its policy allows have been made"
    return None


def _shows_too_much(config: Config, allow: Allow, request: Request) -> str | None:
    for name in request.outputs if allow.min_group else ():
        least = request.shows.least.get(name, 0)
        if least < allow.min_group:
            how = f"hides groups of fewer than {least}" if least else "did not all go through mpc.suppress"
            return f"{name!r} {how}, and at least {allow.min_group} must be behind it ({request.lines.get(name, '')})"
    if allow.dp is not None:
        for name in request.shows.bare:
            return f"{name!r} depends on data without noise of mpc.random.private ({request.lines.get(name, '')})"
        return _overspent(config, allow, request.shows)
    return None


def _unapproved(config: Config, party: str, request: Request, text: str) -> str | None:
    if not text:
        return f"{party} has not approved the program (mpc approve)"
    try:
        approval = _approval(text)
    except (ValueError, RecursionError):
        return f"the approval of {party} cannot be read"
    verify = config.party[config.names.index(party)].sign
    if approval.by != party or not keys.signed(approval.text(), approval.signature, verify):
        return f"the approval of {party} is not signed by its key"
    outputs = {name: list(to) for name, to in request.outputs.items()}
    wanted = {"source": request.source, "outputs": outputs, "protocol": config.protocol, "truncation": config.truncation,
              "roster": config.roster_digest, "program": approval.program and request.program}  # fmt: skip
    for what, value in wanted.items():
        if getattr(approval, what) != value:
            return f"{party} has approved another {what if what != 'source' else 'program text'}"
    return None


# ---- budgets ----
class _Spent(msgspec.Struct, omit_defaults=True):
    """A run that was begun."""

    allow: str
    session: str
    data: str = ""  # of which ledger of privacy this was spent
    epsilon: float = 0.0
    delta: float = 0.0


# once, as in run/agreement.py
_approval, _spent = msgspec.json.Decoder(Approval).decode, msgspec.json.Decoder(_Spent).decode


def _ledger(config: Config) -> Path:
    return config.path(config.state) / "runs.jsonl"


def _label(allow: Allow) -> str:
    return allow.source or allow.program


def _begun(config: Config) -> list[_Spent]:
    """All runs so far. Raises PolicyRefused if the ledger cannot be read: then nobody knows."""
    try:
        return [_spent(line) for line in _ledger(config).read_bytes().splitlines() if line]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise PolicyRefused(f"{config.me} refuses: its ledger of runs cannot be read ({type(error).__name__})") from None


def used(config: Config, allow: Allow) -> int:
    """How many runs of an entry have been made. Raises PolicyRefused if the ledger cannot be read."""
    return sum(run.allow == _label(allow) for run in _begun(config))


def _overspent(config: Config, allow: Allow, shows: Disclosure) -> str | None:
    """Why the ledger has not enough left: epsilons and deltas of all runs on the data add up (basic composition)."""
    if allow.dp is None:
        return None
    before = [run for run in _begun(config) if run.data == allow.dp.data]
    for what in ("epsilon", "delta"):
        spent, wanted, budget = sum(getattr(run, what) for run in before), getattr(shows, what), getattr(allow.dp, what)
        if spent + wanted > budget * (1 + 1e-9):
            return f"the run costs {what} {wanted:g}; of {budget:g} for {allow.dp.data!r}, {spent:g} are spent"
    return None


def spend(config: Config, allow: Allow, session: str, shows: Disclosure = Disclosure({}, ())) -> None:  # noqa: B008 (a value)
    """Takes a run, and the privacy it costs, off the budgets, on disk before a share leaves: a crash in between costs a run,
    and never gives one. Raises PolicyRefused if another run has spent the last meanwhile, MPCError if it cannot be written.
    """
    path = _ledger(config)
    charged = _Spent(_label(allow), session)
    if allow.dp is not None:
        charged = _Spent(_label(allow), session, allow.dp.data, shows.epsilon, shows.delta)
    try:
        durable.make(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # two runs of one party that both found the last run unspent
            if allow.runs is not None and used(config, allow) >= allow.runs:
                raise PolicyRefused(f"{config.me} refuses: all {allow.runs} runs that its policy allows have been made")
            if reason := _overspent(config, allow, shows):
                raise PolicyRefused(f"{config.me} refuses: {reason}")
            line = msgspec.json.encode(charged) + b"\n"
            if os.write(descriptor, line) != len(line):
                raise OSError("the disk is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        durable.sync(path.parent)
    except OSError as error:
        raise MPCError(f"cannot write the ledger of runs {path}: {error.strerror or error}. Nothing was sent.") from None

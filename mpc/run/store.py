"""Preprocessing on disk: what a dealer deals for one run of one program, made before it and used once.

A dealer needs the program and its seeds, nothing else: neither data nor messages. So `prepare` runs it alone and writes one
file per evaluator, to be handed over by a channel that the evaluator trusts; the run then does without a dealer. A file
holds the seed that its party shares with the dealer, and for the last evaluator the corrections.

Used once: whoever opens a file notes its name in a ledger, which must not be there yet, before anything is read, and the
file is removed. A copy that is put back later is found in the ledger. Nobody sends a share before all parties have noted
theirs, so a party whose disk was set back with its ledger is stopped by the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from ..errors import StoreError, UsageError
from ..ir.program import Program
from ..net.frame import HEADER, Array, Lane, Layout, layout, layout_of
from ..protocols.base import Protocol, Spec
from ..ring.prg import SEED_BYTES, expand_key, fresh_seed
from ..ring.rings import ring_of
from . import durable
from .interpret import Context, interpret
from .sealed import MAGIC, NotOurs, Writer, reader

EPOCH = 1  # of the run that a store serves: its seeds serve no other
VERSION = 2


@dataclass(frozen=True)
class Label:
    """What a store is for, as its first line says."""

    version: int
    deal: str  # hexadecimal name of this deal; the files of all parties bear it
    party: int
    parties: int
    protocol: str
    program: str  # hexadecimal digest
    roster: str = ""  # its digest, where parties have keys; then the file is sealed


def ledger() -> Path:
    """Where used stores are noted: MPC_LEDGER, else the user's state folder. Keep it, as the stores depend on it."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(os.environ.get("MPC_LEDGER") or Path(state) / "mpc" / "used")


def path_of(folder: Path, party: int) -> Path:
    """The file of one party in a folder that `prepare` wrote."""
    return folder / f"party-{party}.prep"


def prepare(
    program: Program,
    name: str,
    protocol: type[Protocol],
    n: int,
    folder: Path,
    progress: Callable[[int, int], None] = lambda steps, size: None,
    roster: str = "",
    keys: Sequence[bytes] = (),
) -> list[Path]:
    """Deals for one run of the program by `n` parties of protocol `name`, into new files of `folder`, one for each party.

    progress: told of yields done and bytes written. roster, keys: of parties that have keys, what seals the file of each.
    Raises UsageError for a protocol without a dealer of its own, or if a
    file is there already.
    """
    if not protocol.has_dealer:
        raise UsageError(f"protocol {name!r} has no separate dealer whose work could be done beforehand; additive has one")
    if program.params:
        raise UsageError("the program starts from what an earlier run has left: its dealer must take part")
    durable.make(folder)
    deal = secrets.token_hex(16)
    seeds = [fresh_seed() for _ in range(n)]
    dealer = protocol(n, n, ring_of(program.ring), lambda peer, purpose: expand_key(seeds[peer], purpose))
    paths = [path_of(folder, p) for p in range(n)]
    lane = Lane(bytes.fromhex(deal), n, n - 1)
    with contextlib.ExitStack() as stack:
        created = [stack.enter_context(_create(p)) for p in paths]
        files: list[Any] = [Writer(f, key) for f, key in zip(created, keys, strict=True)] if keys else created
        for p, file in enumerate(files):
            label = Label(VERSION, deal, p, n, name, program.digest.hex(), roster)
            file.write(json.dumps(asdict(label)).encode() + b"\n" + seeds[p])
        # A dealer looks at no inbox, so nothing need be sent into the step.
        for done, ex in enumerate(interpret(program, [], Context(dealer, EPOCH)), 1):
            for peer, arrays in ex.send.items():
                assert peer == n - 1, "a dealer deals to the last evaluator alone"
                plan = layout_of(arrays)
                for data in [lane.join(done, plan, arrays)] if plan.joined else lane.split(done, plan, arrays):
                    files[-1].write(data)
            progress(done, lane.payload)
        for file in files:
            if isinstance(file, Writer):
                file.finish()
        for whole in created:
            whole.flush()
            os.fsync(whole.fileno())
    durable.sync(folder)
    return paths


def _create(path: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise UsageError(f"{path} is there already: choose another folder for a new deal") from None


class Store:
    """One party's preprocessing for one run."""

    def __init__(self, path: Path, file: IO[bytes], label: Label, seed: bytes, ledger: Path) -> None:
        self.path, self.label, self.seed, self.ledger = path, label, seed, ledger
        self._file = file
        self._lane = Lane(bytes.fromhex(label.deal), label.parties, label.parties - 1)

    @classmethod
    def open(
        cls, path: Path, party: int, parties: int, protocol: str, roster: str = "", key: bytes = b"", used: Path | None = None
    ) -> Self:
        """Reads who the file is for, and the seed. roster, key: as in `prepare`. used: the ledger.

        Raises StoreError if it is for somebody else.
        """
        try:
            file: IO[bytes] = open(path, "rb")  # noqa: SIM115 (read until the end of the run)
        except OSError as error:
            raise StoreError(
                f"no preprocessing for party {party}: {path}: {error.strerror}. Make it with `mpc prep`."
            ) from None
        try:
            file = reader(file, key) if key else file
            label, seed = Label(**json.loads(file.readline(4096))), file.read(SEED_BYTES)
            store = cls(path, file, label, seed, used or ledger())
        except NotOurs as error:
            raise StoreError(f"{path} is no preprocessing that the dealer has sealed for this party: {error}") from None
        except (ValueError, TypeError):
            sealed = "; it is sealed for a party of a configuration" if _sealed(path) else ""
            raise StoreError(f"{path} holds no preprocessing{sealed}") from None
        store._compare(Label(VERSION, label.deal, party, parties, protocol, label.program, roster))
        return store

    def check(self, program: Program) -> None:
        """Raises StoreError if this was dealt for another program."""
        self._compare(replace(self.label, program=program.digest.hex()))

    def _compare(self, wanted: Label) -> None:
        have, want = asdict(self.label), asdict(wanted)
        for name in want:
            if have[name] != want[name]:
                raise StoreError(
                    f"{self.path} is for another run: its {name} is {have[name]}, not {want[name]}. "
                    "Make preprocessing for this program, these shapes, this protocol and these parties with `mpc prep`."
                )

    def use(self) -> None:
        """Notes the store as used, which must be news, and removes the file: before anything of it enters a message."""
        _note(self.ledger, f"{self.label.deal}-{self.label.party}", self.path)
        os.unlink(self.path)

    def recv(self, peer: int, round: int, specs: Sequence[Spec]) -> list[Array]:
        """What the dealer dealt at this yield, as a channel gives it. Raises StoreError if something else is there."""
        plan = layout(tuple(specs))
        head = self._take(HEADER + plan.size if plan.joined else HEADER, round)
        frames: list[Any] = [head]
        if not plan.joined:
            frames += [self._take(size, round) for size in plan.frames]
        return self._checked(frames, plan, round)

    def _take(self, size: int, round: int) -> bytes:
        try:
            data = self._file.read(size)
        except NotOurs:
            raise StoreError(f"the preprocessing does not open at round {round}: the file is damaged") from None
        if len(data) < size:
            raise StoreError(f"the preprocessing ends at round {round}, before the program does: the file is damaged")
        return data

    def _checked(self, frames: list[Any], plan: Layout, round: int) -> list[Array]:
        if frames[0][:HEADER] != self._lane.header(round, plan):
            raise StoreError(f"the preprocessing does not fit the program at round {round}: the file is damaged")
        arrays = self._lane.open(frames, self._lane.header(round, plan), round, plan)
        assert arrays is not None  # the header was compared
        return arrays

    def close(self) -> None:
        self._file.close()


def _sealed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _note(folder: Path, name: str, path: Path) -> None:
    """Notes the name, which must be new, on the disk itself: before anything of the store is used."""
    durable.make(folder)
    try:
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise StoreError(
            f"{path} was used before (it is noted in {folder}). Randomness that serves twice would show the data: make new "
            "preprocessing with `mpc prep`, and never copy files of preprocessing back."
        ) from None
    os.fsync(descriptor)
    os.close(descriptor)
    durable.sync(folder)

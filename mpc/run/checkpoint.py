"""Shares on disk: what a party keeps of secret arrays, so that a session can go on after its processes are gone.

A checkpoint is a folder with one file a party, `party-0.shares`. All files of one save bear its mark: a digest over words that
every party contributed and over what was saved, by whom, under which protocol. A file of another save, of another party or
with a changed byte is refused. A new file is written beside the old one, and takes its place when all parties have written
theirs: whenever a party is killed, one save is whole at all of them.

The shares must be fresh (`lang/checkpoint.py` adds secret zeros before), and the file is as secret as what the party knows: it
is readable by its user alone. A party with keys has a `Vault`: its file is sealed under a key made from its own, and an older
save than the last one is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..errors import CheckpointError
from ..ir.program import Where
from ..ir.types import DType, Type
from ..protocols.base import Origin, Part, Share
from ..ring.packed import Packed
from ..ring.prg import Name, fresh_seed
from ..ring.rings import ring_of
from ..ring.shapes import blank
from ..ring.words import WORD
from . import durable
from .audit import Supply
from .sealed import NotOurs, Writer, reader

if TYPE_CHECKING:
    from .execute import Party

MAGIC = b"mpc checkpoint 2\n"
DIGEST = 32
DIFFERENT = "the parties' files are of different saves"
TEXT = 192  # bytes of what is wrong with a file that the others are told: its name and why, no secret


@dataclass(frozen=True)
class Contents:
    """What every party knows of a checkpoint: it is no secret."""

    protocol: str
    names: list[str]  # of the parties
    types: list[Any]  # of the arrays: [shape, kind, fraction bits], and the ring if it is not 2^64
    structure: Any  # how they are nested
    supplies: list[Any] = field(default_factory=list)  # inputs behind them: [parameters, type as above, source line]
    program: str = ""  # digest of the text of the program that made it, where parties agree on one
    roster: str = ""  # digest of the parties' keys, where they have some
    generation: int = 0  # of the saves under this name

    def digest(self) -> bytes:
        return hashlib.blake2b(msgspec.msgpack.encode(asdict(self)), digest_size=DIGEST, person=b"mpc checkpoint").digest()

    def array_types(self) -> list[Type]:
        return [_type(t) for t in self.types]

    def supplies_of(self) -> list[Supply]:
        """The inputs behind the arrays, for the audit of what is computed from them."""
        return [Supply(params, _type(t), Where(*where)) for params, t, where in self.supplies]

    @staticmethod
    def supplied(supplies: Sequence[Supply]) -> list[Any]:
        """Inputs as `supplies` holds them."""
        keep = ("owner", "name", "range", "slot")
        return [
            [{k: s.params[k] for k in keep if k in s.params}, [list(s.type.shape), *s.type.dtype.plain],
             list(s.where)]
            for s in supplies
        ]  # fmt: skip


def _type(t: Sequence[Any]) -> Type:
    shape, *dtype = t
    return Type(tuple(shape), DType(*dtype))


@dataclass(frozen=True)
class Vault:
    """How a party with keys keeps its file. last: where the generation of its latest save is noted."""

    key: bytes = field(repr=False)
    roster: str
    last: Path

    def generation(self) -> int:
        """Of the latest save; 0 before the first. Raises CheckpointError if the note cannot be read: then nobody knows."""
        try:
            return int(self.last.read_text())
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.last.name}, the note of the last save, cannot be read ({type(error).__name__})"
            ) from None

    def note(self, generation: int) -> None:
        """Puts it on the disk itself."""
        durable.make(self.last.parent)
        new = self.last.with_suffix(".new")
        with new.open("w") as file:
            file.write(str(generation))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.last)
        durable.sync(self.last.parent)


@dataclass(frozen=True)
class Header:
    """The first part of a file."""

    mark: bytes
    party: int
    parts: list[Any]  # per array, its components: ["words" or "bits", shape], none at who holds blanks
    contents: Contents


_header = msgspec.msgpack.Decoder(Header).decode  # once, as in agreement.py


def path_of(folder: Path, party: int, new: bool = False) -> Path:
    """A party's file; `new`: while it is not sure that all parties have theirs."""
    return folder / f"party-{party}.shares{'.new' if new else ''}"


def save(party: Party, folder: Path, shares: Sequence[Share], contents: Contents, vault: Vault | None = None) -> bytes:
    """Writes this party's file, and returns the mark of the save. Raises CheckpointError if parties save different things, or
    a folder cannot be written."""
    last = vault.generation() if vault else 0
    said = party.everyones(fresh_seed() + last.to_bytes(8, "little"))
    contents = replace(contents, generation=1 + max(int.from_bytes(words[-8:], "little") for words in said))
    mark = hashlib.blake2b(b"".join(said) + contents.digest(), digest_size=DIGEST, person=b"mpc mark v1").digest()
    try:
        write(folder, party.me, mark, shares, contents, party.protocol.ring.abstract, vault)
        if any(theirs != mark for theirs in party.everyones(mark)):
            raise CheckpointError(f"{folder}: the parties do not save the same arrays")
        settle(folder, party.me)
        if vault:
            vault.note(contents.generation)
    except OSError as error:
        raise CheckpointError(f"{folder}: {error.strerror or type(error).__name__}") from None
    return mark


def load(party: Party, folder: Path, protocol: str, names: Sequence[str], epoch: int) -> tuple[list[Share], Contents]:
    """The shares of a checkpoint that all parties have whole. No run has this epoch, so their masks are new.

    Raises CheckpointError, at all parties the same, saying what is wrong with which file.
    """
    found, problem = candidates(folder, party.me, protocol, names, party.protocol.ring.name)
    # at most two marks, and what is wrong: so all parties come to the same choice, or to the same error
    mine = b"".join(found).ljust(2 * DIGEST, b"\0") + problem.encode()[:TEXT].ljust(TEXT, b"\0")
    told = party.everyones(mine)
    mark = common([[m for m in (said[:DIGEST], said[DIGEST : 2 * DIGEST]) if any(m)] for said in told])
    if not mark:
        texts = [said[2 * DIGEST :].rstrip(b"\0").decode(errors="replace") for said in told]
        raise CheckpointError(f"{folder}: " + next(filter(None, texts), DIFFERENT))
    header, words = found[mark]
    return shares_of(header, words, epoch), header.contents


def candidates(
    folder: Path, party: int, protocol: str, names: Sequence[str], ring: str, vault: Vault | None = None
) -> tuple[dict[bytes, tuple[Header, bytes]], str]:
    """What this party could load: mark -> (header, words) of its file, and of a new one whose save was interrupted; and
    what is wrong, if something is."""
    found: dict[bytes, tuple[Header, bytes]] = {}
    problem = ""
    for new in (False, True):
        path = path_of(folder, party, new)
        if new and not path.exists():
            continue
        try:
            header, words = read(path, party, protocol, names, ring, vault)
            found[header.mark] = header, words
        except CheckpointError as error:
            problem = problem or str(error)
    return found, problem


def common(marks: Sequence[Sequence[bytes]]) -> bytes:
    """The mark of a save that is whole at all parties, from the marks of everybody's files; empty if there is none."""
    return next((m for m in marks[0] if m and all(m in theirs for theirs in marks)), b"")


def write(
    folder: Path, party: int, mark: bytes, shares: Sequence[Share], contents: Contents, blanks: bool, vault: Vault | None
) -> None:
    """Writes the new file, to the disk itself."""
    parts = [[] if blanks else list(s.parts) for s in shares]
    forms = [[["bits" if isinstance(p, Packed) else "words", list(p.shape)] for p in ps] for ps in parts]
    head = msgspec.msgpack.encode(asdict(Header(mark, party, forms, contents)))
    whole = hashlib.blake2b(digest_size=DIGEST)
    durable.make(folder)
    path = path_of(folder, party, new=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        pieces = [MAGIC, len(head).to_bytes(8, "little"), head]
        pieces += [np.ascontiguousarray(p.words if isinstance(p, Packed) else p).tobytes() for ps in parts for p in ps]
        into = Writer(file, vault.key) if vault else file
        for piece in pieces:
            whole.update(piece)
            into.write(piece)
        into.write(whole.digest())
        if isinstance(into, Writer):
            into.finish()
        file.flush()
        os.fsync(file.fileno())


def settle(folder: Path, party: int) -> None:
    """The new file takes the old one's place: all parties have written theirs."""
    os.replace(path_of(folder, party, new=True), path_of(folder, party))
    durable.sync(folder)


def read(
    path: Path, party: int, protocol: str, names: Sequence[str], ring: str, vault: Vault | None = None
) -> tuple[Header, bytes]:
    """A file's header and its words. Raises CheckpointError if it is damaged, somebody else's, or older than the last save."""
    try:
        with path.open("rb") as file:
            data = reader(file, vault.key).read() if vault else file.read()
    except NotOurs as error:
        raise CheckpointError(f"{path.name} does not open under this party's key: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path.name}: {error.strerror or type(error).__name__}") from None
    body, digest = data[:-DIGEST], data[-DIGEST:]
    if not body.startswith(MAGIC):
        raise CheckpointError(f"{path.name} is no checkpoint of this version")
    if hashlib.blake2b(body, digest_size=DIGEST).digest() != digest:
        raise CheckpointError(f"{path.name} is damaged: its digest does not fit")
    start = len(MAGIC) + 8
    size = int.from_bytes(body[len(MAGIC) : start], "little")
    try:
        header = _header(body[start : start + size])
    except (msgspec.MsgspecError, ValueError):
        raise CheckpointError(f"{path.name} is no checkpoint of this version") from None
    for what, have, want in (
        ("party", header.party, party),
        ("protocol", header.contents.protocol, protocol),
        ("number of parties", len(header.contents.names), len(names)),
        ("roster", header.contents.names, list(names)),
        ("ring", next((t.dtype.ring for t in header.contents.array_types()), ring), ring),
        ("roster digest", header.contents.roster, vault.roster if vault else ""),
    ):
        if have != want:
            raise CheckpointError(f"{path.name} is of another session: its {what} is {have}, here it is {want}")
    if vault and header.contents.generation < vault.generation():
        raise CheckpointError(
            f"{path.name} is older than the last save of this party ({header.contents.generation} of {vault.generation()}): "
            "somebody has put a copy back"
        )
    return header, body[start + size :]


def shares_of(header: Header, words: bytes, epoch: int) -> list[Share]:
    """The shares, under names of randomness that no run of this session has."""
    found, at = [], 0
    for k, (t, forms) in enumerate(zip(header.contents.array_types(), header.parts, strict=True)):
        parts: list[Part] = []
        for form, shape in forms:
            count = -(-t.size // 64) if form == "bits" else t.size
            array = np.frombuffer(words, WORD if form == "bits" else ring_of(t.dtype.ring).word, count, at).copy()
            at += array.nbytes
            parts.append(Packed(array, tuple(shape)) if form == "bits" else array.reshape(shape))
        if not forms:
            word = ring_of(t.dtype.ring).word
            parts.append(Packed(blank((-(-t.size // 64),)), t.shape) if t.dtype.is_bool else blank(t.shape, word))
        found.append(Share(tuple(parts), Origin(Name(epoch, k), 0)))
    return found

"""The wire format: a fixed 64-byte header, then the arrays. The receiver knows every header before it comes.

Programs are data-oblivious, so both ends know who sends what in which round. A receiver therefore *builds* the header
it expects and compares; fields are only looked at to explain a difference. Nothing is ever reshaped, truncated or
padded to fit, and no serialiser touches what a peer sent.

A message is one ZeroMQ message: header and arrays joined in a single frame when they are small, otherwise the header
alone, followed by each array as one or more frames of at most `FRAME` bytes. All integers are little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpc.errors import Disagreement, ProtocolError, UsageError

Array = NDArray[Any]
Buffer = bytes | bytearray | memoryview
Spec = tuple[str, tuple[int, ...]]  # (dtype such as "<u8", shape) of an expected array

MAGIC, VERSION = b"MPCf", 3
DATA, ABORT, HELLO, BYE = KINDS = range(1, 5)
NAMES = dict(zip(KINDS, ("DATA", "ABORT", "HELLO", "BYE"), strict=True))
HEADER = 64  # bytes
SMALL = 1 << 15  # bytes: below this a copy is cheaper than ZeroMQ's bookkeeping for an uncopied frame
# A heartbeat cannot overtake a frame that is on the wire, so a frame must pass well within the heartbeat time-out:
# 8 MiB are 0.7 s at 100 Mbit/s. It is above the 8 MB of a million ring elements, which thus arrive without a copy.
FRAME = 8 << 20
REASON = 400  # bytes of UTF-8 in an abort

_ADDRESS = struct.Struct("<4sHBB16sHHI")  # magic, version, kind, flags, session, src, dst, epoch
_COUNTS = struct.Struct("<QQ")  # seq, round
_DATA = struct.Struct("<32sQQ16s")  # address, seq, round, content
_CONTENT = struct.Struct("<8sQ")  # spec, payload length
_HEADER = struct.Struct("<4sHBB16sHHIQQ8sQ")
_NUMBER = struct.Struct("<H")  # of a party, or of all parties
_BLAME = struct.Struct("<HB")  # of a party, and the exit code of the error
_NO_SPEC = bytes(8)
_LIMBS = ("lo", "hi", *map(str, range(2, 32)))  # of a wide word, which NumPy calls "|V16", "|V24", ...
_WIDE: list[np.dtype[Any]] = [np.dtype([(name, "<u8") for name in _LIMBS[:k]], align=True) for k in range(2, len(_LIMBS) + 1)]
_PLAIN: list[np.dtype[Any]] = [np.dtype(name) for name in ("<u8", "<u4", "|u1")]
_DTYPES = {a.str: a for a in _PLAIN + _WIDE}


class Header(NamedTuple):
    """The fields of a frame header, in wire order; magic and version are constants."""

    kind: int
    flags: int
    session: bytes
    src: int
    dst: int
    epoch: int
    seq: int
    round: int
    spec: bytes
    length: int  # bytes of payload


@dataclass(frozen=True, slots=True)
class Layout:
    """How a list of arrays lies on the wire."""

    spec: bytes  # first bytes of a hash of the list: both ends know it before the message comes
    size: int  # bytes of payload
    content: bytes  # both, as they end the header
    joined: bool  # in one frame with the header
    only: tuple[np.dtype[Any], tuple[int, ...]] | None  # dtype and shape, if it is one array and joined
    places: tuple[tuple[np.dtype[Any], tuple[int, ...], int], ...]  # dtype, shape, offset in a joined frame
    straddles: bool  # whether words of an array in a joined frame lie across their natural borders
    frames: tuple[int, ...]  # bytes of each payload frame, unless joined


# Both caches are on the path of every message: a program has few distinct lists, and each of them comes many times.
@lru_cache(maxsize=1 << 14)
def layout(specs: tuple[Spec, ...]) -> Layout:
    """The layout of arrays of these dtypes and shapes. Raises `UsageError` for a dtype that does not travel."""
    text, places, frames, size = "", [], [], 0
    for name, shape in specs:
        dtype = _DTYPES.get(name)
        if dtype is None or any(d < 0 for d in shape):
            raise UsageError(
                f"({name!r}, {shape}) cannot be sent: use uint64, uint32 or uint8 in little-endian order, or several of uint64."
            )
        text += f"{name}({','.join(str(int(d)) for d in shape)});"
        nbytes = dtype.itemsize * prod(shape)
        places.append((dtype, tuple(shape), HEADER + size))
        frames += [min(FRAME, nbytes - at) for at in range(0, nbytes, FRAME)]
        size += nbytes
    spec = hashlib.blake2b(text.encode()).digest()[:8]
    joined = size < SMALL
    only = places[0][:2] if joined and len(places) == 1 else None
    straddles = any(at % dtype.alignment for dtype, _, at in places)
    return Layout(
        spec, size, _CONTENT.pack(spec, size), joined, only, tuple(places), straddles, () if joined else tuple(frames)
    )


@lru_cache(maxsize=1 << 14)
def _layout_of(kinds: tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]) -> Layout:
    return layout(tuple([(dtype.str, shape) for dtype, shape in kinds]))


def layout_of(arrays: Sequence[Array]) -> Layout:
    """The layout of these arrays. Raises `UsageError` for a dtype that does not travel."""
    if len(arrays) == 1:
        a = arrays[0]
        return _layout_of(((a.dtype, a.shape),))
    return _layout_of(tuple([(a.dtype, a.shape) for a in arrays]))


def parse(data: Buffer, party: int) -> Header:
    """The header in these 64 bytes, as it came from `party`. Raises `ProtocolError` unless it is well formed."""
    if len(data) != HEADER:
        raise ProtocolError(party, f"a header of {len(data)} bytes instead of {HEADER}")
    magic, version, *fields = _HEADER.unpack(data)
    header = Header(*fields)
    if magic != MAGIC:
        raise ProtocolError(party, "a frame that is not ours (wrong magic)")
    if version != VERSION:
        raise Disagreement(party, f"wire version {version}, but this party speaks version {VERSION}")
    if header.kind not in KINDS:
        raise ProtocolError(party, f"a frame of unknown kind {header.kind}")
    if header.flags:
        raise ProtocolError(party, f"unknown flags {header.flags:#04x}")
    return header


def check(got: Header, want: Header, party: int) -> None:
    """Raise a `ProtocolError` that names the first field in which `got` differs from `want`."""
    here = want.round if want.kind == DATA else None
    if got.session != want.session:
        raise ProtocolError(party, "a frame of another session", here)
    if got.src != want.src:
        raise ProtocolError(party, f"a frame that names party {got.src} as its sender", here)
    if got.dst != want.dst:
        raise ProtocolError(party, f"a frame for party {got.dst} instead of {want.dst}", here)
    if got.epoch != want.epoch:
        raise ProtocolError(party, f"a frame of epoch {got.epoch} instead of {want.epoch}", here)
    if got.seq < want.seq:
        raise ProtocolError(party, f"frame {got.seq} again (expected {want.seq}): duplicate or replay", here)
    if got.seq > want.seq:
        raise ProtocolError(party, f"frame {got.seq} instead of {want.seq}: {got.seq - want.seq} missing", here)
    if got.kind != want.kind:
        raise ProtocolError(party, f"a {NAMES[got.kind]} frame instead of {NAMES[want.kind]}", here)
    if got.round != want.round:
        raise ProtocolError(party, f"a message of round {got.round} instead of {want.round}", here)
    if got.length != want.length:
        raise ProtocolError(party, f"a payload of {got.length} bytes instead of {want.length}", here)
    if got.spec != want.spec:
        raise ProtocolError(party, "arrays of other dtypes or shapes than this program expects", here)


class Lane:
    """One direction of one link: from whom to whom, in which session, and what has passed.

    Most messages are one small array, and a round of them costs little more than waking up two threads. After such a
    sleep the caches are cold and every line costs about three times what a benchmark says; hence the short cuts.
    """

    __slots__ = ("_address", "_data", "controls", "dst", "epoch", "extra", "payload", "seq", "session", "src")

    def __init__(self, session: bytes, src: int, dst: int, epoch: int = 0) -> None:
        self.session, self.src, self.dst, self.epoch, self.seq = session, src, dst, epoch, 0
        # For the meter: payload bytes of data messages; control messages and their bytes.
        self.payload = self.controls = self.extra = 0
        self._address = {k: _ADDRESS.pack(MAGIC, VERSION, k, 0, session, src, dst, epoch) for k in KINDS}
        self._data = self._address[DATA]

    def bind(self, session: bytes) -> None:
        """From now on data carry this id. Control frames keep the first one: they belong to the connection, and either end
        may have to give up before both know what they agreed on."""
        self._data = _ADDRESS.pack(MAGIC, VERSION, DATA, 0, session, self.src, self.dst, self.epoch)

    @property
    def messages(self) -> int:
        """Data messages so far."""
        return self.seq - self.controls

    def header(self, round: int, plan: Layout) -> bytes:
        """The header of the next message."""
        return _DATA.pack(self._data, self.seq, round, plan.content)

    def join(self, round: int, plan: Layout, arrays: Sequence[Array]) -> bytes:
        """The next message, if `plan.joined`: one frame."""
        header = _DATA.pack(self._data, self.seq, round, plan.content)  # not header(): a call less
        self.seq += 1
        self.payload += plan.size
        if plan.only:
            return header + arrays[0].tobytes()
        return b"".join([header, *[a.tobytes() for a in arrays]])

    def split(self, round: int, plan: Layout, arrays: Sequence[Array]) -> list[Buffer]:
        """The frames of the next message, if not `plan.joined`. Arrays are not copied if they are C-contiguous."""
        frames: list[Buffer] = [self.header(round, plan)]
        self.seq += 1
        self.payload += plan.size
        for a in arrays:
            flat = np.ascontiguousarray(a).reshape(-1).view(np.uint8).data
            frames += [flat[at : at + FRAME] for at in range(0, a.nbytes, FRAME)]
        return frames

    def open(self, frames: Sequence[Buffer], header: bytes, round: int, plan: Layout) -> list[Array] | None:
        """The arrays of the next message; they may be read-only views of its frames. None if it is a control message.

        Raises `ProtocolError`, naming what differs, unless the message is exactly what `round` and `plan` say;
        `header` is what `header(round, plan)` returned, which a receiver can build before it waits.
        """
        head = frames[0]
        if head[:HEADER] != header:
            self.explain(head[:HEADER], round, plan)
            return None
        whole = HEADER + plan.size if plan.joined else HEADER
        if len(head) != whole or tuple([len(f) for f in frames[1:]]) != plan.frames:
            size = sum(map(len, frames)) - HEADER
            reason = f"{size} payload bytes in {len(frames)} frames instead of {plan.size} in {1 + len(plan.frames)}"
            raise ProtocolError(self.src, reason, round)
        if plan.joined:
            return self.arrays(head, plan)
        self.passed(plan)
        return _assemble(frames, plan)

    def arrays(self, frame: Buffer, plan: Layout) -> list[Array]:
        """The arrays of the next message, one frame whose header and size are as expected: views of it, where aligned."""
        self.seq += 1
        self.payload += plan.size
        if plan.only:
            return [np.ndarray(plan.only[1], plan.only[0], frame, HEADER)]
        arrays: list[Array] = [np.ndarray(shape, dtype, frame, at) for dtype, shape, at in plan.places]
        return list(map(_aligned, arrays)) if plan.straddles else arrays

    def explain(self, head: Buffer, round: int, plan: Layout) -> None:
        """Raise a `ProtocolError` that says how this header differs from the expected one, unless it is a control message's."""
        got = parse(head, self.src)
        if got.kind == DATA:
            check(got, self._want(DATA, round, plan.spec, plan.size), self.src)
            raise ProtocolError(self.src, "a header that differs from the expected one", round)

    def passed(self, plan: Layout) -> None:
        """Counts a message that was checked elsewhere."""
        self.seq += 1
        self.payload += plan.size

    def control(self, kind: int, payload: bytes = b"") -> bytes:
        """The next control frame; these belong to no round."""
        frame = self._address[kind] + _COUNTS.pack(self.seq, 0) + _CONTENT.pack(_NO_SPEC, len(payload)) + payload
        self.seq += 1
        self.controls += 1
        self.extra += len(frame)
        return frame

    def open_control(self, frames: Sequence[Buffer], ahead: int = 0) -> tuple[int, bytes]:
        """Kind and payload of the control message that is `ahead` messages after the next one.

        Raises `ProtocolError` if it is malformed or if it is not a control message at all.
        """
        got = parse(frames[0][:HEADER], self.src)
        if got.kind == DATA:
            raise ProtocolError(self.src, "a DATA frame where none is due", got.round)
        payload = bytes(frames[0][HEADER:])
        check(got, self._want(got.kind, 0, _NO_SPEC, len(payload), ahead), self.src)
        if len(frames) != 1:
            raise ProtocolError(self.src, f"a {NAMES[got.kind]} message of {len(frames)} frames")
        if not ahead:
            self.seq += 1
            self.controls += 1
            self.extra += HEADER + len(payload)
        return got.kind, payload

    def _want(self, kind: int, round: int, spec: bytes, length: int, ahead: int = 0) -> Header:
        session = self._data[8:24] if kind == DATA else self.session
        return Header(kind, 0, session, self.src, self.dst, self.epoch, self.seq + ahead, round, spec, length)


def _aligned(array: Array) -> Array:
    """The array, copied if its words straddle their natural borders: kernels may assume that they do not."""
    return array if array.flags.aligned else array.copy()


def _assemble(frames: Sequence[Buffer], plan: Layout) -> list[Array]:
    arrays, at = [], 1
    for dtype, shape, _ in plan.places:
        count = -(-dtype.itemsize * prod(shape) // FRAME)
        if count == 1:
            arrays.append(_aligned(np.ndarray(shape, dtype, frames[at])))
        else:
            array: Array = np.empty(shape, dtype)
            flat = array.reshape(-1).view(np.uint8)
            for i in range(count):
                flat[i * FRAME : (i + 1) * FRAME] = np.frombuffer(frames[at + i], np.uint8)
            arrays.append(array)
        at += count
    return arrays


def hello(parties: int) -> bytes:
    """Payload of HELLO: what both ends of a link must agree on beyond the header."""
    return _NUMBER.pack(parties)


def read_hello(payload: bytes, party: int) -> int:
    """Inverse of `hello`: how many parties there are. Raises `ProtocolError`."""
    if len(payload) != _NUMBER.size:
        raise ProtocolError(party, f"a HELLO of {len(payload)} bytes instead of {_NUMBER.size}")
    return int(_NUMBER.unpack(payload)[0])


def abort(blame: int, reason: str, code: int = 3) -> bytes:
    """Payload of ABORT: the party that it blames, the exit code of the error, and why (cut at `REASON` bytes)."""
    return _BLAME.pack(blame, code) + reason.encode(errors="replace")[:REASON]


def read_abort(payload: bytes, party: int) -> tuple[int, int, str]:
    """Inverse of `abort`: (blamed party, exit code, printable reason). Raises `ProtocolError`."""
    if not _BLAME.size <= len(payload) <= _BLAME.size + REASON:
        raise ProtocolError(party, f"an ABORT of {len(payload)} bytes")
    text = payload[_BLAME.size :].decode(errors="replace")
    return (*_BLAME.unpack_from(payload), printable(text))


def printable(text: str) -> str:
    """A peer's words end up on a terminal and in logs: no control characters, no line breaks."""
    return "".join(c if c.isprintable() else "?" for c in text)

"""What a protocol is: steps that say what they send and expect, and the five things every sharing scheme must define.

A step is a generator. It yields an `Exchange` and is resumed with the inbox; it never touches a socket, a clock or global
state, so the same text runs between processes, on shapes alone (rehearsal) and in a test. Every party yields the same
number of times in a step (`IDLE` when silent): that keeps messages in order without tags and makes a rehearsal exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import cache
from itertools import starmap
from typing import Any, ClassVar, NamedTuple, TypeVar
from typing import Protocol as Interface

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from ..errors import UsageError
from ..ring.bilinear import Bilinear
from ..ring.packed import Packed
from ..ring.prg import Name
from ..ring.residues import Residues
from ..ring.ring import NARROW, Ring
from ..ring.shapes import blank
from ..ring.words import Array

T = TypeVar("T")
Spec = tuple[str, tuple[int, ...]]  # dtype and shape of an array that is expected
Part = Any  # one component of a share: an array of words, or Packed bits
Public = Array  # a value everybody knows: words (numbers) or uint8 (bits)


class Exchange(Struct, frozen=True, gc=False):
    """What one party sends and expects at one yield. `turn` is False if nobody waits for a peer's answer here, so that it
    is not a round: material a dealer sent ahead, and all chunks of a pipeline but the first."""

    send: Mapping[int, list[Array]]
    recv: Mapping[int, Sequence[Spec]]
    turn: bool = True


class Inbox(Interface):
    """What arrived, by peer. Reading waits, so a step that does not look does not wait."""

    def __getitem__(self, peer: int) -> list[Array]: ...


Steps = Generator[Exchange, Inbox, T]
IDLE = Exchange({}, {})
SILENT = Exchange({}, {}, False)  # of who waits for no peer here, whatever the others do


@cache
def _named(dtype: np.dtype[Any]) -> str:
    return dtype.str  # formatted anew at every look


def spec_of(a: Array) -> Spec:
    """What a party expects that is sent an array like this one."""
    return _named(a.dtype), a.shape


class _Slice:
    """A step's own arrays in an inbox that several steps share."""

    __slots__ = ("source", "spans")

    def __init__(self, source: Inbox, spans: dict[int, tuple[int, int]]) -> None:
        self.source, self.spans = source, spans

    def __getitem__(self, peer: int) -> list[Array]:
        start, stop = self.spans[peer]
        return self.source[peer][start:stop]


def merge(exchanges: Sequence[Exchange]) -> tuple[Exchange, Callable[[Inbox], list[Inbox]]]:
    """One exchange for several, and what splits its inbox again."""
    if len(exchanges) == 1:
        return exchanges[0], lambda inbox: [inbox]
    send: dict[int, list[Array]] = {}
    recv: dict[int, list[Spec]] = {}
    spans: list[dict[int, tuple[int, int]]] = []
    for ex in exchanges:
        for peer, arrays in ex.send.items():
            send.setdefault(peer, []).extend(arrays)
        span = {}
        for peer, specs in ex.recv.items():
            expected = recv.setdefault(peer, [])
            span[peer] = (len(expected), len(expected) + len(specs))
            expected.extend(specs)
        spans.append(span)
    turn = any(ex.turn for ex in exchanges)
    return Exchange(send, recv, turn), lambda inbox: [_Slice(inbox, span) for span in spans]


def together(*steps: Steps[Any]) -> Steps[list[Any]]:
    """Runs independent steps in the same rounds; returns their results in order."""
    results: list[Any] = [None] * len(steps)
    live = dict(enumerate(steps))
    inboxes: dict[int, Any] = dict.fromkeys(live)
    while True:
        waiting: dict[int, Exchange] = {}
        for i, step in live.items():
            try:
                waiting[i] = step.send(inboxes[i])
            except StopIteration as end:
                results[i] = end.value
        if not waiting:
            return results
        merged, split = merge(list(waiting.values()))
        inboxes = dict(zip(waiting, split((yield merged)), strict=True))
        live = {i: live[i] for i in waiting}


def pipeline(lanes: Iterable[Steps[None]], window: int) -> Steps[None]:
    """Runs independent lanes, at most `window` at a time: while the message of one travels the next one computes.

    A lane is resumed when it has waited longest. The order depends on the number of yields alone, so it is the same at
    every party. The pipeline takes as many rounds as its longest lane.
    """
    todo, waiting, turns = iter(lanes), deque[tuple[Steps[None], Any, int]](), 0
    while True:
        if len(waiting) < window and (lane := next(todo, None)) is not None:
            inbox, step = None, 0
        elif waiting:
            lane, inbox, step = waiting.popleft()
        else:
            return
        try:
            ex = lane.send(inbox)  # type: ignore[arg-type]
        except StopIteration:
            continue
        first, turns = step >= turns, max(turns, step + 1)
        waiting.append((lane, (yield replace(ex, turn=ex.turn and first)), step + 1))


class Tape(Struct, frozen=True, gc=False):
    """Names the random words of one equation; `at` is the position of the chunk's first element in the whole."""

    name: Name
    at: int = 0
    chunk: int | None = None  # the chunk's number, if the equation runs in chunks
    tree: int = NARROW  # of its comparisons


class Origin(NamedTuple):
    """Where a share's own mask is named: words `at`, `at + 1`, ... of field `field` of `name`."""

    name: Name
    field: int
    at: int = 0


class Opening(NamedTuple):
    """What has been opened of a share: x + r, which the evaluators know, and this party's share of r."""

    value: Array
    mask: Array


PENDING = Opening(np.zeros(0), np.zeros(0))  # the message is on its way


class Settled(Struct, frozen=True, gc=False):
    """What a truncation leaves for a product that follows: the opened c = x + 2^62 + r, the shift, and the dealer's r."""

    c: Array
    bits: int
    mask: Array | None

    @property
    def chains(self) -> bool:
        """Whether a product can go on from here: what is dealt for it mod 2^bits has 32-bit words."""
        return self.bits <= 32

    def rearranged(self, f: Callable[[Array], Array]) -> Settled:
        """The same for f(x), where f only moves elements."""
        return Settled(f(self.c), self.bits, None if self.mask is None else f(self.mask))


OPERAND = 8  # fields OPERAND + k: fresh masks for operand k of an equation, where it has no mask of its own in this layout


class Share(Struct, eq=False):
    """One party's part of a secret: component arrays, and what has been opened of it.

    `origin` names the mask under which this very secret may be opened (by a protocol that masks); a view (`parent`, `view`)
    is opened through the share it is made from, so the same mask never hides two different secrets.
    """

    parts: tuple[Part, ...]
    origin: Origin | None = None
    parent: Share | None = None
    view: Callable[[Array], Array] | None = None
    opening: Opening | None = None
    settled: Settled | None = None
    masks: list[Array] | None = None  # a dealer's copy of the mask's shares
    flat_parent: bool = False  # whether the view keeps the order of all elements
    # consecutive parts, where chunks know what the whole does not: what was opened of them, or by their truncation
    pieces: dict[int, Share] | None = None  # by their first elements
    known: Share | None = None  # the same secret as the gates of another protocol know it

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.parts[0].shape
        return shape

    @property
    def size(self) -> int:
        return int(self.parts[0].size)

    @property
    def is_bits(self) -> bool:
        return isinstance(self.parts[0], Packed)

    def __repr__(self) -> str:
        return f"Share({'bits' if self.is_bits else 'words'}{list(self.shape)})"


def is_open(x: Share) -> bool:
    return x.opening is not None and x.opening is not PENDING


def root(x: Share) -> Share:
    """The share through which x is opened: x itself, unless it is a view that has no opening of its own."""
    while x.parent is not None and x.opening is None:
        x = x.parent
    return x


def in_order(x: Share) -> Share:
    """The share that x is a view of with all elements in their order: x itself, unless it was reshaped."""
    while x.parent is not None and x.flat_parent:
        x = x.parent
    return x


Keys = Callable[[int, str], Array]  # (peer, purpose) -> expanded key that this party and `peer` share
Value = Share | Public


class Protocol(ABC):
    """A sharing scheme. What is abstract here is all it must say; the rest has a default.

    One instance is one party of one session. `n` parties may own inputs and receive outputs; if `has_dealer`, one more
    process (index n) deals correlated randomness.
    """

    trust: ClassVar[str]  # one sentence: who is protected against whom
    leaks: ClassVar[tuple[str, ...]] = ()  # what parties learn by design besides shapes and the program
    parties: ClassVar[range]  # how many parties it takes
    has_dealer: ClassVar[bool] = False

    cycle: ClassVar[int] = 1  # after how many chunks the costs of an elementwise operation repeat
    stream: tuple[int, int] | None = None  # (a party that sends ahead without ever waiting, the party that consumes it)

    def __init__(self, me: int, n: int, ring: Ring, keys: Keys) -> None:
        self.me, self.n, self.ring = me, n, ring

    # ---- what every scheme defines ----
    @abstractmethod
    def share(self, tape: Tape, owner: int, shape: tuple[int, ...], bits: bool, value: Part | None) -> Steps[Share]:
        """Shares of an input; `value` (words, or Packed if `bits`) is given at the owner alone."""

    @abstractmethod
    def reveal(self, tape: Tape, x: Share, to: tuple[int, ...]) -> Steps[Part | None]:
        """The value at the parties `to`, None elsewhere."""

    @abstractmethod
    def add_public(self, x: Share, c: Array) -> Share:
        """Shares of x + c (XOR for bits, where c is uint8)."""

    @abstractmethod
    def bilinear(self, tape: Tape, f: Bilinear, x: Share, y: Share, bits: int, rounding: str) -> Steps[Share]:
        """Shares of f(x, y), truncated by `bits` bits (0: not at all)."""

    @abstractmethod
    def trunc(self, tape: Tape, x: Share, bits: int, rounding: str) -> Steps[Share]:
        """Shares of x / 2^bits. rounding: "dither" floor((x + d) / 2^bits), d public and uniform; "floor"; "nearest"."""

    @abstractmethod
    def and_(self, tape: Tape, x: Share, y: Share) -> Steps[Share]:
        """Shares of the AND of bits."""

    @abstractmethod
    def ltz(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        """Shares of the bits [x < 0]; -2^bits <= x < 2^bits is known, if bits are given."""

    @abstractmethod
    def eqz(self, tape: Tape, x: Share, bits: int | None = None) -> Steps[Share]:
        """Shares of the bits [x == 0]; -2^bits <= x < 2^bits is known, if bits are given."""

    @abstractmethod
    def b2a(self, tape: Tape, b: Share) -> Steps[Share]:
        """Shares of the bits as words 0 and 1."""

    @abstractmethod
    def select(self, tape: Tape, b: Share, x: Share, y: Share) -> Steps[Share]:
        """Shares of x where b, else of y; all of one shape."""

    @abstractmethod
    def shuffle(self, tape: Tape, *columns: Share) -> Steps[list[Share]]:
        """Shares of the columns with their rows (first axis, of one length) in a common random order that no party knows."""

    @abstractmethod
    def constant(self, c: Array) -> Share:
        """A share of a value everybody knows (words, or uint8 bits)."""

    def stored(self, c: Array) -> Share:
        """What a rehearsal takes a stored value of c's shape for: the form of a share that costs most."""
        return self.constant(c)

    @property
    def holders(self) -> tuple[int, ...]:
        """The parties that hold shares."""
        return tuple(range(self.n))

    def permute(self, tape: Tape, by: Share, *columns: Share, shift: int) -> Steps[list[Share]]:
        """Shares of the columns, row i moved to row by[i] / 2^shift. The holders see the places in a random order."""
        shuffled = yield from self.shuffle(tape, by, *columns)
        return (yield from self.placed(tape, *shuffled, shift=shift))

    def placed(self, tape: Tape, by: Share, *columns: Share, shift: int) -> Steps[list[Share]]:
        """`permute` where `by` has been shuffled with the columns: a random permutation, which the holders may see."""
        n = by.size
        order, places = np.full(n, -1), (yield from self.reveal(tape, by, self.holders))
        if places is not None and not self.ring.abstract:
            places = self.ring.limbs(self.ring.shift_right(places, shift))[0]
            if n and int(places.max()) < n:
                order[places] = np.arange(n)
            if n and order.min() < 0:
                raise UsageError(f"the {n} places to which rows are moved must be 0 to {n - 1}, each once")
        return self.moved(columns, order)

    def moved(self, columns: Sequence[Share], order: Array) -> list[Share]:
        """Columns whose row k is row order[k] of these; local."""

        def move(a: Part) -> Part:
            if isinstance(a, Packed):
                return self.ring.from_bit_rows(self.ring.gather(self.ring.bit_rows(a), order), a.shape)
            return self.ring.gather(a, order)

        return [self.each(move, column) for column in columns]

    # ---- randomness that nobody knows ----
    def random(self, tape: Tape, shape: tuple[int, ...], mine: Part) -> Steps[Share]:
        """Shares of uniform bits or words: the sum of what every party shares as an input, `mine` at this one. One party that
        chooses it uniformly is enough."""
        size = max(512, -(-int(np.prod(shape)) // 512) * 512)  # each owner's masks have their own positions
        bits = isinstance(mine, Packed)
        steps = [
            self.share(replace(tape, at=tape.at + p * size), p, shape, bits, mine if p == self.me else None)
            for p in range(self.n)
        ]
        first, *others = yield from together(*steps)
        for share in others:
            first = self.xor(first, share) if bits else self.add(first, share)
        return first  # type: ignore[no-any-return]

    def inverse(self, tape: Tape, x: Share, matrix: bool) -> Steps[Public]:
        """The inverse of x, public: x is opened to all who compute, so it must have been multiplied by uniformly random masks.

        Bar-Ilan, Beaver, Non-cryptographic fault-tolerant computing in constant number of rounds, PODC 1989.
        """
        opened = yield from self.reveal(tape, x, self.computing)
        if opened is None or self.ring.abstract:
            return blank(x.shape, self.ring.word)
        assert isinstance(self.ring, Residues), "a type rule sees to it"
        return self.ring.inverse(opened, matrix)

    @property
    def computing(self) -> tuple[int, ...]:
        """The parties that need to know the public operands of a product."""
        return self.holders

    # ---- products with public operands ----
    def product(self, tape: Tape, f: Bilinear, x: Value, y: Value, bits: int, rounding: str) -> Steps[Share]:
        """Shares of f(x, y) / 2^bits, where one of the operands may be public: then f is local."""
        if isinstance(x, Share) and isinstance(y, Share):
            return self.bilinear(tape, f, x, y, bits, rounding)
        return self._scaled(tape, f, x, y, bits, rounding)

    def _scaled(self, tape: Tape, f: Bilinear, x: Value, y: Value, bits: int, rounding: str) -> Steps[Share]:
        z = self.scale(f, x, y, False) if isinstance(x, Share) else self.scale(f, y, x, True)  # type: ignore[arg-type]
        if not bits:
            return z
        z.origin = Origin(tape.name, OPERAND, tape.at)
        return (yield from self.trunc(tape, z, bits, rounding))

    # ---- linear maps: componentwise, local ----
    def each(self, f: Callable[..., Part], *xs: Share) -> Share:
        return Share(tuple(starmap(f, zip(*[x.parts for x in xs], strict=True))))

    def add(self, x: Share, y: Share) -> Share:
        return self.each(self.ring.add, x, y)

    def sub(self, x: Share, y: Share) -> Share:
        return self.each(self.ring.sub, x, y)

    def neg(self, x: Share) -> Share:
        return self.each(self.ring.neg, x)

    def xor(self, x: Share, y: Share) -> Share:
        return self.each(lambda a, b: Packed(self.ring.xor([a.words, b.words]), a.shape), x, y)

    def scale(self, f: Bilinear, x: Share, c: Array, left: bool) -> Share:
        """f(x, c), or f(c, x) if `left`: a product with a public operand, not truncated."""
        return self.each(lambda a: self.ring.product(f, c, a) if left else self.ring.product(f, a, c), x)

    def mask_bits(self, x: Share, c: Array) -> Share:
        """x AND c for public bits c."""
        packed = Packed.of(c)
        return self.each(lambda a: Packed(self.ring.local(np.bitwise_and, a.words, packed.words), a.shape), x)

    def cumsum(self, x: Share, axis: int) -> Share:
        return self.each(lambda a: self.ring.cumsum(a, axis), x)

    def sum(self, x: Share, axis: tuple[int, ...]) -> Share:
        return self.each(lambda a: self.ring.sum(a, axis), x)

    def rearrange(self, x: Share, f: Callable[[Array], Array], whole: bool = True) -> Share:
        """A view: f only moves elements (reshape, transpose, broadcast, index). `whole`: it keeps every element."""
        y = self.each(lambda a: a.rearranged(f) if isinstance(a, Packed) else f(a), x)
        if whole or x.opening is not None:
            y.parent, y.view = x, f
        if x.settled is not None and y.size == x.size:
            y.settled = x.settled.rearranged(f)
        return y

    def reshape(self, x: Share, shape: tuple[int, ...]) -> Share:
        if x.is_bits:
            return self.each(lambda a: a.reshaped(shape), x)
        y = self.rearrange(x, lambda a: a.reshape(shape))
        y.flat_parent = True
        return y

    def concatenate(self, xs: Sequence[Share], axis: int) -> Share:
        if xs[0].is_bits:
            return self.each(lambda *a: Packed.of(self.ring.concatenate([p.bytes() for p in a], axis)), *xs)
        return self.each(lambda *a: self.ring.concatenate(a, axis), *xs)


def available() -> dict[str, type[Protocol]]:
    """Every protocol of this folder by the name of its file: a new file is found by itself."""
    import importlib
    import pkgutil

    from . import __name__ as package
    from . import __path__ as path

    found = {}
    for info in pkgutil.iter_modules(path):
        module = importlib.import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            concrete = isinstance(value, type) and issubclass(value, Protocol) and not value.__abstractmethods__
            if concrete and value.__module__ == module.__name__:
                found[info.name] = value
    return found

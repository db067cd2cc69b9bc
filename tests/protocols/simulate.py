"""Proves that what a coalition sees is independent of the secrets, by running the shipped text of a gate over a tiny ring.

*By counting* (`prove`): every assignment of the random tape is run, and the multiset of all that the coalition sees (its own
shares and random words, every message it receives) must be the same for every secret. Equality is perfect security in that
ring; one differing count is a leak.

*By peeling* (`peel`), for any ring, also the real one: the gate runs on symbols that know which random words they depend on
and which of them they contain as a pad, value = g + w with g free of w. An observation with a pad that no other observation
depends on is uniform whatever the others are, so the pair can be taken away; if nothing remains, the view is uniform. This
is the lemma of docs/protocols.md ("why views are uniform"), read backwards, with its premises checked on the text. It
trusts the rules of `Symbol`; counting trusts nothing and is what the rules are held against.

Where a tape is too long to be counted, `prove` leaves out the words on which nothing that is seen depends, and peels pairs off
until the rest can be counted; `Proof` says so. With `settings` the coalition's own words are held at a few random settings
and the claim is proven for these only: for a receiver whose result depends on them, and to refute.

Every word is that of one element: that elements at different positions never share one is tested in test_transcripts.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import combinations
from math import prod
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from mpc.protocols.additive import Additive
from mpc.protocols.base import Exchange, Origin, Share, Steps, Tape
from mpc.ring.packed import Packed
from mpc.ring.prg import Name
from mpc.ring.shapes import blank
from mpc.ring.words import WORD, Array

from ..memory import lockstep
from .gates import Operand, Step
from .tiny import TinyRing, TinyShapes, Words

Address = tuple[Any, ...]  # (who knows the word, and more about it)
CHUNK = 1 << 16  # lanes of one pass: all of its arrays stay in the cache
LEAST = 128  # lanes
FULL = Words(64, digit=4)


class Leak(AssertionError):
    """A coalition sees something that depends on the secrets."""


# ---- symbols -------------------------------------------------------------------------------------------------------
class Symbol:
    """A value of which only this is known: which random words it may depend on, and which are pads of it."""

    __slots__ = ("pads", "words")
    __array_ufunc__ = None

    def __init__(self, words: frozenset[Address], pads: frozenset[Address] = frozenset()) -> None:
        self.words, self.pads = words, pads

    def mixed(self, other: Any) -> Symbol:
        """Any function of both; a conversion between bits and words, so that a pad has the width of what it hides."""
        return Symbol(self.words | other.words if isinstance(other, Symbol) else self.words)

    def added(self, other: Any) -> Symbol:
        """A sum, a difference, an XOR: a pad of one stays a pad if the other is free of it."""
        if not isinstance(other, Symbol):
            return self
        return Symbol(self.words | other.words, self.pads - other.words | other.pads - self.words)

    __add__ = __radd__ = __sub__ = __rsub__ = __xor__ = __rxor__ = added
    __mul__ = __rmul__ = __and__ = __rand__ = __rshift__ = __rrshift__ = __lshift__ = __rlshift__ = mixed

    def __neg__(self) -> Symbol:
        return self

    __invert__ = __neg__


class SymbolRing(TinyRing):
    """One execution on symbols: any number of bits."""

    def __init__(self, words: Words) -> None:
        super().__init__(words, 1, self.drawn_word)
        self.primes = (0,) * (words.bits // words.limb) if words.residues else ()
        self.width: dict[Address, int] = {}
        self.symbols: dict[Address, Symbol] = {}

    def drawn_word(self, key: Array, name: int, at: int, index: int, bits: int) -> Array:
        address = (tuple(map(int, key[:3])), name, at, index)
        if self.width.setdefault(address, bits) != bits:
            raise Leak(f"word {address} serves {bits} and {self.width[address]} bits")
        known = frozenset([address])
        return objects([self.symbols.setdefault(address, Symbol(known, known))])

    def low(self, x: Array, bits: int | None = None) -> Array:
        return x

    def limbs(self, x: Array) -> list[Array]:
        return [self.mixed(x)] * -(-self.bits // self.limb)

    def pack(self, bits: Array) -> Array:
        return bits

    def unpack(self, words: Array) -> Array:
        return self.mixed(words)  # what pads a bit is no pad of a word

    def ones(self) -> Array:
        return np.ones(1, WORD)

    def narrow(self, x: Array, dtype: np.dtype[Any]) -> Array:
        return x

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any] = WORD) -> Array:
        return np.empty(shape, object)

    def entry(self, row: Array, place: Array) -> Array:
        return self.mixed(place)

    def _chosen(self, bit: Array, one: Array, zero: Array) -> Array:
        return self.mixed(bit, one, zero)

    def local(self, f: Callable[..., Array], *xs: Array) -> Array:
        exact = f in (np.add, np.subtract, np.negative, np.bitwise_xor, np.invert, np.multiply)
        return np.asarray(f(*xs)) if exact or all(x.dtype != object for x in xs) else self.mixed(*xs)

    def mixed(self, *xs: Array) -> Array:
        """Any function of the arrays, element by element."""

        def union(*values: Any) -> Symbol:
            return Symbol(frozenset().union(*(v.words for v in values if isinstance(v, Symbol))))

        return np.asarray(np.frompyfunc(union, len(xs), 1)(*xs))


def objects(values: Sequence[Any]) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out


# ---- a run: everything that was said -----------------------------------------------------------------------------------
class Said(NamedTuple):
    sender: int
    receiver: int
    array: Array


def keys_of(me: int) -> Callable[[int, str], Array]:
    """Keys that say who shares them."""
    return lambda peer, purpose: np.array([[min(me, peer), max(me, peer), purpose == "pair"]], np.uint8)


def run(
    protocol: type[Additive], n: int, ring: TinyRing, gate: Step, operands: Sequence[Operand], parts: list[list[Any]]
) -> tuple[list[Any], list[Said]]:
    """The parties' results and all messages; parts[operand][evaluator] is a share."""
    count = n + protocol.has_dealer
    parties = [protocol(me, n, ring, keys_of(me)) for me in range(count)]
    said: list[Said] = []

    def see(step: int, exchanges: list[Exchange]) -> None:
        said.extend(Said(i, j, a) for i, ex in enumerate(exchanges) for j, arrays in ex.send.items() for a in arrays)

    steps = []
    for p in parties:
        shares = []
        if p.deals:
            p.ring = TinyShapes(ring)
        for k, (operand, by_party) in enumerate(zip(operands, parts, strict=True)):
            if p.deals:
                part = ring.ones() if operand.is_bit else blank((ring.lanes, *operand.shape))
            else:
                part = by_party[p.me]
            part = Packed(part, (ring.lanes,)) if operand.is_bit else part
            shares.append(Share((part,), Origin(Name(1, 8 + k), 0)))
        step = gate(p, Tape(Name(1, 1)), *shares)
        steps.append(objects_only(step) if isinstance(ring, SymbolRing) else step)
    return lockstep(steps, see), said


def objects_only(step: Steps[Any]) -> Steps[Any]:
    """The step with every message an array of symbols."""
    inbox = None
    while True:
        try:
            ex = step.send(inbox)  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value
        send = {p: [a.astype(object) for a in arrays] for p, arrays in ex.send.items()}
        inbox = yield replace(ex, send=send, recv={p: [("|O", s) for _, s in specs] for p, specs in ex.recv.items()})  # type: ignore[assignment]


def share_of(party: int, operand: int, index: int) -> Address:
    """The address of a share of an input that is not determined by the others."""
    return ((party, party, 2), 0, operand, index)


def honest_last(protocol: type[Additive], n: int, coalition: Collection[int]) -> int:
    """The evaluator whose shares of inputs are what is left of the secret."""
    return max(p for p in range(protocol._roles(n)[0]) if p not in coalition)


def holds(coalition: Collection[int], address: Address) -> bool:
    return address[0][0] in coalition or address[0][1] in coalition


def numbered(said: Sequence[Said], coalition: Collection[int]) -> Iterator[tuple[int, Said]]:
    return ((i, s) for i, s in enumerate(said) if s.receiver in coalition and s.sender not in coalition)


# ---- peeling -------------------------------------------------------------------------------------------------------
SECRET: Address = ((None, None, 3), "secret")
Seen = dict[tuple[int, int], Symbol]


class Script(NamedTuple):
    """A run on symbols: the words of the tape, how many bits each has, and what is said."""

    width: dict[Address, int]
    said: list[Said]

    def seen(self, coalition: Collection[int]) -> Seen:
        """What the coalition receives, element by element, each once however often it is sent."""
        found: Seen = {}
        known = set()
        for i, s in numbered(self.said, coalition):
            for j, symbol in enumerate(s.array.reshape(-1)):
                if isinstance(symbol, Symbol) and id(symbol) not in known:
                    known.add(id(symbol))
                    if not all(a is not SECRET and holds(coalition, a) for a in symbol.words):
                        found[i, j] = symbol
        return found


def script(
    protocol: type[Additive], n: int, gate: Step, operands: Sequence[Operand], coalition: Collection[int], words: Words
) -> Script:
    """Runs the gate on symbols. Every evaluator's share of an input is a word but one honest one's, which is the rest."""
    ring = SymbolRing(words)
    evaluators, rest = range(protocol._roles(n)[0]), honest_last(protocol, n, coalition)
    parts = []
    for k, operand in enumerate(operands):
        places = range(prod(operand.shape))
        free = {p: [share_of(p, k, j) for j in places] for p in evaluators if p != rest}
        ring.width |= {a: 1 if operand.is_bit else words.bits for addresses in free.values() for a in addresses}
        shares = {p: [Symbol(frozenset([a])) for a in addresses] for p, addresses in free.items()}
        shares[rest] = [Symbol(frozenset([SECRET, *(addresses[j] for addresses in free.values())])) for j in places]
        parts.append([objects(shares[p]).reshape(1, *operand.shape) for p in evaluators])
    _, said = run(protocol, n, ring, gate, operands, parts)
    return Script(ring.width, said)


def peel(seen: Seen, coalition: Collection[int]) -> Iterator[tuple[tuple[int, int], Address]]:
    """Takes away one observation after another, each with a pad that an honest party drew and nothing left depends on."""
    rest = dict(seen)
    uses = Counter(a for symbol in rest.values() for a in symbol.words)
    progress = True
    while progress:
        progress = False
        for i, symbol in list(rest.items()):
            free = [a for a in symbol.pads if uses[a] == 1 and not holds(coalition, a)]
            if free:
                del rest[i]
                uses.subtract(symbol.words)
                progress = True
                yield i, free[0]


def coalitions(protocol: type[Additive], n: int) -> list[tuple[int, ...]]:
    """All evaluators but one: what fewer see is a part of it."""
    evaluators = protocol._roles(n)[0]
    return list(combinations(range(evaluators), evaluators - 1))


def prove_by_pads(protocol: type[Additive], n: int, gate: Step, operands: Sequence[Operand], words: Words = FULL) -> int:
    """Proves by peeling alone that every coalition's view is uniform; returns how many observations there were."""
    total = 0
    for coalition in coalitions(protocol, n):
        text = script(protocol, n, gate, operands, coalition, words)
        nobody_tells_the_dealer(protocol, n, text.said)
        seen = text.seen(coalition)
        peeled = {i for i, _ in peel(seen, coalition)}
        if left := [f"element {j} of message {i} from party {text.said[i].sender}" for i, j in seen if (i, j) not in peeled]:
            raise Leak(f"parties {coalition} of {n}: {len(left)} observations have no pad of their own, the first is {left[0]}")
        total += len(seen)
    return total


def nobody_tells_the_dealer(protocol: type[Additive], n: int, said: Sequence[Said]) -> None:
    dealer = protocol._roles(n)[1]
    if told := [s for s in said if s.receiver == dealer]:
        raise Leak(f"party {told[0].sender} sends the dealer a message")


# ---- counting ------------------------------------------------------------------------------------------------------
class Proof(NamedTuple):
    """What was counted: how many tapes, whether these are all there are, how many pairs were peeled off; and how often each
    result occurred, for every secret."""

    tapes: int
    whole: bool
    peeled: int
    outcomes: dict[Any, Counter[int]]


class Tapes:
    """Assignments of words to lanes: enumerated words are digits of the lane's number, fixed ones are given, and what is
    left, on which nothing that is seen depends, is random."""

    def __init__(self, enumerated: Sequence[Address], width: dict[Address, int], fixed: dict[Address, int]) -> None:
        self.width, self.fixed = width, fixed
        self.shift, self.bits = {}, 0
        for address in enumerated:
            self.shift[address] = self.bits
            self.bits += width[address]
        self.number, self.drawn = np.zeros(0, WORD), dict[Address, Array]()

    def chunks(self) -> Iterator[int]:
        total = max(1 << self.bits, LEAST)  # more lanes than tapes: each tape equally often
        for start in range(0, total, CHUNK):
            self.number, self.drawn = np.arange(start, min(start + CHUNK, total), dtype=WORD), {}
            yield len(self.number)

    def at(self, address: Address) -> Array:
        if address not in self.drawn:
            self.drawn[address] = self._at(address)
        return self.drawn[address]

    def _at(self, address: Address) -> Array:
        if address in self.shift:
            return self.number >> np.uint64(self.shift[address]) & np.uint64((1 << self.width[address]) - 1)
        if address in self.fixed:
            return np.full(len(self.number), self.fixed[address], WORD)
        rng = np.random.default_rng([*address[0], *address[1:], int(self.number[0])])
        return rng.integers(1 << self.width[address], size=len(self.number), dtype=np.uint64)

    def drawn_word(self, key: Array, name: int, at: int, index: int, bits: int) -> Array:
        return self.at((tuple(map(int, key[:3])), name, at, index))


def prove(
    protocol: type[Additive],
    n: int,
    gate: Step,
    operands: Sequence[Operand],
    secrets: Sequence[Any],
    words: Words,
    *,
    limit: int = 18,
    settings: int | None = None,
    whose: Sequence[tuple[int, ...]] | None = None,
    output: bool = False,
) -> list[Proof]:
    """Proves that each coalition's view is the same multiset for all secrets (tuples, a value for each operand).

    `limit`: bits of tape to count at most; `settings`: how many settings of the coalition's own words (None: all).
    `output`: the result is revealed to the coalition, so only secrets with equal results must look alike.
    """
    proofs = []
    for coalition in coalitions(protocol, n) if whose is None else whose:
        text = script(protocol, n, gate, operands, coalition, words)
        if not output:
            nobody_tells_the_dealer(protocol, n, text.said)
        seen = text.seen(coalition)
        enumerated, peeled = relevant(text, seen, coalition, limit, settings), 0
        pairs = peel(seen, coalition)
        while sum(text.width[a] for a in enumerated) > limit:
            pair = next(pairs, None)
            assert pair is not None, f"{len(enumerated)} words remain, too many to be counted"
            del seen[pair[0]]
            peeled += 1
            enumerated = relevant(text, seen, coalition, limit, settings)
        rng = np.random.default_rng(1)
        outcomes: dict[Any, Counter[int]] = {secret: Counter() for secret in secrets}
        for _ in range(settings or 1):
            own = [a for a in text.width if holds(coalition, a)]
            fixed = {a: int(rng.integers(1 << text.width[a])) for a in own} if settings else {}
            tapes = Tapes(enumerated, text.width, fixed)
            own = [a for a in own if a in enumerated]
            views: dict[Any, Array] = {}
            for secret in secrets:
                view, results = count(protocol, n, gate, operands, secret, words, tapes, coalition, list(seen), own)
                outcomes[secret] += results
                assert not output or len(results) == 1, "the result is not determined: hold the coalition's words (`settings`)"
                group = tuple(results) if output else None
                if not np.array_equal(views.setdefault(group, view), view):
                    raise Leak(f"parties {coalition} of {n} tell {secret} from another secret")
        proofs.append(Proof(1 << tapes.bits, len(enumerated) == len(text.width), peeled, outcomes))
    return proofs


def split(
    ring: TinyRing, holders: Sequence[int], rest: int, k: int, operand: Operand, secret: Any, word: Callable[[Address], Array]
) -> list[Any]:
    """Shares of the k-th operand: words of the tape for all holders but `rest`."""
    given = np.broadcast_to(np.asarray(secret).astype(WORD), (ring.lanes, *operand.shape))
    shares, left = {}, given
    for p in holders:
        if p != rest:
            words = [word(share_of(p, k, j)) for j in range(prod(operand.shape))]
            shares[p] = np.stack(words, -1).reshape(given.shape)
            left = ring.sub(left, shares[p])
    shares[rest] = ring.low(left, 1 if operand.is_bit else None)  # modulo 2 a difference is an XOR
    return [ring.pack(shares[p]) if operand.is_bit else shares[p] for p in holders]


def relevant(text: Script, seen: Seen, coalition: Collection[int], limit: int, settings: int | None) -> list[Address]:
    """The words to enumerate: all, if so many can be counted; else those on which what is seen may depend (the others are
    independent of it, and uniform). With `settings` the coalition's own are not among them."""
    if settings is None and sum(text.width.values()) <= limit:
        return list(text.width)
    needed = {a for symbol in seen.values() for a in symbol.words}
    return [a for a in text.width if a in needed and not (settings and holds(coalition, a))]


def count(
    protocol: type[Additive],
    n: int,
    gate: Step,
    operands: Sequence[Operand],
    secret: Any,
    words: Words,
    tapes: Tapes,
    coalition: Collection[int],
    observed: Sequence[tuple[int, int]],
    own: Sequence[Address],
) -> tuple[Array, Counter[int]]:
    """(the views of all tapes for one secret, each as one number, sorted; how often each result occurs)."""
    codes, results = [], Counter[int]()
    for lanes in tapes.chunks():
        ring = words.ring(lanes, tapes.drawn_word)
        parts = [
            split(ring, range(protocol._roles(n)[0]), honest_last(protocol, n, coalition), k, operand, value, tapes.at)
            for k, (operand, value) in enumerate(zip(operands, secret, strict=True))
        ]
        found, said = run(protocol, n, ring, gate, operands, parts)
        code, used = np.zeros(lanes, WORD), 0
        elements = {i: spread_out(ring, said[i].array) for i in dict.fromkeys(i for i, _ in observed)}
        fields = [(tapes.at(a), tapes.width[a]) for a in own]
        fields += [elements[i][j] for i, j in observed]
        for value, width in fields:
            code, used = code << np.uint64(width) | value, used + width
        assert used <= 64, "a view does not fit a word"
        codes.append(code)
        result = total(ring, found[: protocol._roles(n)[0]] if isinstance(found[0], Share) else found)
        results.update(dict(zip(*(a.tolist() for a in np.unique(result, return_counts=True)), strict=True)))
    return np.sort(np.concatenate(codes)), results


def spread_out(ring: TinyRing, array: Array) -> list[tuple[Array, int]]:
    """(values in all lanes, bits) of every element of a message."""
    if ring.lanes in array.shape:
        rows = np.moveaxis(array, array.shape.index(ring.lanes), 0).reshape(ring.lanes, -1).T
        return [(row.astype(WORD), ring.bits) for row in rows]
    return [(ring.unpack(plane), 1) for plane in np.ascontiguousarray(array).reshape(-1, ring.lanes // 64)]


def total(ring: TinyRing, results: Sequence[Any]) -> Array:
    """The shared (or revealed) result in all lanes: an element's words side by side as one number."""
    if not isinstance(results[0], Share):
        return next(value for value in results if value is not None)
    parts = [r.parts[0] for r in results]
    if results[0].is_bits:
        return ring.unpack(ring.xor([p.words for p in parts]))
    summed = ring.low(sum(parts[1:], parts[0])).reshape(ring.lanes, -1)
    return np.asarray(sum(column << np.uint64(ring.bits * i) for i, column in enumerate(summed.T)))


# ---- what the rules of symbols claim, on real words --------------------------------------------------------------------
def influences(protocol: type[Additive], n: int, gate: Step, operands: Sequence[Operand], words: Words = FULL) -> None:
    """Lane i runs a random tape with word i moved. A message that moves must name the word; where it is a pad, the message
    moves by exactly as much."""
    text = script(protocol, n, gate, operands, (), words)
    rng = np.random.default_rng(2)
    drawn = list(text.width)
    lanes = 64 * max(-(-(1 + len(drawn)) // 64), 2)
    tape = {}
    for i, address in enumerate(drawn):
        width = text.width[address]
        value, move = (int(v) for v in rng.integers(0, 1 << width, 2, np.uint64))
        tape[address] = np.full(lanes, value, WORD)
        tape[address][1 + i] += np.uint64(move or 1)
        tape[address] &= np.uint64((1 << width) - 1)
    ring = words.ring(lanes, lambda key, name, at, index, _: tape[tuple(map(int, key[:3])), name, at, index])
    secrets = [rng.integers(0, 2 if o.is_bit else 1 << 40, o.shape, np.uint64) for o in operands]
    evaluators, rest = range(protocol._roles(n)[0]), honest_last(protocol, n, ())
    parts = [
        split(ring, evaluators, rest, k, o, v, tape.__getitem__) for k, (o, v) in enumerate(zip(operands, secrets, strict=True))
    ]
    _, said = run(protocol, n, ring, gate, operands, parts)
    for symbolic, real in zip(text.said, said, strict=True):
        for symbol, (values, _) in zip(symbolic.array.reshape(-1), spread_out(ring, real.array), strict=True):
            moved = {drawn[i - 1] for i in np.flatnonzero(values[1 : 1 + len(drawn)] != values[0]) + 1}
            assert moved <= symbol.words, f"a message from {real.sender} depends on {moved - symbol.words}"
            one = (1 << int(values.max()).bit_length()) - 1  # dealt words may be cut to fewer bits
            for address in symbol.pads:
                i = 1 + drawn.index(address)
                old, new, moved_by = int(values[0]), int(values[i]), int(tape[address][i]) - int(tape[address][0])
                flipped = int(tape[address][i]) ^ int(tape[address][0])
                assert not (new - old - moved_by) & one or not (new - old + moved_by) & one or not (new ^ old ^ flipped) & one

"""`Ring` over Z_2^k in NumPy, for any k: what every kernel is defined to compute, in plain words.

Element i of every array (along the axis that has as many elements as there are *lanes*) is one execution of its own: lane i
runs the protocol on random tape i. So one pass of a protocol's text runs all its tapes. Where a random word comes from is
up to `source`; a comparison's digits have `digit` bits in place of 4.

With k = 64 and the words of the native generator (`NativeWords`) this is a second implementation of the kernels, and a test
holds both equal byte for byte: what is proven of this ring is proven of the text that the kernels run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations, count
from math import comb, prod
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from mpc.ring.bilinear import MUL, Bilinear
from mpc.ring.composed import Composed
from mpc.ring.packed import Packed
from mpc.ring.prg import Stream
from mpc.ring.ring import DEEP, NARROW, WIDE, Comparison, Ring, spline_words
from mpc.ring.shapes import Shapes
from mpc.ring.words import HALF_WORD, WORD, Array, words_for

BITWISE = (np.bitwise_xor, np.bitwise_and, np.invert)  # also meet packed bits, so their results are not cut to k bits


class Node(NamedTuple):
    """Of a comparison's tree: which of (lt, eq) it must give."""

    children: int
    lt: bool
    eq: bool

    def factors(self) -> list[tuple[str, int]]:
        """What is opened, in order."""
        if self.children == 1:
            return []
        e = [("e", j) for j in range(1, self.children)]
        return [("l", j) for j in range(self.children - 1) if self.lt] + e + [("e", 0)] * self.eq

    def products(self) -> list[frozenset[tuple[str, int]]]:
        """Which products of factors are dealt, in order: e's of two or more, each l_j times e's above j, e_0 times e's."""
        if self.children == 1:
            return []
        last = self.children - 1

        def of_e(lowest: int) -> list[frozenset[tuple[str, int]]]:
            places = range(lowest, last + 1)
            return [
                frozenset(("e", p) for i, p in enumerate(places) if number >> i & 1) for number in range(1, 1 << len(places))
            ]

        found = [s for s in of_e(1) if len(s) > 1]
        for j in range(last if self.lt else 0):
            found += [s | {("l", j)} for s in of_e(j + 1)]
        return found + [s | {("e", 0)} for s in of_e(1) if self.eq]

    def kept(self) -> int:
        return self.lt + (self.children == 1 and self.eq)


class Tree(NamedTuple):
    """A comparison. Narrow: digits of `digit` bits and nodes of up to four children. Unless that has one node: wide, a single
    node above digits of equal length, but for one bit, and of at most twice `digit`, their number deals the fewest bits; or
    deep, digits of a bit less, if there are such, and nodes of up to three children."""

    what: Comparison
    digit: int

    @property
    def leaves(self) -> list[int]:
        """Bits of each digit."""
        if self.shape == WIDE:
            return wide_digits(*self)
        digit = max(1, self.digit - 1) if self.shape == DEEP else self.digit
        return [min(digit, self.what.bits - at) for at in range(0, self.what.bits, digit)]

    @property
    def shape(self) -> int:
        return self.what.tree if self.what.bits > 4 * self.digit else NARROW

    def places(self) -> list[tuple[int, int]]:
        """(lowest bit, bits) of each digit."""
        return [(sum(self.leaves[:i]), size) for i, size in enumerate(self.leaves)]

    def nodes(self, level: int) -> list[Node]:
        below = len(self.leaves if level == 1 else self.nodes(level - 1))
        radix = {NARROW: 4, WIDE: below, DEEP: 3}[self.shape]
        sizes = [min(radix, below - at) for at in range(0, below, radix)]
        return [Node(size, not self.what.equal, self.what.equal or i > 0) for i, size in enumerate(sizes)]

    @property
    def levels(self) -> int:
        return next(level for level in count(1) if len(self.nodes(level)) == 1)

    def counts(self) -> dict[str, int]:
        found = {"hot": sum((1 << b) - 1 for b in self.leaves), "mask": 0, "ands": 0, "levels": self.levels}
        for level in range(1, 4):
            nodes = self.nodes(level) if level <= self.levels else []
            found[f"open{level}"] = sum(len(a.factors()) for a in nodes)
            found[f"local{level}"] = sum(a.kept() for a in nodes)
            found["mask"] += found[f"open{level}"]
            found["ands"] += self.products(level)
        return found

    def products(self, level: int) -> int:
        """How many are dealt for a level."""
        return sum(len(a.products()) for a in self.nodes(level)) if level <= self.levels else 0


@cache
def wide_digits(what: Comparison, digit: int) -> list[int]:
    def dealt(digits: list[int]) -> int:
        return sum((1 << b) - 1 for b in digits) + len(Node(len(digits), not what.equal, what.equal).products())

    ways = [[what.bits // n + (j < what.bits % n) for j in range(n)] for n in range(1, 10)]
    return min((digits for digits in ways if max(digits) <= 2 * digit), key=dealt)


class Words(NamedTuple):
    """What a tiny ring computes on: words of `bits` bits, which are compared by limbs of `limb` bits and digits of `digit`.
    residues: every limb is a residue of its own."""

    bits: int
    digit: int = 1
    limb: int = 64
    residues: bool = False

    def ring(self, lanes: int, source: Callable[..., Array]) -> TinyRing:
        return (TinyResidues if self.residues else TinyRing)(self, lanes, source)


class TinyRing(Ring):
    """Z_2^bits, `lanes` executions side by side.

    `source(key, name, at, index, bits)` gives, for each lane, the random word of that address: `index` counts the words an
    element has there (its place in a matrix, its plane in a comparison).
    """

    def __init__(self, words: Words, lanes: int, source: Callable[..., Array]) -> None:
        self.bits, self.digit, self.limb = words.bits, words.digit, words.limb
        self.lanes, self.source = lanes, source
        self.groups = -(-lanes // 512)  # a gate's own positions are so many times those of one lane

    def compare_counts(self, what: Comparison) -> dict[str, int]:  # type: ignore[override]
        return Tree(what, self.digit).counts()

    exponential = Composed.exponential

    # ---- what depends on how a value is represented ----
    def low(self, x: Array, bits: int | None = None) -> Array:
        """x mod 2^bits."""
        return x & np.uint64((1 << (self.bits if bits is None else bits)) - 1)

    def limbs(self, x: Array) -> list[Array]:
        return [self.low(x >> np.uint64(at), min(self.limb, self.bits - at)) for at in range(0, self.bits, self.limb)]

    def pack(self, bits: Array) -> Array:
        out = np.zeros(8 * words_for(self.lanes), np.uint8)
        octets = np.packbits(bits.astype(np.uint8), bitorder="little")
        out[: octets.size] = octets
        return out.view(WORD)

    def unpack(self, words: Array) -> Array:
        return np.unpackbits(words.view(np.uint8), count=self.lanes, bitorder="little").astype(WORD)

    def narrow(self, x: Array, dtype: np.dtype[Any]) -> Array:
        return x.astype(dtype)

    def entry(self, row: Array, place: Array) -> Array:
        return row[place.astype(np.int64)]

    def ones(self) -> Array:
        return self.pack(np.ones(self.lanes))

    def local(self, f: Callable[..., Array], *xs: Array) -> Array:
        out = np.asarray(f(*xs))
        return out if f in BITWISE else self.low(out)

    def of(self, values: Any) -> Array:
        return self.low(super().of(values))

    def shift_left(self, x: Array, bits: int) -> Array:
        return self.low(self.local(lambda v: v << np.uint64(bits), x))

    def filled(self, shape: tuple[int, ...], value: int, dtype: np.dtype[Any] | None = None) -> Array:
        return np.full(shape, value % (1 << self.bits), WORD)

    def sum(self, x: Array, axis: tuple[int, ...]) -> Array:
        return self.low(np.sum(x, axis=axis))

    def product(self, f: Bilinear, x: Array, y: Array, start: Array | None = None) -> Array:
        z = x * y if f is MUL else np.matmul(x, y)
        return self.low(z if start is None else z + start)

    # ---- random words ----
    def drawn(self, shape: tuple[int, ...], stream: Stream, bits: int | None = None) -> Array:
        """The sum over the stream's keys."""
        width = self.bits if bits is None else bits
        total = np.zeros(shape, WORD)
        for key in stream.keys:
            words = [self.source(key, stream.name, stream.at // self.groups, j, width) for j in range(prod(shape[1:]))]
            total = total + np.stack(words, -1).reshape(shape)
        return self.low(total, width)

    def drawn_bits(self, stream: Stream, planes: int, start: int = 0, group: bool = True) -> list[Array]:
        """Packed planes, the XOR over the stream's keys. `group`: a field of a comparison, whose words are laid out in
        groups; this matters to the native generator alone."""
        out = [np.zeros(words_for(self.lanes), WORD)] * planes
        for key in stream.keys:
            for p in range(planes):
                out[p] = out[p] ^ self.pack(self.source(key, stream.name, stream.at // self.groups, start + p, 1))
        return out

    def half_bits(self, f: int) -> int:
        """Of the words that carry a top bit: f are enough."""
        return f

    def prg(self, shape: tuple[int, ...], stream: Stream) -> Array:
        return self.drawn(shape, stream)

    def packed(self, shape: tuple[int, ...], stream: Stream) -> Array:
        return self.drawn(shape, stream)

    def blind(self, x: Array, sign: int, stream: Stream, out: Array | None = None) -> Array:
        words = self.drawn(x.shape, stream)
        found = self.low(x + words if sign > 0 else x - words)
        if out is None:
            return found
        out[...] = found
        return out

    def blind_bits(self, x: Array, stream: Stream) -> Array:
        count = x.size // words_for(self.lanes)
        return x ^ np.concatenate(self.drawn_bits(stream, count, group=False))

    def mask(self, x: Array, stream: Stream) -> tuple[Array, Array]:
        r = self.drawn(x.shape, stream)
        return self.low(x + r), r

    def and_bits(
        self, mine: Sequence[Array], others: Sequence[Array], first: bool, c: Array | None, a: Stream, b: int, ab: int
    ) -> Array:
        x, y = (m ^ o for m, o in zip(mine, others, strict=True))
        mask_x, mask_y, product = (self.drawn_bits(replace(a, name=name), 1, group=False)[0] for name in (a.name, b, ab))
        z = (product if c is None else c) ^ x & mask_y ^ y & mask_x
        return z ^ x & y if first else z

    def and_deal_bits(self, shape: tuple[int, ...], a: Stream, b: int, ab: int) -> Array:
        x, y = (self.drawn_bits(replace(a, name=name), 1, group=False)[0] for name in (a.name, b))
        return x & y ^ self.drawn_bits(Stream(a.keys[:-1], ab, a.at), 1, group=False)[0]

    # ---- products, truncation ----
    def operand(self, x: Array, r: Array) -> Array:
        return self.low(x - r - r)

    def pair(self, f: Bilinear, x: Array, r: Array, y: Array, s: Array, offset: int, rho: Stream) -> Array:
        product = self.product(f, self.operand(x, r), self.operand(y, s))
        return self.low(product + self.drawn(product.shape, rho) + self.filled((), offset))

    def pair_deal(self, f: Bilinear, r: Sequence[Array], s: Sequence[Array], rho: Array) -> Array:
        product = self.product(f, r[0] - r[1], s[0] - s[1])
        return self.low(rho + product + product)

    def beaver(
        self,
        f: Bilinear,
        x: Array,
        r: Array,
        y: Array,
        s: Array,
        first: bool,
        offset: int,
        t: Array | None,
        stream: Stream,
    ) -> Array:
        z = self.drawn(f.shape(x.shape, y.shape), stream) if t is None else t
        z = z - self.product(f, x, s) - self.product(f, r, y) + self.filled((), offset)
        return self.low(z + self.product(f, x, y) if first else z)

    def _settled(self, c: Array, f: int) -> tuple[Array, Array]:
        """(C, w): t = C - (r >> f) + w (r's top bit) for t truncated from the opened c."""
        wrap = (c >> np.uint64(self.bits - 1)) ^ np.uint64(1)
        return self.low((c >> np.uint64(f)) - np.uint64(1 << self.bits - 2 - f)), wrap << np.uint64(self.bits - f)

    def trunc(
        self,
        z: Array,
        others: Array | None,
        f: int,
        first: bool,
        dealt: Sequence[Array] | None,
        hi: Stream,
        top: Stream,
    ) -> Array:
        value, wrap = self._settled(z if others is None else self.low(z + others), f)
        if dealt is None:
            dealt = [self.drawn(z.shape, hi), self.drawn(z.shape, top, self.half_bits(f))]
        t = wrap * dealt[1] - dealt[0]
        return self.low(t + value if first else t)

    def trunc_deal(self, r: Array, f: int, hi: Stream, top: Stream) -> list[Array]:
        bits = self.half_bits(f)
        upper = self.low((r >> np.uint64(f)) - self.drawn(r.shape, hi))
        sign = self.low((r >> np.uint64(self.bits - 1)) - self.drawn(r.shape, top, bits), bits)
        return [upper, self.narrow(sign, HALF_WORD if f <= 32 else WORD)]

    def chain(
        self,
        c: Array,
        t: Array,
        y: Array,
        q: Array,
        f: int,
        offset: int,
        wrap: Array | None,
        word: Stream,
        rho: int,
    ) -> Array:
        value, where = self._settled(c, f)
        dealt = self.drawn(t.shape, word, self.half_bits(f)) if wrap is None else wrap
        z = t * y - value * q - where * dealt + self.filled((), offset)
        return self.low(z + self.drawn(t.shape, replace(word, name=rho)))

    def chain_deal(self, r: Array, q: Array, f: int, word: Stream, rho: int) -> tuple[Array, Array]:
        bits, heads = self.half_bits(f), replace(word, keys=word.keys[:-1])
        wrap = self.low((r >> np.uint64(self.bits - 1)) * q - self.drawn(r.shape, heads, bits), bits)
        hidden = self.low(self.drawn(r.shape, replace(word, name=rho)) - (r >> np.uint64(f)) * q)
        return self.narrow(wrap, HALF_WORD), hidden

    # ---- bits and words ----
    def _chosen(self, bit: Array, one: Array, zero: Array) -> Array:
        """`one` where the packed bit is set, else `zero`."""
        return np.where(self.unpack(bit) == 1, one, zero)

    def spread(self, bits: Packed) -> Array:
        return self.unpack(bits.words)

    def select(self, x: Array, x_open: Array, bit_open: Array, dealt: Sequence[Array] | None, b: Stream, rb: Stream) -> Array:
        beta, with_r = dealt if dealt is not None else (self.drawn(x.shape, b), self.drawn(x.shape, rb))
        product = self.low(x_open * beta - with_r)
        return self._chosen(bit_open, product, self.low(x - product))

    def select_deal(self, r: Array, beta: Array, b: Stream, rb: Stream) -> list[Array]:
        bit = self.unpack(beta)
        return [self.low(bit - self.drawn(r.shape, b)), self.low(bit * r - self.drawn(r.shape, rb))]

    def bit_words(self, shape: tuple[int, ...], bit: Array, first: bool, words: Array | None, stream: Stream) -> Array:
        w = self.drawn(shape, stream) if words is None else words
        return self._chosen(bit, self.low(np.uint64(first) - w), w)

    def settled(self, t: Array, c: Array, bit: Array, f: int, words: Array | None, b: Stream, hi: Stream, top: Stream) -> Array:
        value, wrap = self._settled(c, f)
        beta, upper, sign = words if words is not None else (self.drawn(t.shape, s) for s in (b, hi, top))
        product = self.low(value * beta - upper + wrap * sign)
        return self._chosen(bit, product, self.low(t - product))

    # ---- comparison ----
    def bit_plane(self, x: Array, bit: int) -> Array:
        return self.pack(x >> np.uint64(bit) & np.uint64(1))

    def _is(self, x: Array, at: int, bits: int) -> list[Array]:
        """Planes of [digit = w] for every w."""
        found = [self.ones()]
        for b in reversed(range(bits)):
            plane = self.bit_plane(x, at + b)
            found = [p for a in found for p in (a & ~plane, a & plane)]
        return found

    def _emit(self, nodes: list[Node], values: list[dict[tuple[str, int], Array]], masks: list[Array]) -> tuple[Array, Array]:
        """(kept planes, factors under their masks)."""
        kept, opened = [], []
        for node, value in zip(nodes, values, strict=True):
            kept += [value["l", node.children - 1]] if node.lt else []
            kept += [value["e", 0]] if node.children == 1 and node.eq else []
            opened += [value[factor] for factor in node.factors()]
        hidden = [a ^ m for a, m in zip(opened, masks, strict=True)]
        return self._flat(kept), self._flat(hidden)

    def _flat(self, planes: list[Array]) -> Array:
        return np.concatenate(planes) if planes else np.zeros(0, WORD)

    def _rows(self, planes: Array | None, stream: Stream, count: int) -> list[Array]:
        return self.drawn_bits(stream, count) if planes is None else self._cut(planes, count)

    def _cut(self, planes: Array, count: int) -> list[Array]:
        return list(planes.reshape(count, words_for(self.lanes)))

    def compare_leaves(
        self,
        x_open: Array,
        what: Comparison,
        first: bool,
        hot: Array | None,
        hot_stream: Stream,
        mask: Stream,
    ) -> tuple[Array, Array]:
        tree, count = Tree(what, self.digit), self.compare_counts(what)
        entries = self._rows(hot, hot_stream, count["hot"])
        leaves = []
        for at, size in tree.places():
            e, entries = entries[: (1 << size) - 1], entries[(1 << size) - 1 :]
            rest = self.xor(e)
            e = [rest ^ self.ones() if first else rest, *e]
            is_v = self._is(x_open, at, size)
            above = [self.xor([*e[w + 1 :], e[0] ^ e[0]]) for w in range(1 << size)]  # the shares above entry w
            leaves.append([self.xor([v & s for v, s in zip(is_v, shares, strict=True)]) for shares in (above, e)])
        nodes, rest = tree.nodes(1), iter(leaves)
        values = [
            {k: v for j in range(node.children) for k, v in zip((("l", j), ("e", j)), next(rest), strict=True)}
            for node in nodes
        ]
        return self._emit(nodes, values, self.drawn_bits(mask, count["mask"])[: count["open1"]])

    def compare_level(
        self,
        level: int,
        local: Array,
        mine: Array,
        others: Array,
        n: int,
        what: Comparison,
        first: bool,
        ands: Array | None,
        and_stream: Stream,
        mask: Stream,
    ) -> tuple[Array, Array | None]:
        tree, count = Tree(what, self.digit), self.compare_counts(what)
        masks, nodes = self.drawn_bits(mask, count["mask"]), tree.nodes(level)
        here = masks[sum(count[f"open{below}"] for below in range(1, level)) :]
        rows = iter(self._rows(ands, and_stream, count["ands"])[sum(tree.products(below) for below in range(1, level)) :])
        kept = iter(self._cut(local, count[f"local{level}"]))
        opened = iter(self._cut(mine ^ others, count[f"open{level}"]))
        hidden = iter(here)
        results: dict[tuple[str, int], Array] = {}
        for i, node in enumerate(nodes):
            top = {kind: next(kept) for kind, wanted in (("l", node.lt), ("e", node.children == 1 and node.eq)) if wanted}
            if node.children == 1:
                results |= {(kind, i): plane for kind, plane in top.items()}
                continue
            D = {factor: next(opened) for factor in node.factors()}
            share = {frozenset({factor}): next(hidden) for factor in D}
            share |= {factors: next(rows) for factors in node.products()}
            public_one = self.ones() if first else self.ones() ^ self.ones()

            def term(factors: list[tuple[str, int]], D: Any = D, share: Any = share, one: Array = public_one) -> Array:
                """My share of the product of (D ^ mask) over the factors."""
                parts = []
                for size in range(len(factors) + 1):
                    for chosen in combinations(factors, size):
                        part = share[frozenset(chosen)] if chosen else one
                        for factor in factors:
                            part = part if factor in chosen else part & D[factor]
                        parts.append(part)
                return self.xor(parts)

            above = {j: [("e", i) for i in range(j + 1, node.children)] for j in range(node.children)}
            if node.lt:
                results["l", i] = self.xor([top["l"], *(term([("l", j), *above[j]]) for j in range(node.children - 1))])
            if node.eq:
                results["e", i] = term([("e", 0), *above[0]])
        if level == tree.levels:
            return results["e" if what.equal else "l", 0], None
        values, at = [], 0
        for node in tree.nodes(level + 1):
            below = [(kind, j) for kind in "le" for j in range(node.children) if (kind, at + j) in results]
            values.append({(kind, j): results[kind, at + j] for kind, j in below})
            at += node.children
        return self._emit(tree.nodes(level + 1), values, here[count[f"open{level}"] :][: count[f"open{level + 1}"]])

    def compare_deal(self, r: Array, what: Comparison, again: bool, hot: Stream, mask: Stream, ands: Stream) -> list[Array]:
        tree, count = Tree(what, self.digit), self.compare_counts(what)
        heads = hot.keys[:-1]  # every evaluator but the last expands its words

        def split(planes: list[Array], name: int) -> Array:
            pads = self.drawn_bits(Stream(heads, name, hot.at), len(planes))
            return self._flat([a ^ p for a, p in zip(planes, pads, strict=True)])

        out = []
        if not again:
            onehot = [plane for at, size in tree.places() for plane in self._is(r, at, size)[1:]]
            out.append(split(onehot, hot.name))
        masks = iter(self.drawn_bits(Stream(hot.keys, mask.name, hot.at), count["mask"]))
        products = []
        for level in range(1, tree.levels + 1):
            for node in tree.nodes(level):
                m = {factor: next(masks) for factor in node.factors()}
                for factors in node.products():
                    part = self.ones()
                    for factor in factors:
                        part = part & m[factor]
                    products.append(part)
        return [*out, split(products, ands.name)]

    # ---- lookup and spline ----
    def numbers(self, planes: Array, n: int) -> Array:
        return self.low(sum(self.unpack(plane) << np.uint64(j) for j, plane in enumerate(planes)))  # type: ignore[arg-type]

    def lookup(self, tables: Array, k: int, onehot: Array, index: Array, sign: int, exclusive: bool = False) -> Array:
        rows = []
        for table in tables:
            total = np.zeros(index.size, WORD)
            for w in range(1 << k):
                place = (index ^ np.uint64(w) if exclusive else index - np.uint64(w)) & np.uint64((1 << k) - 1)
                total = total + self.entry(self.low(table), place) * (onehot >> np.uint64(w) & np.uint64(1))
            rows.append(self.low(total if sign > 0 else -total))
        return np.stack(rows)

    def lookup_deal(self, r: Array, k: int, stream: Stream) -> tuple[Array, Array]:
        assert 1 << k <= self.bits, "a one-hot vector must fit a word"
        e0 = self.low(self.drawn(r.shape, stream), 1 << k)
        place = r & np.uint64((1 << k) - 1)
        return e0 ^ np.uint64(1) << place, self.low((e0 >> place & np.uint64(1)) * np.uint64(2) - np.uint64(1))

    def spline(self, low: Array, opened: Array, words: Array | None, degree: int, stream: Stream) -> Array:
        if words is None:
            words = [self.drawn(low.shape, replace(stream, name=stream.name + k)) for k in range(spline_words(degree))]
        total = np.zeros(low.shape, WORD)
        for j in range(degree + 1):
            for m in range(j + 1):
                term = opened[j] * words[m] - words[degree + 1 + j * (j + 1) // 2 + m]
                for factor in [low] * (j - m):
                    term = term * factor
                total = total + term * np.uint64((-1) ** m * comb(j, m) % (1 << 64))
        return self.low(total)

    def spline_deal(self, r_low: Array, sign: Array, degree: int, weights: Stream, columns: Stream) -> Array:
        power = [sign]
        for _ in range(degree):
            power.append(self.low(power[-1] * r_low))
        rho = [self.drawn(r_low.shape, replace(columns, name=columns.name + j)) for j in range(degree + 1)]
        rows = power + [rho[j] * power[m] for j in range(degree + 1) for m in range(j + 1)]
        streams = [Stream(columns.keys[:1], weights.name + k, weights.at) for k in range(len(rows))]
        return np.stack([self.low(v - self.drawn(v.shape, s)) for v, s in zip(rows, streams, strict=True)])


class TinyResidues(TinyRing):
    """The product of several Z_2^limb, for a product of fields: a gate that only adds and compares residues does not see of
    which modulus they are. No carry couples the limbs."""

    def __init__(self, words: Words, lanes: int, source: Callable[..., Array]) -> None:
        super().__init__(words, lanes, source)
        self.primes = (1 << self.limb,) * (self.bits // self.limb)

    def local(self, f: Callable[..., Array], *xs: Array) -> Array:
        if f not in (np.add, np.subtract, np.negative):
            return super().local(f, *xs)
        parts = [self.low(f(*limbs), self.limb) for limbs in zip(*map(self.limbs, xs), strict=True)]
        return np.asarray(sum(part << np.uint64(self.limb * i) for i, part in enumerate(parts)))

    def drawn(self, shape: tuple[int, ...], stream: Stream, bits: int | None = None) -> Array:
        each = [replace(stream, keys=stream.keys[i : i + 1]) for i in range(len(stream.keys))]
        return self.total([super(TinyResidues, self).drawn(shape, s, bits) for s in each])

    def mask(self, x: Array, stream: Stream) -> tuple[Array, Array]:
        r = self.drawn(x.shape, stream)
        return self.add(x, r), r


class TinyShapes(Shapes):
    """What a dealer has in place of shares, with the counts of a tiny comparison."""

    def __init__(self, ring: TinyRing) -> None:
        super().__init__(ring)
        self.compare_counts = ring.compare_counts  # type: ignore[method-assign]


class NativeWords(TinyRing):
    """64 bits, digits of 4, and the words of the native generator, laid out as the kernels do: at most 512 lanes, at 0."""

    def __init__(self, lanes: int) -> None:
        super().__init__(Words(64, digit=4), lanes, lambda *address: None)  # type: ignore[arg-type, return-value]
        self.native = Ring()

    def low(self, x: Array, bits: int | None = None) -> Array:
        return x if bits in (None, 64) else super().low(x, bits)

    def drawn(self, shape: tuple[int, ...], stream: Stream, bits: int | None = None) -> Array:
        keys = [replace(stream, keys=stream.keys[i : i + 1]) for i in range(len(stream.keys))]
        if bits == 32:
            words = [self.native.prg((-(-prod(shape) // 2),), s).view(HALF_WORD)[: prod(shape)].astype(WORD) for s in keys]
            return self.low(np.sum(words, axis=0, dtype=WORD), 32).reshape(shape)
        return np.sum([self.native.prg(shape, s) for s in keys], axis=0, dtype=WORD)

    def drawn_bits(self, stream: Stream, planes: int, start: int = 0, group: bool = True) -> list[Array]:
        width = words_for(self.lanes)
        if not group:
            return list(self.native.blind_bits(np.zeros(planes * width, WORD), stream).reshape(planes, width))
        return list(self.native.blind_bits(np.zeros(planes * 8, WORD), stream).reshape(planes, 8)[:, :width])

    def half_bits(self, f: int) -> int:
        return 32 if f <= 32 else 64

"""Comparison by one-hot digits: dealer and evaluators together, against numpy on the plain words."""

from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import pytest
from mpc._native import ffi, lib

GROUP, GUARD = 512, 0xDEADBEEF
HOT, MASK, ANDS = 3, 1 << 40 | 5, 6  # the names of the streams
WINDOWS = [(1, 0), (3, 0), (4, 0), (5, 2), (16, 0), (17, 0), (20, 7), (31, 16), (47, 0), (63, 0), (64, 0)]
LONG = [w for w in WINDOWS if w[0] > 16]  # others have one level anyway
NARROW, WIDE, DEEP = range(3)
LENGTHS = [0, 1, 5, 63, 64, 65, 511, 512, 513, 1100]
REF = lib.mpc_tier(b"ref")


def ptr(x, kind="uint64_t *"):
    return ffi.NULL if x is None else ffi.from_buffer(kind, x)


def room(planes, n):
    """An output block, with a guard word behind it that no kernel may touch."""
    return np.full(planes * -(-n // 64) + 1, GUARD, np.uint64)


def done(*blocks):
    for b in blocks:
        assert b[-1] == GUARD
    return [b[:-1] for b in blocks]


def keys(rng, parties):
    rks = np.empty((parties, 176), np.uint8)
    for rk in rks:
        REF.aes_key(ptr(rk, "uint8_t *"), rng.bytes(16))
    return rks


def packed(bits):
    """One bit per element -> words, zero beyond."""
    out = np.zeros(-(-len(bits) // 64) * 8, np.uint8)
    raw = np.packbits(np.asarray(bits, bool), bitorder="little")
    out[: len(raw)] = raw
    return out.view(np.uint64)


def bits(plane, n):
    return np.unpackbits(plane.view(np.uint8), count=n, bitorder="little").astype(bool)


class Sizes(NamedTuple):
    hot: int
    mask: int
    ands: int
    levels: int
    open: tuple[int, ...]
    local: tuple[int, ...]


class Test(NamedTuple):
    """What is asked: `<` or equality, of a window; by which tree."""

    __test__ = False
    bits: int
    shift: int
    equal: bool
    tree: int = NARROW

    def sizes(self, kernels=None):
        out = np.empty(10, np.uint32)
        (kernels or REF).compare_counts(ptr(out, "uint32_t *"), self.bits, self.equal, self.tree)
        hot, mask, ands, levels, *planes = map(int, out)
        return Sizes(hot, mask, ands, levels, tuple(planes[::2]), tuple(planes[1::2]))

    def plain(self, x, r):
        x, r = ((w >> np.uint64(self.shift)) & np.uint64((1 << self.bits) - 1) for w in (x, r))
        return x == r if self.equal else x < r


TESTS = [Test(*w, equal) for w in WINDOWS for equal in (False, True)]
TESTS += [Test(*w, equal, tree) for w in LONG for equal in (False, True) for tree in (WIDE, DEEP)]
each_test = pytest.mark.parametrize(
    "test", TESTS, ids=lambda t: f"{['', 'wide ', 'deep '][t.tree]}{'=' if t.equal else '<'} {t[:2]}"
)


def deal(kernels, test, r, rks, at=0):
    s, n = test.sizes(), len(r)
    out = room(s.hot, n), room(s.ands, n)
    kernels.compare_deal(*map(ptr, out), ptr(r), n, *test, ptr(rks, "uint8_t *"), len(rks), HOT, MASK, ANDS, at)
    return done(*out)


def leaves(kernels, test, x, first, hot, rk, at=0):
    s, n = test.sizes(), len(x)
    local, opened = room(s.local[0], n), room(s.open[0], n)
    kernels.compare_leaves(ptr(local), ptr(opened), ptr(x), n, *test, first, ptr(hot), ptr(rk, "uint8_t *"), HOT, MASK, at)
    return done(local, opened)


def level(kernels, test, which, n, local, mine, peer, first, ands, rk, at=0):
    s = test.sizes()
    last = which == s.levels
    out = room(1 if last else s.local[which], n), room(0 if last else s.open[which], n)
    kernels.compare_level(
        ptr(out[0]), ffi.NULL if last else ptr(out[1]), ptr(local), ptr(mine), ptr(peer), n, which, test.bits,
        test.equal, test.tree, first, ptr(ands), ptr(rk, "uint8_t *"), ANDS, MASK, at,
    )  # fmt: skip
    return done(*out)


def opening(opened, i):
    """What evaluator i passes on: its own planes and the xor of the others', or everything in one."""
    if len(opened) == 2:
        return opened[i], opened[1 - i]
    return np.bitwise_xor.reduce(opened), None


def run(kernels, test, x, r, rks, at=0):
    """Dealer and all evaluators, in order. The first evaluators expand their words, the last gets the dealt ones.

    Returns everything that anybody sends or keeps, and the result's shares.
    """
    n, parties, s = len(x), len(rks), test.sizes()
    hot, ands = deal(kernels, test, r, rks, at)

    def mine(i, dealt):
        return dealt if i == parties - 1 else None

    state = [leaves(kernels, test, x, i == 0, mine(i, hot), rks[i], at) for i in range(parties)]
    trace = [hot, ands]
    for which in range(1, s.levels + 1):
        trace += [block for pair in state for block in pair]
        opened = [pair[1] for pair in state]
        state = [
            level(kernels, test, which, n, state[i][0], *opening(opened, i), i == 0, mine(i, ands), rks[i], at)
            for i in range(parties)
        ]
    shares = [pair[0] for pair in state]
    return trace, shares


def words(rng, n, test):
    """A public word and a mask: uniform, equal, one apart, one bit apart, 0, all ones."""
    x, r = rng.integers(0, 1 << 64, (2, n), dtype=np.uint64)
    kind, step = rng.integers(0, 9, n), np.uint64(1 << test.shift)
    bit = np.uint64(1) << (rng.integers(0, test.bits, n).astype(np.uint64) + np.uint64(test.shift))
    ones = np.uint64(2**64 - 1)
    for k, value in enumerate((r, r + step, r - step, r ^ bit, 0 * r, 0 * r + ones)):
        x = np.where(kind == k, value, x)
    r = np.where(kind == 6, 0 * r, np.where(kind == 7, 0 * r + ones, r))
    return x, r


def test_two_evaluators_learn_shares_of_less_than(kernels):
    rng = np.random.default_rng(1)
    x, r = rng.integers(0, 1 << 64, (2, 100), dtype=np.uint64)
    _, (mine, yours) = run(kernels, Test(64, 0, False), x, r, keys(rng, 2))
    assert (bits(mine ^ yours, 100) == (x < r)).all()


@each_test
@pytest.mark.parametrize("parties", [2, 3])
def test_comparison_equals_numpy(kernels, parties, test):
    seed = parties + 10 * test.bits + 1000 * test.equal
    rng = np.random.default_rng(seed)
    rks = keys(rng, parties)
    for n in LENGTHS:
        x, r = words(rng, n, test)
        _, shares = run(kernels, test, x, r, rks, GROUP * int(rng.integers(0, 1 << 30)))
        assert (bits(np.bitwise_xor.reduce(shares), n) == test.plain(x, r)).all(), (seed, n)


@each_test
def test_all_tiers_send_the_same_words(kernels, test):
    rng = np.random.default_rng(test)
    rks = keys(rng, 2)
    for n in (65, 1100):
        x, r = words(rng, n, test)
        want, got = (run(k, test, x, r, rks, 1024) for k in (REF, kernels))
        for a, b in zip(want[0] + want[1], got[0] + got[1], strict=True):
            assert (a == b).all()


@pytest.mark.parametrize("equal", [False, True], ids=["less", "equal"])
@pytest.mark.parametrize("window", [(3, 0), (16, 0), (31, 16), (63, 0), (63, 0, WIDE), (63, 0, DEEP)], ids=str)
def test_chunks_equal_one_whole_run(kernels, window, equal):
    test = Test(*window[:2], equal, *window[2:])
    rng = np.random.default_rng(test)
    rks, n = keys(rng, 3), 1100
    x, r = words(rng, n, test)
    trace, shares = run(kernels, test, x, r, rks, 512)
    for cuts in ([0, 512, 1024, n], [0, 1024, n]):
        parts = [run(kernels, test, x[a:b].copy(), r[a:b].copy(), rks, 512 + a) for a, b in pairwise(cuts)]
        for i, whole in enumerate(trace + shares):
            assert (whole == np.concatenate([(t + s)[i] for t, s in parts])).all()


def stream(rk, name, planes, n, at=0):
    """The planes of a field, (groups, planes, 8), from the bare generator."""
    groups = -(-n // GROUP)
    out = np.empty((groups, planes, 8), np.uint64)
    REF.prg_u64(ptr(out), out.size, ptr(rk, "uint8_t *"), 1, name, at // GROUP * planes * 8)
    return out


def test_what_is_dealt_and_opened(kernels):
    """16 bits, `<`: one-hots and mask products under the streams; factors l_0 l_1 l_2 e_1 e_2 e_3 under the masks."""
    rng, test, n, at = np.random.default_rng(3), Test(16, 5, False), 1024, 2048
    s, rks = test.sizes(), keys(rng, 2)
    x, r = words(rng, n, test)
    hot, ands = deal(kernels, test, r, rks, at)

    def digit(w, j):
        return (w >> np.uint64(5 + 4 * j)) & np.uint64(15)

    def plane(block, p):
        return np.ascontiguousarray(block.reshape(2, -1, 8)[:, p]).ravel()

    one_hot = (hot.reshape(2, -1, 8) ^ stream(rks[0], HOT, s.hot, n, at)).ravel()
    for j in range(4):
        for w in range(1, 16):
            assert (bits(plane(one_hot, 15 * j + w - 1), n) == (digit(r, j) == w)).all()

    masks = stream(rks[0], MASK, s.mask, n, at) ^ stream(rks[1], MASK, s.mask, n, at)
    products = (ands.reshape(2, -1, 8) ^ stream(rks[0], ANDS, s.ands, n, at)).ravel()
    subset = [plane(masks, f) for f in (3, 4)]  # e_1 e_2 is dealt first
    assert (plane(products, 0) == subset[0] & subset[1]).all()

    opened = np.bitwise_xor.reduce([leaves(kernels, test, x, i == 0, hot if i else None, rks[i], at)[1] for i in range(2)])
    factors = (opened.reshape(2, -1, 8) ^ masks).ravel()
    for j in range(3):
        assert (bits(plane(factors, j), n) == (digit(x, j) < digit(r, j))).all()
        assert (bits(plane(factors, 3 + j), n) == (digit(x, j + 1) == digit(r, j + 1))).all()


def planned(width, equal, leaf, radix=4):
    """Counts by enumeration: every factor once, every subset of two or more masks of a monomial once. leaf: bits of digits."""
    assert sum(leaf) == width
    counts, nodes = [], len(leaf)
    while not counts or nodes > 1:
        opened = dealt = kept = 0
        for first in range(0, nodes, radix):
            c, root = min(radix, nodes - first), first == 0
            lt = [] if equal else [("l", j) for j in range(c)]
            wanted = [("e", j) for j in range(c)] if equal or not root else None
            monomials = [[lt[j]] + [("e", i) for i in range(j + 1, c)] for j in range(c - 1)] if lt else []
            monomials += [wanted] if wanted else []
            if c == 1:
                kept += len(lt) + bool(wanted)
                continue
            kept += bool(lt)
            opened += len({f for m in monomials for f in m})
            dealt += len({s for m in monomials for k in range(2, len(m) + 1) for s in combinations(sorted(m), k)})
        counts.append((opened, dealt, kept))
        nodes = -(-nodes // radix)
    opened, dealt, kept = zip(*counts, *[(0, 0, 0)] * (3 - len(counts)), strict=True)
    return Sizes(sum(2**w - 1 for w in leaf), sum(opened), sum(dealt), len(counts), opened, kept)


def test_further_comparisons_reuse_the_one_hots(kernels):
    """Without room for one-hots the dealer writes the products of the masks alone, and the same ones."""
    rng = np.random.default_rng(40)
    for n in (1, 511, 512, 1100):
        r, rks, test = rng.integers(0, 1 << 64, n, np.uint64), keys(rng, 2), Test(63, 0, False)
        _, ands = deal(kernels, test, r, rks)
        again = room(test.sizes().ands, n)
        ends = ptr(r), n, *test, ptr(rks, "uint8_t *"), len(rks), HOT, MASK, ANDS, 0
        kernels.compare_deal(ffi.NULL, ptr(again), *ends)
        assert np.array_equal(done(again)[0], ands)


def narrow(width, equal):
    return planned(width, equal, [min(4, width - j) for j in range(0, width, 4)])


def wide(width, equal):
    """Of all trees of one node, with digits that differ by a bit at most, the one for which least is dealt."""
    if width <= 16:
        return narrow(width, equal)
    trees = [planned(width, equal, [width // n + (j < width % n) for j in range(n)], n) for n in range(-(-width // 8), 10)]
    return min(trees, key=lambda s: s.hot + s.ands)


def deep(width, equal):
    """Digits of 3 bits, nodes of up to three children."""
    return narrow(width, equal) if width <= 16 else planned(width, equal, [min(3, width - j) for j in range(0, width, 3)], 3)


def test_counts(kernels):
    for width in range(1, 65):
        for equal in (False, True):
            assert Test(width, 0, equal).sizes(kernels) == narrow(width, equal), (width, equal)
            assert Test(width, 0, equal, WIDE).sizes(kernels) == wide(width, equal), (width, equal)
            assert Test(width, 0, equal, DEEP).sizes(kernels) == deep(width, equal), (width, equal)
    assert Test(63, 0, False).sizes(kernels) == Sizes(232, 33, 15 + 66 + 15, 2, (27, 6, 0), (4, 1, 0))
    assert Test(47, 0, False).sizes(kernels) == Sizes(172, 24, 15 + 44 + 5, 2, (20, 4, 0), (3, 1, 0))
    assert Test(31, 0, False).sizes(kernels) == Sizes(112, 15, 15 + 22 + 1, 2, (13, 2, 0), (2, 1, 0))
    assert Test(16, 0, False).sizes(kernels) == Sizes(60, 6, 15, 1, (6, 0, 0), (1, 0, 0))
    assert Test(63, 0, False, WIDE).sizes(kernels) == Sizes(9 * 127, 16, 247 + 502, 1, (16, 0, 0), (1, 0, 0))
    assert Test(31, 0, False, WIDE).sizes(kernels) == Sizes(5 * 31 + 63, 10, 26 + 57, 1, (10, 0, 0), (1, 0, 0))
    assert Test(64, 0, True, WIDE).sizes(kernels) == Sizes(8 * 127 + 255, 9, 502, 1, (9, 0, 0), (0, 0, 0))
    assert Test(63, 0, False, DEEP).sizes(kernels) == Sizes(147, 47, 53 + 13 + 5, 3, (34, 9, 4), (7, 4, 1))


@pytest.mark.parametrize("n", LENGTHS)
def test_bit_plane(kernels, n):
    x = np.random.default_rng(n).integers(0, 1 << 64, n, dtype=np.uint64)
    for bit in (0, 1, 31, 47, 63):
        out = room(1, n)
        kernels.bit_plane(ptr(out), ptr(x), n, bit)
        (out,) = done(out)
        assert (out == packed((x >> np.uint64(bit)) & np.uint64(1))).all()

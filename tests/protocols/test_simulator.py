"""Privacy by proof: a coalition's view is the same whatever the secrets are, and results are right on every tape.

`simulate.py` says how. In short, for each gate of the protocols with a dealer, under `helper`, `additive` with two and with
three evaluators, and for every coalition of all evaluators but one:

- *counted*, over Z_2^k with k = 1 .. 6 and 1-bit digits in comparisons: all tapes of the words that a view depends on, for
  every secret in the gate's domain. Where these are too many, observations that have a pad of their own (the dealt
  corrections and the last messages, mostly) are peeled off first, so what is counted is the rest given them;
- *peeled*, over Z_2^64 with the real 4-bit digits: every observation of the shipped gate has a pad of its own.

Neither proves anything about the generator (words count as uniform), about parties that deviate, or about timing. What a
revealed result tells by itself is not a leak, and the opened word of a truncation is part of the view: the coin of its
rounding is public. An evaluator that receives the last share of a result computes it from the result and its own view, which
`reveal` is tested for where more than one share, or the dealer, is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from mpc.protocols.additive import Additive
from mpc.protocols.base import Share, Steps, Tape
from mpc.protocols.fields import Field
from mpc.protocols.helper import Helper
from mpc.ring.prg import Stream
from mpc.ring.ring import DEEP, WIDE
from mpc.ring.words import WORD

from . import gates as g
from .gates import BITS, COLUMN, GATES, ONE, ROW, TREES, TWO, WORDS, Operand, Step, nth
from .simulate import SECRET, Leak, Proof, Symbol, influences, objects, prove, prove_by_pads
from .tiny import Words

TWO_OR_THREE = [(Helper, 3), (Additive, 2), (Additive, 3)]
Outcomes = Callable[..., Iterable[int]]  # all results for a secret, each as often as it occurs


def dithered(x: int, bits: int) -> list[int]:
    """floor((x + d) / 2^bits) for every d."""
    return [x + d >> bits for d in range(1 << bits)]


def signed(bits: int) -> range:
    return range(-(1 << bits - 1), 1 << bits - 1)


class Case(NamedTuple):
    """A gate over Z_2^bits, the secrets, and the results allowed: as often as listed, or (`often` False) some of them."""

    step: Step
    operands: tuple[Operand, ...]
    secrets: list[Any]
    bits: int
    outcomes: Outcomes
    often: bool = True
    two_only: bool = False
    limit: int = 16
    limb: int = 64
    residues: bool = False

    @property
    def words(self) -> Words:
        return Words(self.bits, 1, self.limb, self.residues)


def of(values: Iterable[int]) -> list[tuple[int]]:
    return [(x,) for x in values]


def within(bits: int, low: int, high: int) -> list[tuple[int, int]]:
    """Pairs whose product a truncation takes with two evaluators: below 2^(bits - 3)."""
    most = 1 << bits - 3
    return [(x, y) for x, y in product(range(low, high), repeat=2) if -most <= x * y < most]


def vectors(values: Iterable[int], most: int | None = None) -> list[Any]:
    found = [(a, b, c, d) for a, b, c, d in product(values, repeat=4) if most is None or -most <= a * c + b * d < most]
    return [(((a, b),), ((c,), (d,))) for a, b, c, d in found]


def inner(x: Any, y: Any) -> int:
    return int((np.array(x) @ np.array(y)).item())


def chained(times: int) -> Outcomes:
    def outcomes(x: int, y: int) -> list[int]:
        found = dithered(x, 1)
        for _ in range(times):
            found = [v for t in found for v in dithered(t * y, 1)]
        return found

    return outcomes


def pieces(tables: list[list[int]], t: int) -> Callable[[int], list[int]]:
    """A polynomial by pieces: x is read as the piece it lies in, or as the next one, at a negative offset."""
    count = len(tables[0])
    return lambda x: [
        sum(column[((x >> t) + up) % count] * (x % (1 << t) - (up << t)) ** j for j, column in enumerate(tables))
        for up in (0, 1)
    ]


def saturated(x: int) -> list[int]:
    if -2 <= x < 2:
        return [v for p in pieces(CURVE, 1)(x) for v in dithered(p, 1)]
    return [x] if x < 0 else [1]


def scaled(column: int) -> Step:
    """x by the entry of x >= 2, of two tables; x is below 4."""
    tables = np.array([[2, 1], [3, 5]], WORD).tobytes()
    params = {"tables": tables, "columns": 2, "shift": 1, "results": [1], "factors": [0]}
    return g.rescaled(column, powers=[2], bits=2, states=[], signed=False, **params)


LINE, CURVE = [[1, 2], [3, 1]], [[1, 2, 2, 0], [0, 1, 1, 1]]
SPLINE = {"k": 2, "t": 1, "degree": 1, "centre": 0, "tables": np.array(CURVE, WORD).tobytes(), "shift": 1}
CASES = {
    "multiply": Case(g.multiply, TWO, list(product(signed(2), repeat=2)), 2, lambda x, y: [x * y]),
    "square": Case(g.square, ONE, of(signed(3)), 3, lambda x: [x * x]),
    "inner product": Case(g.inner, (ROW, COLUMN), vectors(range(2)), 1, lambda x, y: [inner(x, y)]),
    "product of two views": Case(
        g.norm, (ROW,), [((v,),) for v in product(signed(2), repeat=2)], 2, lambda x: [inner(x, np.transpose(x))]
    ),
    "truncate": Case(g.truncate(1), ONE, of(signed(2)), 3, lambda x: dithered(x, 1)),
    "truncate by two": Case(g.truncate(2), ONE, of(signed(3)), 4, lambda x: dithered(x, 2)),
    "truncate to floor": Case(g.truncate(1, "floor"), ONE, of(signed(2)), 3, lambda x: [x >> 1]),
    "truncate to nearest": Case(g.truncate(2, "nearest"), ONE, of(range(-4, 2)), 4, lambda x: [x + 2 >> 2]),
    "multiply and truncate": Case(g.multiply_truncate(1), TWO, within(4, -2, 3), 4, lambda x, y: dithered(x * y, 1), limit=14),
    "inner product and truncate": Case(
        g.inner_truncate(1), (ROW, COLUMN), vectors(range(-1, 2), 2)[::9], 4, lambda x, y: dithered(inner(x, y), 1), limit=14
    ),
    "truncate and relu": Case(g.truncate_relu(1), ONE, of(signed(2)), 3, lambda x: [max(t, 0) for t in dithered(x, 1)]),
    "layer": Case(g.layer(1), TWO, within(4, -1, 3), 4, lambda x, y: [max(t, 0) for t in dithered(x * y, 1)], limit=14),
    "chain": Case(g.chain(1), TWO, list(product(signed(2), range(-1, 2))), 3, chained(1)),
    "negative": Case(g.negative, ONE, of(signed(3)), 3, lambda x: [x < 0]),
    "zero": Case(g.zero, ONE, of(signed(3)), 3, lambda x: [x == 0]),
    "below": Case(g.below(-1, 1), ONE, of(range(-3, 4)), 3, lambda x: [x < 1]),
    "negative of two limbs": Case(g.negative, ONE, of(signed(3)), 3, lambda x: [x < 0], limb=1),
    "zero of two limbs": Case(g.zero, ONE, of(signed(2)), 2, lambda x: [x == 0], limb=1),
    "zero of three residues": Case(g.zero, ONE, of(range(8)), 3, lambda x: [x == 0], limb=1, residues=True),
    "select": Case(
        g.select, (BITS, WORDS, WORDS), list(product(range(2), signed(2), range(2))), 2, lambda b, x, y: [x if b else y]
    ),
    "relu": Case(g.relu, ONE, of(signed(3)), 3, lambda x: [max(x, 0)]),
    "bit to word": Case(g.to_word, (BITS,), of(range(2)), 3, lambda b: [b]),
    "and": Case(g.both, (BITS, BITS), list(product(range(2), repeat=2)), 1, lambda x, y: [x & y]),
    "lookup": Case(g.piecewise(1, 0, np.array([[1, 2]], WORD)), ONE, of(signed(2)), 2, lambda x: [1 + x % 2], two_only=True),
    "truncate and look up": Case(
        g.piecewise(1, 0, np.array([[1, 2]], WORD), 1),
        ONE,
        of(signed(2)),
        4,
        lambda x: [1 + t % 2 for t in dithered(x, 1)],
        two_only=True,
        limit=14,
    ),
    "polynomial": Case(g.piecewise(1, 1, np.array(LINE, WORD)), ONE, of(signed(2)), 2, pieces(LINE, 1), False, True),
    "rescale": Case(scaled(0), ONE, of(range(4)), 4, lambda x: dithered(x * (1 if x >= 2 else 2), 1), two_only=True, limit=14),
    "look up by size": Case(scaled(1), ONE, of(range(4)), 4, lambda x: [5 if x >= 2 else 3], two_only=True, limit=14),
    "spline": Case(
        g.spline(**SPLINE, bounds=[-2, 2], tails=[[0, 1], [1, 0]]), ONE, of(range(-6, 6)), 4, saturated, False, True, 14
    ),
}
LARGER = {
    "multiply": CASES["multiply"]._replace(secrets=list(product(range(4), repeat=2)), bits=3, limit=18),
    "inner product": CASES["inner product"]._replace(secrets=vectors(signed(2))[::31], bits=2, limit=18),
    "truncate": Case(g.truncate(2), ONE, of(signed(4)), 5, lambda x: dithered(x, 2), limit=20),
    "truncate to floor": Case(g.truncate(2, "floor"), ONE, of(signed(3)), 4, lambda x: [x >> 2], limit=18),
    "truncate and relu": Case(
        g.truncate_relu(2), ONE, of(signed(3)), 4, lambda x: [max(t, 0) for t in dithered(x, 2)], limit=18
    ),
    "layer": CASES["layer"]._replace(secrets=within(4, -2, 3), limit=16),
    "chain": CASES["chain"]._replace(
        step=g.chain(1, 2), secrets=list(product(signed(3), range(-1, 2))), bits=4, outcomes=chained(2)
    ),
    "negative": Case(g.negative, ONE, of(signed(4)), 4, lambda x: [x < 0], limit=18),
    "negative by two levels": Case(g.negative, ONE, of([*range(-32, 32, 7), -1, 0, 31]), 6, lambda x: [x < 0], limit=18),
    "zero by two levels": Case(g.zero, ONE, of(signed(5)), 5, lambda x: [x == 0], limit=15),
    "negative by a wide tree": Case(
        g.by(WIDE, g.negative), ONE, of([*range(-32, 32, 7), -1, 0, 31]), 6, lambda x: [x < 0], limit=18
    ),
    "zero by a wide tree": Case(g.by(WIDE, g.zero), ONE, of(signed(5)), 5, lambda x: [x == 0], limit=15),
    "negative by a deep tree": Case(
        g.by(DEEP, g.negative), ONE, of([*range(-32, 32, 7), -1, 0, 31]), 6, lambda x: [x < 0], limit=18
    ),
    "zero by a deep tree": Case(g.by(DEEP, g.zero), ONE, of(signed(5)), 5, lambda x: [x == 0], limit=15),
    "negative of two limbs": Case(g.negative, ONE, of(signed(4)), 4, lambda x: [x < 0], limb=2, limit=18),
    "zero of two limbs": Case(g.zero, ONE, of(signed(4)), 4, lambda x: [x == 0], limb=2, limit=18),
    "below of two limbs": Case(g.below(-1, 1), ONE, of(range(-3, 4)), 3, lambda x: [x < 1], limb=1),
    "relu of two limbs": Case(g.relu, ONE, of(signed(3)), 3, lambda x: [max(x, 0)], limb=1),
    "zero of two residues": Case(g.zero, ONE, of(range(16)), 4, lambda x: [x == 0], limb=2, residues=True, limit=16),
    "zero of four residues": Case(g.zero, ONE, of(range(16)), 4, lambda x: [x == 0], limb=1, residues=True, limit=16),
    "relu": Case(g.relu, ONE, of(signed(4)), 4, lambda x: [max(x, 0)], limit=17),
    "polynomial": Case(g.piecewise(2, 1, np.array(CURVE, WORD)), ONE, of(signed(4)), 4, pieces(CURVE, 1), False, True, 18),
}


def verify(proof: Proof, case: Case) -> None:
    for secret, found in proof.outcomes.items():
        allowed = Counter(int(v) % (1 << (1 if case.operands == (BITS, BITS) else case.bits)) for v in case.outcomes(*secret))
        assert set(found) <= set(allowed), f"{secret}: {sorted(found)}, not {sorted(allowed)}"
        if case.often and proof.whole:  # each result occurs exactly as often as the dithers that give it
            assert {v: Fraction(n, found.total()) for v, n in found.items()} == {
                v: Fraction(n, allowed.total()) for v, n in allowed.items()
            }


def check(protocol: type[Additive], n: int, case: Case, digit: int = 1) -> None:
    if case.two_only and protocol._roles(n)[0] != 2:
        pytest.skip("two evaluators only")
    words = case.words._replace(digit=digit)
    for proof in prove(protocol, n, case.step, case.operands, case.secrets, words, limit=case.limit):
        assert proof.tapes >= 1 << 6
        verify(proof, case)


@pytest.mark.parametrize(("protocol", "n"), [(Helper, 3), (Additive, 3)])
@pytest.mark.parametrize("name", CASES)
def test_counted_views_are_independent_of_the_secrets(protocol: type[Additive], n: int, name: str):
    check(protocol, n, CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "n"), TWO_OR_THREE)
@pytest.mark.parametrize("name", LARGER)
def test_counted_views_of_larger_rings(protocol: type[Additive], n: int, name: str):
    check(protocol, n, LARGER[name])


def test_additive_of_two_is_counted_too():
    for name in ("truncate", "negative", "truncate and relu"):
        check(Additive, 2, CASES[name])


@pytest.mark.parametrize("tree", [WIDE, DEEP])
def test_other_trees(tree: int):
    """Wide: three leaves of two bits, or fewer, under one node; deep: leaves of one bit. Larger ones are counted among the slow
    tests."""
    check(Helper, 3, Case(g.by(tree, g.zero), ONE, of([-16, -1, 0, 1, 15]), 5, lambda x: [x == 0], limit=14))
    check(Helper, 3, Case(g.by(tree, g.negative), ONE, of([-32, -7, -1, 0, 31]), 6, lambda x: [x < 0], limit=14))


def test_digits_of_two_bits():
    check(Helper, 3, CASES["negative"], digit=2)
    check(Additive, 3, CASES["zero"], digit=2)


@pytest.mark.parametrize(
    ("protocol", "n"), [(Helper, 3), (Additive, 3), *(pytest.param(Additive, n, marks=pytest.mark.slow) for n in (2, 5))]
)
@pytest.mark.parametrize("name", GATES)
def test_every_observation_of_the_full_ring_has_a_pad(protocol: type[Additive], n: int, name: str):
    if GATES[name].two_only and protocol._roles(n)[0] != 2:
        pytest.skip("two evaluators only")
    assert prove_by_pads(protocol, n, GATES[name].step, GATES[name].operands) > 0


@pytest.mark.parametrize(("protocol", "n"), [(Helper, 3), (Additive, 3)])
@pytest.mark.parametrize("name", [*list(TREES)[:3], *list(TREES)[4:7]])
def test_every_observation_of_a_wide_tree_has_a_pad(protocol: type[Additive], n: int, name: str):
    """Over Z_2^20, where it has five leaves, as 2^8 products of nine are long to follow; those are among the slow tests."""
    assert prove_by_pads(protocol, n, TREES[name].step, TREES[name].operands, Words(20, digit=4)) > 0


LIMBS = Words(128, digit=4, limb=64)
THREE = Words(192, digit=4, limb=64, residues=True)


@pytest.mark.parametrize(("protocol", "n"), [(Helper, 3), pytest.param(Additive, 3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["negative", "zero", "below", "relu"])
def test_every_observation_of_two_limbs_has_a_pad(protocol: type[Additive], n: int, name: str):
    """As shipped: limbs of 64 bits."""
    assert prove_by_pads(protocol, n, GATES[name].step, GATES[name].operands, LIMBS) > 0


def test_every_observation_of_three_residues_has_a_pad():
    assert prove_by_pads(Helper, 3, GATES["zero"].step, ONE, THREE) > 0


def test_symbols_know_what_a_message_of_two_limbs_depends_on():
    influences(Helper, 3, GATES["negative"].step, ONE, Words(40, digit=4, limb=20))
    influences(Helper, 3, GATES["zero"].step, ONE, Words(40, digit=4, limb=20, residues=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", TREES)
def test_every_observation_of_other_trees_of_the_full_ring_has_a_pad(name: str):
    assert prove_by_pads(Helper, 3, TREES[name].step, TREES[name].operands) > 0


def test_symbols_know_what_a_message_of_other_trees_depends_on():
    for gate in (TREES["wide negative"], TREES["wide zero"], TREES["deep negative"], TREES["deep zero"]):
        influences(Helper, 3, gate.step, gate.operands, Words(20, digit=4))


@pytest.mark.parametrize("name", GATES)
def test_symbols_know_what_a_message_depends_on(name: str):
    """On real words of 64 bits: changing a word changes only messages whose symbol names it, a pad by just the change."""
    influences(Helper, 3, GATES[name].step, GATES[name].operands)


def test_an_input_of_the_helper_arrives_under_a_pad():
    def step(p: Additive, tape: Tape) -> Steps[Share]:
        secret = objects([Symbol(frozenset([SECRET]))]) if p.deals else None
        return (yield from p.share(tape, p.dealer, (1,), False, secret))

    assert prove_by_pads(Helper, 3, step, ()) == 1


# ---- what a receiver of results sees ----
def revealed(gate: Step, to: tuple[int, ...]) -> Step:
    def step(p: Additive, tape: Tape, *shares: Share) -> Steps[Any]:
        result = yield from gate(p, tape, *shares)
        return (yield from p.reveal(nth(tape, 5), result, to))

    return step


def test_a_revealed_product_tells_the_product():
    """Both shares reach one evaluator in turn; with three, one of them sees two others' shares."""
    two = CASES["multiply"]
    for proof in prove(Helper, 3, revealed(two.step, (0, 1)), TWO, two.secrets, Words(2), output=True):
        verify(proof, two)
    bits = list(product(range(2), repeat=2))
    for proof in prove(Additive, 3, revealed(two.step, (0,)), TWO, bits, Words(1), whose=[(0,), (0, 1)], output=True):
        verify(proof, two._replace(bits=1))


@pytest.mark.parametrize(
    ("gate", "secrets", "bits"),
    [(g.multiply, list(product(signed(2), repeat=2)), 2), (g.multiply_truncate(1), within(4, -2, 3), 4), (g.select, None, 2)],
)
def test_a_helper_learns_from_its_results_only_what_they_say(gate: Step, secrets: Any, bits: int):
    """It knows every mask. For each setting of them, all secrets with the same result look the same to it; so a truncated
    result tells it one comparison with a point it knows, as it tells the evaluators."""
    operands = TWO if secrets else (BITS, WORDS, WORDS)
    secrets = secrets or list(product(range(2), signed(2), signed(2)))
    (proof,) = prove(Helper, 3, revealed(gate, (2,)), operands, secrets, Words(bits), settings=8, whose=[(2,)], output=True)
    assert proof.peeled == 0


# ---- the check has teeth ----
def one_mask_for_two(p: Additive, tape: Tape, x: Share, y: Share) -> Steps[Share]:
    y.origin = x.origin
    yield from p.masked(x, y)
    return x


def dealt_too_early(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    """The dealt word depends on x's mask, and enters the very message that the mask is to hide: the correction, the message
    and party 1's share of the mask r add up to x_0 + 2 r_0."""
    stream = p.own(tape, Field.PRODUCT)
    dealt = (
        yield from p.exchange(dealt=[(WORD.str, x.shape)], deal=lambda: [p.exact.blind(p.mask_total(x), -1, stream)])
    ).dealt
    word = dealt[0] if dealt else p.ring.prg(x.shape, stream)
    assert x.origin is not None
    name, field, at = x.origin
    yield from p.exchange([p.ring.mask(p.ring.add(x.parts[0], word), Stream(p.key, name.field(field), at))[0]])
    return x


def unmasked(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    yield from p.exchange([x.parts[0]])
    return x


def truncated_unmasked(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    """A gate's result is no uniform sharing to those who know how it was made, and must not be sent as it is."""
    t = yield from p.trunc(tape, x, 1, "dither")
    yield from p.exchange([t.parts[0]])
    return t


def one_tree_for_two(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
    """Two comparisons under the same masks of factors."""
    yield from p.signs(tape, x, [1])
    return (yield from p.ltz(tape, x))


def one_bit_mask_for_two(p: Additive, tape: Tape, x: Share, y: Share) -> Steps[Share]:
    yield from p.b2a(tape, x)
    return (yield from p.b2a(tape, y))


FAULTS = {
    "one mask for two secrets": (one_mask_for_two, TWO, list(product(range(2), repeat=2)), 2),
    "a dealt word before its mask is open": (dealt_too_early, ONE, of(range(4)), 2),
    "a share sent as it is": (unmasked, ONE, of(range(4)), 2),
    "a result sent as it is": (truncated_unmasked, ONE, of(signed(2)), 3),
    "one tree's masks for two comparisons": (one_tree_for_two, ONE, of(signed(3)), 3),
    "one mask for two bits": (one_bit_mask_for_two, (BITS, BITS), list(product(range(2), repeat=2)), 1),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_found(name: str):
    step, operands, secrets, bits = FAULTS[name]
    with pytest.raises(Leak, match="from another secret"):
        prove(Helper, 3, step, operands, secrets, Words(bits), limit=30, settings=2)  # 2 settings are enough to refute
    for protocol, n in TWO_OR_THREE:
        with pytest.raises(Leak, match="no pad of their own"):
            prove_by_pads(protocol, n, step, operands)


class OneAnd(Helper):
    """The limbs are joined under masks that have hidden the lower one's factors."""

    def and_(self, tape: Tape, x: Share, y: Share, field: int = Field.AND_X) -> Steps[Share]:
        return super().and_(tape, x, y, Field.TREE)


class OnePlace(Helper):
    """Every residue's random words are at one position."""

    def own(self, tape: Tape, field: int) -> Stream:
        return super().own(replace(tape, at=0), field)

    def every(self, tape: Tape, field: int) -> Stream:
        return super().every(replace(tape, at=0), field)


REUSED = {
    "two limbs": (OneAnd, g.negative, of(signed(4)), Words(4, limb=2)),
    "two limbs, for ==": (OneAnd, g.zero, of(signed(4)), Words(4, limb=2)),
    "residues": (OnePlace, g.zero, of(range(16)), Words(4, limb=1, residues=True)),
    "residues of two bits": (OnePlace, g.zero, of(range(16)), Words(4, limb=2, residues=True)),
}


@pytest.mark.parametrize("name", REUSED)
def test_masks_that_limbs_share_are_found(name: str):
    protocol, step, secrets, words = REUSED[name]
    with pytest.raises(Leak, match=r"no pad of their own|serves"):
        prove_by_pads(protocol, 3, step, ONE, words)
    with pytest.raises(Leak, match="from another secret"):
        prove(protocol, 3, step, ONE, secrets, words, limit=24, settings=2)


def test_a_helper_that_is_sent_raw_shares_learns_more_than_the_product():
    class Raw(Helper):
        def reveal(self, *args: Any) -> Steps[Any]:
            self.pair_keys = {}
            return super().reveal(*args)

    secrets = list(product(signed(2), repeat=2))
    with pytest.raises(Leak, match="from another secret"):
        prove(Raw, 3, revealed(g.multiply, (2,)), TWO, secrets, Words(2), settings=4, whose=[(2,)], output=True)


def test_a_message_to_the_dealer_is_found():
    def step(p: Additive, tape: Tape, x: Share) -> Steps[Share]:
        (opened,) = yield from p.masked(x)
        return (yield from p.reveal(tape, Share((opened.value,)), (p.dealer,)))

    with pytest.raises(Leak, match="sends the dealer"):
        prove_by_pads(Helper, 3, step, ONE)

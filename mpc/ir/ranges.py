"""What values a program can reach, from the ranges that its inputs declare.

`annotate` carries an interval per value through a program: warns (`RangeWarning`) where a result may leave the word or the
domain of a function, and gives comparisons the window of bits that their operand can fill, which makes them cheaper.
Intervals are of the integers that a word holds, so that scales need no care. A value that depends on an input without a
declared range is unknown: about it nothing is said or assumed. Each operand is taken by itself (x - x is not 0), but
for x * x.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..errors import RangeWarning
from ..ring.rings import ring_of
from .program import NOWHERE, Eqn, Program, Where
from .types import DType, Type


class Interval(NamedTuple):
    """Integers from low to high, as floats."""

    low: float
    high: float


Range = Interval | None  # None: unknown
BIT = Interval(0, 1)
# |x| < 2^(bits - k): of any number, of a product and of a sum before they are truncated
WORD, PRODUCT, TRUNCATION = 1, 3, 2
SMALLEST_WINDOW = 8  # fewer bits save nothing
PATIENCE = 8  # iterations of a loop before what still grows counts as unknown


def hull(*ranges: Interval) -> Interval:
    return Interval(min(r.low for r in ranges), max(r.high for r in ranges))


def window(x: Interval, values: Sequence[int] = (0,), most: int = 63) -> int:
    """The fewest bits b <= most with -2^b <= x - v < 2^b for every v."""
    reach = max(max(values) - x.low, x.high - min(values) + 1)
    if reach > 2.0**50:  # beyond 2^53 floats are rounded, by less than this margin
        reach *= 1 + 2.0**-40
    return min(most, max(SMALLEST_WINDOW, (math.ceil(reach) - 1).bit_length()))


class Site(NamedTuple):
    """An equation, what its operands are, and what is said about it."""

    eqn: Eqn
    types: Sequence[Type]  # of the operands
    constants: Sequence[np.ndarray | None]  # operands that are public and known now, as float64 integers
    say: Callable[[str], None]

    def within(self, x: Interval, slack: int, what: str) -> Range:
        """x, if it leaves so many bits of its word; else says so."""
        dtype = self.eqn.types[0].dtype
        reach, bits = max(-x.low, x.high), dtype.bits - slack
        if -(2.0**bits) <= x.low and x.high < 2.0**bits:
            return x
        if dtype.wraps:  # that is what it is for
            return None
        fractions = [t.dtype.fraction for t in self.types]
        scale = 2.0 ** -(sum(fractions) if self.eqn.op in PRODUCTS else fractions[0])
        fewer = f", or use fewer fraction bits than {dtype.fraction} (mpc.fixed{dtype.bits})" if dtype.fraction else ""
        wider = {32: "fixed64", 64: "fixed128"}.get(dtype.bits)
        fewer += f", or a wider word for the session (dtype=mpc.{wider}(f))" if wider else ""
        self.say(
            f"{what} can reach {reach * scale:.3g} by the declared ranges, and {dtype} holds less than {2.0**bits * scale:.3g} "
            f"here: the result would wrap around. Scale the data, declare narrower ranges (low=, high= of `input`){fewer}."
        )
        return None


# ---- the operations of the table ----
def _times(x: Interval, y: Interval) -> Interval:
    corners = [a * b for a in x for b in y]
    return Interval(min(corners), max(corners))


def _minus(s: Site, x: Interval, y: Interval) -> Range:
    return s.within(Interval(x.low - y.high, x.high - y.low), WORD, "the difference")


def _least(x: Interval) -> float:
    """The smallest |x|."""
    return 0 if x.low <= 0 <= x.high else min(abs(x.low), abs(x.high))


def _cut(x: Interval, bits: int) -> Interval:
    """Truncation gives the floor or the ceiling."""
    return Interval(math.floor(x.low / 2.0**bits), math.ceil(x.high / 2.0**bits)) if bits else x


def _bilinear(s: Site, product: Interval) -> Range:
    bits = s.eqn.params["bits"]
    found = s.within(product, PRODUCT if bits else WORD, PRODUCTS[s.eqn.op])
    return found and _cut(found, bits)


def _mul(s: Site, x: Interval, y: Interval) -> Range:
    if s.eqn.ins[0] == s.eqn.ins[1]:
        return _bilinear(s, Interval(_least(x) ** 2, max(-x.low, x.high) ** 2))
    return _bilinear(s, _times(x, y))


def _weighted(w: np.ndarray, x: Interval, axis: Any) -> Interval:
    """Extremes of sums of public weights times numbers in x."""
    up, down = np.maximum(w, 0).sum(axis), np.minimum(w, 0).sum(axis)
    return Interval(float((up * x.low + down * x.high).min(initial=0)), float((up * x.high + down * x.low).max(initial=0)))


def _matmul(s: Site, x: Interval, y: Interval) -> Range:
    left, right = s.constants
    if left is not None:
        return _bilinear(s, _weighted(left, y, -1))
    if right is not None:
        return _bilinear(s, _weighted(right, x, -2))
    length, each = s.types[0].shape[-1], _times(x, y)
    return _bilinear(s, Interval(length * each.low, length * each.high))


def _conv(s: Site, x: Interval, w: Interval) -> Range:
    if any(s.eqn.params["padding"]):
        x = hull(x, Interval(0, 0))
    shape = s.types[1].shape
    if s.constants[1] is not None:
        return _bilinear(s, _weighted(s.constants[1], x, tuple(range(1, len(shape)))))
    length, each = prod(shape[1:]), _times(x, w)
    return _bilinear(s, Interval(length * each.low, length * each.high))


def _conv_transposed(s: Site, x: Interval, w: Interval) -> Range:
    """As a convolution of pixels with zeros between them."""
    x, groups, (inputs, *rest) = hull(x, Interval(0, 0)), s.eqn.params["groups"], s.types[1].shape
    if s.constants[1] is not None:
        filters = s.constants[1].reshape(groups, inputs // groups, *rest)
        return _bilinear(s, _weighted(filters, x, (1, *range(3, filters.ndim))))
    length, each = inputs // groups * prod(rest[1:]), _times(x, w)
    return _bilinear(s, Interval(length * each.low, length * each.high))


def _trunc(s: Site, x: Interval) -> Range:
    found = s.within(x, TRUNCATION, "the number to be truncated")
    return found and _cut(found, s.eqn.params["bits"])


def _sum(s: Site, x: Interval) -> Range:
    count = s.types[0].size // max(1, s.eqn.types[0].size)
    return s.within(Interval(count * x.low, count * x.high), WORD, "the sum")


def _cumsum(s: Site, x: Interval) -> Range:
    count = s.types[0].shape[s.eqn.params["axis"]]
    return s.within(Interval(min(x.low, count * x.low), max(x.high, count * x.high)), WORD, "a running sum")


def _input(s: Site) -> Range:
    declared = s.eqn.params.get("range")
    return _word(declared[0], declared[1], s.eqn.types[0].dtype) if declared else None


def _word(low: int, high: int, dtype: DType) -> Range:
    """Numbers from low to high, if words hold them as they are: not a uint64 of 2^63 or more."""
    return Interval(float(low), float(high)) if high < 2 ** (dtype.bits - WORD) else None


def _same(s: Site, x: Interval, *others: Interval) -> Range:
    return x


PRODUCTS = {
    "mul": "the product",
    "matmul": "the matrix product",
    "conv": "the convolution",
    "conv_transposed": "the transposed convolution",
}
CORE: dict[str, Callable[..., Range]] = {
    "input": _input,
    "add": lambda s, x, y: s.within(Interval(x.low + y.low, x.high + y.high), WORD, "the sum"),
    "sub": lambda s, x, y: _minus(s, x, y),
    "neg": lambda s, x: s.within(Interval(-x.high, -x.low), WORD, "the negative"),
    "sum": _sum,
    "cumsum": _cumsum,
    "concatenate": lambda s, *xs: hull(*xs),
    "select": lambda s, b, x, y: hull(x, y),
    "mul": _mul,
    "matmul": _matmul,
    "conv": _conv,
    "conv_transposed": _conv_transposed,
    "trunc": _trunc,
    **dict.fromkeys(("reveal", "reshape", "transpose", "broadcast", "index", "take", "retype", "b2a"), _same),
}

MOVES = {"shuffle": 0, "permute": 1}  # operations that move rows: which operand is the first column


# ---- derived operations whose body, taken operand by operand, would give too much ----
def _real(x: Interval, dtype: DType) -> Interval:
    return Interval(x.low * 2.0**-dtype.fraction, x.high * 2.0**-dtype.fraction)


def _about(low: float, high: float, dtype: DType, error: float = 2.0**-12) -> Interval:
    """Real numbers from low to high that are computed with this error, relative and absolute, and rounded a few times."""
    scale = 2.0**dtype.fraction
    below, above = (error * (1 + abs(v)) * scale + 4 for v in (low, high))
    return Interval(math.floor(low * scale - below), math.ceil(high * scale + above))


def _curve(s: Site, x: Interval) -> Range:
    """Of a function that is given by its extremes on equal parts of [low, high), and what it is outside."""
    p, dtype = s.eqn.params, s.types[0].dtype
    a, b = _real(x, dtype)
    low, high, cells = p["low"], p["high"], p["extremes"]
    first, last = (min(len(cells) - 1, max(0, int((v - low) / (high - low) * len(cells)))) for v in (a, b))
    found = [Interval(*cell) for cell in cells[first : last + 1]]
    for (constant, slope), end in zip(p["tails"], ((a, min(b, low)), (max(a, high), b)), strict=False):
        if end[0] <= end[1]:
            ends = [constant + slope * v for v in end]
            found.append(Interval(min(ends), max(ends)))
    return _about(*hull(*found), dtype, 0.0)


def _monotone(f: Callable[[float], float], low: float, high: float, below: str, above: str) -> Callable[..., Range]:
    """Of a function that grows on [low, high) and says otherwise what `below` and `above` name. low 0: from 2^-f."""

    def rule(s: Site, x: Interval) -> Range:
        dtype = s.types[0].dtype
        a, b = _real(x, dtype)
        least = low if low or s.eqn.op == "sqrt" else 2.0**-dtype.fraction
        for outside, what in ((a < least and below, below), (b >= high and above, above)):
            if outside:
                s.say(
                    f"the operand is in [{a:.3g}, {b:.3g}] by the declared ranges, and {s.eqn.op} "
                    f"{what.format(f=dtype.fraction)}. Scale or clip the data, or declare narrower ranges "
                    "(low=, high= of `input`)."
                )
        ends = [f(min(max(v, least), high)) for v in (a, b)]
        return _about(min(ends), max(ends), dtype)

    return rule


def _exponential(s: Site, x: Interval) -> Range:
    p = s.eqn.params
    high = p["high"] if "high" in p else p["ends"][1]
    return _monotone(math.exp, -math.inf, high, "", f"saturates at e^{high}")(s, x)


def _reciprocal(s: Site, x: Interval) -> Range:
    dtype = s.types[0].dtype
    a, b = _real(x, dtype)
    least = 2.0**-dtype.fraction
    if a < least and b > -least:
        s.say(
            f"the divisor is in [{a:.3g}, {b:.3g}] by the declared ranges, and 1/0 gives 2^{min(dtype.fraction, 23)}. "
            "Declare a range without 0 (low=, high= of `input`), or add a small number."
        )
    # what is nearest to 0 on either side
    ends = [1 / v for v in (a, b, min(b, -least), max(a, least)) if abs(v) >= least and a <= v <= b]
    return _about(min(ends, default=0), max([*ends, *([1 / least] if a < least and b > -least else [])], default=0), dtype)


def _growing(f: Callable[[float], float], end: float) -> Callable[..., Range]:
    """Of a function that grows on [-end, end], and stays outside."""

    def rule(s: Site, x: Interval) -> Range:
        dtype = s.types[0].dtype
        low, high = (f(min(max(v, -end), end)) for v in _real(x, dtype))
        return _about(low, high, dtype)

    return rule


def _log_softmax(s: Site, x: Interval) -> Range:
    dtype = s.types[0].dtype
    a, b = _real(x, dtype)
    return _about(a - b - math.log(max(1, s.types[0].shape[s.eqn.params["axis"]])), 0, dtype)


def _from_bits(s: Site, bits: Interval, weights: Interval) -> Range:
    """No sum of different bits leaves the word, the sign's among them."""
    known = s.constants[1]
    if known is None:
        return None
    return Interval(float(np.minimum(known, 0).sum(0).min(initial=0)), float(np.maximum(known, 0).sum(0).max(initial=0)))


def _unit(low: float, high: float) -> Callable[..., Range]:
    return lambda s, x: _about(low, high, s.types[0].dtype)


TOP = 2.0**15
DERIVED: dict[str, Callable[..., Range]] = {
    "relu": lambda s, x: Interval(max(x.low, 0), max(x.high, 0)),
    "maximum": lambda s, x, y: _minus(s, x, y) and Interval(max(x.low, y.low), max(x.high, y.high)),
    "minimum": lambda s, x, y: _minus(s, x, y) and Interval(min(x.low, y.low), min(x.high, y.high)),
    "absolute": lambda s, x: s.within(Interval(_least(x), max(-x.low, x.high)), WORD, "the absolute value"),
    "exp": _exponential,
    "exponential": _exponential,
    **dict.fromkeys(("sin", "cos", "sine"), _unit(-1, 1)),
    "log": _monotone(math.log, 0, TOP, "is log 2^-{f} for x <= 0", "saturates at log 2^15"),
    "sqrt": _monotone(math.sqrt, 0, TOP, "is 0 for x < 0", "saturates at 2^7.5"),
    "rsqrt": _monotone(lambda v: v**-0.5, 0, TOP, "is 2^({f}/2) for x <= 0", "saturates at 2^-7.5"),
    "reciprocal": _reciprocal,
    "asin": _growing(math.asin, 1),
    "atan": _growing(math.atan, math.inf),
    "atan2": lambda s, y, x: _about(-math.pi, math.pi, s.types[0].dtype),
    "asinh": _growing(math.asinh, TOP),
    "cbrt": _growing(math.cbrt, TOP),
    "softmax": _unit(0, 1),
    "log_softmax": _log_softmax,
    **dict.fromkeys(("bit_planes", "key_bits", "less_unsigned"), lambda s, *xs: BIT),
    "from_bits": _from_bits,
    "quotient": lambda s, x, *y: hull(x, Interval(-x.high - 1, -x.low)),
    "shift_word": lambda s, x: _cut(x, s.eqn.params["bits"]) if s.eqn.params["signed"] or x.low >= 0 else None,
}


EXACT = ("relu", "maximum", "minimum", "absolute")


# ---- programs ----
class _Walk:
    """Carries intervals through programs; every body is walked once for each set of ranges it is given."""

    def __init__(self, typed: bool = False) -> None:
        self.typed = typed  # whether integer types narrower than a word are ranges too
        self.known: dict[Any, tuple[Program, list[Range]]] = {}

    def run(self, program: Program, ranges: Sequence[Range], loud: bool, where: Where = NOWHERE) -> tuple[Program, list[Range]]:
        """The program with windows at its comparisons, and the ranges of its results. loud: warn."""
        key = (id(program), tuple(ranges), loud)
        if key not in self.known:
            self.known[key] = self._run(program, ranges, loud, where)
        return self.known[key]

    def _run(self, program: Program, ranges: Sequence[Range], loud: bool, where: Where) -> tuple[Program, list[Range]]:
        constants = {len(program.params) + i: _numbers(t, c) for i, (t, c) in enumerate(program.consts)}
        values = [*ranges, *(_extent(t, c) for t, c in program.consts)]
        eqns = []
        for eqn in program.eqns:
            ins, line = [values[v] for v in eqn.ins], eqn.where if eqn.where.line else where

            def say(text: str, eqn: Eqn = eqn, line: Where = line) -> None:
                if loud:
                    _warn(f"{eqn.op} at {line}: {text}", line)

            site = Site(eqn, [program.types[v] for v in eqn.ins], [constants.get(v) for v in eqn.ins], say)
            eqn, outs = self._equation(site, ins, loud, line)
            eqns.append(eqn)
            values.extend(outs)
        if all(a is b for a, b in zip(eqns, program.eqns, strict=True)):
            return program, [values[v] for v in program.outs]
        return replace(program, eqns=tuple(eqns)), [values[v] for v in program.outs]

    def _equation(self, site: Site, ins: list[Range], loud: bool, line: Where) -> tuple[Eqn, list[Range]]:
        eqn = site.eqn
        if eqn.op in MOVES:
            return eqn, ins[MOVES[eqn.op] :]
        if eqn.op in ("extend", "lowest"):
            return self._extension(site, ins[0])
        room = eqn.types[0].dtype.bits - TRUNCATION
        if eqn.op == "shift_word" and ins[0] is not None and max(-ins[0].low, ins[0].high) < 2.0**room:
            params = {"bits": min(eqn.params["bits"], room - 1), "rounding": "floor"}
            eqn = replace(eqn, op="trunc", params=params, body=None)
            site = site._replace(eqn=eqn)
        if eqn.op == "take":
            ins = ins[:1]  # whatever the position
        if eqn.types[0].dtype.is_bool and not (eqn.body and eqn.op != "thresholds"):
            return _windowed(eqn, ins), [BIT]
        if eqn.op == "b2a":
            ins = [BIT]
        if eqn.op == "input" and self.typed and eqn.types[0].dtype.wraps and not eqn.params.get("range"):
            low, high = eqn.types[0].dtype.bounds
            return eqn, [_word(low, high, eqn.types[0].dtype)]
        unknown: list[Range] = [None] * len(eqn.types)
        if eqn.body is None:
            known, core = [x for x in ins if x is not None], CORE.get(eqn.op)
            return eqn, [core(site, *known)] if core is not None and len(known) == len(ins) else unknown
        if all(x is None for x in ins):
            return eqn, unknown
        if eqn.op == "fori":
            return self._loop(eqn, ins, loud, line)
        rule = _curve if "extremes" in eqn.params else DERIVED.get(eqn.op)
        body, outs = self.run(eqn.body, ins, loud and rule is None, line)
        if rule is not None:
            # beyond 2^62 the differences that functions are made of may wrap; rules of exact operations see to it themselves
            limit = 2.0 ** (eqn.types[0].dtype.bits - (0 if eqn.op in EXACT else TRUNCATION))
            known = [x for x in ins if x is not None and max(-x.low, x.high) <= limit]
            outs = [rule(site, *known) if len(known) == len(ins) else None]
        return _windowed(eqn if body is eqn.body else replace(eqn, body=body), ins), outs

    def _extension(self, site: Site, x: Range) -> tuple[Eqn, list[Range]]:
        """Of an integer of w bits: nothing is to be done while its word holds the value itself, or for a comparison with 0 less
        than 2^w in size."""
        eqn, dtype = site.eqn, site.types[0].dtype
        low, high = dtype.bounds if eqn.op == "extend" else (1 - 2**dtype.width, 2**dtype.width - 1)
        if x is not None and low <= x.low and x.high <= high:
            return replace(eqn, op="retype", params={"dtype": eqn.types[0].dtype.plain}, body=None), [x]
        return eqn, [Interval(low, high) if eqn.op == "extend" and (self.typed or x is not None) else None]

    def _loop(self, eqn: Eqn, ins: list[Range], loud: bool, line: Where) -> tuple[Eqn, list[Range]]:
        """Ranges that hold in every iteration: what has not stopped growing after a few is unknown."""
        assert eqn.body is not None
        count, times = len(eqn.types), eqn.params["times"]
        carried, rest, index = ins[1:count], ins[count:], ins[0]
        if index is not None:
            index = Interval(index.low, index.high + times - 1)
        for step in range(times):
            _, outs = self.run(eqn.body, [index, *carried, *rest], False, line)
            wider = [None if a is None or b is None else hull(a, b) for a, b in zip(carried, outs[1:], strict=True)]
            if step < PATIENCE and wider.count(None) > carried.count(None):  # it overflows, so that nothing is known afterwards
                self.run(eqn.body, [index, *carried, *rest], loud, line)
            if wider == carried or step + 1 == times:
                break
            carried = wider if step < PATIENCE else [a if a == b else None for a, b in zip(carried, wider, strict=True)]
        body, outs = self.run(eqn.body, [index, *carried, *rest], loud, line)
        return eqn if body is eqn.body else replace(eqn, body=body), outs


def _extent(t: Type, c: np.ndarray) -> Range:
    if t.dtype.is_bool:
        return BIT
    numbers = _numbers(t, c)
    return Interval(float(numbers.min()), float(numbers.max())) if c.size else Interval(0, 0)


def _numbers(t: Type, c: np.ndarray) -> np.ndarray:
    """The integers of a constant's words, as float64."""
    return c.astype(float) if t.dtype.is_bool else ring_of(t.dtype.ring).decode(c, 0)


def _windowed(eqn: Eqn, ins: Sequence[Range]) -> Eqn:
    """The equation with the window of its comparison, if the operand is known to need fewer bits."""
    if eqn.op not in ("ltz", "eqz", "relu", "thresholds") or ins[0] is None:
        return eqn
    most = eqn.types[0].dtype.bits - 1
    bits = window(ins[0], eqn.params.get("values", (0,)), most)
    return replace(eqn, params={**eqn.params, "bits": bits}) if bits < eqn.params.get("bits", most) else eqn


def _warn(text: str, line: Where) -> None:
    """As Python warns: at the user's line, by default once for each."""
    seen = vars(sys.modules["__main__"]).setdefault("__warningregistry__", {})
    warnings.warn_explicit(text, RangeWarning, line.file or "mpc", line.line, registry=seen)


def annotate(program: Program, ranges: Sequence[Range]) -> tuple[Program, list[Range]]:
    """The program with the windows of its comparisons, given the ranges of its parameters, and the ranges of its results.

    Issues a RangeWarning for every operation that may overflow or leave its domain. Every party comes to the same program, and
    its digest covers the declared ranges and the windows. In a field nothing overflows, and nothing is compared by size.
    """
    inputs = [e for e in program.eqns if e.op == "input"]
    found: list[Range] = [None] * len(program.outs)
    annotated = program
    if ring_of(program.ring).primes:
        return program, found
    if any(r is not None for r in ranges) or any(e.params.get("range") for e in inputs):
        annotated, found = _Walk().run(program, ranges, True)
    elif not any(e.types[0].dtype.wraps for e in inputs):
        return program, found
    if any(e.types[0].dtype.wraps for e in inputs):  # what types alone say is nothing to warn of
        annotated, _ = _Walk(typed=True).run(program, ranges, False)
    return annotated, found

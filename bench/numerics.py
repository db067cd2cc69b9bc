"""Measures every function's error at several precisions, its rounds and bytes, and writes docs/numerics.md.

.venv/bin/python bench/numerics.py [--points 1000000] [--write]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import mpc
from mpc.errors import UsageError

Real = Callable[[np.ndarray], np.ndarray]
Domain = Callable[[mpc.DType], tuple[float, float]]
PRECISIONS = (mpc.fixed32(8), mpc.fixed64(16), mpc.fixed64(20), mpc.fixed64(26), mpc.fixed128(40))
USUAL = PRECISIONS[1]
WIDE_SHARE = 20  # one in so many points is measured in 128 bits, where everything takes longer
BATCH = 1 << 17
ERF = np.vectorize(math.erf)


class Row(NamedTuple):
    name: str
    private: Callable[[mpc.Array], mpc.Array]
    plain: Real
    domain: Domain
    outside: str
    logarithmic: bool = False  # sample the domain evenly in the exponent


def always(low: float, high: float) -> Domain:
    return lambda dtype: (low, high)


def whole(dtype: mpc.DType) -> tuple[float, float]:
    """Numbers that float64 holds exactly."""
    high = 2.0 ** ({32: 29, 64: 45, 128: 52}[dtype.bits] - dtype.fraction)
    return -high, high


def factors(dtype: mpc.DType) -> tuple[float, float]:
    """x with x^2 below 2^(61 - 2f), or where float64 shows an error of 2^-f."""
    high = 2.0 ** min((dtype.bits - 4 - 2 * dtype.fraction) // 2, (52 - dtype.fraction) // 2)
    return -high, high


def roots(dtype: mpc.DType) -> tuple[float, float]:
    """x whose square root can be squared."""
    return 1.0, 2.0 ** min(14, dtype.bits - 5 - 2 * dtype.fraction)


POSITIVE = always(2.0**-9, 2.0**14)
ROWS = [
    Row("relu", mpc.nn.relu, lambda v: np.maximum(v, 0), whole, "exact on the whole ring"),
    Row("abs", mpc.abs, np.abs, whole, "exact on the whole ring"),
    Row("x * x", lambda x: x * x, np.square, factors, "wraps beyond 2^(61-2f): declare ranges, or check=\"shadow\""),
    Row("sigmoid", mpc.nn.sigmoid, lambda v: 1 / (1 + np.exp(-v)), always(-700, 700), "0 below -12, 1 above 12 (f = 16)"),
    Row("tanh", mpc.tanh, np.tanh, always(-1000, 1000), "-1 below -6, 1 above 6 (f = 16)"),
    Row("erf", mpc.erf, ERF, always(-100, 100), "-1 below -4, 1 above 4 (f = 16)"),
    Row("gelu", mpc.nn.gelu, lambda v: v / 2 * (1 + ERF(v / 2**0.5)), always(-1000, 1000), "0 below -5, x above 5 (f = 16)"),
    Row("silu", mpc.nn.silu, lambda v: v / (1 + np.exp(-v)), always(-700, 700), "0 below -12.5, x above 12.5 (f = 16)"),
    Row("softplus", mpc.nn.softplus, lambda v: np.logaddexp(0, v), always(-1000, 1000), "0 below -12, x above 12 (f = 16)"),
    Row("exp", mpc.exp, np.exp, always(-20, 5), "0 below -f log 2; constant above 17, 14, 6 for f = 16, 20, 26"),
    Row("expm1", mpc.expm1, np.expm1, always(-20, 5), "as exp"),
    Row("exp2", mpc.exp2, np.exp2, always(-20, 7), "as exp"),
    Row("sin", mpc.sin, np.sin, always(-1000, 1000), "error grows as \\|x\\| 2^(f-62): none below 2^20 (f = 16)"),
    Row("cos", mpc.cos, np.cos, always(-1000, 1000), "as sin"),
    Row("reciprocal", mpc.reciprocal, np.reciprocal, POSITIVE, "1/0 = 2^min(f, 23); 0 from 2^15 on", True),
    Row("rsqrt", mpc.rsqrt, lambda v: v**-0.5, POSITIVE, "2^(f/2) for x <= 0; 2^-7.5 from 2^15 on", True),
    Row("sqrt", mpc.sqrt, np.sqrt, POSITIVE, "0 for x <= 0; 2^7.5 from 2^15 on", True),
    Row("log", mpc.log, np.log, always(2.0**-4, 2.0**14), "log 2^-f for x <= 0; log 2^15 from 2^15 on", True),
    Row("log2", mpc.log2, np.log2, always(2.0**-4, 2.0**14), "as log", True),
    Row("log1p", mpc.log1p, np.log1p, always(2.0**-4, 2.0**14), "as log at 1 + x", True),
    Row("log10", mpc.log10, np.log10, always(2.0**-4, 2.0**14), "as log", True),
    Row("tan", mpc.tan, np.tan, always(-1.5, 1.5), "error grows as 1 + tan(x)^2; wraps beyond 2^(61-2f)"),
    Row("asin", mpc.asin, np.arcsin, always(-1, 1), "-pi/2 below -1, pi/2 above 1"),
    Row("acos", mpc.acos, np.arccos, always(-1, 1), "pi below -1, 0 above 1"),
    Row("atan", mpc.atan, np.arctan, always(-(2.0**14), 2.0**14), "right everywhere"),
    Row("atan2", lambda x: mpc.atan2(x, 1), np.arctan, always(-(2.0**14), 2.0**14), "of (x, 1); means nothing from 2^15 on"),
    Row("sinh", mpc.sinh, np.sinh, always(-5, 5), "as exp"),
    Row("cosh", mpc.cosh, np.cosh, always(-5, 5), "as exp"),
    Row("asinh", mpc.asinh, np.arcsinh, always(-(2.0**14), 2.0**14), "+-16 log 2 beyond +-2^15"),
    Row("acosh", mpc.acosh, np.arccosh, roots, "log x below 1; log 2^15 from 2^14 on", True),
    Row("atanh", mpc.atanh, np.arctanh, always(-0.999, 0.999), "+-(f + 1) log(2) / 2 from +-1 on"),
    Row("cbrt", mpc.cbrt, np.cbrt, always(-(2.0**14), 2.0**14), "+-2^5 beyond +-2^15"),
    Row("x ** 1.5", lambda x: x**1.5, lambda v: v**1.5, always(2.0**-4, 2.0**3), "as exp(1.5 log x)", True),
]  # fmt: skip

# what is asked for too often to be left to a formula: (text, function of a session and an input function)
CASES: list[tuple[str, Callable[[Callable[[float], mpc.Array]], Any]]] = [
    ("1 / 0", lambda v: 1 / v(0.0)),
    ("1 / 5000", lambda v: 1 / v(5000.0)),
    ("7 * (1 / 5000), public factor", lambda v: v(7.0) * (1 / 5000)),
    ("1 / 1e5", lambda v: 1 / v(1e5)),
    ("log(0)", lambda v: mpc.log(v(0.0))),
    ("log(-1)", lambda v: mpc.log(v(-1.0))),
    ("sqrt(-1)", lambda v: mpc.sqrt(v(-1.0))),
    ("rsqrt(0)", lambda v: mpc.rsqrt(v(0.0))),
    ("exp(20)", lambda v: mpc.exp(v(20.0))),
    ("exp(-50)", lambda v: mpc.exp(v(-50.0))),
    ("sigmoid(1000)", lambda v: mpc.nn.sigmoid(v(1000.0))),
    ("sigmoid(-1000)", lambda v: mpc.nn.sigmoid(v(-1000.0))),
    ("1e5 * 1e5", lambda v: v(1e5) * v(1e5)),
]


def points(row: Row, dtype: mpc.DType, n: int, rng: np.random.Generator) -> np.ndarray:
    """n values of the domain that the dtype can represent, ends included."""
    (low, high), f = row.domain(dtype), dtype.fraction
    if row.logarithmic:
        v = np.exp(rng.uniform(math.log(low), math.log(high), n))
    else:
        v = rng.uniform(low, high, n)
        v[: n // 2] = rng.uniform(max(low, -16), min(high, 16), n // 2)
    v[:3] = low, high, min(max(0.0, low), high)
    return np.clip(np.rint(v * 2.0**f) / 2.0**f, low, high)


class Errors(NamedTuple):
    absolute: float
    relative: float  # to max(1, |f|)

    def __str__(self) -> str:
        texts = ["0" if not e else f"2^{math.log2(e):.1f}" for e in self]
        return texts[0] if texts[0] == texts[1] else f"{texts[0]} ({texts[1]})"


def errors(session: mpc.Session, row: Row, dtype: mpc.DType, n: int) -> Errors:
    """Maximal errors of one function on n points."""
    v, worst, relative = points(row, dtype, n, np.random.default_rng(1)), 0.0, 0.0
    with np.errstate(over="ignore"):
        for i in range(0, n, BATCH):
            part, exact = v[i : i + BATCH], row.plain(v[i : i + BATCH])
            error = np.abs(row.private(session.input(part, owner=0)).reveal() - exact)
            worst = max(worst, float(error.max()))
            relative = max(relative, float((error / np.maximum(np.abs(exact), 1.0)).max()))
    return Errors(worst, relative)


def cost(session: mpc.Session, row: Row, n: int) -> str:
    """Rounds, bytes an element that an evaluator sends, bytes an element that are dealt."""
    report = session.cost(row.private(session.placeholder((n,), 0)))
    sent = max(b for (i, j), b in report.links.items() if i != report.dealer)
    return f"{report.rounds - 1}, {sent / n - session.settings.dtype.bits // 8:.0f}, {report.dealt_bytes / n:.0f}"


def table(protocol: str, parties: int, n: int) -> str:
    """The functions at every precision as Markdown."""
    cells: dict[str, list[str]] = {row.name: [] for row in ROWS}
    costs: dict[str, list[str]] = {row.name: [] for row in ROWS}
    for dtype in PRECISIONS:
        with mpc.local(parties=parties, protocol=protocol, dtype=dtype) as session:
            for row in ROWS:
                try:
                    found = errors(session, row, dtype, n if dtype.bits <= 64 else n // WIDE_SHARE)
                    cell, took = str(found), cost(session, row, 4096)
                except UsageError:  # functions of numbers of any size have no room in 32 bits
                    cell = took = "-"
                cells[row.name].append(cell)
                costs[row.name].append(took)
                print(f"{protocol} {dtype} {row.name}: {cell}; {took}", file=sys.stderr, flush=True)
    lines = [
        f"| function | measured on | {' | '.join(f'error, {d}' for d in PRECISIONS)} | outside "
        f"| {' | '.join(f'cost, {d}' for d in PRECISIONS)} |",
        "|---" * (3 + 2 * len(PRECISIONS)) + "|",
    ]
    for row in ROWS:
        low, high = row.domain(USUAL)
        domain = f"[{low:g}, {high:g}]" + (" and less" if any(row.domain(d) != (low, high) for d in PRECISIONS) else "")
        lines.append(
            f"| {row.name} | {domain} | {' | '.join(cells[row.name])} | {row.outside} | {' | '.join(costs[row.name])} |"
        )
    return "\n".join(lines)


def outside() -> str:
    """Single values, most of them outside a domain, as Markdown."""
    columns = []
    for dtype in PRECISIONS:
        with mpc.local(parties=3, dtype=dtype) as session:
            columns.append([_value(session, case) for _, case in CASES])
    head = [f"| | {' | '.join(map(str, PRECISIONS))} |", "|---" * (1 + len(PRECISIONS)) + "|"]
    return "\n".join(
        [*head, *(f"| {text} | {' | '.join(column[i] for column in columns)} |" for i, (text, _) in enumerate(CASES))]
    )


def _value(session: mpc.Session, case: Callable[[Callable[[float], mpc.Array]], Any]) -> str:
    try:
        return f"{float(case(lambda v: session.input([v]))[0].reveal()):.7g}"
    except UsageError:
        return "-"


HEAD = """\
# Numbers: domains, errors, costs

Written by `bench/numerics.py`; do not edit. Real numbers are integers at scale 2^f: `fixed64(f)`, f = 16 by default, or in
words of 32 and 128 bits `fixed32(f)` and `fixed128(f)` (fixed64.16 is `fixed64(16)`). In w bits inputs hold |x| < 2^(w-2-f). A
product is exact up to its rounding, |x y| < 2^(w-3-2f): 2^29 for fixed64(16), 2^21 for 20, 2^9 for 26; 2^13 for fixed32(8),
2^45 for fixed128(40). A sum of k products is rounded once. Rounding is by a public uniform dither (error below 2^-f, unbiased)
unless the session asks for `truncation="floor"` or `"nearest"`. Comparisons, relu, maximum, abs and integer arithmetic are
exact. Public factors are encoded with as many bits as their size allows (1/5000 is not rounded to 16 bits); a fractional public
factor takes about f + 1 bits of a word, so it leaves |x| < 2^(w-4-2f).

A result beyond its word wraps around. Two things find that: inputs with declared ranges (`s.input(x, low=, high=)`) give a
`RangeWarning` with the line before the run, and `mpc.local(..., check="shadow")` stops at the first operation that is off.

Errors are maxima, absolute and (in brackets, where it differs) relative to max(1, |f(x)|). Costs are rounds, bytes an element
that one evaluator sends, without input and reveal, and bytes an element that are dealt. "-": refused, because 32 bits have no
room for it. In 128 bits the domains that end at 2^15 end at 2^40, and curves reach as far beyond those of 16 bits as their
smaller error asks (sigmoid at f = 40 is 0 below -30). Half of the points are uniform on what a function is measured on and half
on its part in [-16, 16]; of a function of positive numbers they are uniform in the exponent. Ends and 0 are among them.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true", help="write docs/numerics.md")
    args = parser.parse_args()
    text = HEAD + f"\n## Outside the domains\n\n{outside()}\n"
    for protocol, parties, n in (("helper", 3, args.points), ("additive", 3, args.points // 10)):
        head = f"`{protocol}`, {parties} parties, {n:,} points a function ({n // WIDE_SHARE:,} in 128 bits)"
        text += f"\n## {head}\n\n{table(protocol, parties, n)}\n"
    print(text)
    if args.write:
        (Path(__file__).resolve().parent.parent / "docs" / "numerics.md").write_text(text)


if __name__ == "__main__":
    main()

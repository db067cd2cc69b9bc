"""Measures every function's error, rounds and bytes, and writes docs/numerics.md.

.venv/bin/python bench/numerics.py [--points 1000000] [--write]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import mpc

Real = Callable[[np.ndarray], np.ndarray]


ERF = np.vectorize(math.erf)


class Row(NamedTuple):
    name: str
    private: Callable[[mpc.Array], mpc.Array]
    plain: Real
    low: float
    high: float
    logarithmic: bool  # sample the domain evenly in the exponent
    outside: str


ROWS = [
    Row("relu", mpc.nn.relu, lambda v: np.maximum(v, 0), -(2.0**29), 2.0**29, False, "exact on the whole ring"),
    Row("abs", mpc.abs, np.abs, -(2.0**29), 2.0**29, False, "exact on the whole ring"),
    Row("x * y (\\|x y\\| < 2^29)", lambda x: x * x, np.square, -(2.0**14), 2.0**14, False, "wraps: the caller must avoid it"),
    Row("sigmoid", mpc.nn.sigmoid, lambda v: 1 / (1 + np.exp(-v)), -1000, 1000, False, "0 below -12, 1 above 12"),
    Row("tanh", mpc.tanh, np.tanh, -1000, 1000, False, "-1 below -6, 1 above 6"),
    Row("erf", mpc.erf, ERF, -100, 100, False, "-1 below -4, 1 above 4"),
    Row("gelu", mpc.nn.gelu, lambda v: v / 2 * (1 + ERF(v / 2**0.5)), -1000, 1000, False, "0 below -5, x above 5"),
    Row("silu", mpc.nn.silu, lambda v: v / (1 + np.exp(-v)), -700, 700, False, "0 below -15, x above 15"),
    Row("softplus", mpc.nn.softplus, lambda v: np.logaddexp(0, v), -1000, 1000, False, "0 below -12, x above 12"),
    Row("exp", mpc.exp, np.exp, -20, 2, False, "0 below -12; e^17 above 17"),
    Row("reciprocal", mpc.reciprocal, np.reciprocal, 2.0**-9, 2.0**14, True, "below 2^-16 or above 2^15: wrong; 1/0 is large"),
    Row("rsqrt", mpc.rsqrt, lambda v: v**-0.5, 2.0**-9, 2.0**14, True, "x <= 0 or above 2^15: wrong"),
    Row("log", mpc.log, np.log, 2.0**-4, 2.0**14, True, "x below 2^-16: log 2^-16; above 2^15: wrong"),
    Row("sqrt", mpc.sqrt, np.sqrt, 2.0**-9, 2.0**14, True, "0 for -2^14 < x <= 0; above 2^15: wrong"),
]  # fmt: skip


def points(row: Row, n: int, rng: np.random.Generator) -> np.ndarray:
    """n values of the domain that fixed64(16) can represent, ends included."""
    if row.logarithmic:
        v = np.exp(rng.uniform(math.log(row.low), math.log(row.high), n))
    else:
        v = rng.uniform(row.low, row.high, n)
        v[: n // 2] = rng.uniform(max(row.low, -16), min(row.high, 16), n // 2)
    v[:3] = row.low, row.high, min(max(0.0, row.low), row.high)
    return np.clip(np.rint(v * 2**16) / 2**16, row.low, row.high)


def measure(session: mpc.Session, row: Row, n: int) -> dict[str, float]:
    """Maximal errors (absolute, relative), rounds and bytes an element of one function."""
    v = points(row, n, np.random.default_rng(1))
    x = session.input(v, owner=0)
    cost = session.cost(row.private(x))
    worst, relative = 0.0, 0.0
    with np.errstate(over="ignore"):
        for i in range(0, n, 1 << 17):
            part = v[i : i + (1 << 17)]
            error = np.abs(row.private(session.input(part, owner=0)).reveal() - row.plain(part))
            worst = max(worst, float(error.max()))
            relative = max(relative, float((error / np.maximum(np.abs(row.plain(part)), 1.0)).max()))
    sent = max(b for (i, j), b in cost.links.items() if i != cost.dealer)
    return {
        "absolute": worst,
        "relative": relative,
        "rounds": cost.rounds - 1,
        "online": sent / n - 8,
        "dealt": cost.dealt_bytes / n,
    }


def table(session: mpc.Session, n: int) -> str:
    """The rows as Markdown."""
    lines = [
        "| function | measured on | max error | relative to max(1, \\|f\\|) | outside | rounds | bytes online | bytes dealt |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        m = measure(session, row, n)
        errors = ["0" if not m[k] else f"2^{math.log2(m[k]):.1f}" for k in ("absolute", "relative")]
        lines.append(
            f"| {row.name} | [{row.low:g}, {row.high:g}] | {errors[0]} | {errors[1]} | {row.outside} "
            f"| {m['rounds']:.0f} | {m['online']:.1f} | {m['dealt']:.0f} |"
        )
    return "\n".join(lines)


HEAD = """\
# Numbers: domains, errors, costs

Written by `bench/numerics.py`; do not edit. Real numbers are integers at scale 2^16 (`fixed64(16)`); inputs hold |x| < 2^46.
A product is exact up to its rounding, |x y| < 2^29; a sum of k products is rounded once. Rounding is by a public uniform
dither (error below 2^-16, unbiased) unless the session asks for `truncation="floor"` or `"nearest"`. Comparisons, relu,
maximum, abs and integer arithmetic are exact. Public factors are encoded with as many bits as their size allows (1/5000 is not
rounded to 16 bits); a fractional public factor takes about 17 bits of a word, so it leaves |x| < 2^28.

Rounds and bytes an element are those of one evaluator, without input and reveal; "dealt" is what the dealer sends.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true", help="write docs/numerics.md")
    args = parser.parse_args()
    text = HEAD
    for protocol, parties in (("helper", 3), ("additive", 3)):
        with mpc.local(parties=parties, protocol=protocol) as session:
            n = args.points if protocol == "helper" else args.points // 10
            text += f"\n## `{protocol}`, {parties} parties, {n:,} points a function\n\n{table(session, n)}\n"
    print(text)
    if args.write:
        (Path(__file__).resolve().parent.parent / "docs" / "numerics.md").write_text(text)


if __name__ == "__main__":
    main()

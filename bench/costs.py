"""Counts what every operation costs under every protocol, and writes the tables of docs/protocols.md.

    .venv/bin/python bench/costs.py            # print them
    .venv/bin/python bench/costs.py --write    # after a change of a protocol

Nothing runs: all parties are rehearsed on shapes, which counts as a run does.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mpc
from mpc.bench.measure import default_parties
from mpc.lang.array import Settings
from mpc.lang.session import Session
from mpc.protocols.base import available

PAGE = Path(__file__).resolve().parent.parent / "docs" / "protocols.md"
BEGIN, END = "<!-- costs: written by bench/costs.py -->", "<!-- end of costs -->"
N = 4096  # elements: bits pack into whole words, and a gate is one chunk
ROWS_OF = 16  # columns of what works on rows

HEAD = """\
Rounds, bytes an element that all parties together send, and, where there is a dealer, bytes an element that it sends; without
inputs and the reveal. Elements are those of the first operand, {n:,} of them in `fixed64(16)`, dithered; rows have {columns}.
What parties of `replicated` deal for each other counts as sent.
"""


class Row(NamedTuple):
    name: str
    run: Callable[..., Any]
    operands: tuple[Any, ...] = (None,)  # their types: None is the session's fixed point
    shape: tuple[int, ...] = (N,)
    before: Callable[..., Any] = lambda *operands: operands[0]  # what is not counted


FIXED, PAIR = (None,), (None, None)
TABLE = (N // ROWS_OF, ROWS_OF)
ROWS = [
    Row("x + y, x * 3, sum(x)", lambda x, y: (x + y * 3).sum(), PAIR),
    Row("x * 1.37 (public)", lambda x: x * 1.37),
    Row("x * y", lambda x, y: x * y, PAIR),
    Row("x * y * z, the second product", lambda x, y, z: x * y * z, (None,) * 3, before=lambda x, y, z: x * y),
    Row("x * y (int64)", lambda x, y: x * y, (mpc.int64, mpc.int64)),
    Row("x @ y, 64 x 64", lambda x, y: x @ y, PAIR, (64, 64)),
    Row("x & y (bool)", lambda x, y: x & y, (mpc.bool, mpc.bool)),
    Row("bool to int64", lambda b: b.astype(mpc.int64), (mpc.bool,)),
    Row("where(b, x, y)", mpc.where, (mpc.bool, None, None)),
    Row("x < 0, x < y", lambda x, y: x < y, PAIR),
    Row("x == y", lambda x, y: x == y, PAIR),
    Row("relu", mpc.nn.relu),
    Row("maximum", mpc.maximum, PAIR),
    Row("max of rows", lambda x: mpc.max(x, axis=1), FIXED, TABLE),
    Row("argmax of rows", lambda x: mpc.argmax(x, 1), FIXED, TABLE),
    Row("sigmoid", mpc.nn.sigmoid),
    Row("tanh", mpc.tanh),
    Row("gelu", mpc.nn.gelu),
    Row("exp", mpc.exp),
    Row("log", mpc.log),
    Row("reciprocal", mpc.reciprocal),
    Row("x / y", lambda x, y: x / y, PAIR),
    Row("rsqrt", mpc.rsqrt),
    Row("sqrt", mpc.sqrt),
    Row("sin", mpc.sin),
    Row("softmax of rows", mpc.nn.softmax, FIXED, TABLE),
    Row("layer_norm of rows", mpc.nn.layer_norm, FIXED, TABLE),
    Row("shuffle", mpc.shuffle),
    Row("sort", mpc.sort),
    Row("random uniform", lambda x: x + mpc.random.uniform(x, x.shape)),
]


def totals(s: Session, row: Row, run: Callable[..., Any]) -> tuple[int, float, float]:
    """Rounds of a program, and what its gates send and are dealt, in bytes an element."""
    report = s.cost(run(*(s.placeholder(row.shape, 0, dtype) for dtype in row.operands)))
    gates = [c for name, c in report.by_op.items() if name not in ("input", "reveal")]
    n = math.prod(row.shape)
    return report.rounds, sum(c.online for c in gates) / n, sum(c.dealt for c in gates) / n


def cost(protocol: str, parties: int, row: Row) -> str:
    """Rounds, bytes sent and, if any are dealt, bytes dealt."""
    s = Session(available()[protocol], protocol, parties, None, Settings(), ())
    whole, before = totals(s, row, row.run), totals(s, row, row.before)
    rounds, sent, dealt = (a - b for a, b in zip(whole, before, strict=True))
    return f"{rounds}, {_digits(sent)}" + (f", {_digits(dealt)}" if dealt else "")


def _digits(n: float) -> str:
    return f"{n:,.0f}" if n >= 100 else f"{n:.3g}"


def settings() -> list[tuple[str, int]]:
    """Every protocol with as few parties as it takes, and `additive` with one more."""
    return [(p, k) for p in available() if p != "plain" for k in {default_parties(p), 3 if p == "additive" else 0} if k]


def tables() -> str:
    """What stands between the marks of docs/protocols.md."""
    columns = sorted(settings())
    titles = " | ".join(f"`{protocol}`, {parties}" for protocol, parties in columns)
    lines = [f"| | {titles} |", "|---" * (1 + len(columns)) + "|"]
    lines += [f"| {row.name} | {' | '.join(cost(p, k, row) for p, k in columns)} |" for row in ROWS]
    return HEAD.format(n=N, columns=ROWS_OF) + "\n" + "\n".join(lines) + "\n"


def parts() -> tuple[str, str, str]:
    """The page: what is before the tables, they, and what is after them."""
    before, rest = PAGE.read_text().split(BEGIN + "\n")
    written, after = rest.split(END)
    return before + BEGIN + "\n", written, END + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write them into docs/protocols.md")
    text = tables()
    print(text)
    if parser.parse_args().write:
        before, _, after = parts()
        PAGE.write_text(before + text + after)


if __name__ == "__main__":
    main()

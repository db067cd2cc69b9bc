"""Whole operations between real processes: the rows of `mpc bench`, and how far they are from what the kernels allow.

    make bench                                   # everything but the suite `heavy`
    .venv/bin/python -m pytest bench/test_protocols.py -p benchmark --benchmark-only -k "relu or matmul"

`measure` runs a job, warms up, and tells what `mpc bench` tells; pytest-benchmark is shown the seconds that the parties
measured. All parties and the dealer run on this machine, preprocessing included, without encryption.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from limits import REGISTER, Limits

from mpc.bench.jobs import GROWING, JOBS, MODELS, OPERATIONS, PRIMITIVES, Job
from mpc.bench.measure import Setting, measure
from mpc.net.shaped import Network
from mpc.ring.kernels import kernels

REPEAT = 3
HELPER, ADDITIVE, REPLICATED = Setting("helper", 3, None), Setting("additive", 2, None), Setting("replicated", 3, None)
LAN, WAN = (Setting("helper", 3, Network.of(name)) for name in ("lan", "wan"))
GROWTH = [10**k for k in range(3, 7)]
OTHERS = [  # what is measured under the other protocols too
    *("matmul256", "mul1e6", "relu1e6", "lt1e6", "sigmoid1e5", "exp1e5", "reciprocal1e5", "softmax1000x10", "chain200"),
    *("max1000x16", "conv2d_64_56", "sort1e4", "lenet32"),
]
CASES: list[tuple[str, Job, Setting, int | None]] = [
    *((name, JOBS[name], HELPER, None) for name in (*PRIMITIVES, *OPERATIONS, *MODELS)),
    *((name, JOBS[name], setting, None) for setting in (ADDITIVE, REPLICATED) for name in OTHERS),
    *((name, JOBS[name], LAN, None) for name in ("matmul1024", "relu1e6", "sigmoid1e5", "softmax1000x10", "lenet32")),
    *((name, JOBS[name], WAN, None) for name in ("sigmoid1e5", "softmax1000x10", "lenet32")),
    *((name, GROWING[name](n), HELPER, n) for name in ("mul", "relu") for n in GROWTH),
]


class Clock:
    """Goes on by what parties measured."""

    now = 0.0


def clock() -> float:
    return Clock.now


def limit(row: dict[str, Any], limits: Limits) -> float | None:
    """Seconds of the multiplications at the rate of a multiplier, or of writing every word once as memcpy does, whichever is
    longer, on all cores."""
    tier = kernels().tier
    if tier not in REGISTER or row["words_written"] < 1e6:
        return None
    least = max(row["multiplications"] / limits.multiply("u64", tier), 8 * row["words_written"] / limits.memory(1 << 26))
    return float(least) / len(os.sched_getaffinity(0))


@pytest.mark.benchmark(timer=clock)
@pytest.mark.parametrize(
    ("name", "job", "setting", "elements"), CASES, ids=[f"{n}-{e or ''}-{s.protocol}-{s.network_name}" for n, _, s, e in CASES]
)
def test_operation(
    name: str, job: Job, setting: Setting, elements: int | None, benchmark: Any, figures: Any, limits: Limits
) -> None:
    row = measure(name, job, setting, REPEAT)
    samples = iter(row["samples"])

    def show() -> None:
        Clock.now += next(samples)

    benchmark.pedantic(show, rounds=len(row["samples"]))
    least = None if setting.network else limit(row, limits)
    row |= {} if least is None else {"ratio_to_limit": row["seconds"] / least}
    row |= {} if elements is None else {"elements": elements}
    figures.rows.append(row)
    benchmark.extra_info.update({key: value for key, value in row.items() if key != "profile"})

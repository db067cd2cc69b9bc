"""Whole operations between real processes: seconds, rounds, bytes, error, and the ratio to NumPy in the clear.

    make bench                                   # everything
    .venv/bin/python -m pytest bench/test_protocols.py -p benchmark --benchmark-only -k "relu or matmul"

All parties and the dealer run on this machine, preprocessing included, over ZeroMQ ipc without encryption. Inputs are shared
beforehand and fresh for every repetition, so no opening is reused. Medians after one warm-up.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import mpc

REPEAT = 5
SETTINGS = [("helper", 3), ("replicated", 3), ("additive", 2)]


class Job(NamedTuple):
    """A computation on secrets and the same in the clear; `data` are its inputs, owned by parties 0 and 1 in turn."""

    private: Callable[..., mpc.Array]
    plain: Callable[..., np.ndarray]
    data: Callable[[np.random.Generator], list[np.ndarray]]


def normal(*shape: int) -> Callable[[np.random.Generator], list[np.ndarray]]:
    return lambda rng: [rng.normal(size=shape)]


def sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


def softmax(v: np.ndarray) -> np.ndarray:
    e = np.exp(v - v.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def chain(x: Any, y: Any) -> Any:
    for _ in range(200):
        x = x * y
    return x


def conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, w, optimize=True)


def logreg(x: Any, y: Any, w: Any, s: Callable[[Any], Any]) -> Any:
    for _ in range(10):
        w = w - (x.T @ (s(x @ w) - y)) * (1 / 1000)
    return w


def pool(v: np.ndarray) -> np.ndarray:
    n, c, h, w = v.shape
    return v.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def lenet(x: Any, c1: Any, c2: Any, f1: Any, f2: Any, f3: Any) -> mpc.Array:
    x = mpc.nn.max_pool2d(mpc.nn.relu(mpc.nn.conv2d(x, c1, padding=2)))
    x = mpc.nn.max_pool2d(mpc.nn.relu(mpc.nn.conv2d(x, c2)))
    x = mpc.nn.relu(x.reshape(x.shape[0], -1) @ f1)
    return mpc.nn.relu(x @ f2) @ f3


def lenet_plain(x: np.ndarray, c1: np.ndarray, c2: np.ndarray, f1: np.ndarray, f2: np.ndarray, f3: np.ndarray) -> np.ndarray:
    def valid(v: np.ndarray, w: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(v, w.shape[2:], (2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, w, optimize=True)

    x = pool(np.maximum(valid(np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2))), c1), 0))
    x = pool(np.maximum(valid(x, c2), 0)).reshape(len(x), -1)
    return np.maximum(np.maximum(x @ f1, 0) @ f2, 0) @ f3


LENET = [(32, 1, 28, 28), (6, 1, 5, 5), (16, 6, 5, 5), (400, 120), (120, 84), (84, 10)]
JOBS = {
    "matmul256": Job(lambda x, y: x @ y, np.matmul, lambda g: [g.normal(size=(256, 256)) for _ in "xy"]),
    "matmul1024": Job(lambda x, y: x @ y, np.matmul, lambda g: [g.normal(size=(1024, 1024)) for _ in "xy"]),
    "mul1e6": Job(lambda x, y: x * y, np.multiply, lambda g: [g.normal(size=10**6) for _ in "xy"]),
    "relu1e6": Job(mpc.nn.relu, lambda v: np.maximum(v, 0), normal(10**6)),
    "lt1e6": Job(lambda x: x < 0, lambda v: v < 0, normal(10**6)),
    "sigmoid1e5": Job(mpc.nn.sigmoid, sigmoid, normal(10**5)),
    "tanh1e5": Job(mpc.tanh, np.tanh, normal(10**5)),
    "gelu1e5": Job(mpc.nn.gelu, lambda v: v / 2 * (1 + np.vectorize(math.erf)(v / 2**0.5)), normal(10**5)),
    "exp1e5": Job(mpc.exp, np.exp, lambda g: [g.uniform(-8, 2, 10**5)]),
    "reciprocal1e5": Job(mpc.reciprocal, np.reciprocal, lambda g: [g.uniform(0.5, 100, 10**5)]),
    "softmax1000x10": Job(mpc.nn.softmax, softmax, normal(1000, 10)),
    "chain200": Job(chain, lambda x, y: x * y**200, lambda g: [g.normal(size=1), np.array([0.999])]),
    "max1000x16": Job(lambda x: mpc.max(x, axis=1), lambda v: v.max(1), normal(1000, 16)),
    "argmax1000x16": Job(lambda x: mpc.argmax(x, 1), lambda v: v.argmax(1), normal(1000, 16)),
    "conv2d_64_56": Job(
        lambda x, w: mpc.nn.conv2d(x, w, padding=1),
        conv,
        lambda g: [g.normal(size=s) for s in ((1, 64, 56, 56), (64, 64, 3, 3))],
    ),
    "lenet32": Job(lenet, lenet_plain, lambda g: [g.normal(size=s) / np.sqrt(np.prod(s[1:] or s) / 4) for s in LENET]),
    "logreg1000x100": Job(
        lambda x, y, w: logreg(x, y, w, mpc.nn.sigmoid),
        lambda x, y, w: logreg(x, y, w, sigmoid),
        lambda g: [g.normal(size=(1000, 100)), g.integers(0, 2, 1000).astype(float), np.zeros(100)],
    ),
}
ROWS: list[str] = []


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda v: f"{v[0]}{v[1]}")
def session(request: pytest.FixtureRequest) -> Any:
    protocol, parties = request.param
    with mpc.local(parties=parties, protocol=protocol) as s:
        yield s


@pytest.mark.parametrize("name", JOBS)
def test_operation(name: str, session: mpc.Session, benchmark: Any) -> None:
    job, rng = JOBS[name], np.random.default_rng(1)
    data = [np.rint(d * 2**16) / 2**16 for d in job.data(rng)]  # what fixed64(16) holds, so that only the protocol errs

    def prepare() -> tuple[list[mpc.Array], dict[str, Any]]:
        arrays = [session.input(d, owner=i % 2) for i, d in enumerate(data)]
        session.reveal(*(a.sum() for a in arrays))  # shared now; the sums are openings of their own
        return [arrays], {}

    seconds: list[float] = []

    def run(arrays: list[mpc.Array]) -> np.ndarray:
        value: np.ndarray = job.private(*arrays).reveal()
        seconds.append(max(m.seconds for m in session.measured))
        return value

    value = benchmark.pedantic(run, setup=prepare, rounds=REPEAT, warmup_rounds=1)
    start = time.perf_counter()
    plain = job.plain(*data)
    clear = time.perf_counter() - start
    median = statistics.median(seconds[1:])
    sent = [sum(m.sent.values()) for m in session.measured]
    dealt = 0 if session.protocol.cycle > 1 else sent.pop()  # where parties take turns at dealing it counts as sent
    error = float(np.max(np.abs(value.astype(float) - plain.astype(float))))
    extra = ""
    if name.startswith("matmul"):
        words = [rng.integers(0, 1 << 63, d.shape, np.uint64) for d in data]
        start = time.perf_counter()
        np.matmul(*words)
        extra = f"   NumPy uint64 in the clear takes {(time.perf_counter() - start) / median:.1f} times as long"
    benchmark.extra_info.update(protocol=session.protocol_name, seconds=median, rounds=session.measured[0].rounds, error=error)
    ROWS.append(
        f"{name:15} {session.protocol_name:9} {median * 1e3:9.2f} ms {session.measured[0].rounds:5} rounds "
        f"{max(sent) / 1e6:8.2f} MB sent {dealt / 1e6:8.2f} MB dealt   error {error:.1e}   "
        f"NumPy {clear * 1e3:8.2f} ms{extra}"
    )


@pytest.fixture(scope="module", autouse=True)
def table() -> Any:
    yield
    print("\n\n" + "\n".join(ROWS))

"""The shadow of a run is silent where results are as good as promised, and names the first operation that is not."""

from __future__ import annotations

import re

import numpy as np
import pytest

import mpc
from mpc.errors import ShadowError, UsageError
from mpc.lang.array import Settings
from mpc.lang.session import Session
from mpc.protocols.base import available
from mpc.run.chunks import CHUNK
from mpc.run.shadow import Shadow

from ..memory import MemoryBackend
from ..operations import OPERATIONS, ULP, Operation, results


class Shadowed(MemoryBackend):
    def __init__(self, n: int) -> None:
        super().__init__(available()["plain"], n)
        self.shadow = Shadow()

    def run(self, program, stored, inputs, keep, drop):
        self.shadow.run(program, stored, inputs, keep, drop)
        return super().run(program, stored, inputs, keep, drop)


def shadowed(n: int = 3) -> Session:
    return Session(available()["plain"], "plain", n, Shadowed(n), Settings())


def leaves_its_domain(operation: Operation) -> bool:
    """Operations of the suite that wrap or saturate on purpose."""
    return bool(
        re.search(
            r"wraps|saturates|zero and|of zero|huge|positives|negatives|is 0|int$|itself|ends$|far apart|extremes",
            operation.name,
        )
    )


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if not leaves_its_domain(o)], ids=str)
def test_silent_where_results_are_good(operation: Operation):
    with shadowed() as s:
        arrays = [s.input(x, owner=i % s.n) for i, x in enumerate(operation.inputs)]
        s.reveal(*results(operation.f(*arrays)))


@pytest.mark.parametrize(
    ("f", "values", "op"),
    [
        (lambda x: x * x + 1, [1.0, 1e5], "mul"),
        (lambda x: (x * 3).reshape(1, 2) @ x, [2e4, 2e4], "matmul"),
        (lambda x: mpc.fori(0, 9, lambda i, c: c * x, x), [1.0, 100.0], "mul"),
        (mpc.function(lambda x: mpc.nn.relu(x) * x * 0.5), [1.0, 1e5], "mul"),
        (lambda x: x.sum() * 1, [2.0**45, 2.0**45, 2.0**45, 2.0**45], "sum"),
        (lambda x: x + x + x, [1.0, 2.0**45, 2.0**45 * 1.5], "add"),
        (lambda x: 1 / x, [1.0, 0.0], "reciprocal"),
        (lambda x: mpc.log(x) + 1, [1.0, -2.0], "log"),
        (lambda x: mpc.exp(x), [1.0, 20.0], "exp"),
        (lambda x: mpc.sqrt(x), [1.0, 1e5], "sqrt"),
        (lambda x: mpc.rsqrt(x), [1.0, 0.0], "rsqrt"),
    ],
)
def test_the_first_bad_operation_is_named(f, values, op):
    with shadowed() as s, pytest.raises(ShadowError, match=rf"^{op} at test_shadow.py:\d+: element .* float64 gives") as error:
        y = f(s.input(values))
        (y + 1).reveal()
    assert re.search("Scale", str(error.value))


def test_values_of_earlier_runs_are_followed():
    with shadowed() as s:
        x = s.input([300.0, 2.0], owner=2)
        y = x * x
        assert y.reveal().tolist() == [90000.0, 4.0]
        with pytest.raises(
            ShadowError, match=r"element \[0\] of \[2\] is .* float64 gives 8.1e\+09 for 90000 and 90000; 1 element"
        ):
            (y * y).reveal()


def test_large_arrays():
    v = np.rint(np.linspace(-100, 100, CHUNK + 640) / ULP) * ULP
    with shadowed() as s:
        x = s.input(v)
        assert np.allclose(mpc.nn.relu(x * x).reveal(), v * v, atol=2 * ULP)


def test_a_local_session():
    with mpc.local(2, "additive", check="shadow") as s:
        assert (s.input([3.0]) * s.input([2.0], owner=1)).reveal().tolist() == [6.0]
        with pytest.raises(ShadowError, match="Scale"):
            (s.input([1e6]) * s.input([1e6], owner=1)).reveal()
    with pytest.raises(UsageError, match="shadow"):
        mpc.local(2, "additive", check="sun")

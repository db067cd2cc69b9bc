"""Declared ranges: what can overflow is told before the run, what is inferred holds, and comparisons get their windows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.errors import RangeError, RangeWarning, UsageError
from mpc.ir.ops import OPS
from mpc.ir.ranges import CORE, MOVES, Interval, annotate, window
from mpc.lang.array import Settings
from mpc.lang.session import Session
from mpc.protocols.base import available

from ..memory import open_session
from ..operations import OPERATIONS, Operation, results


def planner() -> Session:
    return Session(available()["helper"], "helper", 3, None, Settings())


def told(f: Callable[..., Any], *ranges: tuple[float, float], shape: tuple[int, ...] = (4,)) -> list[str]:
    """What is said about f of fixed-point inputs with these ranges."""
    s = planner()
    arrays = [s.placeholder(shape, 0, low=low, high=high) for low, high in ranges]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        s.equations(results(f(*arrays)))
    return [str(w.message) for w in caught if issubclass(w.category, RangeWarning)]


def inferred(f: Callable[..., Any], *ranges: tuple[float, float], shape: tuple[int, ...] = (4,)) -> tuple[float, float] | None:
    s = planner()
    arrays = [s.placeholder(shape, 0, low=low, high=high) for low, high in ranges]
    (out,) = annotate(s.equations([f(*arrays)]), [])[1]
    return out and (out.low / 2**16, out.high / 2**16)


def test_an_overflow_is_told_with_its_line_before_the_run(s: Session):
    x = s.input([1e5, 2.0], low=-1e5, high=1e5)
    y = x * x
    with pytest.warns(RangeWarning, match=r"mul at test_ranges.py:\d+: the product can reach 1e\+10 .* less than 5.37e\+08"):
        s.cost(y)
    with pytest.warns(RangeWarning):
        y.reveal()


def test_nothing_is_said_without_a_declaration():
    s = planner()
    x, y = s.placeholder((4,), 0), s.placeholder((4,), 1, low=0, high=1e6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        s.equations([x * x * x, 1 / x, mpc.log(x), mpc.exp(x), (x * y) * y, x + y])


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_what_is_inferred_holds(operation: Operation):
    """Every operation of the conformance suite on inputs with the tightest declaration: still right, and within its range."""
    with open_session("helper", 3) as s, warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)
        arrays = []
        for x in operation.inputs:
            bounds = {} if x.dtype == bool or not x.size else {"low": x.min(), "high": x.max()}
            arrays.append(s.input(x, **bounds))
        outs = results(operation.f(*arrays))
        _, ranges = annotate(s.equations(outs), [])
        found = s.reveal(*outs)
    for got, want, reach, out in zip(found, operation.oracle(), ranges, outs, strict=True):
        bound = np.broadcast_to(operation.bound(), want.shape)
        assert (got == want).all() if not bound.any() else (np.abs(got - want) <= bound).all()
        if reach is not None and got.size:
            scale = 2.0**out.dtype.fraction
            assert reach.low <= got.min() * scale
            assert got.max() * scale <= reach.high


PLANTED: list[tuple[Callable[..., Any], Callable[..., float]]] = [  # and the largest intermediate value, over 2^(61 - 2f)
    (lambda x, y: x * y, lambda a, b: a * b / 2**29),
    (lambda x, y: x * x + y, lambda a, b: a * a / 2**29),
    (lambda x, y: (x + y) * (x + y), lambda a, b: (a + b) ** 2 / 2**29),
    (lambda x, y: x @ y, lambda a, b: 4 * a * b / 2**29),
    (lambda x, y: mpc.nn.relu(x) * y, lambda a, b: a * b / 2**29),
    (lambda x, y: mpc.maximum(x, y) * mpc.minimum(x, y), lambda a, b: max(a, b) ** 2 / 2**29),
    (lambda x, y: mpc.where(x > 0, x, y) * y, lambda a, b: max(a, b) * b / 2**29),
    (lambda x, y: mpc.concatenate([x, y]).sum() * x, lambda a, b: 8 * max(a, b) * a / 2**29),
    (lambda x, y: mpc.fori(0, 3, lambda i, c: c + y, x) * x, lambda a, b: (a + 3 * b) * a / 2**29),
    (mpc.function(lambda x, y: (x - y) * x), lambda a, b: (a + b) * a / 2**29),
    (lambda x, y: x @ np.array([3.0, -1.0, 2.5, 0.5]) * y, lambda a, b: 7 * a * b / 2**29),
    (lambda x, y: x.reshape(2, 2).T[::-1].ravel() * abs(y), lambda a, b: a * b / 2**29),
    (lambda x, y: x.mean() * y, lambda a, b: a * b / 2**29),
]


def test_five_hundred_planted_overflows_and_no_false_alarm():
    """Symmetric ranges, for which these bounds are reached: warned exactly where a product leaves the word."""
    random = np.random.default_rng(7)
    planted = 0
    for i in range(1500):
        f, reach = PLANTED[i % len(PLANTED)]
        a, b = 2.0 ** random.uniform(4, 20, 2)
        size = reach(a, b)
        if 0.99 < size < 1.01:
            continue  # rounding of constants decides
        planted += size > 1
        assert bool(told(f, (-a, a), (-b, b))) == (size > 1), (i % len(PLANTED), a, b)
    assert planted >= 500


def test_domains_of_functions_are_told():
    for f, inside, outside in (
        (mpc.reciprocal, (0.1, 1e6), (-1, 1)),
        (lambda x: 5 / x, (-9, -1), (0, 1)),
        (mpc.log, (0.1, 100), (0, 1)),
        (mpc.log, (1, 32767), (1, 40000)),
        (mpc.sqrt, (0, 32767), (-1, 1)),
        (mpc.rsqrt, (0.01, 100), (0, 1)),
        (mpc.exp, (-1e6, 16), (0, 20)),
    ):
        assert told(f, inside) == []
        (text,) = told(f, outside)
        assert "declared range" in text
        assert "test_ranges.py:" in text
    assert told(lambda x: x.std(), (-50, 50)) == [], "a variance is not negative"
    assert told(lambda x: mpc.nn.softmax(x), (-100, 100)) == []
    assert told(lambda x: mpc.nn.layer_norm(x), (-10, 10)) == []


def test_functions_bound_their_results():
    near = pytest.approx
    assert inferred(mpc.nn.sigmoid, (-100, 100)) == near((0, 1), abs=1e-3)
    assert inferred(mpc.nn.sigmoid, (0, 0.5)) == near((0.5, 0.82), abs=0.05)  # by parts of the domain
    assert inferred(mpc.nn.gelu, (-3, 50)) == near((-0.17, 50), abs=0.03)
    assert inferred(lambda x: x * x, (-3, 2)) == (0, 9)
    assert inferred(lambda x: x * x + 1, (2, 3)) == (5, 10)
    assert inferred(lambda x: x.max(), (-3, 2), shape=(1000,)) == (-3, 2)
    assert inferred(lambda x: abs(x), (-3, 2)) == (0, 3)
    assert inferred(lambda x: x.clip(0, 1), (-3, 2)) == (0, 1)
    assert inferred(lambda x: x.mean(), (-3, 2), shape=(64,)) == (-3, 2)
    assert inferred(lambda x: (x > 0).sum(), (-3, 2), shape=(64,)) == (0, 64 / 2**16)
    assert inferred(lambda x: mpc.exp(x), (-1, 1)) == near((0.3679, 2.718), abs=2e-3)
    assert inferred(lambda x: 1 / x, (2, 4)) == near((0.25, 0.5), abs=1e-3)


def test_loops_come_to_an_end():
    assert inferred(lambda x: mpc.fori(0, 10**6, lambda i, c: c * 0.5, x), (-4, 4)) == (-2, 2)
    assert inferred(lambda x: mpc.fori(0, 10**6, lambda i, c: mpc.nn.relu(c), x), (-4, 4)) == (0, 4)
    assert inferred(lambda x: mpc.fori(0, 5, lambda i, c: c + x, x), (-4, 4)) == (-24, 24)
    assert inferred(lambda x: mpc.fori(0, 10**6, lambda i, c: c + x, x), (-4, 4)) is None, "it grows: nothing is claimed"
    assert told(lambda x: mpc.fori(0, 10**6, lambda i, c: c + x, x), (-4, 4)) == []
    assert len(told(lambda x: mpc.fori(0, 10, lambda i, c: c * x, x), (-100, 100))) == 1
    nested = mpc.fori  # a loop in a loop, whose carried values swap
    assert inferred(lambda x: nested(0, 9, lambda i, c: nested(0, 9, lambda j, d: (d[1], d[0]), c), (x, x + 1))[0], (0, 1)) == (
        0,
        2,
    )


def test_comparisons_use_the_window(s: Session):
    x, wide = s.input([1.0, 2.0], low=-8, high=7.5), s.input([1.0, 2.0])
    for f in (lambda v: v < 0, lambda v: v == 1, mpc.nn.relu, lambda v: v.max(), mpc.abs, mpc.sign):
        narrow, full = s.cost(f(x)), s.cost(f(wide))
        assert narrow.dealt_bytes < full.dealt_bytes
    bits = {
        e.op: e.params.get("bits") for e in s.equations([mpc.nn.relu(x), x < 0, wide < 0]).walk() if e.op in ("relu", "ltz")
    }
    assert bits["relu"] == 19
    assert s.cost(s.input([1, 2], low=0, high=200) < 77).rounds == s.cost(s.input([1, 2]) < 77).rounds - 1, "up to 16 bits"


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 2), ("additive", 4), ("plain", 2)])
def test_the_ends_of_every_window(protocol: str, n: int):
    with open_session(protocol, n) as s:
        for low, high in (
            (-4, 3),
            (0, 1),
            (-128, 127),
            (-(2**15), 2**15 - 1),
            (-(2**15) - 1, 2**15),
            (5, 2**40),
            (-(2**61), 2**61),
        ):
            v = np.unique([low, low + 1, (low + high) // 2, high - 1, high, min(max(0, low), high)])
            x = s.input(v, low=low, high=high)
            got = s.reveal(x < 0, x == 0, mpc.nn.relu(x), abs(x), x.max(), x > v[0])
            want = (v < 0, v == 0, np.maximum(v, 0), abs(v), v.max(), v > v[0])
            assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


def test_every_core_operation_has_a_rule():
    """An operation without one gives nothing but unknown values; bits and elements of a field need none."""
    bits = {"ltz", "eqz", "xor", "and_", "random", "inverse"}
    assert set(CORE) | set(MOVES) | bits == set(OPS)


def test_moved_rows_keep_their_ranges():
    shuffled = lambda x: mpc.shuffle(x > 1, x)[1]  # noqa: E731
    assert inferred(shuffled, (-1, 4)) == (-1, 4)
    assert inferred(lambda x: mpc.permute(mpc.permutation(x), x), (-1, 4)) in ((-1, 4), None)
    assert inferred(mpc.cumsum, (-1, 4)) == (-4, 16)
    assert not told(mpc.cumsum, (-1, 4)) and told(mpc.cumsum, (0, 2.0**46))


def test_windows():
    assert window(Interval(-256, 255)) == 8
    assert window(Interval(-257, 0)) == 9
    assert window(Interval(0, 256)) == 9
    assert window(Interval(0, 10), (1000,)) == 10
    assert window(Interval(-(2.0**63), 2.0**63)) == 63


def test_values_of_earlier_runs_keep_their_range(s: Session):
    x = s.input([1.0, 2.0], low=0, high=10)
    y = x + 1
    y.reveal()
    assert "bits=20" in str(s.equations([y < 3]))
    with pytest.warns(RangeWarning, match="the product can reach"):
        (y * 1e7 * y).reveal()


def test_the_range_is_agreed_on():
    digests = {
        s.equations([s.placeholder((2,), 0, **r) + 1]).digest
        for s, r in ((planner(), {}), (planner(), {"low": 0, "high": 1}), (planner(), {"low": 0, "high": 2}))
    }
    assert len(digests) == 3


def test_the_audit_shows_it(s: Session):
    assert "supplies rate: fixed64.16[2] in [-0.5, 8]" in str(s.audit(s.input([0.5, 1.0], low=-0.5, high=8, name="rate")))


def test_data_outside_its_range_is_refused_where_it_is(s: Session):
    with pytest.raises(
        RangeError, match=r"2 of 3 values of input rate are outside .*\[0, 1\], the first at index \(1,\)"
    ) as error:
        s.input([0.5, 1.25, -3.0], low=0, high=1, name="rate")
    assert isinstance(error.value, ValueError)
    assert "1.25" not in str(error.value)
    assert s._backend.epoch == 0
    for wrong in ({"low": 0}, {"high": 1}, {"low": 2, "high": 1}, {"low": -np.inf, "high": 1}, {"low": np.nan, "high": 1}):
        with pytest.raises(UsageError, match="low"):
            s.input([0.5], **wrong)
    with pytest.raises(UsageError, match="bool"):
        s.input([True], low=0, high=1)


@mpc.program
def priced(quantity: mpc.Input("shop", low=0, high=1000), price: mpc.Input("seller", low=0, high=1e6)) -> mpc.Output("shop"):
    return quantity * price


def test_programs_declare_ranges():
    data = {"quantity": np.array([2.0]), "price": np.array([3.0])}
    with pytest.warns(RangeWarning, match="mul at test_ranges.py"):
        assert mpc.Study(priced, data).cost.rounds > 0
    with pytest.raises(RangeError, match="input quantity"):
        mpc.Study(priced, {**data, "quantity": np.array([2000.0])})

"""Functions and loops are traced once; what they use from outside is passed along."""

from __future__ import annotations

import numpy as np
import pytest

import mpc
from mpc.errors import MPCError, SessionError, TypeMismatch, UsageError
from mpc.lang.session import Session

from ..memory import open_session

X = np.arange(6.0).reshape(2, 3) / 4


def equations(session: Session, *arrays: mpc.Array) -> list[str]:
    return [e.op for e in session.equations(arrays).eqns]


def test_a_function_is_traced_once_and_is_one_equation(s: Session):
    calls = []

    @mpc.function
    def double(x):
        calls.append(x.shape)
        return x + x

    y = double(double(s.input(X)))
    assert equations(s, y) == ["input", "call", "call", "reveal"]
    assert calls == [(2, 3)]
    assert np.array_equal(y.reveal(), 4 * X)


def test_it_is_traced_again_for_other_types_and_arguments(s: Session):
    calls = []

    @mpc.function
    def scaled(x, factor, *, shift=0):
        calls.append((x.shape, str(x.dtype), factor, shift))
        return x * factor + shift

    a, b, c = s.input(X), s.input(X[0]), s.input(np.arange(3))
    for _ in range(2):
        results = [scaled(a, 2), scaled(b, 2), scaled(c, 2), scaled(a, 3), scaled(a, 2, shift=1)]
    assert len(calls) == 5
    for found, wanted in zip(s.reveal(*results), [2 * X, 2 * X[0], 2 * np.arange(3), 3 * X, 2 * X + 1], strict=True):
        assert np.array_equal(found, wanted)


def test_settings_are_part_of_the_key():
    @mpc.function
    def half(x):
        return x * 0.3

    programs = []
    for rounding in ("floor", "nearest"):
        with open_session("plain", 1, rounding) as s:
            programs.append(str(s.equations([half(s.input(X))])))
    assert "rounding='floor'" in programs[0]
    assert "rounding='nearest'" in programs[1]


def test_public_arrays_are_part_of_the_key(s: Session):
    @mpc.function
    def shifted(x, by):
        return x + by

    x = s.input(X)
    assert np.array_equal(shifted(x, np.ones(3)).reveal(), X + 1)
    assert np.array_equal(shifted(x, np.zeros(3)).reveal(), X)
    assert np.array_equal(shifted(x, np.ones((2, 1))).reveal(), X + 1)


def test_arguments_must_be_hashable(s: Session):
    @mpc.function
    def f(x, option):
        return x

    with pytest.raises(UsageError, match=r"f at test_function.py:\d+.*hashable"):
        f(s.input(X), {1, 2})


def test_trees_go_in_and_come_out(s: Session):
    @mpc.function
    def f(pair, options):
        x, y = pair
        return {"sum": x + y, "list": [x, (y, options["label"])], "number": 3, "array": np.arange(2)}

    out = f((s.input(X), s.input(X)), {"label": "a", "unused": None})
    assert np.array_equal(out["sum"].reveal(), 2 * X)
    assert np.array_equal(out["list"][1][0].reveal(), X)
    assert out["list"][1][1] == "a"
    assert out["number"] == 3
    assert out["array"].tolist() == [0, 1]


def test_outer_arrays_are_passed_along(s: Session):
    w = s.input(X, owner=1)

    @mpc.function
    def outer(x):
        @mpc.function
        def inner(y):
            return y + w

        return inner(x) + w

    assert np.array_equal(outer(s.input(X)).reveal(), 3 * X)
    assert np.array_equal(outer(w).reveal(), 3 * X)
    w = s.input(X + 1, owner=1)
    assert np.array_equal(outer(s.input(X)).reveal(), 3 * X + 2), "a body that captures is traced anew"


def test_a_function_without_an_array_result(s: Session):
    with pytest.raises(UsageError, match="returns no array"):
        mpc.function(lambda x: 3)(s.input(X))


def test_a_function_needs_a_secret():
    with pytest.raises(SessionError, match="no secret array"):
        mpc.function(lambda x: x)(3)


def test_an_error_inside_leaves_the_session_usable(s: Session):
    @mpc.function
    def wrong(x):
        return x @ x

    x = s.input(X)
    with pytest.raises(MPCError, match=r"test_function\.py"):
        wrong(x)
    assert np.array_equal((x + 1).reveal(), X + 1)


def test_arrays_of_a_trace_do_not_leave_it(s: Session):
    kept = []

    @mpc.function
    def leak(x):
        kept.append(x * 2)
        return x

    leak(s.input(X))
    with pytest.raises(SessionError):
        kept[0].reveal()
    with pytest.raises(SessionError):
        s.reveal(kept[0])
    with pytest.raises(SessionError):
        kept[0] + s.input(X)


def test_a_name_for_reports(s: Session):
    @mpc.function(name="layer")
    def f(x):
        return mpc.nn.relu(x)

    assert equations(s, f(s.input(X))) == ["input", "layer", "reveal"]


# ---- loops ----
def test_a_loop_is_one_equation(s: Session):
    calls = []

    def body(i, c):
        calls.append(1)
        return c + i

    y = mpc.fori(0, 100, body, s.input(X))
    assert calls == [1]
    assert equations(s, y) == ["input", "fori", "reveal"]
    assert np.array_equal(y.reveal(), X + 4950)


def test_the_index_is_public_and_computes(s: Session):
    x = s.input(np.arange(10.0))
    y = mpc.fori(1, 4, lambda i, c: c + x[i * 2] * (i + 1) - x[9 - i], x[0])
    assert y.reveal() == sum(2 * i * (i + 1) - (9 - i) for i in range(1, 4))


def test_loops_nest_and_capture(s: Session):
    x, w = s.input(np.ones(3)), s.input(np.arange(3.0), owner=1)
    y = mpc.fori(0, 2, lambda i, c: mpc.fori(0, 3, lambda j, d: d + w * i + w[j], c), x)
    assert np.array_equal(y.reveal(), 1 + 3 * np.arange(3) + 2 * 3)


def test_carries_are_trees(s: Session):
    out = mpc.fori(0, 3, lambda i, c: {"a": c["b"][0], "b": [c["a"] + 1]}, {"a": s.input([0.0]), "b": [s.input([10.0])]})
    assert out["a"].reveal().tolist() == [11.0]
    assert out["b"][0].reveal().tolist() == [2.0]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (lambda i, c: (c, c), UsageError),
        (lambda i, c: c.sum(), TypeMismatch),
        (lambda i, c: c.astype(mpc.int64), TypeMismatch),
        (lambda i, c: c > 0, TypeMismatch),
        (lambda i, c: i, TypeMismatch),
    ],
)
def test_a_body_returns_what_it_takes(s: Session, body, error):
    with pytest.raises(error, match=r"test_function.py:\d+"):
        mpc.fori(0, 2, body, s.input(X))


def test_an_empty_range_does_nothing(s: Session):
    x = s.input(X)
    assert mpc.fori(2, 2, lambda i, c: c * 0, x) is x
    assert mpc.fori(5, 2, lambda i, c: c * 0, x) is x


def test_a_library_operation_names_the_users_line(s: Session):
    y = mpc.nn.sigmoid(s.input(X))
    lines = {line for line in s.cost(y).by_line if line}
    assert lines
    assert all(line.startswith("test_function.py:") for line in lines)

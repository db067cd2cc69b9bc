"""A secret becomes plain by `reveal` alone. Everything else that would need its value says no, where, and what to write."""

from __future__ import annotations

import copy
import io
import json
import math
import pickle
import re
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.errors import InputError, MPCError, RangeError, SecretBranchError, SecretValueError, SessionError
from mpc.lang.session import Session

from ..memory import open_session

CANARY = 123456.7890625  # its digits must appear nowhere


def branch(x: Any) -> None:
    if x[0] > 0:
        pass


def loop(x: Any) -> None:
    while x[0] > 0:
        pass


def assign(x: Any) -> None:
    x[0] = 1


BRANCHES: dict[str, Callable[[Any], Any]] = {
    "if": branch,
    "while": loop,
    "bool": lambda x: bool(x[0]),
    "not": lambda x: not x[0],
    "and": lambda x: x[0] > 0 and x[1] > 0,
    "or": lambda x: x[0] > 0 or x[1] > 0,
    "chain": lambda x: 0 < x[0] < 1,
    "equality": lambda x: [] if x == 1 else [1],
    "assert": lambda x: [1 for v in x if v > 0],
    "any": lambda x: any(x > 0),
    "max of a list": lambda x: max(list(x)),
    "sorted": lambda x: sorted(x),
}
VALUES: dict[str, Callable[[Any], Any]] = {
    "asarray": np.asarray,
    "array": lambda x: np.array([x, x]),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "complex": lambda x: complex(x[0]),
    "round": lambda x: math.floor(x[0]),
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "format": lambda x: f"{x:.3f}",
    "format of one": lambda x: f"{x[0]:8}",
    "in": lambda x: 1.0 in x,
    "iteration over a scalar": lambda x: list(x[0]),
    "index of a list": lambda x: [1, 2, 3][x[0]],
    "index of an array": lambda x: np.arange(3)[x[0]],
    "secret index": lambda x: x[x[0]],
    "secret mask": lambda x: x[x > 0],
    "secret slice": lambda x: x[: x[0]],
    "range": lambda x: range(x[0]),
    "np.save": lambda x: np.save(io.BytesIO(), x),
    "eigenvalues": np.linalg.eig,
    "partition": lambda x: np.partition(x, 1),
    "not available": np.i0,
    "math": lambda x: math.sqrt(x[0]),
    "out": lambda x: np.add(np.zeros(3), 1, out=x),
    "percent": lambda x: "%f" % x[0],  # noqa: UP031
}


def refused(error: BaseException, x: Any) -> None:
    """The message names the place and the remedy, and no value."""
    text = str(error)
    assert re.search(r"test_refusals\.py:\d+", text), text
    assert re.search(r"mpc\.where|reveal|Available|mpc\.sum", text), text
    everything = "".join(traceback.format_exception(error))
    assert "123456.78" not in everything
    assert str(int(CANARY * 2**16)) not in everything


@pytest.fixture
def x(s: Session) -> Any:
    return s.input([CANARY, 1.0, 2.0])


def test_if_on_a_secret_names_the_line_and_the_rewrite(x):
    with pytest.raises(
        SecretBranchError, match=r"bool\[\], secret\) at test_refusals.py:\d+\.\n.*mpc\.where\(condition, a, b\)"
    ):
        if x[0] > 0:
            pass


@pytest.mark.parametrize("name", BRANCHES)
def test_branches(x, name: str):
    with pytest.raises(SecretBranchError) as error:
        BRANCHES[name](x)
    refused(error.value, x)


@pytest.mark.parametrize("name", VALUES)
def test_values(x, name: str):
    with pytest.raises(SecretValueError) as error:
        VALUES[name](x)
    refused(error.value, x)


def test_the_named_line_is_the_users(x):
    try:
        float(x[0])
    except SecretValueError as error:
        line = int(re.search(r"test_refusals.py:(\d+)", str(error)).group(1))
        assert line == error.__traceback__.tb_lineno


def test_assignment(x):
    with pytest.raises(MPCError, match=r"immutable.*test_refusals.py:\d+[\s\S]*mpc\.where"):
        assign(x)


def test_json(x):
    with pytest.raises(TypeError):
        json.dumps(x)


def test_the_same_inside_functions(s: Session):
    @mpc.function
    def f(v):
        return v if v.sum() > 0 else -v

    with pytest.raises(SecretBranchError, match=r"test_refusals\.py"):
        f(s.input([1.0]))
    with pytest.raises(SecretBranchError, match=r"test_refusals\.py"):
        mpc.fori(0, 2, lambda i, c: c if c.sum() > 0 else -c, s.input([1.0]))
    with pytest.raises(SessionError, match="return the array instead"):
        mpc.function(lambda v: v.reveal())(s.input([1.0]))
    assert (s.input([1.0]) + 1).reveal().tolist() == [2.0], "the session goes on"


def test_no_text_shows_a_value(s: Session):
    x = s.input([CANARY], name="income")
    y = mpc.nn.relu(x * CANARY.is_integer() + 1)
    texts = [
        repr(x),
        str(x),
        f"{x}",
        repr(s),
        str(s.cost(y)),
        str(s.audit(y)),
        repr(s.audit(y)),
        str(s.equations([y])),
        repr(y.node),
    ]
    texts += [repr(s.audit(y).as_dict()), repr(vars(s)["_scope"])]
    y.reveal()
    texts += [repr(v) for store in s._backend.stores for v in store.values()]
    assert len(texts) > 11
    for text in texts:
        assert "123456" not in text
        assert str(int(CANARY * 2**16)) not in text


# ---- inputs ----
def test_input_errors_do_not_end_the_session(s: Session):
    good = s.input([1.0])
    for bad, error, says in (
        ([np.nan], InputError, "NaN"),
        ([np.inf], InputError, "infinite"),
        ([1e20], RangeError, r"2\^46"),
        ([None], InputError, "object"),
        (["a"], InputError, "numbers or bool"),
        ([1j], InputError, "complex"),
        ([2**70], RangeError, r"2\^63"),
        (np.array(["2020-01-01"], "datetime64[D]"), InputError, "datetime"),
    ):
        with pytest.raises(error, match=says):
            s.input(bad)
    assert good.reveal().tolist() == [1.0]


@pytest.mark.parametrize(
    ("data", "dtype", "error"),
    [
        ([0.5], mpc.int64, InputError),
        ([2], mpc.bool, InputError),
        ([0.5], mpc.bool, InputError),
        ([np.nan], mpc.int64, InputError),
        ([1e19], mpc.int64, RangeError),
        ([np.inf], mpc.int64, RangeError),
        ([-(2.0**63) * 2], mpc.int64, RangeError),
        ([2**50], mpc.fixed64(16), RangeError),
        ([5.0e6], mpc.fixed64(40), RangeError),
    ],
)
def test_data_that_does_not_fit_the_dtype(s: Session, data, dtype, error):
    with pytest.raises(error):
        s.input(data, dtype=dtype)


@pytest.mark.parametrize("who", [3, -1, "lab", None, 1.5, "0"])
def test_unknown_parties(s: Session, who):
    for use in (lambda: s.input([1.0], owner=who), lambda: s.placeholder((1,), who)):
        with pytest.raises(InputError, match=r"no party .*0 \(party 0\)"):
            use()
    if who is not None:
        with pytest.raises(InputError, match="no party"):
            s.input([1.0]).reveal(to=[who])


def test_reveal_to_nobody(s: Session):
    with pytest.raises(InputError, match="nobody"):
        s.input([1.0]).reveal(to=[])


def test_a_placeholder_has_nothing_to_reveal(s: Session):
    y = s.placeholder((3,), 0) + s.input([1.0, 2.0, 3.0])
    assert s.cost(y).rounds > 0
    with pytest.raises(InputError, match="placeholder"):
        y.reveal()
    assert s.input([1.0]).reveal().tolist() == [1.0]


def test_a_closed_session_says_so():
    s = open_session("plain", 1)
    x = s.input([1.0])
    s.close()
    for use in (x.reveal, lambda: s.input([1.0]), lambda: mpc.reveal(x + 1)):
        with pytest.raises(SessionError, match="closed"):
            use()
    assert "closed" in repr(s)

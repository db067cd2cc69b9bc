"""How NumPy's names find the functions of the language.

`@implements` registers a function under NumPy's names for it. Then `np.mean(x)`, `mpc.mean(x)` and `x.mean()` are one function,
and where no operand is secret it is NumPy's own: public values are NumPy arrays, and stay so.
"""

from __future__ import annotations

import functools
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from ..errors import SecretValueError
from ..ir.trace import user_line
from ..ir.types import DType
from .refusals import REFUSED

FUNCTIONS: dict[str, Callable[..., Any]] = {}
REDUCTIONS = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all", "logical_or": "any"}
ACCUMULATIONS = {"add": "cumulative_sum", "multiply": "cumulative_prod"}
F = TypeVar("F", bound=Callable[..., Any])


class Dispatching:
    """What NumPy asks of an array that is not its own."""

    __slots__ = ()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        if method == "__call__" and name in FUNCTIONS and not kwargs:
            return FUNCTIONS[name](*args)
        if method == "reduce" and name in REDUCTIONS and not kwargs.keys() - {"axis", "keepdims"}:
            return FUNCTIONS[REDUCTIONS[name]](*args, **{"axis": 0, **kwargs})
        if method == "accumulate" and name in ACCUMULATIONS and not kwargs.keys() - {"axis"}:
            return FUNCTIONS[ACCUMULATIONS[name]](*args, **{"axis": 0, **kwargs})
        if method == "outer" and name in FUNCTIONS and not kwargs:
            x, y = (v if isinstance(v, Dispatching) else np.asarray(v) for v in args)
            return FUNCTIONS[name](FUNCTIONS["reshape"](x, (*x.shape, *[1] * len(y.shape))), y)
        extra = f" with {', '.join(kwargs)}" if kwargs else ""
        raise SecretValueError(_unavailable(name, f"np.{name}{'' if method == '__call__' else '.' + method}{extra}"))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        room, name = (func.__module__ or "").removeprefix("numpy."), func.__name__
        function = FUNCTIONS.get(f"{room}.{name}", FUNCTIONS.get(name))  # np.linalg.trace is not np.trace
        if function is None:
            raise SecretValueError(_unavailable(name, f"np.{name}"))
        return function(*args, **kwargs)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return sys.modules["mpc"]


def has_secret(values: Iterable[Any]) -> bool:
    """Whether an `Array` is among the values or in lists of them."""
    return any(isinstance(v, Dispatching) or (isinstance(v, (list, tuple)) and has_secret(v)) for v in values)


def implements(*names: str) -> Callable[[F], F]:
    """Registers a function under NumPy's names ("linalg.trace" is NumPy's in that module). The first that NumPy has is what
    runs where nothing is secret."""

    def register(function: F) -> F:
        public = next((f for f in map(_numpys, names) if f is not None), None)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if has_secret(args) or has_secret(kwargs.values()):
                return function(*args, **kwargs)
            assert public is not None
            return public(*map(_plain_dtype, args), **{k: _plain_dtype(v) for k, v in kwargs.items()})

        chosen: Any = function if public is None else call
        FUNCTIONS.update(dict.fromkeys(names, chosen))
        return chosen  # type: ignore[no-any-return]

    return register


def _numpys(name: str) -> Callable[..., Any] | None:
    room, _, name = name.rpartition(".")
    return getattr(getattr(np, room) if room else np, name, None)


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """What public values of a dtype are: float64, bool, an integer of the same name, int64 for a session's own integer."""
    return np.dtype({"fixed": "float64", "int": "int64"}.get(dtype.kind, dtype.kind))


def _plain_dtype(value: Any) -> Any:
    return numpy_dtype(value) if isinstance(value, DType) else value


def _unavailable(name: str, call: str) -> str:
    advice = REFUSED.get(name) or "Available: " + ", ".join(sorted(FUNCTIONS)) + "."
    return f"{call} is not available on secrets (at {user_line()}).\n    {advice}"

"""Functions and loops: Python code traced once into a program that equations share as their body."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ..errors import TypeMismatch, UsageError
from ..ir.program import Program
from ..ir.trace import Graph, Node, user_line
from ..ir.types import Type
from .array import Array, Scope, bind, scope_of, tracing, whole

F = TypeVar("F", bound=Callable[..., Any])


# ---- nested results: tuples, lists and dicts of arrays ----
def flatten(tree: Any) -> tuple[list[Array], Any]:
    """(the arrays, what remains): `unflatten` puts them together again."""
    leaves: list[Array] = []

    def strip(t: Any) -> Any:
        if isinstance(t, Array):
            leaves.append(t)
            return _LEAF
        if isinstance(t, dict):
            return ("dict", tuple((k, strip(v)) for k, v in t.items()))
        if isinstance(t, (tuple, list)):
            return (type(t).__name__ if type(t) in (tuple, list) else "tuple", tuple(strip(v) for v in t))
        if isinstance(t, np.ndarray):
            content = tuple(t.reshape(-1).tolist()) if t.dtype.kind == "O" else t.tobytes()  # of objects these are addresses
            return ("array", t.dtype.str, t.shape, content)
        return ("value", t)

    return leaves, strip(tree)


def unflatten(shape: Any, leaves: Sequence[Any]) -> Any:
    """The nested structure with these leaves."""
    rest = iter(leaves)

    def build(s: Any) -> Any:
        if s is _LEAF:
            return next(rest)
        kind = s[0]
        if kind == "dict":
            return {k: build(v) for k, v in s[1]}
        if kind == "array":
            flat = np.array(s[3], object) if isinstance(s[3], tuple) else np.frombuffer(s[3], s[1])
            return flat.reshape(s[2])
        if kind == "value":
            return s[1]
        items = [build(v) for v in s[1]]
        return items if kind == "list" else tuple(items)

    return build(shape)


_LEAF = "array here"


class Traced:
    """A traced body: the program, the outer nodes it takes besides its arguments, and the shape of its results."""

    def __init__(self, program: Program, lifted: list[Node], structure: Any) -> None:
        self.program, self.lifted, self.structure = program, lifted, structure


def trace(
    function: Callable[..., Any], types: Sequence[Type], call: Callable[[list[Array]], Any], scope: Scope, located: bool = True
) -> Traced:
    """Runs `call` on symbolic arrays of these types and records what it does, with source lines if `located`."""
    inner = Scope(Graph(scope.graph, located), scope.settings, None)
    params = [Array(inner.graph.parameter(t), inner) for t in types]
    token = tracing.set(inner)
    try:
        leaves, structure = flatten(call(params))
    finally:
        tracing.reset(token)
    name = getattr(function, "__name__", "function")
    if not leaves:
        raise UsageError(f"{name} returns no array (at {user_line()})")
    program, lifted = inner.graph.close([inner.graph.own(x.node) for x in leaves])
    return Traced(program, lifted, structure)


def function(f: F | None = None, *, name: str = "call") -> Any:
    """Decorator: `f` is traced once per types of its array arguments; every call is one equation with a shared body.

    Arguments that are not secret arrays are part of the key, so they must be hashable (or NumPy arrays). `f` may return
    one array or tuples, lists and dicts of them. Outer arrays that `f` uses are passed along; then it is traced anew for
    each call.
    """
    if f is None:
        return functools.partial(function, name=name)
    cache: dict[Any, Traced] = {}

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten((args, kwargs))
        scope = scope_of(*leaves)
        types = tuple(x.type for x in leaves)
        key = (types, structure, scope.settings)
        try:
            traced = cache.get(key)
        except TypeError:
            raise UsageError(
                f"{f.__name__} at {user_line()}: arguments that are no arrays must be hashable: {structure}"
            ) from None
        if traced is None:

            def run(arrays: list[Array]) -> Any:
                positional, named = unflatten(structure, arrays)
                return f(*positional, **named)

            traced = trace(f, types, run, scope)
            if not traced.lifted:
                cache[key] = traced
        result = bind(name, *leaves, *(Array(n, scope) for n in traced.lifted), body=traced.program)
        return unflatten(traced.structure, result if isinstance(result, tuple) else (result,))

    return call


def gate(name: str | Callable[..., str], params: Callable[..., dict[str, Any]] = lambda *a, **k: {}) -> Callable[[F], F]:
    """Decorator for a derived operation on arrays: an equation `name` (or a function of the arguments) whose body is the
    function.

    A protocol that has a method `name(tape, *shares, **params)` runs that instead of the body.
    """

    def decorate(f: F) -> F:
        cache: dict[Any, Traced] = {}  # its bodies serve calls from any line, so their equations name none

        @functools.wraps(f)
        def call(*args: Any, **kwargs: Any) -> Any:
            arrays = [a for a in args if isinstance(a, Array)]
            scope = scope_of(*arrays)
            stored = params(*args, **kwargs)
            static = tuple(a for a in args if not isinstance(a, Array))
            key = (tuple(a.type for a in arrays), static, tuple(kwargs.items()), scope.settings)
            if key not in cache:
                cache[key] = trace(f, key[0], lambda xs: f(*xs, *static, **kwargs), scope, located=False)
            label = name if isinstance(name, str) else name(*args, **kwargs)
            return bind(label, *arrays, body=cache[key].program, **stored)

        return call  # type: ignore[return-value]

    return decorate


def fori(lower: int, upper: int, body: Callable[..., Any], init: Any) -> Any:
    """`for i in range(lower, upper): carry = body(i, carry)` as one equation; the body is traced once.

    `carry` is an array or a tuple, list or dict of arrays; every iteration must return the same shapes and dtypes. `i` is
    a public array: use it in `x[i]`, `mpc.dynamic_slice(x, i * size, size)` or arithmetic.
    """
    leaves, structure = flatten(init)
    scope = scope_of(*leaves)
    if upper <= lower:
        return init
    index = whole(lower, scope)

    def step(arrays: list[Array]) -> Any:
        i, *carry = arrays
        result, shape = flatten(body(i, unflatten(structure, carry)))
        if shape != structure:
            raise UsageError(f"the loop body returns another structure than it was given (at {user_line()})")
        return (bind("add", i, whole(1, scope_of(i))), *result)

    traced = trace(body, [index.type, *(x.type for x in leaves)], step, scope)
    outs = [traced.program.types[v] for v in traced.program.outs]
    for before, after in zip(leaves, outs[1:], strict=True):
        if before.type != after:
            raise TypeMismatch(
                f"the loop at {user_line()} is given {before.type} and returns {after}; "
                "convert before the loop so that both agree"
            )
    lifted = [Array(n, scope) for n in traced.lifted]
    result = bind("fori", index, *leaves, *lifted, body=traced.program, times=upper - lower)
    return unflatten(structure, result[1:])

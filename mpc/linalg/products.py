"""Products of vectors, matrices and tensors: all by one or two bilinear gates."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeMismatch
from ..ir.trace import user_line
from ..lang import core
from ..lang.array import Array, implements
from ..lang.core import matmul, multiply
from ..lang.manipulation import diagonal as _diagonal
from ..lang.views import reshape, transpose


def _as(x: Any) -> Any:
    return x if isinstance(x, Array) else np.asarray(x)


def _reshaped(x: Any, shape: Sequence[int]) -> Any:
    return reshape(x, shape) if isinstance(x, Array) else np.reshape(x, shape)


def _ordered(x: Any, axes: Sequence[int]) -> Any:
    return transpose(x, axes) if isinstance(x, Array) else np.transpose(x, axes)


@implements("dot")
def dot(x: Any, y: Any) -> Array:
    """NumPy's dot: scalars multiply; else the last axis of x with the last but one of y, other axes side by side."""
    x, y = _as(x), _as(y)
    if not x.ndim or not y.ndim:
        return multiply(x, y)
    if x.ndim <= 2 and y.ndim <= 2:
        return matmul(x, y)
    return tensordot(x, y, ([-1], [-1 if y.ndim == 1 else -2]))


@implements("vecdot", "linalg.vecdot")
def vecdot(x: Any, y: Any, axis: int = -1) -> Array:
    """Sums of products along an axis, the others broadcast; rounded once."""
    x, y = (_last(_as(v), axis) for v in (x, y))
    if x.shape[-1] != y.shape[-1]:
        raise ShapeMismatch(f"vecdot of lengths {x.shape[-1]} and {y.shape[-1]} (at {user_line()})")
    z = matmul(_reshaped(x, (*x.shape[:-1], 1, x.shape[-1])), _reshaped(y, (*y.shape, 1)))
    return reshape(z, z.shape[:-2])


def _last(x: Any, axis: int) -> Any:
    axis %= x.ndim
    return x if axis == x.ndim - 1 else _ordered(x, [*(a for a in range(x.ndim) if a != axis), axis])


@implements("inner")
def inner(x: Any, y: Any) -> Array:
    """Sums of products over the last axes, the other axes side by side."""
    x, y = _as(x), _as(y)
    return tensordot(x, y, ([-1], [-1])) if x.ndim and y.ndim else multiply(x, y)


@implements("vdot")
def vdot(x: Any, y: Any) -> Array:
    """Sum of products of all elements."""
    return vecdot(_reshaped(_as(x), (-1,)), _reshaped(_as(y), (-1,)))


@implements("outer", "linalg.outer")
def outer(x: Any, y: Any) -> Array:
    """All products of elements of x (rows) and y (columns)."""
    return multiply(_reshaped(_as(x), (-1, 1)), _reshaped(_as(y), (1, -1)))


@implements("kron")
def kron(x: Any, y: Any) -> Array:
    """Kronecker product."""
    x, y = _as(x), _as(y)
    ndim = max(x.ndim, y.ndim)
    shapes = [(*[1] * (ndim - v.ndim), *v.shape) for v in (x, y)]
    left = [n for a in shapes[0] for n in (a, 1)]
    right = [n for b in shapes[1] for n in (1, b)]
    product = multiply(_reshaped(x, left), _reshaped(y, right))
    return reshape(product, [a * b for a, b in zip(*shapes, strict=True)])


@implements("trace")
def trace(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """Sum of a diagonal of two axes; exact."""
    return core.sum(_diagonal(x, offset, axis1, axis2), -1)


@implements("linalg.trace")
def matrix_trace(x: Array, offset: int = 0) -> Array:
    """Sums of the diagonals of the last two axes; exact."""
    return trace(x, offset, -2, -1)


@implements("linalg.diagonal")
def diagonal(x: Array, offset: int = 0) -> Array:
    """Diagonals of the last two axes."""
    return _diagonal(x, offset, -2, -1)


@implements("cross", "linalg.cross")
def cross(x: Any, y: Any, axis: int = -1) -> Array:
    """Cross products of vectors of three elements along an axis."""
    x, y = _as(x), _as(y)
    if x.shape[axis] != 3 or y.shape[axis] != 3:
        raise ShapeMismatch(f"cross of lengths {x.shape[axis]} and {y.shape[axis]}: both must be 3 (at {user_line()})")
    x, y = _last(x, axis), _last(y, axis)
    ahead, behind = [1, 2, 0], [2, 0, 1]
    z = core.subtract(multiply(x[..., ahead], y[..., behind]), multiply(x[..., behind], y[..., ahead]))
    order = list(range(z.ndim - 1))
    order.insert(axis % z.ndim, z.ndim - 1)
    return transpose(z, order)


@implements("tensordot", "linalg.tensordot")
def tensordot(x: Any, y: Any, axes: Any = 2) -> Array:
    """Sums of products over pairs of axes (the last of x with the first of y, if `axes` is a number), as one matrix product."""
    x, y = _as(x), _as(y)
    if isinstance(axes, int):
        axes = (list(range(x.ndim - axes, x.ndim)), list(range(axes)))
    a, b = ([v % z.ndim for v in np.atleast_1d(s).tolist()] for s, z in zip(axes, (x, y), strict=True))
    if [x.shape[i] for i in a] != [y.shape[i] for i in b]:
        raise ShapeMismatch(f"tensordot of shapes {x.shape} and {y.shape} over axes {a} and {b} (at {user_line()})")
    rest_x, rest_y = ([i for i in range(z.ndim) if i not in used] for z, used in ((x, a), (y, b)))
    size = prod(x.shape[i] for i in a)
    left = _reshaped(_ordered(x, [*rest_x, *a]), (prod(x.shape[i] for i in rest_x), size))
    right = _reshaped(_ordered(y, [*b, *rest_y]), (size, prod(y.shape[i] for i in rest_y)))
    return reshape(matmul(left, right), [*(x.shape[i] for i in rest_x), *(y.shape[i] for i in rest_y)])


# ---- einsum ----
@implements("einsum")
def einsum(subscripts: str, *operands: Any) -> Array:
    """Einstein summation with NumPy's notation: pairs of operands are contracted by batched matrix products, in the order that
    NumPy's planner chooses from the shapes."""
    terms, output = _parse(subscripts, operands)
    parts = [_diagonals(_as(x), term) for x, term in zip(operands, terms, strict=True)]
    while len(parts) > 1:
        i, j = _next_pair(parts, output)
        (x, p), (y, q) = parts[i], parts[j]
        rest = [part for k, part in enumerate(parts) if k not in (i, j)]
        wanted = set(output).union(*(t for _, t in rest))
        parts = [*rest, _contract(x, p, y, q, wanted)]
    x, term = _summed(*parts[0], set(output))
    return _ordered(x, [term.index(c) for c in output])  # type: ignore[no-any-return]


def _parse(subscripts: str, operands: Sequence[Any]) -> tuple[list[str], str]:
    """(the letters of every operand, of the result), with an ellipsis spelt out in letters that are not used."""
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    terms = left.split(",")
    free = [c for c in map(chr, (*range(65, 91), *range(97, 123))) if c not in text]
    ndims = [len(_as(x).shape) for x in operands]
    if len(terms) != len(operands):
        raise ShapeMismatch(f"einsum {subscripts!r} of {len(operands)} operands (at {user_line()})")
    hidden = [n - len(t.replace("...", "")) if "..." in t else 0 for t, n in zip(terms, ndims, strict=True)]
    most = "".join(free[: max(hidden)])
    terms = [t.replace("...", most[len(most) - h :]) for t, h in zip(terms, hidden, strict=True)]
    letters = "".join(terms)
    output = (
        output.replace("...", most)
        if arrow
        else most + "".join(sorted(c for c in set(letters) - set(most) if letters.count(c) == 1))
    )
    sizes: dict[str, int] = {}
    for x, t in zip(operands, terms, strict=True):
        shape = _as(x).shape
        if (
            len(t) != len(shape)
            or any(sizes.setdefault(c, n) != n for c, n in zip(t, shape, strict=True))
            or not set(output) <= set(letters)
        ):
            raise ShapeMismatch(f"einsum {subscripts!r} of shapes {[_as(v).shape for v in operands]} (at {user_line()})")
    return terms, output


def _diagonals(x: Any, term: str) -> tuple[Any, str]:
    """Repeated letters of one operand: its diagonal."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            a = term.index(c)
            b = term.index(c, a + 1)
            x = _diagonal(x, 0, a, b) if isinstance(x, Array) else np.diagonal(x, 0, a, b)
            term = "".join(d for k, d in enumerate(term) if k not in (a, b)) + c
    return x, term


def _summed(x: Any, term: str, wanted: set[str]) -> tuple[Any, str]:
    axes = tuple(a for a, c in enumerate(term) if c not in wanted)
    if axes:
        x = core.sum(x, axes) if isinstance(x, Array) else x.sum(axes)
    return x, "".join(c for c in term if c in wanted)


def _next_pair(parts: list[tuple[Any, str]], output: str) -> tuple[int, int]:
    if len(parts) == 2:
        return 0, 1
    blanks = [np.broadcast_to(0.0, x.shape) for x, _ in parts]
    path = np.einsum_path(",".join(t for _, t in parts) + "->" + output, *blanks, optimize="greedy")[0]
    first = sorted(path[1])
    return (first[0], first[1]) if len(first) > 1 else (0, 1)


def _contract(x: Any, p: str, y: Any, q: str, wanted: set[str]) -> tuple[Any, str]:
    """Two operands as one batched matrix product, keeping the letters that are wanted."""
    x, p = _summed(x, p, wanted | set(q))
    y, q = _summed(y, q, wanted | set(p))
    if not isinstance(x, Array) and not isinstance(y, Array):
        kept = "".join(c for c in dict.fromkeys(p + q) if c in wanted)
        return np.einsum(f"{p},{q}->{kept}", x, y), kept
    size = dict(zip(p + q, (*x.shape, *y.shape), strict=True))
    batch = [c for c in p if c in q and c in wanted]
    inside = [c for c in p if c in q and c not in wanted]
    left, right = [c for c in p if c not in q], [c for c in q if c not in p]
    lengths = [size[c] for c in batch]
    width = [prod(size[c] for c in group) for group in (left, inside, right)]
    a = _reshaped(_ordered(x, [p.index(c) for c in (*batch, *left, *inside)]), (*lengths, width[0], width[1]))
    b = _reshaped(_ordered(y, [q.index(c) for c in (*batch, *inside, *right)]), (*lengths, width[1], width[2]))
    z = multiply(a, b) if not inside else matmul(a, b)
    return reshape(z, [size[c] for c in (*batch, *left, *right)]), "".join((*batch, *left, *right))

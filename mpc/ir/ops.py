"""The operations a program is made of: one row each, with its type rule.

An operation that is not in this table is *derived*: its equation carries a body of smaller operations, and that is its
meaning. A protocol that defines a method of the operation's name runs the method, any other runs the body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..errors import ShapeMismatch, TypeMismatch
from ..ring.bilinear import MATMUL, MUL, Bilinear, Conv, ConvTransposed
from .types import BOOL, INT64, DType, Type

Params = dict[str, Any]
ROUNDINGS = ("dither", "floor", "nearest")
TREE = "tree"  # parameter of an equation whose comparisons are not by narrow trees (run/trees.py)
SLACK = 3  # bits of a word that no truncation is by: its offset stays whole, and two evaluators shift by one bit more


@dataclass(frozen=True)
class Op:
    """`local`: shares are computed without a message. `elementwise`: element i depends on element i of the operands, so
    it may run in chunks, alone or with its whole body. `opens`: what those who hold shares see by design, for the audit."""

    rule: Callable[[Sequence[Type], Params], Type | tuple[Type, ...]]
    local: bool = False
    elementwise: bool = False
    opens: str = ""


def result_types(op: str, types: Sequence[Type], params: Params) -> tuple[Type, ...]:
    """The types of an operation's results."""
    found = OPS[op].rule(types, params)
    return found if isinstance(found, tuple) else (found,)


def bilinear_map(op: str, params: Params) -> Bilinear:
    """The ring's map for one of BILINEAR; a convolution has as many dimensions as its stride. Raises ValueError for sides that
    the kernels do not know."""
    if op == "mul":
        return MUL
    if op == "matmul":
        return MATMUL
    stride, padding, dilation = (tuple(params[k]) for k in ("stride", "padding", "dilation"))
    extra, groups = tuple(params.get("extra", ())), params["groups"]
    if not 1 <= len(stride) == len(padding) == len(dilation) <= 3 or len(extra) not in (0, len(stride)):
        raise ValueError(f"stride {stride}, padding {padding} and dilation {dilation} are not of one to three dimensions")
    if min((*stride, *dilation, groups)) < 1 or min((*padding, *extra)) < 0:
        raise ValueError(
            f"stride {stride}, dilation {dilation}, groups {groups} must be positive, padding {padding} not negative"
        )
    if op == "conv":
        return Conv(stride, padding, dilation, groups)
    return ConvTransposed(stride, padding, dilation, groups, extra)


def _secret(types: Sequence[Type]) -> bool:
    return any(t.secret for t in types)


def _same_dtype(types: Sequence[Type]) -> DType:
    if len({t.dtype for t in types}) != 1:
        raise TypeMismatch(f"operands have different dtypes: {', '.join(str(t.dtype) for t in types)}")
    return types[0].dtype


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeMismatch(
            f"shapes {' and '.join(map(str, shapes))} do not broadcast: from the last axis on, sizes are equal or one is 1; "
            "x[:, None] adds an axis"
        ) from None


def _linear(types: Sequence[Type], params: Params) -> Type:
    return Type(_broadcast([t.shape for t in types]), _same_dtype(types), _secret(types))


def _unary(types: Sequence[Type], params: Params) -> Type:
    return types[0]


def _bilinear(op: str) -> Callable[[Sequence[Type], Params], Type]:
    def rule(types: Sequence[Type], params: Params) -> Type:
        x, y = types
        if x.dtype.is_bool or y.dtype.is_bool:
            raise TypeMismatch(f"{op} of bool: use & or convert with .astype(mpc.int64)")
        try:
            shape = bilinear_map(op, params).shape(x.shape, y.shape)
        except ValueError as error:
            raise ShapeMismatch(str(error)) from None
        if x.dtype.ring != y.dtype.ring:
            raise TypeMismatch(f"operands of different rings: {x.dtype} and {y.dtype}")
        _shift(params, 0, x.dtype)
        if params["bits"] or op not in ("mul", "matmul"):
            x.dtype.refuse_field("rounding" if params["bits"] else "a convolution")
        fraction = x.dtype.fraction + y.dtype.fraction - params["bits"]
        if (x.dtype.wraps or y.dtype.wraps) and (params["bits"] or fraction):
            raise TypeMismatch(f"{op} of {x.dtype} and {y.dtype}: convert integers with .astype first")
        whole = x.dtype.is_int and y.dtype.is_int and not params["bits"]
        # what is known modulo 2^w1 and 2^w2 has a product that is known modulo the smaller one
        dtype = min(x.dtype, y.dtype, key=lambda d: d.width) if whole else DType("fixed", fraction, x.dtype.ring)
        return Type(shape, dtype.within(x.dtype.ring), _secret(types))

    return rule


def _shift(params: Params, least: int, dtype: DType) -> None:
    if not least <= params["bits"] <= dtype.bits - SLACK:
        raise TypeMismatch(f"a truncation of {dtype} is by {least} to {dtype.bits - SLACK} bits, not {params['bits']}")
    if params["rounding"] not in ROUNDINGS:
        raise TypeMismatch(f"rounding {params['rounding']!r} is none of {', '.join(ROUNDINGS)}")


def _exact(dtype: DType, what: str) -> None:
    if dtype.wraps:
        raise TypeMismatch(f"{what} takes words that are exact: {dtype} is extended to int64 first")


def _trunc(types: Sequence[Type], params: Params) -> Type:
    (x,) = types
    x.dtype.refuse_field("rounding (// % >>, fixed point, approximated functions)")
    _shift(params, 1, x.dtype)
    _exact(x.dtype, "a truncation")
    if x.dtype.kind == "int":
        return x
    return x.with_dtype(DType("fixed", x.dtype.fraction - params["bits"], x.dtype.ring))


def _sum(types: Sequence[Type], params: Params) -> Type:
    (x,) = types
    return x.with_shape(tuple(n for i, n in enumerate(x.shape) if i not in params["axis"]))


def _reshape(types: Sequence[Type], params: Params) -> Type:
    shape = tuple(params["shape"])
    if prod(shape) != types[0].size:
        raise ShapeMismatch(f"cannot reshape {types[0].shape} to {shape}")
    return types[0].with_shape(shape)


def _transpose(types: Sequence[Type], params: Params) -> Type:
    return types[0].with_shape(tuple(types[0].shape[i] for i in params["axes"]))


def _expand(types: Sequence[Type], params: Params) -> Type:
    shape = tuple(params["shape"])
    if _broadcast([types[0].shape, shape]) != shape:
        raise ShapeMismatch(f"cannot broadcast {types[0].shape} to {shape}")
    return types[0].with_shape(shape)


def index_key(key: Sequence[Any]) -> tuple[Any, ...]:
    """A NumPy key from its stored form: int, None, "...", [start, stop, step] or {"array": int64 in bytes, "shape": list}."""
    forms: list[Any] = []
    for item in key:
        if isinstance(item, (list, tuple)):
            forms.append(slice(*item))
        elif isinstance(item, dict):
            forms.append(np.frombuffer(item["array"], "<i8").reshape(item["shape"]))
        else:
            forms.append(Ellipsis if item == "..." else item)
    return tuple(forms)


def _index(types: Sequence[Type], params: Params) -> Type:
    x = np.broadcast_to(np.zeros((), np.uint8), types[0].shape)
    return types[0].with_shape(x[index_key(params["key"])].shape)


def _take(types: Sequence[Type], params: Params) -> Type:
    x, start = types
    if start.secret or start.shape:
        raise TypeMismatch("a secret cannot choose a position; use mpc.where over the candidates")
    return x.with_shape((params["length"], *x.shape[1:]))


def _concatenate(types: Sequence[Type], params: Params) -> Type:
    axis, shape = params["axis"], list(types[0].shape)
    for t in types[1:]:
        if len(t.shape) != len(shape) or any(a != b for i, (a, b) in enumerate(zip(t.shape, shape, strict=True)) if i != axis):
            shapes = " and ".join(str(t.shape) for t in types)
            raise ShapeMismatch(
                f"cannot concatenate {shapes} on axis {axis}: all other axes must be equal. Choose another axis=, or the same "
                "columns of every part"
            )
    shape[axis] = sum(t.shape[axis] for t in types)
    return Type(tuple(shape), _same_dtype(types), _secret(types))


def _test(types: Sequence[Type], params: Params) -> Type:
    if types[0].dtype.is_bool:
        raise TypeMismatch("a comparison takes numbers; for bool use & | ^ ~")
    _exact(types[0].dtype, "a comparison")
    return types[0].with_dtype(BOOL.within(types[0].dtype.ring))


def _bits(types: Sequence[Type], params: Params) -> Type:
    if not all(t.dtype.is_bool for t in types):
        raise TypeMismatch("& | ^ ~ take bool operands; compare numbers first")
    return _linear(types, params)


def _b2a(types: Sequence[Type], params: Params) -> Type:
    return types[0].with_dtype(INT64.within(types[0].dtype.ring))


def _order(types: Sequence[Type], params: Params) -> Type:
    types[0].dtype.refuse_field("an order (<, abs, maximum, sorting)")
    return _test(types, params)


def _inverse(types: Sequence[Type], params: Params) -> Type:
    (x,) = types
    if not x.dtype.primes or x.dtype.is_bool:
        raise TypeMismatch(f"{x.dtype} has no exact inverses")
    if params["matrix"] and (len(x.shape) < 2 or x.shape[-1] != x.shape[-2]):
        raise ShapeMismatch(f"the inverse of a matrix of shape {x.shape}")
    return Type(x.shape, x.dtype, False)


def _retype(types: Sequence[Type], params: Params) -> Type:
    dtype = DType(*params["dtype"])
    if dtype.kind == "fixed":
        dtype.refuse_field("fixed point")
    if dtype.ring != types[0].dtype.ring:
        raise TypeMismatch(f"{types[0].dtype} cannot become {dtype}: it is of another ring")
    return types[0].with_dtype(dtype)


def _select(types: Sequence[Type], params: Params) -> Type:
    b, x, y = types
    if not b.dtype.is_bool:
        raise TypeMismatch(f"the condition of where must be bool, not {b.dtype}")
    if not b.shape == x.shape == y.shape:
        raise ShapeMismatch(f"where of shapes {b.shape}, {x.shape}, {y.shape}")
    return Type(x.shape, _same_dtype([x, y]), True)


def _input(types: Sequence[Type], params: Params) -> Type:
    return Type(tuple(params["shape"]), DType(*params["dtype"]), True)


def _shuffle(types: Sequence[Type], params: Params) -> tuple[Type, ...]:
    if not types or any(not t.shape or t.shape[0] != types[0].shape[0] for t in types):
        raise ShapeMismatch(f"columns of one number of rows are shuffled, not {', '.join(map(str, types)) or 'nothing'}")
    return tuple(Type(t.shape, t.dtype, True) for t in types)


def _permute(types: Sequence[Type], params: Params) -> tuple[Type, ...]:
    by, *columns = types
    if by.dtype.kind != "int" or len(by.shape) != 1 or not columns:
        raise TypeMismatch(f"rows are moved to the places of an int64 vector, not of {by}")
    if not 0 <= params["shift"] < by.dtype.bits:
        raise TypeMismatch(f"places are shifted by 0 to {by.dtype.bits - 1} bits, not {params['shift']}")
    return _shuffle(types, params)[1:]


def _random(types: Sequence[Type], params: Params) -> Type:
    dtype = DType(*params["dtype"])
    if not dtype.is_bool and not dtype.primes:
        raise TypeMismatch(f"random elements are bool or of a field, not {dtype}")
    return Type(tuple(params["shape"]), dtype, True)


def _reveal(types: Sequence[Type], params: Params) -> Type:
    return Type(types[0].shape, types[0].dtype, False)


OPS: dict[str, Op] = {
    "input": Op(_input),
    "reveal": Op(_reveal),
    "random": Op(_random),
    # linear, local
    "add": Op(_linear, local=True, elementwise=True),
    "sub": Op(_linear, local=True, elementwise=True),
    "neg": Op(_unary, local=True, elementwise=True),
    "sum": Op(_sum, local=True),
    "cumsum": Op(_unary, local=True),
    "reshape": Op(_reshape, local=True),
    "transpose": Op(_transpose, local=True),
    "broadcast": Op(_expand, local=True),
    "index": Op(_index, local=True),
    "take": Op(_take, local=True),
    "concatenate": Op(_concatenate, local=True),
    "retype": Op(_retype, local=True, elementwise=True),
    # bilinear, with the truncation that follows
    "mul": Op(_bilinear("mul"), elementwise=True),
    "matmul": Op(_bilinear("matmul")),
    "conv": Op(_bilinear("conv")),
    "conv_transposed": Op(_bilinear("conv_transposed")),
    "trunc": Op(_trunc, elementwise=True),
    # bits
    "ltz": Op(_order, elementwise=True),
    "eqz": Op(_test, elementwise=True),
    "xor": Op(_bits, local=True, elementwise=True),
    "and_": Op(_bits, elementwise=True),
    "b2a": Op(_b2a, elementwise=True),
    "select": Op(_select, elementwise=True),
    # rows, all columns alike
    "shuffle": Op(_shuffle),
    "permute": Op(
        _permute,
        opens="the places of rows that were shuffled in secret: a uniformly random permutation, whatever the data are",
    ),
    # fields
    "inverse": Op(
        _inverse,
        opens="products of secrets and secret, uniformly random masks, to divide in a field: whether a number is 0, which rank "
        "a matrix has, and nothing more",
    ),
}

BILINEAR = frozenset({"mul", "matmul", "conv", "conv_transposed"})

# Derived operations that a protocol may define as an elementwise gate of its own.
ELEMENTWISE_GATES = frozenset({"keep", "relu", "spline", "exp", "sin", "cos", "rescale"})

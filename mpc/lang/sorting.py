"""Order: shuffling, sorting, order statistics, groups, and rows at secret places. Nothing about the data is revealed.

Two ways to sort, both stable. Short rows (up to 128 elements): every pair is compared at once, and the number of pairs an
element loses is its place. Longer ones: a radix sort by the bits of the keys, RADIX bits a pass (Hamada, Kikuchi, Ikarashi,
Chida, Takahashi, CSS 2014; Asharov et al., CCS 2022). Either way rows move to secret places by `permute`: those who hold
shares see the places in a random order that none of them knows, which is a random permutation whatever the data are.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeMismatch, TypeMismatch, UsageError
from ..ir.trace import user_line
from ..ir.types import INT64
from . import core, views
from .array import Array, Axis, bind, implements, scope_of, whole
from .core import (
    add,
    as_array,
    astype,
    bitwise_and,
    bitwise_xor,
    cumsum,
    equal,
    invert,
    less,
    matmul,
    multiply,
    negative,
    not_equal,
    retype,
    subtract,
)
from .disclosure import suppress
from .dispatch import numpy_dtype
from .elementwise import _real
from .function import gate
from .manipulation import concatenate, stack
from .views import getitem, reshape, transpose
from .widths import dtype_of, exact

RADIX = 4  # bits a pass of 5 rounds, at most 4: the rank of a digit opens 2^k - 1 half words
SHORT = 128  # up to here (n - 1) / 2 comparisons of about 60 bytes cost an element less than passes of about 200 bytes
SHORTEST, PAIRS = 16, 1 << 22  # longer rows are compared if there are no more pairs than this: each takes memory
PLACE = 32  # bits of a place, the uppermost of its word
CARRIED = 2  # words a row: wider rows stay, and move once when their places are known


# ---- moving rows ----
def move_rows(op: str, columns: Sequence[Array], *by: Array, **params: Any) -> list[Array]:
    """`shuffle` or `permute` of columns of any dtype as at most one array of words and one of bits."""
    n, moved = columns[0].shape[0], {}
    for bits in (False, True):
        group = [c for c in columns if c.dtype.is_bool is bits]
        if group:
            flat = [reshape(c if bits else retype(c, INT64), (n, prod(c.shape[1:]))) for c in group]
            moved[bits] = concatenate(flat, 1) if len(flat) > 1 else flat[0]
    result = bind(op, *by, *moved.values(), **params)
    rows = dict(zip(moved, result if isinstance(result, tuple) else (result,), strict=True))
    start, out = {False: 0, True: 0}, []
    for c in columns:
        bits, width = c.dtype.is_bool, prod(c.shape[1:])
        part = getitem(rows[bits], (slice(None), slice(start[bits], start[bits] + width)))
        start[bits] += width
        out.append(retype(reshape(part, c.shape), c.dtype))
    return out


def _columns(columns: Sequence[Any], *others: Array) -> list[Array]:
    """Columns as arrays with one number of rows; public ones among them are encoded."""
    scope = scope_of(*columns, *others)
    arrays = []
    for c in columns:
        if not isinstance(c, Array):
            c = as_array(c, dtype_of(np.asarray(c), scope.settings), scope)
        arrays.append(c)
    rows = [a.shape[:1] for a in (*arrays, *others)]
    if not rows[0] or len(set(rows)) != 1:
        raise ShapeMismatch(f"columns of shapes {', '.join(str(a.shape) for a in arrays)} do not have the same rows "
                            f"(at {user_line()})")  # fmt: skip
    return arrays


def _unpacked(arrays: Sequence[Array]) -> Any:
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def shuffle(*columns: Any) -> Any:
    """The columns with their rows (first axis) in one random order that no party knows; a round for each who holds shares."""
    return _unpacked(move_rows("shuffle", _columns(columns)))


def permutation(x: Array) -> Array:
    """A secret, uniformly random order of x's rows: int64[len(x)], for `permute`."""
    places = whole(np.arange(len(x)), scope_of(x))
    return move_rows("shuffle", [places])[0]


def permute(by: Array, *columns: Any) -> Any:
    """The columns with row i moved to row by[i]; `by` holds 0 .. n-1 in a secret order, as int64.

    All columns move in one shuffle, whatever their dtypes: 3 rounds with two parties that hold shares, and 24 bytes for
    every word of a row, dealt ones included. Those parties see `by` in a random order that none of them knows. If it is no
    permutation the run ends with UsageError; they have then seen which places occur how often.
    """
    if not by.dtype.is_int or by.ndim != 1:
        raise TypeMismatch(f"rows are moved to the places of an int64 vector, not of {by.type} (at {user_line()})")
    by = astype(by, INT64)
    return _unpacked(move_rows("permute", _columns(columns, by), by, shift=0))


def inverse(by: Array) -> Array:
    """The secret permutation that undoes `by`: `permute(inverse(by), x)` has x[by[i]] in row i."""
    return permute(by, np.arange(len(by)))  # type: ignore[no-any-return]


# ---- what a radix sort is made of ----
@gate("key_bits", lambda x, bits, descending: {"bits": bits, "descending": descending})
def _key_bits(x: Array, bits: int, descending: bool) -> Array:
    """The lowest bits of integers along a new last axis, lowest first, the sign's flipped; all flipped if descending."""
    factors = whole(np.array([1 << x.dtype.bits - 1 - k for k in range(bits)], object), scope_of(x))
    shifted = bind("mul", views.expand_dims(x, -1), factors, bits=0, rounding="dither")
    return bitwise_xor(less(shifted, 0), (np.arange(bits) == bits - 1) ^ descending)


def _below(x: Array) -> int:
    """Bits below a place."""
    return x.dtype.bits - PLACE


@gate("digit_ranks")
def _digit_ranks(digit: Array) -> Array:
    """The places in the stable order of digits along the axis before the last, which holds the bits of a digit, lowest first,
    in the upper 32 bits of a word: shares of a place need no more."""
    hot: list[Array] = []
    for i in range(digit.shape[-1]):
        bit = getitem(digit, (..., i))
        sides = (invert(bit), bit)
        hot = [bitwise_and(h, side) for side in sides for h in hot] if hot else list(sides)
    onehot = astype(stack(hot), INT64)
    totals = core.sum(onehot, -1, keepdims=True)
    so_far = add(cumsum(onehot, -1), subtract(cumsum(totals, 0), totals))
    return multiply(subtract(core.sum(multiply(onehot, so_far), 0), 1), 1 << _below(digit))


def _pair_ranks(keys: Sequence[Array], descending: bool) -> Array:
    """Places in the stable order of the keys (the first one decides) along the last axis, from all comparisons at once."""
    n = keys[0].shape[1]
    left, right = np.triu_indices(n, 1)
    after: Array | None = None  # whether the left one comes after the right one
    for key in reversed(keys):
        a, b = (getitem(key, (slice(None), side)) for side in (left, right))
        first = less(a, b) if descending else less(b, a)
        after = first if after is None else bitwise_xor(first, bitwise_and(equal(a, b), after))
    assert after is not None
    # element i moves up from place i for every one on its right that comes before it, and down for those on its left
    lost, pair = astype(after, INT64), np.zeros((n, n), np.int64)
    pair[left, right], pair[right, left] = np.arange(len(left)), np.arange(len(left), 2 * len(left))
    signed = getitem(concatenate([lost, negative(lost)], 1), (slice(None), pair[~np.eye(n, dtype=bool)]))
    return add(core.sum(reshape(signed, (len(lost), n, max(n - 1, 0))), -1), np.arange(n))


@gate("sort", lambda *arrays, keys, **params: {"keys": keys, **params})
def _sort(*arrays: Array, keys: int, descending: bool, bits: int) -> list[Array]:
    """Columns (m, n, ...) with the rows of each of the m groups in the stable order of the keys (m, n), which come first in
    `arrays`; the first key decides."""
    return _in_order(arrays[:keys], arrays[keys:], descending, bits)


def _sorted(keys: Sequence[Array], columns: Sequence[Array], descending: bool, bits: int | None) -> list[Array]:
    width = keys[0].dtype.bits
    if bits is not None and not 1 <= bits <= width:
        raise UsageError(f"bits={bits}: keys have 1 to {width} bits (at {user_line()})")
    bits = min(bits or width, max(_key_width(k) for k in keys))
    found: Any = _sort(*map(exact, keys), *columns, keys=len(keys), descending=descending, bits=bits)
    return list(found) if isinstance(found, tuple) else [found]


def _key_width(key: Array) -> int:
    """Bits of a key as a signed number."""
    dtype = key.dtype
    return dtype.width + (not dtype.signed) if dtype.wraps and dtype.width < dtype.bits else dtype.bits


def _in_order(keys: Sequence[Array], columns: Sequence[Array], descending: bool, bits: int) -> list[Array]:
    groups, n = keys[0].shape
    offsets = np.arange(groups, dtype=object)[:, None] * n  # shifted by up to 96 bits
    flat = [reshape(c, (groups * n, *c.shape[2:])) for c in columns]

    def move(columns: list[Array], ranks: Array, shift: int) -> list[Array]:
        places = add(ranks, offsets << shift) if groups > 1 else ranks
        return move_rows("permute", columns, reshape(places, -1), shift=shift)

    if n <= SHORTEST or (n <= SHORT and groups * n * (n - 1) <= 2 * PAIRS):
        return _shaped(move(flat, _pair_ranks(keys, descending), 0), columns)
    words = sum(prod(c.shape[1:]) for c in flat)
    index = whole(np.arange(groups * n), scope_of(*keys))
    carried = [index] if words > CARRIED else flat
    waiting = [_bits_of(reshape(key, -1), bits, descending) for key in reversed(keys)]  # the last key is sorted first
    while waiting:
        width = waiting[0].shape[1]
        for low in range(0, width, RADIX):
            digit = getitem(waiting[0], (slice(None), slice(low, low + RADIX)))
            if low + RADIX >= width:
                waiting = waiting[1:]
            ranks = _digit_ranks(reshape(digit, (groups, n, digit.shape[1])))
            moved = move([*waiting, *carried], ranks, _below(ranks))
            waiting, carried = moved[: len(waiting)], moved[len(waiting) :]
    if words > CARRIED:
        carried = move_rows("permute", flat, inverse(carried[0]), shift=0)
    return _shaped(carried, columns)


def _shaped(flat: Sequence[Array], columns: Sequence[Array]) -> list[Array]:
    return [reshape(f, c.shape) for f, c in zip(flat, columns, strict=True)]


def _bits_of(key: Array, bits: int, descending: bool) -> Array:
    if key.dtype.is_bool:
        return reshape(invert(key) if descending else key, (key.size, 1))
    if key.dtype.wraps:  # unsigned numbers of 64 bits, in the order of signed ones
        key = add(key, 1 << bits - 1)
    return _key_bits(retype(key, INT64), bits, descending)


def _along(x: Array, axis: int) -> tuple[Array, list[int], tuple[int, ...]]:
    """(x as (m, n) with `axis` last, the order of axes that leads back, the shape before)."""
    (axis,) = views.axes_of(x, axis)
    order = [a for a in range(x.ndim) if a != axis] + [axis]
    moved = transpose(x, order)
    return reshape(moved, (prod(moved.shape[:-1]), moved.shape[-1])), [int(i) for i in np.argsort(order)], moved.shape


def _sort_along(
    x: Array, axis: int | None, descending: bool, bits: int | None, index: bool, values: bool = True
) -> list[Array]:
    """[values, indices] in order, as far as they are wanted."""
    if axis is None:
        x, axis = reshape(x, -1), 0
    rows, back, shape = _along(x, axis)
    places = whole(np.broadcast_to(np.arange(rows.shape[1]), rows.shape), scope_of(x))
    columns = [rows] * values + [places] * index
    return [transpose(reshape(c, shape), back) for c in _sorted([rows], columns, descending, bits)]


# ---- sorting ----
@implements("sort")
def sort(x: Array, axis: int | None = -1, *, descending: bool = False, stable: bool = True, bits: int | None = None) -> Array:
    """x in ascending order along an axis (of all elements if None); exact, always stable.

    bits: keys are known to be in [-2^(bits-1), 2^(bits-1)) as integers (for fixed64(16): times 2^16), by default any words;
    fewer are faster. Rows up to 128: 7 rounds, one comparison a pair, whose differences must fit 64 bits. Longer ones: 7
    rounds, and 5 for every 4 bits, which cost an element about 300 bytes in all (two parties that hold shares, and dealer).
    """
    return _sort_along(x, axis, descending, bits, index=False)[0]


@implements("argsort")
def argsort(
    x: Array, axis: int | None = -1, *, descending: bool = False, stable: bool = True, bits: int | None = None
) -> Array:
    """The int64 indices that sort x along an axis, equal elements in their old order. See `sort`."""
    return _sort_along(x, axis, descending, bits, index=True, values=False)[0]


def sort_by(keys: Any, *columns: Any, descending: bool = False, bits: int | None = None) -> Any:
    """The columns with their rows (first axis) in the order of one key, or of several, of which the first decides.

    Stable; keys are vectors, columns of any shape and dtype move along: as one if they have more than two words a row, then
    moving them costs two more shuffles. bits: see `sort`; it holds for every key.
    """
    keys = list(keys) if isinstance(keys, (tuple, list)) else [keys]
    arrays = _columns([*keys, *columns])
    keys, rows = arrays[: len(keys)], arrays[len(keys) :]
    if any(k.ndim != 1 for k in keys):
        raise ShapeMismatch(f"keys are vectors, not of shape {', '.join(str(k.shape) for k in keys)} (at {user_line()})")
    keys, rows = ([views.expand_dims(c, 0) for c in group] for group in (keys, rows))
    return _unpacked([reshape(c, c.shape[1:]) for c in _sorted(keys, rows, descending, bits)])


def topk(x: Array, k: int, axis: int = -1, *, largest: bool = True, bits: int | None = None) -> tuple[Array, Array]:
    """(the k largest values along an axis, their indices), the largest first; of equals the first one. By sorting."""
    (axis,) = views.axes_of(x, axis)
    if not 0 <= k <= x.shape[axis]:
        raise ShapeMismatch(f"the top {k} of {x.shape[axis]} elements (at {user_line()})")
    values, indices = _sort_along(x, axis, largest, bits, index=True)
    key = (*[slice(None)] * axis, slice(0, k))
    return getitem(values, key), getitem(indices, key)


# ---- order statistics ----
@implements("median")
def median(x: Array, axis: Axis = None, keepdims: bool = False, *, bits: int | None = None) -> Array:
    """The median over axes (all by default): the mean of the two middle elements if their number is even; as `quantile`."""
    return quantile(x, 0.5, axis, keepdims, bits=bits)


@implements("quantile")
def quantile(x: Array, q: Any, axis: Axis = None, keepdims: bool = False, *, bits: int | None = None) -> Array:
    """Quantiles over axes (all by default) for public q in [0, 1], by NumPy's linear interpolation: one sort for all of them.

    Several q come along a new first axis. An element is exact; between two, off by one unit of the dtype and 2^-17 of their
    distance. bits: see `sort`.
    """
    x, wanted = _real(x), np.asarray(q, float)
    if wanted.size and not (wanted.min() >= 0 and wanted.max() <= 1):
        raise UsageError(f"quantiles lie in [0, 1] (at {user_line()})")
    axes = views.axes_of(x, axis)
    rest = [a for a in range(x.ndim) if a not in axes]
    n = prod(x.shape[a] for a in axes)
    if not n:
        raise ShapeMismatch(f"quantile of no elements (shape {x.shape}, at {user_line()})")
    rows = reshape(transpose(x, [*rest, *axes]), (prod(x.shape[a] for a in rest), n))
    ordered = transpose(sort(rows, bits=bits))
    at = wanted.reshape(-1) * (n - 1)
    low = np.floor(at).astype(np.int64)
    below, above = getitem(ordered, low), getitem(ordered, np.minimum(low + 1, n - 1))
    found = add(below, multiply(subtract(above, below), (at - low)[:, None])) if (at != low).any() else below
    shape = [1 if a in axes else x.shape[a] for a in range(x.ndim)] if keepdims else [x.shape[a] for a in rest]
    return reshape(found, (*wanted.shape, *shape))


# ---- groups ----
class Groups(NamedTuple):
    """Groups of equal keys, by key, in as many rows as there are keys; rows beyond `number` are 0."""

    keys: Array
    counts: Array  # int64
    sums: tuple[Array, ...]
    number: Array  # of groups, int64


def group_by(keys: Array, *columns: Any, bits: int | None = None, least: int = 0) -> Groups:
    """How many rows have each key and the sums of the columns over them. How many groups there are stays secret.

    keys: a vector; columns of any numeric dtype and shape (n, ...). A sort (see there), one comparison an element, and one
    pass more, which moves the last row of every group to the front: prefix sums differ by the group's. least: groups of fewer
    rows are 0 in keys, counts and sums (see `suppress`), and `number` leaves them out.
    """
    key, *values = sort_by(keys, keys, *columns, bits=bits) if columns else [sort_by(keys, keys, bits=bits)]
    groups = _collected(key, values)
    if not least:
        return groups
    seen, shown, *sums = (suppress(x, groups.counts, least) for x in (groups.keys, groups.counts, *groups.sums))
    number = core.sum(astype(core.greater_equal(shown, least), INT64))
    return Groups(seen, shown, tuple(sums), suppress(number, len(keys), least))


def _collected(key: Array, values: Sequence[Array]) -> Groups:
    """The groups of an ordered key."""
    last, n = _ends(key), len(key)
    ranks = _digit_ranks(reshape(invert(last), (1, n, 1)))
    index = whole(np.arange(1, n + 1), scope_of(key))
    columns = [last, core._numbers(key), index, *(cumsum(c, 0) for c in values)]
    ends, key, *totals = move_rows("permute", columns, reshape(ranks, -1), shift=_below(ranks))
    valid = astype(ends, INT64)
    counts, *sums = (_masked(valid, _differences(t)) for t in totals)
    return Groups(_masked(valid, key), counts, tuple(sums), core.sum(valid))


def _ends(ordered: Array) -> Array:
    """Whether a row is the last one with its key."""
    return concatenate([not_equal(getitem(ordered, slice(1, None)), getitem(ordered, slice(0, -1))), np.ones(1, bool)])


def _differences(x: Array) -> Array:
    """Row i less row i - 1."""
    first = np.zeros((1, *x.shape[1:]), numpy_dtype(x.dtype))
    return subtract(x, concatenate([first, getitem(x, slice(0, -1))]))


def _masked(valid: Array, x: Array) -> Array:
    valid = retype(valid, x.dtype) if x.dtype.wraps else valid
    return multiply(reshape(valid, (len(valid), *[1] * (x.ndim - 1))), x)


def unique(x: Array, *, bits: int | None = None) -> tuple[Array, Array, Array]:
    """(values in ascending order, how often each occurs, for every element of the vector x the index of its value).

    Of the n rows of the first two those beyond the number of values are 0; that number stays secret.
    """
    ordered, origin = sort_by(x, x, np.arange(len(x)), bits=bits)
    number = cumsum(_ends(ordered), 0)
    before = concatenate([np.zeros(1, np.int64), getitem(number, slice(0, -1))])
    groups = _collected(ordered, ())
    return groups.keys, groups.counts, permute(origin, before)


# ---- secret indices ----
def _onehot(index: Array, n: int) -> Array:
    """(*index.shape, n) int64: a one at the index; no one if it is out of range."""
    if not index.dtype.is_int:
        raise TypeMismatch(f"an index must be int64, not {index.dtype} (at {user_line()})")
    return astype(equal(views.expand_dims(astype(index, INT64), -1), np.arange(n)), INT64)


def take_secret(x: Any, index: Array) -> Array:
    """x[index] for a secret int64 index of any shape into the first axis; 0 where it is out of range. x may be public.

    len(x) comparisons for every index. To read at a whole permutation use `permute(inverse(by), x)`.
    """
    onehot = reshape(_onehot(index, len(x)), (index.size, len(x)))
    rows = core._numbers(x) if isinstance(x, Array) else np.asarray(x)
    found = matmul(onehot, rows.reshape(len(x), prod(x.shape[1:])))
    return reshape(found, (*index.shape, *x.shape[1:]))


def put_secret(x: Array, index: Array, values: Any) -> Array:
    """x with row index[i] replaced by values[i], for a secret int64 vector of different indices; others are ignored.

    len(x) comparisons for every index.
    """
    n, width = len(x), prod(x.shape[1:])
    onehot = transpose(_onehot(index, n))
    scope = scope_of(x, index)
    rows = reshape(views.broadcast_to(as_array(values, x.dtype, scope), (index.size, *x.shape[1:])), (index.size, width))
    kept = subtract(1, core.sum(onehot, 1, keepdims=True))
    return reshape(add(multiply(kept, reshape(x, (n, width))), matmul(onehot, rows)), x.shape)

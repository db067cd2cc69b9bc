"""Secure multi-party computation in NumPy-like Python. See README.md, or `help(mpc.local)` to start."""

from . import fft, linalg, ml, nn, optim, random
from .ir.types import BOOL as bool
from .ir.types import INT8 as int8
from .ir.types import INT16 as int16
from .ir.types import INT32 as int32
from .ir.types import INT64 as int64
from .ir.types import UINT8 as uint8
from .ir.types import UINT16 as uint16
from .ir.types import UINT32 as uint32
from .ir.types import UINT64 as uint64
from .ir.types import DType, field, fixed32, fixed64, fixed128
from .lang.array import Array
from .lang.checkpoint import load, save
from .lang.core import (
    add,
    astype,
    cumsum,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    matmul,
    mean,
    multiply,
    negative,
    not_equal,
    positive,
    square,
    subtract,
    sum,
    var,
    where,
)
from .lang.core import bitwise_and as logical_and
from .lang.core import bitwise_or as logical_or
from .lang.core import bitwise_xor as logical_xor
from .lang.core import invert as logical_not
from .lang.creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    linspace,
    meshgrid,
    ones,
    ones_like,
    tril,
    triu,
    zeros,
    zeros_like,
)
from .lang.disclosure import suppress
from .lang.dtypes import can_cast, finfo, iinfo, isdtype, result_type
from .lang.elementwise import (
    absolute,
    approximate,
    argmax,
    clip,
    cos,
    erf,
    exp,
    max,
    maximum,
    min,
    minimum,
    sign,
    sin,
    tanh,
)  # fmt: skip
from .lang.elementwise import absolute as abs
from .lang.function import fori, function
from .lang.gradients import grad, value_and_grad
from .lang.integers import (
    bits,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    ceil,
    copysign,
    divmod,
    floor,
    floor_divide,
    from_bits,
    isfinite,
    isinf,
    isnan,
    remainder,
    round,
    signbit,
    trunc,
)
from .lang.integers import bitwise_invert as invert
from .lang.manipulation import (
    array_split,
    atleast_1d,
    atleast_2d,
    broadcast_arrays,
    column_stack,
    concatenate,
    diag,
    flip,
    hstack,
    matrix_transpose,
    moveaxis,
    pad,
    repeat,
    roll,
    split,
    stack,
    swapaxes,
    take,
    take_along_axis,
    tile,
    unstack,
    vstack,
)
from .lang.manipulation import concatenate as concat
from .lang.program import Input, Output, Program, Stored, program
from .lang.reductions import (
    all,
    any,
    argmin,
    array_equal,
    average,
    count_nonzero,
    cumprod,
    cumulative_prod,
    cumulative_sum,
    diff,
    hypot,
    isin,
    logaddexp,
    prod,
    ptp,
    searchsorted,
)
from .lang.refusals import absent as __getattr__
from .lang.session import Session, reveal
from .lang.sorting import (
    argsort,
    group_by,
    inverse,
    median,
    permutation,
    permute,
    put_secret,
    quantile,
    shuffle,
    sort,
    sort_by,
    take_secret,
    topk,
    unique,
)  # fmt: skip
from .lang.trigonometry import acos, acosh, asin, asinh, atan, atan2, atanh, cbrt, cosh, log10, sinh, tan
from .lang.trigonometry import acos as arccos
from .lang.trigonometry import acosh as arccosh
from .lang.trigonometry import asin as arcsin
from .lang.trigonometry import asinh as arcsinh
from .lang.trigonometry import atan as arctan
from .lang.trigonometry import atan2 as arctan2
from .lang.trigonometry import atanh as arctanh
from .lang.update import At
from .lang.views import broadcast_to, dynamic_slice, expand_dims, getitem, ravel, reshape, squeeze, transpose
from .lang.views import transpose as permute_dims
from .lang.wide import divide, exp2, expm1, log, log1p, log2, power, reciprocal, rsqrt, sqrt, std
from .lang.wide import power as pow
from .launch.local import local
from .launch.study import Outcome, Study
from .linalg.products import cross, dot, einsum, inner, kron, outer, tensordot, trace, vecdot
from .net.shaped import Network

e, inf, nan, newaxis, pi = 2.718281828459045, float("inf"), float("nan"), None, 3.141592653589793
__array_api_version__ = "2024.12"
__version__ = "0.1.0"

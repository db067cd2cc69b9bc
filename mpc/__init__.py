"""Secure multi-party computation in NumPy-like Python. See README.md, or `help(mpc.local)` to start."""

from . import nn
from .ir.types import BOOL as bool
from .ir.types import INT64 as int64
from .ir.types import DType, fixed64
from .lang.array import Array
from .lang.core import (
    add,
    astype,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    broadcast_to,
    concatenate,
    dynamic_slice,
    equal,
    expand_dims,
    getitem,
    greater,
    greater_equal,
    invert,
    less,
    less_equal,
    matmul,
    mean,
    multiply,
    negative,
    not_equal,
    ravel,
    reshape,
    square,
    squeeze,
    stack,
    subtract,
    sum,
    transpose,
    var,
    where,
)  # fmt: skip
from .lang.elementwise import (
    absolute,
    approximate,
    argmax,
    clip,
    divide,
    erf,
    exp,
    log,
    max,
    maximum,
    min,
    minimum,
    power,
    reciprocal,
    rsqrt,
    sign,
    sqrt,
    std,
    tanh,
)  # fmt: skip
from .lang.elementwise import absolute as abs
from .lang.function import fori, function
from .lang.program import Input, Output, Program, program
from .lang.session import Session, reveal
from .launch.local import local
from .launch.study import Outcome, Study
from .net.shaped import Network

__version__ = "0.1.0"

"""Every operation of the language on random and edge values, with what NumPy says and how far off a result may be.

`f` is written once: on NumPy arrays it is its own oracle, unless `expected` is given. Inputs are multiples of 2^-16, so
that a difference is the operation's, not the encoding's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import mpc
from mpc.lang.array import bind

ULP = 2.0**-16  # the resolution of fixed64(16), the default


@dataclass(frozen=True)
class Operation:
    name: str
    f: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    expected: Callable[..., Any]
    tolerance: Any  # absolute, a number or a function of the inputs; 0: exact

    def __str__(self) -> str:
        return self.name

    def oracle(self) -> list[np.ndarray]:
        with np.errstate(over="ignore"):
            return results(self.expected(*self.inputs))

    def bound(self) -> Any:
        return self.tolerance(*self.inputs) if callable(self.tolerance) else self.tolerance


def results(tree: Any) -> list[Any]:
    return list(tree) if isinstance(tree, (tuple, list)) else [tree]


OPERATIONS: list[Operation] = []


def op(name: str, f: Callable[..., Any], *inputs: Any, expected: Callable[..., Any] | None = None, tol: Any = 0) -> None:
    assert name not in {o.name for o in OPERATIONS}, name
    OPERATIONS.append(Operation(name, f, tuple(np.asarray(x) for x in inputs), expected or f, tol))


random = np.random.default_rng(20240501)


def fixed(*shape: int, below: float = 8.0) -> np.ndarray:
    """Uniform multiples of 2^-16 in (-below, below)."""
    return np.rint(random.uniform(-below, below, shape) / ULP) * ULP


def ints(*shape: int, below: int = 1 << 20) -> np.ndarray:
    return random.integers(-below, below, shape)


def bools(*shape: int) -> np.ndarray:
    return random.random(shape) < 0.5


def around_powers(top: int) -> np.ndarray:
    """0, +-1 and +-2^k +- 1 up to 2^top."""
    powers = [s * (1 << k) + d for k in range(1, top + 1) for s in (1, -1) for d in (-1, 0, 1)]
    return np.array([0, 1, -1, *powers])


SMALL = np.concatenate([around_powers(20) * ULP, fixed(40)])  # words up to 2^20: |x| <= 16
WIDE = np.concatenate([around_powers(60) * ULP, fixed(40, below=2.0**40)])  # |x| up to 2^44
EXTREMES = np.array([-(2**63), -(2**63) + 1, 2**63 - 1, 2**63 - 2, 0, 1, -1])
WHOLE = np.concatenate([around_powers(62), EXTREMES, ints(40, below=1 << 62)])  # all of int64
HALF = np.concatenate([around_powers(61), ints(40, below=1 << 61)])  # differences do not overflow
TRUE = np.array([True])
A, B, V, W = fixed(3, 4), fixed(3, 4), fixed(4), fixed(3, 1)
I, J = ints(3, 4), ints(3, 4)
P, Q = bools(3, 4), bools(3, 4)
T = fixed(2, 3, 4)
shuffled = random.permutation

# ---- linear: exact ----
for kind, x, y in (("fixed", WIDE, shuffled(WIDE)), ("int", WHOLE, shuffled(WHOLE))):
    op(f"add {kind}", lambda x, y: x + y, x, y)
    op(f"subtract {kind}", lambda x, y: x - y, x, y)
    op(f"negative {kind}", lambda x: -x, x)
    op(f"positive {kind}", lambda x: +x, x)
    op(f"add itself {kind}", lambda x: x + x - x, x)
op("add broadcast", lambda x, y, z: x + y - z, A, V, W)
op("add scalar array", lambda x, y: x + y, A, np.array(1.5))
op("add public right", lambda x: x + 2.5 - np.float64(1) + V, A)
op("add public left", lambda x: 2.5 + (1 - x) + V, A)
op("add public widens", lambda x: x + B, V, expected=lambda x: x + B)
op("add int public", lambda x: (x + 3) - I, J)
op("add int and fixed", lambda x, y: x + y, I, A)
op("add int and public fraction", lambda x: x + 0.5, I)
op("add bool", lambda x, y: x + y, P, I)
op("subtract public array left", lambda x: A - x, B)
op("sum", lambda x: x.sum(), A)
op("sum axis", lambda x: (x.sum(axis=0), x.sum(axis=-1)), A)
op("sum axes keepdims", lambda x: (x.sum(axis=(0, 2)), x.sum(axis=(0, -1), keepdims=True), x.sum(keepdims=True)), T)
op("sum int wraps", lambda x: x.sum(), WHOLE)
op("sum bool", lambda x: (x.sum(), x.sum(axis=1)), P)
op("sum of nothing", lambda x: x.sum(axis=0), np.zeros((0, 3)))
op("np.sum", lambda x: np.sum(x, axis=1, keepdims=True), A)

# ---- rearranging: exact ----
op("reshape", lambda x: (x.reshape(4, 3), x.reshape((2, -1)), x.reshape(-1), x.ravel()), A)
op("transpose", lambda x: (x.T, x.transpose(2, 0, 1), np.transpose(x, (0, 2, 1)), x.transpose()), T)
op("concatenate", lambda x, y: np.concatenate([x, y, x], axis=1), A, B)
op("concatenate public", lambda x, y: np.concatenate([x, V[None], y]), A, B)
op("concatenate flat", lambda x, y: np.concatenate([x, y], axis=None), A, V)
op("concatenate bool", lambda x, y: np.concatenate([x, y], axis=-1), P, Q)
op("stack", lambda x, y: (np.stack([x, y]), np.stack([x, y], axis=-1), np.stack([x, y], axis=1)), A, B)
op("expand and squeeze", lambda x: (np.expand_dims(x, 0), np.expand_dims(x, -1), np.squeeze(x[:, :1], 1)), A)
op("broadcast_to", lambda x: np.broadcast_to(x, (2, 3, 4)), V)
op("rearrange bool", lambda x: (x.T, x.reshape(2, 6), x[::-1, 1:], np.broadcast_to(x, (2, 3, 4))), P)
op("rearrange int", lambda x: (x.T, x.reshape(2, 6), x[::-1, 1:]), I)

# ---- indexing: exact ----
MASK1, MASK2 = np.array([True, False, True]), np.array([[True, False, True, False]] * 3)
op("index int", lambda x: (x[1], x[-1, 2], x[0, -1, 3], x[np.int64(1)]), T)
op("index slices", lambda x: (x[:, 1:], x[..., ::2], x[:1, 1:3, -3:-1], x[5:]), T)
op("index negative steps", lambda x: (x[::-1], x[:, ::-2], x[1, 2::-1, 3:0:-2]), T)
op("index None Ellipsis", lambda x: (x[None], x[..., None], x[:, None, 1], x[..., 1], x[...]), T)
op("index int arrays", lambda x: (x[[0, 1, 0]], x[:, [2, 0]], x[np.array([[0, 1], [1, 0]])], x[[0, 1], [2, 1]], x[[-1]]), T)
op("index bool masks", lambda x: (x[MASK1], x[:, np.array([True, False, False, True])], x[MASK2], x[~MASK1 & MASK1]), A)
op("iterate", lambda x: tuple(x), A)
op("index then compute", lambda x: (x[::-1] + x, -x[[0, 0, 2]], x[:, 1] - x[:, 0]), A)

# ---- products ----
op("multiply", lambda x, y: x * y, SMALL, shuffled(SMALL), tol=ULP)
op(
    "multiply domain ends",
    lambda x, y: x * y,
    [2.0**14, -(2.0**14), 2.0**28, ULP, 2.0**44],
    [2.0**14, 2.0**14, 1.0, 2.0**44, ULP],
    tol=ULP,
)
op("multiply broadcast", lambda x, y, z: (x * y, y * x, x * z, y * z), A, V, W, tol=ULP)
op("multiply twice", lambda x, y: (x * y, x * (y + 1), x * x), A, B, tol=ULP)
op("multiply int", lambda x, y: x * y, WHOLE, shuffled(WHOLE))
op("multiply int and fixed", lambda x, y: x * y, I, A, tol=0)
op("multiply bool", lambda x, y: (x * y, y * x), P, A)
op("multiply scalar array", lambda x, y: x * y, A, np.array(-1.5), tol=ULP)
op("multiply public integer", lambda x: (x * 3, -2 * x, x * np.arange(4), x * np.float64(5)), A)
op("multiply public fraction", lambda x: (x * 0.5, 0.25 * x, x * B), A, tol=8 * ULP)
op("multiply public small", lambda x: x * (1 / 5000), A, tol=ULP)
op("multiply int public fraction", lambda x: (x * 0.5, 0.3 * x), ints(12, below=100), tol=100 * ULP)
op("multiply int public", lambda x: x * J, WHOLE[:12].reshape(3, 4))
op("square", lambda x: mpc.square(x), SMALL, expected=np.square, tol=ULP)
op("power", lambda x: (x**2, x**3, x**1), fixed(20, below=2), tol=8 * ULP)
op("power of int", lambda x: (x**2, x**5, x**1, x**0), ints(20, below=1 << 12))
op("power of halves", lambda x: (x**0.5, x**1.5, x**-0.25), [0.25, 1.0, 2.0, 9.5, 100.0], tol=lambda x: 2.0**-11 * (1 + x**1.5))
op("power negative", lambda x: x**-2, [0.5, -0.5, 1.0, -2.0, 3.0], tol=2.0**-12)
op("matmul", lambda x, y: x @ y, fixed(5, 7), fixed(7, 3), tol=8 * ULP)
op("matmul exact to the last truncation", lambda x, y: x @ y, fixed(3, 50), fixed(50, 2), tol=ULP)
op("matmul vectors", lambda x, y, m: (x @ y, m @ x, y @ m.T), V, fixed(4), A, tol=ULP)
op("matmul batches", lambda x, y, z: (x @ y, z @ y, x @ z.T), fixed(2, 3, 4), fixed(2, 4, 5), fixed(3, 4), tol=ULP)
op("matmul batches broadcast", lambda x, y: x @ y, fixed(2, 1, 3, 4), fixed(3, 4, 2), tol=ULP)
op("matmul transposed", lambda x, y: (x.T @ y, x @ y.T, x[::-1] @ y[:, ::-1].T), A, B, tol=ULP)
op("matmul public", lambda x: (x @ B.T, B.T @ x, x @ V, W.T @ x), A, tol=32 * ULP)
op("matmul public integer", lambda x: (x @ np.arange(8).reshape(4, 2), np.eye(3) @ x), A)
op("np.matmul public left", lambda x: np.matmul(B.T, x), A, tol=32 * ULP)
op("matmul int wraps", lambda x, y: x @ y, WHOLE[:35].reshape(5, 7), WHOLE[-14:].reshape(7, 2))
op("matmul empty", lambda x, y: x @ y, np.zeros((2, 0)), np.zeros((0, 3)))
op("dot", lambda x, y: np.dot(x, y), A, V, tol=ULP)
CONV = {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], "groups": 2}


def convolved(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """conv with CONV, by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    high, wide = (x.shape[2] - w.shape[2]) // 2 + 1, x.shape[3] - 2 * (w.shape[3] - 1)
    out = np.zeros((x.shape[0], w.shape[0], high, wide), x.dtype)
    for n, o, i, j in np.ndindex(out.shape):
        first = o // (w.shape[0] // 2) * w.shape[1]
        patch = x[n, first : first + w.shape[1], 2 * i : 2 * i + w.shape[2], j : j + 2 * w.shape[3] - 1 : 2]
        out[n, o, i, j] = (patch * w[o]).sum()
    return out


op(
    "conv",
    lambda x, w: bind("conv", x, w, bits=16, rounding="dither", **CONV),
    fixed(2, 4, 6, 5),
    fixed(6, 2, 3, 2),
    expected=convolved,
    tol=ULP,
)
op(
    "conv int",
    lambda x, w: bind("conv", x, w, bits=0, rounding="dither", **CONV),
    ints(2, 4, 6, 5),
    ints(6, 2, 3, 2),
    expected=convolved,
)

# ---- comparisons and logic: exact ----
for symbol, f in (
    ("<", lambda x, y: x < y),
    ("<=", lambda x, y: x <= y),
    (">", lambda x, y: x > y),
    (">=", lambda x, y: x >= y),
    ("==", lambda x, y: x == y),
    ("!=", lambda x, y: x != y),
):
    op(f"{symbol} fixed", f, np.concatenate([WIDE, A.ravel()]), np.concatenate([shuffled(WIDE), A.ravel()]))
    op(f"{symbol} int", f, np.concatenate([HALF, HALF, HALF[:9]]), np.concatenate([shuffled(HALF), HALF, HALF[:9] + 1]))
    op(f"{symbol} zero", lambda x, f=f: (f(x, 0), f(x, 0.0)), WIDE)
    op(f"{symbol} public", lambda x, f=f: (f(x, B), f(x, 1), f(x, 2**-16)), np.concatenate([A, B[:1]])[[0, 1, 3]])
    op(f"{symbol} public left", lambda x, f=f: (f(1, x), f(B, x)), A)
    op(f"{symbol} broadcast", f, T, fixed(3, 1))
    op(f"{symbol} extremes", lambda x, f=f: f(x, 0), np.array([2**63 - 1, -(2**63) + 1, 2**62, -(2**62), 1, 0, -1]))
op("< lowest int", lambda x: x < 0, EXTREMES)
op("== all extremes", lambda x, y: (x == y, x != y), np.repeat(EXTREMES, 7), np.tile(EXTREMES, 7))
op("== bool", lambda x, y: (x == y, x != y, x == True, False != x), P, Q)  # noqa: E712
op("== int and fixed", lambda x, y: (x == y, x < y), np.array([1, 2, 3, -4]), np.array([1.0, 2.5, 2.5, -4.0]))
op("np.less", lambda x, y: (np.less(x, y), np.greater_equal(x, y), np.not_equal(x, y)), A, B)
op("and", lambda x, y: (x & y, x & Q, True & x, x & False), P, Q)
op("or", lambda x, y: (x | y, x | Q, False | x, x | True), P, Q)
op("xor", lambda x, y: (x ^ y, x ^ Q, True ^ x, x ^ False), P, Q)
op("not", lambda x: (~x, ~~x, np.logical_not(x)), P)
op("logic broadcast", lambda x, y: (x & y, x | y, x ^ y, y & x), P, bools(4))
op("logic long", lambda x, y: (x & y, x | y, x ^ ~y), bools(1000), bools(1000))
op("logic of comparisons", lambda x, y: (x > 0) & ~(y > x) | (y == 0), A, B)

# ---- choosing: exact ----
op("where", lambda c, x, y: np.where(c, x, y), bools(len(WIDE)), WIDE, shuffled(WIDE))
op("where int", lambda c, x, y: np.where(c, x, y), bools(len(WHOLE)), WHOLE, shuffled(WHOLE))
op("where broadcast", lambda c, x, y: (np.where(c, x, y), np.where(c[0], x, y)), P, V, W)
op("where public branch", lambda c, x: (np.where(c, x, 0), np.where(c, 1.5, x), np.where(c, B, x)), P, A)
op("where public branches", lambda c: (np.where(c, 3, -1), np.where(c, 1.5, 0.25), np.where(c, B, A)), P)
op("where unsigned branches", lambda c: np.where(c, np.uint8(1), np.uint8(2)), P, expected=lambda c: np.where(c, 1, 2))
op("where public condition", lambda x, y: (np.where(Q, x, y), np.where(Q, x, 1.5), np.where(Q[:, :1], x, V)), A, B)
op("where int and fixed", lambda c, x, y: np.where(c, x, y), P, I, A)
op("where compares", lambda x, y: np.where(x < y, x - y, y), A, B)
op("absolute", lambda x: (abs(x), np.abs(x)), WIDE)
op("absolute int", lambda x: np.absolute(x), WHOLE)
op("maximum", lambda x, y: (np.maximum(x, y), np.minimum(x, y)), WIDE, shuffled(WIDE))
op("maximum int", lambda x, y: (np.maximum(x, y), np.minimum(x, y)), HALF, shuffled(HALF))
op("maximum public", lambda x: (np.maximum(x, 0.5), np.minimum(0.5, x), np.maximum(B, x)), A)
op("maximum broadcast", lambda x, y: (np.maximum(x, y), np.minimum(y, x)), A, V)
op("clip", lambda x: (x.clip(-1, 1), np.clip(x, -0.5, 2.5), x.clip(V, V + 1)), A)
op("clip one side", lambda x: (np.clip(x, None, 1.0), np.clip(x, 0, None)), A)
op("sign", lambda x: np.sign(x), WIDE)
op("sign int", lambda x: np.sign(x), HALF)
op("relu", lambda x: mpc.nn.relu(x), WIDE, expected=lambda x: np.maximum(x, 0))
op("relu int", lambda x: mpc.nn.relu(x), WHOLE, expected=lambda x: np.maximum(x, 0))
op("relu scalar", lambda x: mpc.nn.relu(x), np.array(-1.5), expected=lambda x: np.maximum(x, 0))
op("relu of nothing", lambda x: mpc.nn.relu(x), np.zeros((0, 3)), expected=lambda x: x)
op("max", lambda x: (x.max(), x.min(), x.max(axis=1), x.min(axis=-1), x.max(axis=0, keepdims=True), x.min(keepdims=True)), T)
op("max odd lengths", lambda x: (x.max(), x[:1].max(), x[:2].min(), x[:3].max(), x[:7].min()), WIDE)
op("max int", lambda x: (x.max(), x.min()), HALF)

# ---- conversions ----
op("to int64", lambda x: x.astype(mpc.int64), WIDE, expected=lambda x: np.floor(x).astype(np.int64))
op("to bool", lambda x: x.astype(mpc.bool), SMALL, expected=lambda x: x != 0)


def scaled(x: Any, fraction: int) -> Any:
    """x with so many fraction bits, in its own ring."""
    return x.astype(mpc.DType("fixed", fraction, x.dtype.ring))


op("int to fixed", lambda x: x.astype(float), ints(20), expected=lambda x: x.astype(float))
op("to more bits", lambda x: scaled(x, 24), SMALL, expected=lambda x: x)
op("to fewer bits", lambda x: scaled(x, 8), SMALL, expected=lambda x: x, tol=2.0**-8)
op("bool to int64", lambda x: x.astype(mpc.int64), P, expected=lambda x: x.astype(np.int64))
op("bool to fixed", lambda x: scaled(x, 16), P, expected=lambda x: x.astype(float))
op(
    "mixed scales",
    lambda x: (scaled(x, 24) + x, x * scaled(x, 8)),
    np.arange(-8, 8) / 4,
    expected=lambda x: (x + x, x * x),
    tol=ULP,
)

# ---- statistics ----
op("mean", lambda x: (x.mean(), x.mean(axis=0), x.mean(axis=-1, keepdims=True)), A, tol=2 * ULP)
op("mean of a power of two", lambda x: x.mean(axis=1), A, tol=ULP)
op("mean of int", lambda x: x.mean(axis=0), ints(3, 4, below=100), tol=300 * 2.0**-19 + ULP)
op("mean of bool", lambda x: x.mean(), P, tol=8 * ULP)
op("var", lambda x: (x.var(), x.var(axis=0), x.var(axis=1, keepdims=True)), A, tol=2.0**-11)
op("std", lambda x: (x.std(), x.std(axis=0), x.std(axis=1, keepdims=True)), A, tol=2.0**-9)

# ---- elementary functions, within what their docstrings promise ----
NEAR = np.array([0, ULP, -ULP, 1, -1, 6, -6, 6 + ULP, -6 - ULP, 12, -12, 12 - ULP, 12 + ULP, -12 - ULP, 17, -17, 1000, -1000])
SPREAD = np.concatenate([NEAR, np.rint(np.linspace(-13, 13, 101) / ULP) * ULP])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


erf = np.vectorize(math.erf, otypes=[float])


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


op("sigmoid", lambda x: mpc.nn.sigmoid(x), SPREAD, expected=sigmoid, tol=2.0**-13)
op("tanh", lambda x: np.tanh(x), SPREAD, tol=2.0**-13)
EXPONENTS = np.concatenate(
    [np.rint(np.linspace(-14, 16.9, 100) / ULP) * ULP, [0, 1, -1, ULP, -ULP, -12, -12 - ULP, 16, 16 + ULP, -100, -1000]]
)
op("exp", lambda x: np.exp(x), EXPONENTS, tol=lambda x: 2.0**-13 + 2.0**-13 * np.exp(x))
POSITIVE = np.concatenate([around_powers(30)[1:], ints(20, below=1 << 30)]) * ULP
POSITIVE = np.unique(np.abs(POSITIVE[(POSITIVE != 0) & (np.abs(POSITIVE) < 2.0**15)]))
op(
    "reciprocal",
    lambda x: np.reciprocal(x),
    np.concatenate([POSITIVE, -POSITIVE]),
    tol=lambda x: 2.0**-15 + 2.0**-16 / np.abs(x),
)
op("rsqrt", lambda x: mpc.rsqrt(x), POSITIVE, expected=lambda x: x**-0.5, tol=lambda x: 2.0**-13 * x**-0.5 + 2.0**-15)
op("sqrt", lambda x: np.sqrt(x), np.append(POSITIVE, 0.0), tol=lambda x: 2.0**-15 + 2.0**-17 * np.sqrt(x))
op("divide", lambda x, y: x / y, fixed(30), np.concatenate([fixed(15) + 10, fixed(15) - 10]), tol=2.0**-11)
op("divide public", lambda x: (x / 4, x / 3, x / np.array([1.0, 2, 4, 8])), A, tol=4 * ULP)
op("divide of public", lambda x: (1 / x, 3.5 / x), np.array([0.5, -0.25, 3, 100]), tol=2.0**-12)
op("divide int", lambda x: x / 8, ints(20, below=100), tol=ULP)
op("softmax", lambda x: mpc.nn.softmax(x), fixed(3, 5, below=4), expected=softmax, tol=2.0**-10)
op("softmax axis", lambda x: mpc.nn.softmax(x, 0), fixed(5, 2, below=4), expected=lambda x: softmax(x, 0), tol=2.0**-10)
op("exp of int", lambda x: np.exp(x), np.arange(-3, 4), tol=lambda x: 2.0**-13 + 2.0**-13 * np.exp(x))


# ---- the same at their ends, beyond them, and on uneven shapes ----
def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def around(*ends: float) -> np.ndarray:
    """A function's ends and their neighbours, points between and beyond, up to the largest numbers there are."""
    near = [e + d * ULP for e in ends for d in (-1, 0, 1)]
    far = [s * v for v in (1000, 2.0**13, 20_001.5, 2.0**20, 2.0**28 + 3 * ULP, 2.0**44) for s in (1, -1)]
    inside = np.rint(np.linspace(min(ends) - 1, max(ends) + 1, 80) / ULP) * ULP
    return np.concatenate([near, far, [0, ULP, -ULP], inside])


op("erf ends", lambda x: mpc.erf(x), around(-4, 4), expected=erf, tol=2.0**-13)
op(
    "gelu ends",
    lambda x: mpc.nn.gelu(x),
    around(-5, 5),
    expected=lambda x: x * (1 + erf(x / 2**0.5)) / 2,
    tol=2.0**-13,
)
op("silu ends", lambda x: mpc.nn.silu(x), around(-15, 15), expected=lambda x: x * sigmoid(x), tol=2.0**-12)
op("softplus ends", lambda x: mpc.nn.softplus(x), around(-12, 12), expected=lambda x: np.logaddexp(0, x), tol=2.0**-12)
op("linear tails are exact", lambda x: mpc.nn.gelu(x), around(-5, 5)[[5, *range(6, 18)]], expected=lambda x: np.maximum(x, 0))
op("gelu of int", lambda x: mpc.nn.gelu(x), np.arange(-6, 7), expected=lambda x: x * (1 + erf(x / 2**0.5)) / 2, tol=2.0**-13)
sine = mpc.approximate(np.sin, -3, 3.5)
arctan = mpc.approximate(math.atan, -2, 8, tol=2.0**-11)  # of one float at a time
root = mpc.approximate(math.sqrt, 0.0625, 4, tol=2.0**-12)  # raises a little outside its range
elu = mpc.approximate(lambda v: np.where(v > 0, v, v * np.exp(np.minimum(v, 0))), -11, 3, outside="relu")
once = mpc.approximate(lambda v: v / 2 + 1, -1, 1)  # one piece
op("approximate ends", sine, around(-3, 3.5), expected=lambda x: np.sin(np.clip(x, -3, 3.5)), tol=2.0**-13 + 2 * ULP)
op(
    "approximate a function of one float",
    arctan,
    around(-2, 8),
    expected=lambda x: np.arctan(np.clip(x, -2, 8)),
    tol=2.0**-11 + 2 * ULP,
)
op("approximate sqrt", root, around(0.0625, 4), expected=lambda x: np.sqrt(np.clip(x, 0.0625, 4)), tol=2.0**-12 + 2 * ULP)
op(
    "approximate with linear tails",
    elu,
    around(-11, 3),
    expected=lambda x: np.where(x > 0, x, x * np.exp(np.minimum(x, 0))),
    tol=2.0**-13 + 2 * ULP + 11 * np.exp(-11),
)
op("approximate a line", once, around(-1, 1), expected=lambda x: np.clip(x, -1, 1) / 2 + 1, tol=2 * ULP)
# ---- outside their domains functions give what their docstrings say ----
TINY = np.array([0, -ULP, -2 * ULP, -1, -100, -(2.0**13), -(2.0**15), -(2.0**31), -(2.0**45)])
HUGE = np.array([2.0**15, 2.0**15 + ULP, 1e5, 2.0**16, 2.0**31 + 1, 2.0**45])
op("reciprocal of zero", lambda x: np.reciprocal(x), np.zeros(3), expected=lambda x: 0 * x + 2.0**16)
op("reciprocal of huge numbers", lambda x: np.reciprocal(x), np.concatenate([HUGE, -HUGE]), expected=lambda x: 0 * x)
op("divide by zero and by huge numbers", lambda x, y: x / y, [0, 1, -3, 5, 5], [0, 0, 0, 1e6, -1e6],
   expected=lambda x, y: np.where(y == 0, x * 2.0**16, 0), tol=ULP)  # fmt: skip
op("rsqrt of no positives", lambda x: mpc.rsqrt(x), TINY, expected=lambda x: 0 * x + 2.0**8)
op("rsqrt of huge numbers", lambda x: mpc.rsqrt(x), HUGE, expected=lambda x: 0 * x + 2.0**-7.5, tol=ULP)
op("sqrt of negatives", lambda x: np.sqrt(x), TINY, expected=lambda x: 0 * x)
op("sqrt of huge numbers", lambda x: np.sqrt(x), HUGE, expected=lambda x: 0 * x + 2.0**7.5, tol=ULP)
op("log of huge numbers", lambda x: np.log(x), HUGE, expected=lambda x: 0 * x + 15 * np.log(2), tol=ULP)
op("log ends", lambda x: np.log(x), np.append(POSITIVE, [1, 1 - ULP, 1 + ULP, 2 - ULP, 2.0**15 - ULP]), tol=2.0**-14)
op("log of no positives", lambda x: np.log(x), TINY, expected=lambda x: 0 * x + np.log(ULP), tol=ULP)
op("log of int", lambda x: np.log(x), np.arange(1, 9), tol=2.0**-14)
op("exp saturates", lambda x: np.exp(x), [17, 17 + ULP, 18, 1e6, 2.0**44], expected=lambda x: np.exp(0 * x + 17), tol=2.0**12)
op("exp is 0", lambda x: np.exp(x), [-13, -100, -1e6, -(2.0**44)], tol=ULP)
LOGITS = np.concatenate([fixed(3, 5, below=4), [[0, 0, 0, 0, 0], [1000, -1000, 0, 999, 1000], [-5, -5, -5, -5, 3]]])
op("log_softmax far apart", lambda x: mpc.nn.log_softmax(x), LOGITS, expected=lambda x: log_softmax(x, -1), tol=2.0**-10)
op("log_softmax axis", lambda x: mpc.nn.log_softmax(x, 0), LOGITS, expected=lambda x: log_softmax(x, 0), tol=2.0**-10)
ANGLES = np.concatenate([around_powers(24) * ULP, fixed(60, below=300.0), np.rint(np.arange(-8, 9) * np.pi / 4 / ULP) * ULP])
op("sin", lambda x: np.sin(x), ANGLES, tol=2.0**-14)
op("cos", lambda x: (np.cos(x), mpc.cos(x[::-1])), ANGLES, expected=lambda x: (np.cos(x), np.cos(x[::-1])), tol=2.0**-14)
op("sin of a matrix of int", lambda x: mpc.sin(x.T), I % 50, expected=lambda x: np.sin(x.T), tol=2.0**-14)
op("log2", lambda x: np.log2(x), POSITIVE, tol=2.0**-13)
op("log1p", lambda x: np.log1p(x), np.concatenate([POSITIVE[POSITIVE < 3e4], -POSITIVE[POSITIVE < 0.99]]), tol=2.0**-14)
UNIT = np.concatenate([[-1, 1, 0, ULP, -ULP, 1 - ULP, ULP - 1], fixed(24, below=1.0)])
SPREAD = np.concatenate([POSITIVE[POSITIVE < 2.0**14], -POSITIVE[POSITIVE < 2.0**14], [0, 1, -1, 1 + ULP, 1 - ULP]])
BEYOND = np.array([1 + ULP, -1 - ULP, 3.0, -3.0, 2.0**20, -(2.0**20)])
op("tan", lambda x: np.tan(x), fixed(30, below=7.5), tol=lambda x: 2.0**-13 * (1 + np.tan(x) ** 2))
op("asin acos", lambda x: (np.arcsin(x), np.arccos(x)), UNIT, tol=2.0**-13)
op("asin acos saturates", lambda x: (mpc.asin(x), mpc.acos(x)), BEYOND,
   expected=lambda x: (np.sign(x) * np.pi / 2, np.pi / 2 - np.sign(x) * np.pi / 2), tol=ULP)  # fmt: skip
op("atan", lambda x: np.arctan(x), np.concatenate([SPREAD, BEYOND]), tol=2.0**-13)
op("atan2", lambda y, x: np.arctan2(y, x), SPREAD, SPREAD[::-1].copy(), tol=2.0**-13)
op(
    "atan2 of a point and axes",
    lambda y, x: np.arctan2(y, x),
    np.array([[3.0], [0], [-3]]),
    np.array([0, 2.0, -2]),
    tol=2.0**-13,
)
op("atan2 public", lambda x: np.arctan2(2.0, x), UNIT, tol=2.0**-13)
op("sinh cosh", lambda x: (np.sinh(x), np.cosh(x)), fixed(30, below=6.0), tol=lambda x: 2.0**-13 * (1 + np.cosh(x)))
op("asinh", lambda x: np.arcsinh(x), SPREAD, tol=2.0**-13)
op("asinh saturates", lambda x: np.arcsinh(x), BEYOND[4:], expected=lambda x: np.sign(x) * 16 * np.log(2), tol=2.0**-13)
op("acosh", lambda x: np.arccosh(x), np.append(1, SPREAD[SPREAD >= 1]), tol=2.0**-13)
op("atanh", lambda x: np.arctanh(x), UNIT[np.abs(UNIT) < 1], tol=2.0**-13)
op("log10", lambda x: np.log10(x), POSITIVE, tol=2.0**-14)
op("cbrt", lambda x: np.cbrt(x), SPREAD, tol=lambda x: 2.0**-15 + 2.0**-17 * np.abs(np.cbrt(x)))
op("expm1", lambda x: np.expm1(x), EXPONENTS[EXPONENTS < 16.9], tol=lambda x: 2.0**-13 + 2.0**-13 * np.exp(x))
op("exp2", lambda x: np.exp2(x), fixed(40), tol=lambda x: 2.0**-13 + 2.0**-12 * 2.0**x)
# ---- the first of the largest: exact ----
RIVALS = np.array(
    [[1, 3, 3, -2, 3], [0, 0, 0, 0, 0], [-1, -1 + ULP, -1, -1 + ULP, -8], [5, 4, 3, 2, 1], [-(2.0**40), 0, 1, 2, 2]]
)
op("argmax of ties", lambda x: (np.argmax(x), np.argmax(x, axis=0), np.argmax(x, axis=-1)), RIVALS)
op("argmax of cubes", lambda x: (np.argmax(x, 1), np.argmax(x, 2), np.argmax(x, axis=0), np.argmax(x)), T)
op("argmax odd lengths", lambda x: (np.argmax(x), np.argmax(x[:1]), np.argmax(x[:2]), np.argmax(x[:7])), WIDE)
op("argmax of one", lambda x: (np.argmax(x[:, :1], 1), np.argmax(x[:1], axis=0)), A)
op("argmax bool", lambda x: (np.argmax(x), np.argmax(x, 1)), P)
op("argmax int", lambda x: (np.argmax(x), np.argmax(x.reshape(-1, 2), 1)), HALF[: len(HALF) // 2 * 2])

# ---- order: exact ----
TIES = np.array(
    [[1, 3, 3, -2, 3], [0, 0, 0, 0, 0], [-1, -1 + ULP, -1, -1 + ULP, -8], [5, 4, 3, 2, 1], [1, 2, -(2.0**40), 3, 1]]
)
LONG = np.concatenate([WIDE[:130], WIDE[::9], [0.5] * 9])  # a radix sort


def stably(x: np.ndarray, axis: int | None = -1) -> np.ndarray:
    return np.argsort(x, axis, kind="stable")


op("sort", lambda x: (np.sort(x), np.sort(x, axis=0), np.sort(x, axis=None), np.sort(x[:1]), np.sort(x[:, :1])), TIES)
op("sort cubes", lambda x: (np.sort(x, 1), np.sort(x, axis=0), np.sort(x)), T)
op("sort bool", lambda x: mpc.sort(x), P, expected=np.sort)
op("sort of nothing", lambda x: (np.sort(x), np.sort(x, axis=0)), np.zeros((0, 3)))
op(
    "argsort of ties",
    lambda x: (np.argsort(x), np.argsort(x, axis=0), np.argsort(x, axis=None), mpc.argsort(x, descending=True)),
    TIES,
    expected=lambda x: (stably(x), stably(x, 0), stably(x, None), stably(-x)),
)
op("sort long", lambda x: (mpc.sort(x), mpc.argsort(x)), LONG, expected=lambda x: (np.sort(x), stably(x)))
op(
    "sort long rows",
    lambda x: (mpc.sort(x, bits=4), mpc.argsort(x, descending=True, bits=5)),
    ints(3, 130, below=8),
    expected=lambda x: (np.sort(x), stably(-x)),
)
op("sort extremes", lambda x: mpc.sort(x), np.tile(EXTREMES, 19), expected=np.sort)
op(
    "sort by two keys",
    lambda x, y, c: mpc.sort_by([c, x], y, c, bits=4),
    ints(130, below=4),
    fixed(130, 4),
    bools(130),
    expected=lambda x, y, c: (y[np.lexsort((x, c))], np.sort(c)),
)
op("cumsum", lambda x: (np.cumsum(x), np.cumsum(x, axis=0), np.cumsum(x, axis=-1)), T)
op("cumsum bool", lambda x: np.cumsum(x, axis=1), P)
op(
    "permute",
    lambda by, x, b: (*mpc.permute(by, x, b), mpc.permute(mpc.inverse(by), x)),
    random.permutation(70),
    fixed(70, 2),
    bools(70, 3),
    expected=lambda by, x, b: (x[np.argsort(by)], b[np.argsort(by)], x[by]),
)
op(
    "topk",
    lambda x: (*mpc.topk(x, 2), *mpc.topk(x, 3, axis=0, largest=False)),
    TIES,
    expected=lambda x: (-np.sort(-x)[:, :2], stably(-x)[:, :2], np.sort(x, 0)[:3], stably(x, 0)[:3]),
)
op("median", lambda x: (np.median(x), np.median(x, axis=0), np.median(x, axis=(0, 2)), np.median(x[0], -1)), T, tol=ULP)
op("quantile", lambda x: (np.quantile(x, [0, 0.25, 1 / 3, 1]), np.quantile(x, 0.9, axis=1)), A, tol=2 * ULP)
op(
    "take and put at secret places",
    lambda x, i: (mpc.take_secret(x, i), mpc.put_secret(x, i, np.ones((3, 1))), mpc.take_secret(x, i[0])),
    fixed(5, 2),
    np.array([4, 0, 2]),
    expected=lambda x, i: (x[i], np.where(np.isin(np.arange(5), i)[:, None], 1, x), x[i[0]]),
)

# ---- layers ----
op("leaky_relu 0.01", lambda x: mpc.nn.leaky_relu(x), SMALL, expected=lambda x: np.where(x > 0, x, 0.01 * x), tol=8 * ULP)
op("leaky_relu half", lambda x: mpc.nn.leaky_relu(x, 0.5), SMALL, expected=lambda x: np.where(x > 0, x, x / 2), tol=2 * ULP)
op("relu6 wide", lambda x: mpc.nn.relu6(x), np.concatenate([SMALL, WIDE]), expected=lambda x: np.clip(x, 0, 6))
ROWS = np.concatenate([fixed(3, 6), np.full((1, 6), 2.5), np.arange(6)[None] * ULP, np.array([[100.0, -100, 0, 1, 2, 3]])])
GAIN, SHIFT = fixed(6, below=1), fixed(6)


def layer_norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)


op("layer_norm of edges", lambda x: mpc.nn.layer_norm(x), ROWS, expected=layer_norm, tol=2.0**-9)
op(
    "layer_norm with secret weights",
    lambda x, w, b: mpc.nn.layer_norm(x, w, b),
    ROWS,
    GAIN,
    SHIFT,
    expected=lambda x, w, b: layer_norm(x) * w + b,
    tol=2.0**-9,
)
op(
    "layer_norm with public weights",
    lambda x: mpc.nn.layer_norm(x, GAIN, SHIFT),
    ROWS[None],
    expected=lambda x: layer_norm(x) * GAIN + SHIFT,
    tol=2.0**-9,
)


def conv(
    x: Any, w: Any, b: Any = 0.0, stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1), groups: int = 1
) -> Any:
    """nn.conv2d by its definition."""
    (sh, sw), (ph, pw), (dh, dw), (kh, kw) = stride, padding, dilation, w.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    high, wide = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1, (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    out = np.zeros((x.shape[0], w.shape[0], high, wide), x.dtype)
    for n, o, i, j in np.ndindex(out.shape):
        first = o // (w.shape[0] // groups) * w.shape[1]
        rows, columns = slice(sh * i, sh * i + dh * (kh - 1) + 1, dh), slice(sw * j, sw * j + dw * (kw - 1) + 1, dw)
        out[n, o, i, j] = (x[n, first : first + w.shape[1], rows, columns] * w[o]).sum()
    return out + np.reshape(b, (1, -1, 1, 1))


PHOTOS, FILTERS, BIAS = fixed(2, 4, 7, 5), fixed(6, 4, 3, 2), fixed(6)
op("nn.conv2d", lambda x, w: mpc.nn.conv2d(x, w), PHOTOS, FILTERS, expected=conv, tol=ULP)
op("nn.conv2d bias", lambda x, w, b: mpc.nn.conv2d(x, w, b), PHOTOS, FILTERS, BIAS, expected=conv, tol=ULP)
for name, same in (
    ("stride", {"stride": (2, 3)}),
    ("padding", {"padding": (2, 1)}),
    ("dilation", {"dilation": (2, 3)}),
    ("everything", {"stride": (2, 1), "padding": (1, 2), "dilation": (2, 1), "groups": 2}),
):
    filters = FILTERS[:, : 4 // same.get("groups", 1)]
    op(
        f"nn.conv2d {name}",
        lambda x, w, o=same: mpc.nn.conv2d(x, w, BIAS, **o),
        PHOTOS,
        filters,
        expected=lambda x, w, o=same: conv(x, w, BIAS, **o),
        tol=ULP,
    )
op(
    "nn.conv2d depthwise",
    lambda x, w: mpc.nn.conv2d(x, w, stride=2, padding=1, groups=4),
    PHOTOS,
    FILTERS[:4, :1],
    expected=lambda x, w: conv(x, w, stride=(2, 2), padding=(1, 1), groups=4),
    tol=ULP,
)
op(
    "nn.conv2d public filters",
    lambda x: mpc.nn.conv2d(x, FILTERS, BIAS),
    PHOTOS,
    expected=lambda x: conv(x, FILTERS, BIAS),
    tol=ULP,
)
op("nn.conv2d public images", lambda w: mpc.nn.conv2d(PHOTOS, w), FILTERS, expected=lambda w: conv(PHOTOS, w), tol=ULP)
op("nn.conv2d int", lambda x, w: mpc.nn.conv2d(x, w), ints(1, 2, 4, 4), ints(3, 2, 2, 2), expected=lambda x, w: conv(x, w, 0))


SIGNALS, TAPS = fixed(2, 4, 9), fixed(6, 2, 3)
op(
    "nn.conv1d",
    lambda x, w: mpc.nn.conv1d(x, w, BIAS, stride=2, padding=1, groups=2),
    SIGNALS,
    TAPS,
    expected=lambda x, w: conv(x[:, :, None], w[:, :, None], BIAS, (1, 2), (0, 1), groups=2)[:, :, 0],
    tol=ULP,
)
op(
    "nn.conv3d of one layer",
    lambda x, w: mpc.nn.conv3d(x[:, :, None], w[:, :, None])[:, :, 0],
    PHOTOS,
    FILTERS,
    expected=conv,
    tol=ULP,
)
# without a stride it is the convolution, all around padded, by the filters turned round
op(
    "nn.conv_transpose2d",
    lambda x, w: mpc.nn.conv_transpose2d(x, w, BIAS, padding=(1, 0)),
    PHOTOS,
    fixed(4, 6, 3, 2),
    expected=lambda x, w: conv(x, w.swapaxes(0, 1)[:, :, ::-1, ::-1], BIAS, padding=(1, 1)),
    tol=ULP,
)


def windows(x: np.ndarray, size: tuple[int, int], stride: tuple[int, int]) -> np.ndarray:
    view = np.lib.stride_tricks.sliding_window_view(x, size, (2, 3))
    return view[:, :, :: stride[0], :: stride[1]]


def pooled(f: Callable[..., np.ndarray], *shapes: tuple[tuple[int, int], tuple[int, int]]) -> Callable[..., Any]:
    return lambda x: tuple(f(windows(x, size, stride), axis=(-2, -1)) for size, stride in shapes)


POOLS = (((2, 2), (2, 2)), ((3, 3), (3, 3)), ((3, 2), (1, 2)), ((2, 3), (2, 1)), ((7, 5), (1, 1)))
op(
    "max_pool2d sizes",
    lambda x: (
        mpc.nn.max_pool2d(x),
        mpc.nn.max_pool2d(x, 3),
        mpc.nn.max_pool2d(x, (3, 2), (1, 2)),
        mpc.nn.max_pool2d(x, (2, 3), stride=(2, 1)),
        mpc.nn.max_pool2d(x, (7, 5), 1),
    ),
    PHOTOS,
    expected=pooled(np.max, *POOLS),
)
op(
    "avg_pool2d sizes",
    lambda x: (mpc.nn.avg_pool2d(x), *(mpc.nn.avg_pool2d(x, size, stride) for size, stride in POOLS[1:])),
    PHOTOS,
    expected=pooled(np.mean, *POOLS),
    tol=4 * ULP,
)
op("global_avg_pool2d uneven", lambda x: mpc.nn.global_avg_pool2d(x), PHOTOS, expected=lambda x: x.mean((2, 3)), tol=3 * ULP)
op("linear secret bias", lambda x, w, b: mpc.nn.linear(x, w, b), A, B.T, W[:, 0], expected=lambda x, w, b: x @ w + b, tol=ULP)
op("linear public", lambda x: mpc.nn.linear(x, B.T, W[:, 0]), T, expected=lambda x: x @ B.T + W[:, 0], tol=ULP)
op("linear no bias", lambda x, w: mpc.nn.linear(x, w), V, B.T, expected=lambda x, w: x @ w, tol=ULP)


MEANS, SPREADS = fixed(4, below=1), np.abs(fixed(4)) + 0.5


def batch_norm(x: Any, mean: Any, var: Any, weight: Any = 1.0, bias: Any = 0.0) -> Any:
    columns = [np.reshape(np.broadcast_to(v, (4,)), (1, 4, 1, 1)) for v in (mean, var, weight, bias)]
    return (x - columns[0]) / np.sqrt(columns[1] + 1e-5) * columns[2] + columns[3]


op(
    "batch_norm public",
    lambda x: (mpc.nn.batch_norm(x, MEANS, SPREADS), mpc.nn.batch_norm(x, MEANS, SPREADS, MEANS + 2, MEANS)),
    PHOTOS,
    expected=lambda x: (batch_norm(x, MEANS, SPREADS), batch_norm(x, MEANS, SPREADS, MEANS + 2, MEANS)),
    tol=2.0**-11,
)
op("batch_norm secret", lambda x, m, v, w, b: mpc.nn.batch_norm(x, m, v, w, b), PHOTOS, MEANS, SPREADS, MEANS + 2, MEANS,
   expected=batch_norm, tol=2.0**-9)  # fmt: skip


def cosine(x: np.ndarray, y: np.ndarray, axis: int = -1) -> Any:
    lengths = np.sqrt((x * x).sum(axis) + 1e-4) * np.sqrt((y * y).sum(axis) + 1e-4)
    return (x * y).sum(axis) / lengths


op(
    "cosine_similarity",
    lambda x, y: (mpc.nn.cosine_similarity(x, y), mpc.nn.cosine_similarity(x, y, 0), mpc.nn.cosine_similarity(x, B)),
    A,
    fixed(3, 4),
    expected=lambda x, y: (cosine(x, y), cosine(x, y, 0), cosine(x, B)),
    tol=2.0**-9,
)
op("cosine_similarity of zeros", lambda x, y: mpc.nn.cosine_similarity(x, y), np.zeros((2, 3)), fixed(2, 3),
   expected=cosine, tol=ULP)  # fmt: skip


# ---- functions and loops ----
@mpc.function
def affine(x: Any, w: Any, b: float) -> Any:
    return mpc.nn.relu(x @ w + b)


@mpc.function
def both(x: Any) -> Any:
    return {"least": x.min(), "rest": (x.sum(0), [x > 0])}


def chain(x: Any) -> Any:
    out = both(x)
    return out["least"], out["rest"][0], out["rest"][1][0]


op("function", lambda x, w: affine(x, w, 0.5), A, B.T, expected=lambda x, w: np.maximum(x @ w + 0.5, 0), tol=ULP)
op(
    "function called twice",
    lambda x, w: affine(affine(x, w, 0.5), x, -1.0),
    A,
    B.T,
    expected=lambda x, w: np.maximum(np.maximum(x @ w + 0.5, 0) @ x - 1, 0),
    tol=34 * ULP,
)
op("function of a tree", chain, A, expected=lambda x: (x.min(), x.sum(0), x > 0))
op("fori", lambda x: mpc.fori(0, 5, lambda i, c: c + x, x), A, expected=lambda x: 6 * x)
op(
    "fori product",
    lambda x: mpc.fori(0, 3, lambda i, c: c * x, x),
    np.array([0.5, 1.0, -1.0, 2.0]),
    expected=lambda x: x**4,
    tol=16 * ULP,
)
op("fori index", lambda x: mpc.fori(0, 3, lambda i, c: c + x[i] * i, x[0] * 0), A, expected=lambda x: x[1] + 2 * x[2])
op("fori from", lambda x: mpc.fori(1, 3, lambda i, c: c + x[i], x[0]), A, expected=lambda x: x.sum(0))
op(
    "fori carries",
    lambda x: mpc.fori(0, 4, lambda i, c: (c[1], c[0] + c[1]), (x, x)),
    I,
    expected=lambda x: (5 * x, 8 * x)[::1],
)
op("fori never", lambda x: mpc.fori(3, 3, lambda i, c: c * 7, x), A, expected=lambda x: x)
op(
    "dynamic_slice",
    lambda x: mpc.fori(0, 3, lambda i, c: c + mpc.dynamic_slice(x, i * 2, 2), x[:2] * 0),
    fixed(6, 2),
    expected=lambda x: x[:2] + x[2:4] + x[4:],
)
op("fori compares", lambda x: mpc.fori(0, 3, lambda i, c: np.where(c < x[i], x[i], c), x[0]), A, expected=lambda x: x.max(0))
op(
    "function in fori",
    lambda x: mpc.fori(0, 2, lambda i, c: affine(c, x, 0.0), x),
    fixed(2, 2, below=2),
    expected=lambda x: np.maximum(np.maximum(x @ x, 0) @ x, 0),
    tol=8 * ULP,
)

# gradients: programs like any other, so what they cost is rehearsed like any other
op(
    "gradient of a layer",
    lambda x, w: mpc.grad(lambda x, w: mpc.mean(mpc.nn.relu(x @ w)), (0, 1))(x, w),
    fixed(4, 3, below=2), fixed(3, 2, below=2),
    expected=lambda x, w: ((x @ w > 0) / 8 @ w.T, x.T @ ((x @ w > 0) / 8)),
    tol=8 * ULP,
)  # fmt: skip
op(
    "gradient of a cross entropy",
    lambda x: mpc.grad(lambda x: mpc.nn.cross_entropy(x, np.array([1, 0, 4])))(x),
    fixed(3, 5, below=4),
    expected=lambda x: (softmax(x) - np.eye(5)[[1, 0, 4]]) / 3,
    tol=2.0**-11,
)
op(
    "gradient of a long loop",
    lambda x: mpc.grad(lambda x: mpc.sum(mpc.fori(0, 9, lambda i, y: y * x * 0.5, x)))(x),
    fixed(6, below=1.5),
    expected=lambda x: 10 * x**9 * 0.5**9,
    tol=64 * ULP,
)

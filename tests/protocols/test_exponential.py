"""The exponential that every evaluator computes for itself: accurate, and of operations that all machines agree on."""

from __future__ import annotations

import ast
import inspect
import math

import numpy as np

from mpc.protocols import exponential as gate
from mpc.ring import fixed
from mpc.ring.composed import Composed
from mpc.ring.ring import Ring


def test_exponential():
    rng = np.random.default_rng(3)
    v = np.concatenate([np.arange(-32.0, 32), rng.uniform(-1, 1, 50_000), rng.uniform(-32, 32, 50_000)])
    kept = v.copy()
    exact = np.array([math.exp(x) for x in v])
    assert np.abs(fixed.exponential(v) / exact - 1).max() < 2.0**-44
    assert np.array_equal(v, kept)


def test_no_function_of_a_library():
    """Libraries differ in the last bits of exp and its like; sums, products, roundings and scalings by powers of two do not."""
    used = {n.attr for m in (gate, fixed) for n in ast.walk(ast.parse(inspect.getsource(m))) if isinstance(n, ast.Attribute)}
    assert not used & {"exp", "exp2", "expm1", "power", "log", "float_power", "pow"}


def test_the_kernel_is_the_same_function():
    v, ring = np.random.default_rng(4).integers(0, 1 << 64, 10_007, np.uint64), Ring()
    for f, sign, bits in ((16, 1, 13), (16, -1, 15), (8, -1, 48), (30, 1, 40)):
        assert np.array_equal(ring.exponential(v, f, sign, bits), Composed.exponential(ring, v, f, sign, bits))  # type: ignore[arg-type]

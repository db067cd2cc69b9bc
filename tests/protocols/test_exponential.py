"""The exponential that every evaluator computes for itself: accurate, and of operations that all machines agree on."""

from __future__ import annotations

import ast
import inspect
import math

import numpy as np

from mpc.protocols import exponential as gate


def test_exponential():
    rng = np.random.default_rng(3)
    v = np.concatenate([np.arange(-32.0, 32), rng.uniform(-1, 1, 50_000), rng.uniform(-32, 32, 50_000)])
    kept = v.copy()
    exact = np.array([math.exp(x) for x in v])
    assert np.abs(gate.exponential(v) / exact - 1).max() < 2.0**-44
    assert np.array_equal(v, kept)


def test_no_function_of_a_library():
    """Libraries differ in the last bits of exp and its like; sums, products, roundings and scalings by powers of two do not."""
    used = {n.attr for n in ast.walk(ast.parse(inspect.getsource(gate))) if isinstance(n, ast.Attribute)}
    assert not used & {"exp", "exp2", "expm1", "power", "log", "float_power", "pow"}

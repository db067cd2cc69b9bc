"""Kernels as Python calls them: what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from mpc.errors import UsageError
from mpc.ring.kernels import Kernels, kernels, tiers

X = np.arange(8, dtype="<u8")


def test_a_kernel_takes_arrays_and_numbers():
    out = np.empty_like(X)
    assert kernels().operand_u64(out, X, X, X.size) is None
    assert (out == -X).all()
    assert kernels().gemm_work_u64() > 0


@pytest.mark.parametrize("tier", tiers())
def test_every_tier_has_every_kernel(tier: str):
    assert vars(Kernels(tier)).keys() == vars(kernels()).keys()


def test_an_unknown_tier():
    with pytest.raises(UsageError, match="no kernel tier 'fast'"):
        Kernels("fast")


READ_ONLY = np.empty_like(X)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("error", "args"),
    [
        (TypeError, (X.copy(), X, X)),  # too few
        (TypeError, (X.copy(), X, X, 8, 8)),  # too many
        (ValueError, (X.copy(), X[::2], X, 4)),  # not contiguous
        (ValueError, (READ_ONLY, X, X, 8)),  # an output that is not to be written
        (ValueError, (X.copy(), np.zeros(9, np.uint8), X, 1)),  # no whole elements
        (TypeError, (X.copy(), [1, 2], X, 1)),
        (TypeError, (X.copy(), X, X, 8.0)),
        (OverflowError, (X.copy(), X, X, -1)),
        (OverflowError, (X.copy(), X, X, 1 << 64)),
    ],
)
def test_refusals(error: type[Exception], args: tuple[object, ...]):
    before = [a.copy() for a in args if isinstance(a, np.ndarray)]
    with pytest.raises(error):
        kernels().operand_u64(*args)
    assert all((a == b).all() for a, b in zip(filter(lambda a: isinstance(a, np.ndarray), args), before, strict=True))


@pytest.mark.parametrize("f", [1 << 31, -(1 << 31) - 1])
def test_an_int_that_is_none(f: int):
    with pytest.raises(OverflowError):
        kernels().decode_f64(np.empty(8), X, 8, f)

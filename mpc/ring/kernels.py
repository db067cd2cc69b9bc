"""Loads the native core and picks a CPU tier, once.

`MPC_TIER=ref|avx2|avx512` forces a tier; `MPC_THREADS` sets how many threads large matrix products use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from .._native import ffi, lib
from ..errors import UsageError


class Kernels:
    """The kernels of one tier as Python functions that take arrays (C-contiguous), numbers and None (a null pointer)."""

    def __init__(self, tier: str) -> None:
        table = lib.mpc_tier(tier.encode())
        if table == ffi.NULL:
            raise UsageError(f"this machine has no kernel tier {tier!r}; MPC_TIER may be one of {', '.join(tiers())}")
        self.tier = tier
        for name, _ in ffi.typeof("mpc_kernels").fields:
            if name != "name":
                setattr(self, name, _wrap(getattr(table, name)))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"no kernel {name}")


def _wrap(function: Any) -> Callable[..., Any]:
    """`from_buffer` with a type checks contiguity and costs 0.3 us; a cast of `x.ctypes` costs 1.7 and checks nothing."""
    from_buffer, null = ffi.from_buffer, ffi.NULL
    arrays = [
        (ffi.typeof("char[]" if a.item.kind == "void" else ffi.getctype(a.item, "[]")) if a.kind == "pointer" else None)
        for a in ffi.typeof(function).args
    ]

    def call(*args: Any) -> Any:
        return function(
            *[
                value if array is None else null if value is None else from_buffer(array, value)
                for value, array in zip(args, arrays, strict=True)
            ]
        )

    return call


def tiers() -> list[str]:
    """Names of the tiers this machine can run, best first."""
    names, i = lib.mpc_tiers(), 0
    found = []
    while names[i] != ffi.NULL:
        found.append(ffi.string(names[i]).decode())
        i += 1
    return found


@cache
def kernels() -> Kernels:
    """The tier in use: `MPC_TIER`, or the best one."""
    return Kernels(os.environ.get("MPC_TIER") or tiers()[0])


def threads() -> int:
    """Threads for one large matrix product: `MPC_THREADS`, else the number of cores."""
    return int(os.environ.get("MPC_THREADS") or os.cpu_count() or 1)

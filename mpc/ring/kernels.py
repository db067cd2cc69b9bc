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
    """`from_buffer` with a type checks contiguity and costs 0.3 us; a cast of `x.ctypes` costs 1.7 and checks nothing.

    The wrapper is written out for the kernel's own arguments: a loop over them costs as much as a small kernel.
    """
    known: dict[str, Any] = {"f": function, "null": ffi.NULL, "buffer": ffi.from_buffer}
    names, passed = [], []
    for i, a in enumerate(ffi.typeof(function).args):
        names.append(f"a{i}")
        if a.kind == "pointer":
            known[f"t{i}"] = ffi.typeof("char[]" if a.item.kind == "void" else ffi.getctype(a.item, "[]"))
            passed.append(f"null if a{i} is None else buffer(t{i}, a{i})")
        else:
            passed.append(f"a{i}")
    exec(f"def call({', '.join(names)}):\n    return f({', '.join(passed)})", known)
    return known["call"]  # type: ignore[no-any-return]


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

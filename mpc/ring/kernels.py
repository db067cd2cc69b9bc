"""Loads the native core and picks a CPU tier, once.

`MPC_TIER=ref|avx2|avx512` forces a tier; `MPC_THREADS` sets how many threads large matrix products use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any

from .._native import __file__ as library
from .._native import ffi, lib
from ..errors import UsageError


class Kernels:
    """The kernels of one tier as Python functions (native/calls.inc): they take arrays (C-contiguous, of whole elements),
    numbers and None (a null pointer)."""

    def __init__(self, tier: str) -> None:
        calls = _calls().of_tier(tier)
        if calls is None:
            raise UsageError(f"this machine has no kernel tier {tier!r}; MPC_TIER may be one of {', '.join(tiers())}")
        self.tier = tier
        self.__dict__.update(calls)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"no kernel {name}")


@cache
def _calls() -> Any:
    """The second module of the native library: the import system finds only the one that a file is named after."""
    loader = ExtensionFileLoader("mpc._calls", library)
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


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

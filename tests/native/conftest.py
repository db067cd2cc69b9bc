"""Every test of a kernel runs on every tier this machine has, and on variants of tiers it would not choose itself."""

import ctypes
import shutil
import subprocess
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import pytest
from mpc._native import ffi, lib

TIERS = [ffi.string(t).decode() for t in takewhile(bool, map(lib.mpc_tiers().__getitem__, count()))]
# name -> the tier's file, and whether it is told that the processor has VAES
VARIANTS = {"avx2 without vaes": ("avx2", False), "emulated avx512": ("avx512", True)}
HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
SIMDE = Path("/usr/include/simde/x86/avx512.h")


@pytest.fixture(scope="session")
def variants(tmp_path_factory):
    """Reference and AVX2, and an AVX-512 made of plain C (emulate.h), in a library of their own."""
    compiler = shutil.which("gcc")
    if "avx2" not in TIERS:
        pytest.skip("needs an x86-64 processor with AVX2")
    if not compiler or not NATIVE.exists():
        pytest.skip("needs gcc and the sources in native/")
    out = tmp_path_factory.mktemp("variants") / "variants.so"
    files = [NATIVE / f"{name}.c" for name in ("ref", "avx2", *(["avx512"] if SIMDE.exists() else []))]
    # not optimised: SIMDe takes gcc longer to optimise than the tests take to run
    flags = ["-O0", "-std=gnu11", "-mavx2", "-maes", "-fPIC", "-shared", "-w", "-DMPC_EMULATE", f"-I{NATIVE}", f"-I{HERE}"]
    subprocess.run([compiler, *flags, *files, "-o", out], check=True)
    return ctypes.CDLL(str(out))


@pytest.fixture(params=[*TIERS, *VARIANTS])
def kernels(request):
    if request.param in TIERS:
        return lib.mpc_tier(request.param.encode())
    tier, vaes = VARIANTS[request.param]
    if tier == "avx512" and not SIMDE.exists():
        pytest.skip("needs SIMDe to stand in for AVX-512 (Debian: libsimde-dev)")
    table = ffi.new("mpc_kernels *")
    fill = request.getfixturevalue("variants")[f"mpc_fill_{tier}"]
    fill(ctypes.c_void_p(int(ffi.cast("uintptr_t", table))), ctypes.c_bool(vaes))
    return table


@pytest.fixture
def rng():
    return np.random.default_rng(20)

"""The cffi module `mpc._native`: declarations from mpc_kernels.h, one C file per CPU tier.

No per-file compiler flags: a tier turns its instructions on with `__attribute__((target(...)))`, so one wheel serves
every x86-64, and other processors build the reference alone.
"""

from pathlib import Path

from cffi import FFI

here = Path(__file__).resolve().parent
header = (here / "mpc_kernels.h").read_text()

ffi = FFI()
ffi.cdef("\n".join(line for line in header.splitlines() if not line.startswith("#")))
ffi.set_source(
    "mpc._native",
    '#include "mpc_kernels.h"',
    sources=sorted(f"native/{p.name}" for p in here.glob("*.c")),
    include_dirs=["native"],
    depends=sorted(f"native/{p.name}" for p in here.iterdir() if p.suffix in (".h", ".inc")),
    extra_compile_args=["-O3", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-function"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)

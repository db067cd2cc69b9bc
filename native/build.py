"""The cffi module `mpc._native`: declarations from the headers, one C file per CPU tier, and the pipes.

No per-file compiler flags: a tier turns its instructions on with `__attribute__((target(...)))`, so one wheel serves
every x86-64, and other processors build the reference alone.
"""

from pathlib import Path

from cffi import FFI

here = Path(__file__).resolve().parent
headers = ("mpc_kernels.h", "mpc_pipe.h")

ffi = FFI()
for name in headers:
    ffi.cdef("\n".join(line for line in (here / name).read_text().splitlines() if not line.startswith("#")))
ffi.set_source(
    "mpc._native",
    "\n".join(f'#include "{name}"' for name in headers),
    sources=sorted(f"native/{p.name}" for p in here.glob("*.c")),
    include_dirs=["native"],
    depends=sorted(f"native/{p.name}" for p in here.iterdir() if p.suffix in (".h", ".inc")),
    extra_compile_args=["-O3", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-function"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)

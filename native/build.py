"""The cffi module `mpc._native`: declarations from the headers, one C file per CPU tier, and the pipes.

No per-file compiler flags: a tier turns its instructions on with `__attribute__((target(...)))`, so one wheel serves
every x86-64, and other processors build the reference alone.
"""

import re
from pathlib import Path

from cffi import FFI

here = Path(__file__).resolve().parent
headers = ("mpc_kernels.h", "mpc_pipe.h")


def call(result: str, name: str, parameters: str) -> str:
    """The text of one function of calls.inc, from the kernel's declaration."""
    declared = [" ".join(p.split()) for p in parameters.split(",") if p.strip() != "void"]
    taken = []
    for i, parameter in enumerate(declared):
        kind, pointer, _ = parameter.rpartition("*")
        if pointer:
            item = 1 if "void" in kind else f"sizeof({kind.removeprefix('const ')})"
            taken.append(f"{kind}*a{i} = array(&c, {i}, {item}, {str('const' not in kind).lower()});")
        elif parameter.startswith("int "):
            taken.append(f"const int a{i} = integer(&c, {i});")
        else:
            kind, most = {
                "size_t": ("size_t", "SIZE_MAX"),
                "uint64_t": ("uint64_t", "UINT64_MAX"),
                "uint32_t": ("uint32_t", "UINT32_MAX"),
            }[parameter.split()[0]]
            taken.append(f"const {kind} a{i} = ({kind})number(&c, {i}, {most});")
    views = max(1, parameters.count("*"))
    run = f"c.k->{name}({', '.join(f'a{i}' for i in range(len(declared)))})"
    lines = [f"Py_buffer views[{views}];", f"call c = begin(self, given, count, {len(declared)}, views);", *taken]
    if result == "void":
        lines += [f"RUN(c, {run})", "return end(&c, NULL);"]
    else:
        lines += ["size_t result = 0;", f"RUN(c, result = {run})", "return end(&c, &result);"]
    head = f"static PyObject *call_{name}(PyObject *self, PyObject *const *given, Py_ssize_t count)"
    return f"{head}\n{{\n    " + "\n    ".join(lines) + "\n}\n"


def calls() -> str:
    """calls.inc, and a function for every kernel."""
    text = re.sub(r"/\*.*?\*/", "", (here / "mpc_kernels.h").read_text(), flags=re.DOTALL)
    kernels = re.findall(r"(\w+) \(\*(\w+)\)\(([^)]*)\);", text)
    rows = [f'    {{"{name}", (PyCFunction)(void (*)(void))call_{name}, METH_FASTCALL, NULL}},' for _, name, _ in kernels]
    table = f"static PyMethodDef kernel_calls[{len(rows) + 1}]"  # NULL at the end
    return "\n".join([f"{table};", '#include "calls.inc"', *(call(*k) for k in kernels), f"{table} = {{", *rows, "};"])


ffi = FFI()
for name in headers:
    ffi.cdef("\n".join(line for line in (here / name).read_text().splitlines() if not line.startswith("#")))
ffi.set_source(
    "mpc._native",
    "\n".join([*(f'#include "{name}"' for name in headers), calls()]),
    sources=sorted(f"native/{p.name}" for p in here.glob("*.c")),
    include_dirs=["native"],
    depends=sorted(f"native/{p.name}" for p in here.iterdir() if p.suffix in (".h", ".inc")),
    define_macros=[("Py_LIMITED_API", "0x030b0000")],  # 3.11: vectorcall and buffers
    # a product and a sum must be rounded apart, as NumPy does: all evaluators find the very same public numbers
    extra_compile_args=["-ffp-contract=off", "-O3", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-function"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)

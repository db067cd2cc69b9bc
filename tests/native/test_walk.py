"""`make ct`, `make sanitize` and `make cross` walk through every kernel: none may be missing there, and the text compiles."""

import subprocess
from pathlib import Path

import pytest
from mpc._native import ffi

HERE = Path(__file__).parent


def test_every_kernel_is_walked():
    text = (HERE / "walk.c").read_text()
    names = [name for name, _ in ffi.typeof("mpc_kernels").fields if name != "name"]
    for name in names:
        stem, _, ring = name.rpartition("_")
        assert f"k->{name}(" in text or (f"k->{stem}_##ring(" in text and f"PRODUCTS({ring}," in text), name


@pytest.mark.parametrize("name", ["walk.c", "dudect.c"])
def test_it_compiles(name: str, tmp_path: Path):
    strict = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]
    words = ["cc", *strict, f"-I{HERE.parents[1] / 'native'}", "-c", str(HERE / name), "-o", str(tmp_path / "out.o")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

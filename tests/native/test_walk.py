"""`make ct`, `make sanitize` and `make cross` walk through every kernel: none may be missing there."""

from pathlib import Path

from mpc._native import ffi


def test_every_kernel_is_walked():
    text = (Path(__file__).parent / "walk.c").read_text()
    names = [name for name, _ in ffi.typeof("mpc_kernels").fields if name != "name"]
    for name in names:
        stem, _, ring = name.rpartition("_")
        assert f"k->{name}(" in text or (f"k->{stem}_##ring(" in text and f"PRODUCTS({ring}," in text), name

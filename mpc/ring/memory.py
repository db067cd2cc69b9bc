"""Memory of large arrays: kept when they are freed, for the next ones of that size.

From LARGE bytes on malloc asks the system for pages of their own each time, and gives them back. Their first touch costs as
much as the work on them where a host takes back what its virtual machine frees: 1.2 to 3.5 s a GB were seen, 0.15 elsewhere.
"""

from __future__ import annotations

import mmap
from collections import deque
from contextlib import suppress
from functools import partial
from math import prod
from typing import Any

import numpy as np

from .._native import ffi

LARGE = 1 << 25  # bytes: the largest threshold that glibc takes, see `launch/party.py`
_kept: dict[int, deque[mmap.mmap]] = {}  # bytes -> blocks that no array uses; every call on it is atomic


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """`np.empty`. Where nothing is kept of a large size, as much of other sizes is given back to the system: a process never
    holds more than it once used."""
    size = prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    try:
        block = _kept[size].pop()
    except (KeyError, IndexError):
        block = _new(size)
    owner = ffi.gc(ffi.from_buffer(block), partial(_keep, block))  # until no view of the array is left
    return np.frombuffer(ffi.buffer(owner, size), dtype).reshape(shape)


def _new(size: int) -> mmap.mmap:
    released = 0
    for other, blocks in list(_kept.items()):
        with suppress(IndexError):
            while released < size:
                blocks.pop()
                released += other
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


def _keep(block: mmap.mmap, owner: Any) -> None:
    _kept.setdefault(len(block), deque()).append(block)

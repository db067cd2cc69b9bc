"""Large arrays are made of memory that has been used before, once nothing looks at it any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest

from mpc.ring import memory
from mpc.ring.ring import Ring

WORD = np.dtype("<u8")
N = memory.LARGE // 8


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, deque[object]]]:
    blocks: dict[int, deque[object]] = {}
    monkeypatch.setattr(memory, "_kept", blocks)
    yield blocks
    blocks.clear()


def test_memory_is_used_again_when_the_last_view_is_gone(kept: dict[int, deque[object]]):
    x = memory.empty((N,), WORD)
    place = x.ctypes.data
    x[:] = np.arange(N)
    view = x.reshape(2, -1)[:, ::3].T
    del x
    other = memory.empty((N,), WORD)
    other[:] = 5
    assert other.ctypes.data != place and not any(kept.values())
    assert view[1, 0] == 3 and view[0, 1] == N // 2
    del view
    assert {size: len(blocks) for size, blocks in kept.items()} == {8 * N: 1}
    again = memory.empty((4, N // 4), WORD)
    assert again.ctypes.data == place and again.shape == (4, N // 4) and again.flags.writeable and again.flags.c_contiguous


def test_what_is_kept_makes_room_for_other_sizes(kept: dict[int, deque[object]]):
    """Never more than was in use once: 7 N words in all, whatever comes."""
    arrays = [memory.empty((n,), WORD) for n in (2 * N, 2 * N, 3 * N)]
    del arrays
    assert sum(size * len(blocks) for size, blocks in kept.items()) == 7 * 8 * N
    for n in (N, 4 * N, 5 * N, 6 * N, N):
        x = memory.empty((n,), WORD)
        held = 8 * n + sum(size * len(blocks) for size, blocks in kept.items())
        assert x.size == n and held <= 7 * 8 * N
        del x


def test_small_arrays_and_words_of_any_kind(kept: dict[int, deque[object]]):
    assert memory.empty((N - 1,), WORD).base is None and not any(kept.values())
    halves, wide = memory.empty((2 * N,), np.dtype("<u4")), memory.empty((N // 2,), np.dtype([("lo", WORD), ("hi", WORD)]))
    halves[-1], wide[-1] = 7, (1, 2)
    assert halves[-1] == 7 and wide[-1].tolist() == (1, 2)
    assert Ring().empty((N,)).base is not None

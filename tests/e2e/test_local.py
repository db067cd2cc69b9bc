"""Real processes: what `mpc.local` starts computes, costs what was said, and ends when it should."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.errors import MPCError, PeerLost, SessionError, UsageError
from mpc.lang.session import Session

X = np.linspace(-2, 2, 24).reshape(6, 4)
W = np.linspace(-1, 1, 12).reshape(4, 3)


@pytest.mark.parametrize("transport", ["shared", "zeromq"])
def test_three_processes_add(transport: str):
    with mpc.local(parties=3, transport=transport) as s:
        x, y = s.input([1.0, 2.0], owner=0), s.input([3.0, 4.5], owner=1)
        assert (x + y).reveal().tolist() == [4.0, 6.5]


def alive(pid: int) -> bool:
    """Neither gone nor a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def gone_afterwards(s: Session) -> Iterator[list[int]]:
    """Yields the pids; checks that the processes and their folder are gone after the block."""
    pids, folder = list(s._backend.pids), Path(s._backend._folder)
    assert all(map(alive, pids))
    yield pids
    assert not any(map(alive, pids))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("protocol", "n"),
    [("plain", 1), ("additive", 2), ("additive", 3), ("additive", 5), ("helper", 3), ("replicated", 3)],
    ids=lambda v: str(v),
)
def test_pipeline(protocol: str, n: int):
    with mpc.local(n, protocol) as s, gone_afterwards(s):
        x, w = s.input(X, owner=0), s.input(W, owner=n - 1)
        p = mpc.nn.sigmoid(x @ w)
        cost = s.cost(p)
        assert p.reveal() == pytest.approx(1 / (1 + np.exp(-X @ W)), abs=2**-12)
        for me, measured in enumerate(s.measured):
            assert measured.rounds == cost.rounds
            sent = {to: b for to, b in measured.sent.items() if b}
            assert sent == {j: b for (i, j), b in cost.links.items() if i == me and b}
            received = {source: b for source, b in measured.received.items() if b}
            assert received == {i: b for (i, j), b in cost.links.items() if j == me and b}
        assert len(s.measured) == n + s.protocol.has_dealer
        # stored values, scalars, bools, integers, one receiver
        total = x.sum()
        assert np.shape(total.reveal()) == ()
        assert total.reveal(to=n - 1) == pytest.approx(X.sum(), abs=2**-10)
        assert np.array_equal((x > w[0, 0]).reveal(), X > W[0, 0])
        assert s.input(7).reveal() == 7
        s.close()


def test_large_arrays_travel_in_chunks():
    size = 200_001
    rng = np.random.default_rng(1)
    data = np.rint(rng.uniform(-8, 8, size) * 2**16) / 2**16
    with mpc.local(3) as s:
        x = s.input(data, owner=2)
        y = mpc.nn.relu(x) + mpc.where(x < 0, x, 0.0)
        cost = s.cost(y)
        assert np.array_equal(y.reveal(), data)
        assert [m.rounds for m in s.measured] == [cost.rounds] * 3
        assert {(i, j): b for i, m in enumerate(s.measured) for j, b in m.sent.items() if b} == {
            k: b for k, b in cost.links.items() if b
        }


def test_dropped_arrays_are_forgotten_by_the_processes():
    """Each array has 8 MB; without garbage collection 40 of them would stay in every evaluator."""

    def resident(pid: int) -> int:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with mpc.local(2, "additive") as s:
        x = s.input(np.zeros(1 << 20))
        sizes = []
        for _ in range(40):
            x = x + 1.0
            assert x[:1].reveal() == s.input([1.0 + len(sizes)]).reveal()
            sizes.append(resident(s._backend.pids[0]))
        gc.collect()
        assert sizes[-1] - sizes[9] < 80e6
        assert len(s._stored) < 8


# ---- a party that dies ----
def long_run(s: Session) -> Callable[[], Any]:
    x = s.input(np.full((64, 64), 0.01))
    y = mpc.fori(0, 100_000, lambda i, c: mpc.nn.relu(c @ x), x)
    return y.reveal


@pytest.mark.parametrize(
    ("protocol", "n", "victim"),
    [("helper", 3, 0), ("helper", 3, 1), ("helper", 3, 2), ("additive", 2, 0), ("additive", 2, 2), ("replicated", 3, 2)],
    ids=lambda v: str(v),
)
def test_a_killed_party_is_named_within_five_seconds(protocol: str, n: int, victim: int):
    """The dealer of `helper` is party 2, of `additive` the process after the parties."""
    running = threading.Event()
    moved: list[int] = []

    def progress(rounds: int, moved_bytes: int, where: str) -> None:
        moved.append(rounds)
        running.set()

    s = mpc.local(n, protocol, progress=progress)
    killed: list[float] = []

    def kill() -> None:
        if running.wait(20):
            killed.append(time.monotonic())
            os.kill(pids[victim], signal.SIGKILL)

    with gone_afterwards(s) as pids:
        run = long_run(s)
        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(PeerLost) as error:
            run()
        raised = time.monotonic()
        killer.join(20)
    assert killed, "the run ended before the party was killed"
    assert moved[-1] > 0
    assert raised - killed[0] < 5
    assert error.value.party == victim
    assert "SIGKILL" in str(error.value) or "signal 9" in str(error.value)
    assert "Nothing was revealed" in str(error.value)
    with pytest.raises(SessionError, match="closed"):
        s.input([1.0])
    with pytest.raises(SessionError, match="closed"):
        run()


def test_an_error_in_a_party_ends_the_session_without_values():
    with mpc.local(2, "additive") as s, gone_afterwards(s):
        x = s.input(np.full((4, 2), 123456.5))
        y = mpc.fori(0, 3, lambda i, c: c + mpc.dynamic_slice(x, i * 2, 2), x[:2])  # rows 4 and 5 do not exist
        with pytest.raises(MPCError) as error:
            y.reveal()
        assert "123456" not in str(error.value)
        with pytest.raises(SessionError, match="closed"):
            x.reveal()


def test_closing_twice_and_after_an_exception():
    s = mpc.local(1, "plain")
    with gone_afterwards(s), pytest.raises(ZeroDivisionError), s:
        x = s.input([1.0])
        1 / 0  # noqa: B018
    s.close()
    with pytest.raises(SessionError, match="closed"):
        x.reveal()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"protocol": "magic"}, "additive, helper, plain"),
        ({"parties": 4}, "takes 3 parties, not 4"),
        ({"parties": 1, "protocol": "additive"}, "takes 2 to 8 parties, not 1"),
        ({"truncation": "up"}, "dither, floor, nearest"),
    ],
)
def test_wrong_arguments_start_nothing(arguments: dict[str, Any], says: str):
    with pytest.raises(UsageError, match=says):
        mpc.local(**arguments)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not say where a process may run")
def test_who_moves_to_another_core_may_still_run_anywhere():
    """Begun on one core, two parties in lockstep move apart (native/pipe.c), and stay free to be moved."""
    everywhere = os.sched_getaffinity(0)
    with mpc.local(2, "additive") as s:
        for pid in s._backend.pids:
            os.sched_setaffinity(pid, {min(everywhere)})
            os.sched_setaffinity(pid, everywhere)
        x = s.input([1.0])
        for _ in range(100):
            x = x * 1.5 / 1.5
        assert x.reveal() == pytest.approx([1.0], abs=0.01)
        assert all(os.sched_getaffinity(pid) == everywhere for pid in s._backend.pids)

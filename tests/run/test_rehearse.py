"""What the rehearsal counts on shapes is what a run measures: rounds, and bytes on every link."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from msgspec.structs import replace

import mpc
from mpc.errors import MPCError
from mpc.lang.session import Session
from mpc.protocols.base import IDLE, Exchange, available
from mpc.run.chunks import CHUNK
from mpc.run.rehearse import LAN, WAN, Machine, Network, Report, rehearse

from ..memory import open_session, settings
from ..operations import OPERATIONS, Operation, results

FREE = Machine(1e30, 1e30, 0.0, 1)  # computes in no time
SETTINGS = [(p, n) for p, n in settings() if n < 5]
each_setting = pytest.mark.parametrize(("protocol", "n"), SETTINGS, ids=lambda v: str(v))


def test_the_cost_of_a_product():
    """One word an element and party to open each operand, one for the result, and the revealed shares."""
    with open_session("helper", 3) as s:
        x, y = s.input(np.ones(100), owner=0), s.input(np.ones(100), owner=1)
        cost = s.cost(x * y)
        assert cost.links[0, 1] == 100 * 8 * 4
        assert cost.rounds == 3


def run_and_rehearse(s: Session, arrays: list[mpc.Array]) -> tuple[Report, mpc.lang.session.Backend]:
    s.reveal(*arrays)
    backend = s._backend
    return rehearse(backend.programs[-1], s.protocol, s.n), backend


def same(report: Report, backend: mpc.lang.session.Backend) -> None:
    assert report.rounds == backend.rounds
    assert {link: b for link, b in report.links.items() if b} == {link: b for link, b in backend.links.items() if b}
    assert report.messages == backend.messages


@each_setting
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_operation(operation: Operation, protocol: str, n: int):
    with open_session(protocol, n) as s:
        arrays = [s.input(x, owner=i % n) for i, x in enumerate(operation.inputs)]
        same(*run_and_rehearse(s, results(operation.f(*arrays))))


@each_setting
@pytest.mark.parametrize("truncation", ["floor", "nearest"])
def test_exact_truncation(protocol: str, n: int, truncation: str):
    with open_session(protocol, n, truncation) as s:
        x, y = s.input(np.ones((5, 7))), s.input(np.ones((7, 3)))
        same(*run_and_rehearse(s, [x @ y, x * x, mpc.nn.relu(x @ y), x.mean()]))


@each_setting
@pytest.mark.parametrize("size", [CHUNK, CHUNK + 1, 400_001])
def test_chunks(protocol: str, n: int, size: int):
    with open_session(protocol, n) as s:
        x, c = s.input(np.ones(size)), s.input(np.ones(size, bool), owner=n - 1)
        column = x.reshape(-1, 1)
        outs = [x * x, mpc.nn.relu(x), x < 1, mpc.where(c, x, -x), c & ~c, column * 0.3, mpc.nn.relu(column), x[::-1] * x]
        same(*run_and_rehearse(s, outs))


@each_setting
def test_loops_and_functions(protocol: str, n: int):
    @mpc.function
    def layer(x, w):
        return mpc.nn.relu(x @ w)

    with open_session(protocol, n) as s:
        x, w = s.input(np.ones((4, 3))), s.input(np.ones((3, 3)), owner=n - 1)
        y = mpc.fori(0, 3, lambda i, c: layer(layer(c, w), w) + i, x)
        report, backend = run_and_rehearse(s, [y, y.max()])
        same(report, backend)
        assert report.rounds > 3 * 2 or protocol == "plain"


@each_setting
def test_session_cost_is_what_reveal_costs(protocol: str, n: int):
    """`s.cost` before the run, on the program that reveals; keeping other arrays costs nothing more."""
    with open_session(protocol, n) as s:
        x, y = s.input(np.ones((20, 3))), s.input(np.ones((3, 2)), owner=n - 1)
        z = mpc.nn.sigmoid(x @ y)
        cost = s.cost(z)
        z.reveal()
        same(cost, s._backend)


@each_setting
def test_stored_values_are_an_upper_bound(protocol: str, n: int):
    with open_session(protocol, n) as s:
        x = s.input(np.ones(50))
        (x * x).reveal()  # x is open
        cost = s.cost(x * x)
        (x * x).reveal()
        assert cost.rounds >= s._backend.rounds
        assert all(b <= cost.links[link] for link, b in s._backend.links.items())


@each_setting
def test_costs_by_operation_and_line_add_up(protocol: str, n: int):
    with open_session(protocol, n) as s:
        x = s.input(np.ones(50), owner=n - 1)
        cost = s.cost(mpc.nn.relu(x * x + 1), x < 0)
        for part in (cost.by_op, cost.by_line):
            assert sum(c.online for c in part.values()) == cost.online_bytes
            assert sum(c.dealt for c in part.values()) == cost.dealt_bytes
        assert sum(cost.links.values()) == cost.online_bytes + cost.dealt_bytes
        assert sum(cost.sent(p) for p in range(n + 1)) == cost.online_bytes + cost.dealt_bytes


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Interrupts what takes longer (of processor time: other programs do not count)."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@each_setting
def test_large_arrays_take_no_memory(protocol: str, n: int):
    with open_session(protocol, n) as s:
        x, y = (s.placeholder((1000, 2000), owner=0) for _ in range(2))
        b = x < y
        outs = [mpc.nn.relu(x), b & ~(x == 0), mpc.where(b, x, 1.5), (x * y).sum(), x[:, ::-1].T]
        tracemalloc.start()
        s.cost(*outs)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2e6  # one array has 16 MB


@pytest.mark.parametrize(("protocol", "n"), [v for v in SETTINGS if v[0] != "plain"], ids=lambda v: str(v))
def test_a_thousand_million_elements_cost_no_time(protocol: str, n: int):
    with open_session(protocol, n) as s:
        few, many = 1 << 18, 10**9
        small = s.cost(mpc.nn.relu(s.placeholder((few,), owner=0)))
        y = mpc.nn.relu(s.placeholder((1000, 1000, 1000), owner=0))
        with limit(1.0):
            report = s.cost(y)
        assert report.rounds == small.rounds
        assert report.online_bytes / many == pytest.approx(small.online_bytes / few, rel=1e-3)


def test_seconds_grow_with_rounds_and_bytes():
    report = Report(rounds=10)
    report.links[0, 1] = 10**6
    assert report.seconds(LAN) < report.seconds(WAN)
    slow, fast = Network(0, 8), Network(0, 80)
    assert report.seconds(slow) - report.seconds(fast) == pytest.approx(0.9)
    assert report.seconds(Network(200, 8)) - report.seconds(slow) == pytest.approx(1.0)  # both ways at once: half a round trip


def test_dealt_bytes_do_not_wait_for_the_others():
    """A dealer runs ahead, so its line and the parties' are busy at once; what is sent after its last message comes on top."""
    with open_session("helper", 3) as s:
        network = Network(0, 1)  # bytes decide
        x = s.placeholder((1000,), owner=0)
        cost = s.cost(mpc.nn.relu(x))
        seconds = cost.seconds(network, FREE)
        assert cost.sent(0) < cost.dealt_bytes
        assert seconds == pytest.approx((cost.dealt_bytes + 2 * 8000) * 8e-6)  # party 0 reveals to two
        opened = s.cost(x @ x)
        assert opened.seconds(network, FREE) == pytest.approx(opened.sent(0) * 8e-6)


# ---- a protocol that is wrong is told so ----
def broken(monkeypatch: pytest.MonkeyPatch, exchange) -> None:
    """Plain, whose `trunc` exchanges something first."""

    def trunc(self, tape, x, bits, rounding):
        yield exchange(self)
        return x

    plain = available()["plain"]
    monkeypatch.setattr(plain, "trunc", trunc)


WORDS = np.zeros(3, "<u8")


@pytest.mark.parametrize(
    ("exchange", "says"),
    [
        (lambda p: Exchange({1: [WORDS]} if p.me == 0 else {}, {}), "party 0 sends .* party 1 expects"),
        (lambda p: Exchange({}, {0: [("<u8", (3,))]} if p.me == 1 else {}), "party 1 waits for party 0"),
        (lambda p: Exchange({1: [WORDS]} if p.me == 0 else {}, {0: [("<u8", (4,))]} if p.me == 1 else {}), "party 0 sends"),
        (lambda p: Exchange({1: [WORDS]} if p.me == 0 else {}, {0: [("|u1", (3,))]} if p.me == 1 else {}), "party 0 sends"),
        (lambda p: replace(IDLE, turn=p.me == 0), "disagree on what is a round"),
    ],
)
def test_unmatched_messages_are_found(monkeypatch, exchange, says):
    with open_session("plain", 2) as s:
        y = s.input(np.ones(3)) * s.input(np.ones(3))
        assert s.cost(y).rounds == 1
        broken(monkeypatch, exchange)
        with pytest.raises(MPCError, match=says):
            s.cost(y)


def test_parties_that_yield_differently_are_found(monkeypatch):
    def trunc(self, tape, x, bits, rounding):
        for _ in range(self.me):
            yield IDLE
        return x

    monkeypatch.setattr(available()["plain"], "trunc", trunc)
    with open_session("plain", 2) as s, pytest.raises(MPCError, match="same number of times"):
        s.cost(s.input(np.ones(3)) * s.input(np.ones(3)))

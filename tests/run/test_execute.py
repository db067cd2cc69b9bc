"""What a run measures at each party: phases, waiting, memory, and what the time was spent on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import mpc
from mpc.launch.control import measured_fields, measured_from
from mpc.run.clock import Clock, Task
from mpc.run.execute import Measured, Phases, phases

X = np.linspace(-3, 3, 5000)


def test_phases_of_figures():
    """The dealer's working time is offline; what its consumer waited for it is not online."""
    links = [{1: 80}, {0: 80}, {1: 500}]
    evaluator = Measured(3, 2.0, links[0], waited={1: 1.5})
    consumer = Measured(3, 2.0, links[1], waited={0: 0.25, 2: 1.25})
    dealer = Measured(3, 1.75, links[2], waited={1: 0.5}, deals=True)
    found = phases([evaluator, consumer, dealer])
    assert found == Phases(1.25, 0.75, {(2, 1): 500}, {(0, 1): 80, (1, 0): 80})
    assert (found.offline_bytes, found.online_bytes) == (500, 160)
    assert phases([evaluator, consumer]) == Phases(0.0, 2.0, {}, {(0, 1): 80, (1, 0): 80})


@pytest.fixture(scope="module", params=[("helper", 3), ("additive", 2), ("plain", 2)], ids=str)
def s(request: pytest.FixtureRequest) -> Iterator[mpc.Session]:
    protocol, n = request.param
    with mpc.local(n, protocol) as session:
        yield session


def results(s: mpc.Session) -> Callable[[], np.ndarray]:
    x, y = s.input(X, owner=0), s.input(X, owner=1)
    return (mpc.nn.relu(x * y) + mpc.fori(0, 3, lambda i, c: c * 0.5 + x, y)).reveal


def test_dealing_ahead(s: mpc.Session):
    """Everything is dealt before the others begin; results and bytes are those of an ordinary run."""
    together = results(s)()
    usual = phases(s.measured)
    s._backend.ahead = True
    try:
        assert results(s)() == pytest.approx(together, abs=1e-3)
    finally:
        s._backend.ahead = False
    found = phases(s.measured)
    assert (found.offline, found.online) == (usual.offline, usual.online)
    dealers = [m for m in s.measured if m.deals]
    assert len(dealers) == (s.protocol_name != "plain")
    assert bool(found.offline_seconds) == bool(found.offline_bytes) == bool(dealers)
    assert all(m.peak > 1 << 20 for m in s.measured)
    assert results(s)() == pytest.approx(together, abs=1e-3)  # and the next one is an ordinary run


def test_more_than_flow_control_lets_pass():
    """Without the bound on how far a dealer runs ahead; afterwards it holds again."""
    with mpc.local(2, "additive") as s:
        for ahead in (True, False):
            s._backend.ahead = ahead
            x = s.input(np.zeros(2_400_000))
            assert not mpc.nn.relu(x).sum().reveal()
            assert phases(s.measured).offline_bytes > 5 * 16 << 20


def test_the_clock_leaves_no_gap(s: mpc.Session):
    s._backend.profiled = True
    try:
        results(s)()
    finally:
        s._backend.profiled = False
    for me, m in enumerate(s.measured):
        assert m.clock is not None
        spent = m.clock.spent.values()
        assert sum(t.seconds for t in spent) == pytest.approx(m.seconds, rel=0.1, abs=0.05)
        assert sum(t.bytes for t in spent) == sum(m.sent.values())
        assert sum(t.wait for t in spent) == pytest.approx(sum(m.waited.values()), rel=0.1, abs=0.05)
        assert len(m.clock.rounds) == m.rounds
        lines = {task.op: task.line for task in m.clock.spent}
        assert lines["mul"].startswith("test_execute.py:") and lines["relu"] == lines["mul"]
        ends = [a.start + a.seconds for a in m.clock.spans]
        assert all(b.start >= end - 1e-9 for b, end in zip(m.clock.spans[1:], ends, strict=False)), me
    results(s)()
    assert all(m.clock is None for m in s.measured)


def test_nested_tasks_are_charged_once():
    clock, outer, inner = Clock(), Task("outer", "a.py:1"), Task("inner", "a.py:2")
    clock.start()
    with clock._within("compute", outer, -1):
        with clock._within("compute", inner, -1):
            clock.wait(3, lambda: None)
        clock.send(2, lambda: None)
    clock.stop()
    kinds = [(s.kind, s.task.op, s.peer) for s in clock.spans]
    assert kinds == [
        *[("compute", "scheduling", -1), ("compute", "outer", -1), ("compute", "inner", -1), ("wait", "inner", 3)],
        *[("compute", "inner", -1), ("compute", "outer", -1), ("send", "outer", 2), ("compute", "outer", -1)],
        ("compute", "scheduling", -1),
    ]
    whole = clock.spans[-1].start + clock.spans[-1].seconds - clock.spans[0].start
    assert sum(t.seconds for t in clock.spent.values()) == pytest.approx(whole)
    copy = measured_from(measured_fields(Measured(clock=clock))).clock
    assert copy is not None and (copy.spent, copy.spans, copy.rounds) == (clock.spent, clock.spans, clock.rounds)

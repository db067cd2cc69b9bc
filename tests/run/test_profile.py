"""Profiles: what every source line costs sums to the run, and the trace is what Chrome reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mpc
from mpc.errors import SessionError
from mpc.lang.array import Settings
from mpc.protocols.base import available
from mpc.run.profile import Profile

X = np.linspace(-3, 3, 3000)


@pytest.fixture(scope="module", params=[("helper", 3), ("additive", 2), ("plain", 2)], ids=str)
def s(request: pytest.FixtureRequest) -> Iterator[mpc.Session]:
    protocol, n = request.param
    with mpc.local(n, protocol) as session:
        yield session


@pytest.fixture
def profile(s: mpc.Session) -> Profile:
    with s.profile() as p:
        x = s.input(X)
        y = x * x
        z = mpc.nn.relu(y - 1.0) + mpc.nn.softmax(y[:8]).sum()
        z.reveal()
    return p


def test_lines_sum_to_the_run(s: mpc.Session, profile: Profile):
    lines, ops = profile.by("line"), profile.by("op")
    for costs in (lines, ops):
        assert sum(c.online + c.dealt for c in costs.values()) == sum(sum(m.sent.values()) for m in s.measured)
        seconds = sum(c.seconds for c in costs.values())
        assert seconds == pytest.approx(sum(t.seconds for t in s.measured[0].clock.spent.values()))
    here = [k for k in lines if k.startswith("test_profile.py:")]
    assert len(here) == 4 and set(lines) - set(here) == {""}  # input, product, sum, reveal; scheduling has no line
    assert sum(c.dealt for c in lines.values()) == sum(sum(m.sent.values()) for m in s.measured if m.deals)
    dearest = [c.seconds + c.dealer for c in lines.values()]
    assert dearest == sorted(dearest, reverse=True)


def test_every_text_names_the_lines(profile: Profile):
    text = str(profile)
    assert "source line" in text and "relu" in text and "test_profile.py:" in text
    plain = json.loads(json.dumps(profile.as_dict()))
    assert {row["what"] for row in plain["lines"]} == set(profile.by("line"))
    assert [row["party"] for row in plain["parties"]] == list(profile.names)


def test_the_trace(s: mpc.Session, profile: Profile, tmp_path: Path):
    profile.save(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    assert {e["pid"] for e in spans} == set(range(len(s.measured)))
    assert {e["cat"] for e in spans} <= {"compute", "wait", "network"}
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in spans)
    assert sum(e["ph"] == "i" for e in events if e["pid"] == 0) == s.measured[0].rounds
    for e in spans:
        assert ("peer" in e["args"]) == (e["cat"] != "compute")
    timeline = profile.timeline(most=5)
    assert len(timeline["rounds"]) == s.measured[0].rounds and all(len(of) <= 5 for of in timeline["spans"])


def test_blocks_nest_and_end(s: mpc.Session):
    with s.profile() as outer:
        with s.profile() as inner:
            s.input(X).sum().reveal()
        s.input(X).sum().reveal()
        s.input(X).sum().reveal()
    s.input(X).sum().reveal()
    assert (len(inner.runs), len(outer.runs)) == (1, 2)
    assert s.measured[0].clock is None


def test_a_plan_has_no_time():
    planning = mpc.Session(available()["helper"], "helper", 3, None, Settings())
    with pytest.raises(SessionError, match="only plans"), planning.profile():
        pass

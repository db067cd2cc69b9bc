"""A study: planned without a process, run as planned, and nobody learns more than the audit says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mpc
from mpc.errors import InputError, SessionError, UsageError
from mpc.launch.local import LocalCluster
from mpc.launch.study import seat

X = np.arange(6.0).reshape(3, 2)


@mpc.program
def study(
    x: mpc.Input("lab", load=lambda: X), y: mpc.Input("clinic", load=lambda: 2 * X)
) -> (mpc.Output("lab", name="sum"), mpc.Output("clinic", "auditor", name="product")):
    return (x + y).sum(axis=0), x * y


def test_run():
    outcome = mpc.Study(study).run()
    total, product = outcome.result
    assert total == pytest.approx((3 * X).sum(axis=0), abs=1e-3)
    assert product == pytest.approx(2 * X * X, abs=1e-3)
    assert list(outcome.outputs) == ["sum", "product"]
    assert outcome.as_predicted and outcome.seconds > 0


@pytest.mark.parametrize("protocol", ["helper", "additive", "replicated", "plain"])
def test_nobody_learns_more_than_the_audit_says(protocol: str, monkeypatch: pytest.MonkeyPatch):
    """The parties run the very program that was audited, and reveal to exactly the receivers it names."""
    seen: dict[str, Any] = {}
    honest = LocalCluster.run

    def watched(self: LocalCluster, program: Any, *args: Any) -> Any:
        revealed, measured = honest(self, program, *args)
        seen.update(digest=program.digest.hex(), receivers=[set(by_party) for by_party in revealed])
        return revealed, measured

    monkeypatch.setattr(LocalCluster, "run", watched)
    planned = mpc.Study(study, protocol=protocol)
    outcome = planned.run()
    assert seen["digest"] == planned.audit.digest
    names = planned.parties
    assert [{names[p] for p in to} for to in seen["receivers"]] == [set(f.parties) for f in planned.audit.outputs]
    assert [f.what.partition(":")[0] for f in planned.audit.outputs] == list(outcome.outputs)
    assert [set(f.parties) for f in planned.audit.outputs] == [set(to) for to in outcome.receivers.values()]


def test_lines_are_the_users():
    audit = mpc.Study(study).audit
    assert all(f.where.startswith("test_study.py:") for f in (*audit.inputs, *audit.outputs))
    assert len({f.where for f in audit.outputs}) == 1  # both results are computed in the return line


def test_shapes_are_enough_to_plan():
    planned = mpc.Study(study, {"x": ((100, 2), None), "y": ((100, 2), mpc.int64)})
    assert planned.cost.rounds and "x: fixed64.16[100, 2]" in str(planned.audit)
    with pytest.raises(UsageError, match="only the shape of input 'x'"):
        planned.run()


def test_a_planned_program_runs_once():
    with mpc.local(3, names=("lab", "clinic", "auditor")) as s:
        plan = study.plan(s, {"x": X, "y": X})
        plan.run()
        with pytest.raises(SessionError, match="Plan it again"):
            plan.run()


def test_data_that_does_not_fit():
    with pytest.raises(InputError, match="unknown input 'z'"):
        mpc.Study(study, {"z": X})
    with pytest.raises(InputError, match="NaN"):
        mpc.Study(study, {"x": np.array([[np.nan, 0.0]] * 3)})
    with pytest.raises(UsageError, match="@mpc"):
        mpc.Study(lambda x: x)  # type: ignore[arg-type]


def test_seats():
    assert seat(study, "helper") == ("lab", "clinic", "auditor")
    assert seat(study, "additive") == ("lab", "clinic", "auditor")
    assert seat(study, "additive", 4) == ("lab", "clinic", "auditor", "party 3")
    for protocol, n in (("additive", 2), ("helper", 2), ("none", None)):
        with pytest.raises(UsageError):
            seat(study, protocol, n)


def test_one_name_for_each_result():
    @mpc.program
    def pairs(x: mpc.Input("lab")) -> mpc.Output("lab"):
        return {"mean": x.mean(), "both": (x.min(), x.max())}

    planned = mpc.Study(pairs, {"x": X})
    assert list(planned.outputs) == ["mean", "both 1", "both 2"]
    assert set(planned.run().result) == {"mean", "both"}


def test_every_line_pays_for_its_own_operations():
    """Library operations are traced once for all calls; their cost belongs to the line that calls them."""

    @mpc.program
    def twice(x: mpc.Input("lab")) -> mpc.Output("lab"):
        y = mpc.nn.sigmoid(x)
        return mpc.nn.sigmoid(y)

    lines = {line: cost.rounds for line, cost in mpc.Study(twice, {"x": X}).cost.by_line.items()}
    first, second = sorted(lines)
    assert int(second.partition(":")[2]) == int(first.partition(":")[2]) + 1
    assert lines[first] > 1 and lines[second] > 1

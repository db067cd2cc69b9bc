"""`@mpc.program`: the signature says who supplies what and who learns what."""

from __future__ import annotations

import numpy as np
import pytest

import mpc
from mpc.errors import InputError, SessionError, UsageError
from mpc.ir.types import INT64
from mpc.lang.session import Session

from ..memory import open_session

A, B = np.arange(6.0).reshape(2, 3), np.arange(9.0).reshape(3, 3)


@mpc.program
def means(a: mpc.Input("north"), b: mpc.Input("south")) -> mpc.Output("north", "south"):
    """Column means over both."""
    return mpc.concatenate([a, b]).mean(axis=0)


@pytest.fixture
def seated() -> Session:
    s = open_session("helper", 3)
    s.names = ("north", "south", "helper")
    with s:
        yield s


def test_two_parties_learn_a_mean(seated: Session):
    plan = means.plan(seated, {"a": A, "b": B})
    assert plan.run() == pytest.approx(np.concatenate([A, B]).mean(axis=0), abs=1e-3)
    assert seated._backend.programs[-1].eqns[-1].params["to"] == [0, 1]


def test_a_program_knows_its_roles():
    assert means.roles == ["north", "south"]
    assert list(means.inputs) == ["a", "b"]
    assert means.outputs == (mpc.Output("north", "south"),)
    assert means.__name__ == "means"
    assert means.__doc__ == "Column means over both."


def test_a_plan_needs_shapes_only(seated: Session):
    plan = means.plan(seated, {"a": ((500, 30), None), "b": ((700, 30), None)})
    assert plan.cost().rounds > 0
    audit = plan.audit()
    assert [f.what for f in audit.inputs] == ["a: fixed64.16[500, 30]", "b: fixed64.16[700, 30]"]
    assert [f.parties for f in audit.inputs] == [("north",), ("south",)]
    (learnt,) = audit.learns("south")
    assert learnt.endswith(": fixed64.16[30]")
    assert audit.learns("helper") == []
    assert seated._backend.epoch == 0
    with pytest.raises((InputError, SessionError)):
        plan.run()


def test_the_run_is_what_was_planned(seated: Session):
    plan = means.plan(seated, {"a": A, "b": B})
    digest, cost = plan.equations.digest, plan.cost()
    plan.run()
    ran = seated._backend.programs[-1]
    assert ran.digest == digest
    assert cost.rounds == seated._backend.rounds
    assert dict(cost.links) == seated._backend.links
    with pytest.raises(SessionError):
        plan.run()


def test_every_output_has_its_receivers(seated: Session):
    @mpc.program
    def main(a: mpc.Input("north"), b: mpc.Input("south")) -> (mpc.Output("north", name="sum"), mpc.Output("south", "helper")):
        return a + b, (a * b, a - b)

    first, (product, difference) = main.plan(seated, {"a": A, "b": A + 1}).run()
    assert np.array_equal(first, 2 * A + 1)
    assert product == pytest.approx(A * (A + 1), abs=2**-16)
    assert np.array_equal(difference, np.full_like(A, -1.0))
    assert [e.params["to"] for e in seated._backend.programs[-1].eqns if e.op == "reveal"] == [[0], [1, 2], [1, 2]]
    assert main.roles == ["north", "south", "helper"]


def test_results_keep_their_structure(seated: Session):
    @mpc.program
    def main(a: mpc.Input("north")) -> mpc.Output("south"):
        return {"low": a.min(), "rest": [a.max(), (a.sum(), 3)]}

    out = main.plan(seated, {"a": A}).run()
    assert out["low"] == 0
    assert out["rest"][0] == 5
    assert out["rest"][1] == (15, 3)


def test_a_dict_with_an_output_each(seated: Session):
    @mpc.program
    def main(a: mpc.Input("north")) -> (mpc.Output("north"), mpc.Output("south")):
        return {"low": a.min(), "high": a.max()}

    plan = main.plan(seated, {"a": A})
    assert plan.receivers == [(0,), (1,)]
    assert [name.split()[0] for name in plan.names] == ["low", "high"]


def test_dtypes_and_loaders(seated: Session):
    @mpc.program
    def main(a: mpc.Input("north", dtype=INT64), b: mpc.Input("south", load=lambda: [1.0, 2.0])) -> mpc.Output("north"):
        return a + b

    assert list(main.load()) == ["b"]
    assert main.plan(seated, {"a": [3.0, 4.0], **main.load()}).run().tolist() == [4.0, 6.0]
    with pytest.raises(InputError, match="int64"):
        main.plan(seated, {"a": [0.5, 1.0], "b": [1.0, 2.0]})


def test_a_program_is_still_a_function(plain: Session):
    assert means(plain.input(A), plain.input(B)).reveal() == pytest.approx(np.concatenate([A, B]).mean(axis=0), abs=1e-3)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"a": A}, "missing input 'b'.*b \\(from south\\)"),
        ({"a": A, "b": B, "c": B}, "unknown input 'c'"),
        ({}, "missing input 'a'"),
    ],
)
def test_data_must_fit_the_inputs(seated: Session, data, says):
    with pytest.raises(InputError, match=says):
        means.plan(seated, data)


def test_roles_must_be_parties_of_the_session(plain: Session):
    with pytest.raises(InputError, match="no party 'north'"):
        means.plan(plain, {"a": A, "b": B})


def test_a_signature_that_does_not_say_who():
    with pytest.raises(UsageError, match=r"annotate parameter 'x' with mpc.Input"):

        @mpc.program
        def f(x) -> mpc.Output("a"):
            return x

    with pytest.raises(UsageError, match=r"annotate the result with mpc.Output"):

        @mpc.program
        def g(x: mpc.Input("a")):
            return x

    with pytest.raises(UsageError, match="names of the parties"):
        mpc.Output()


def test_as_many_results_as_outputs(seated: Session):
    @mpc.program
    def main(a: mpc.Input("north")) -> (mpc.Output("north"), mpc.Output("south")):
        return a, a, a

    with pytest.raises(UsageError, match="declares 2 outputs and returns 3"):
        main.plan(seated, {"a": A})

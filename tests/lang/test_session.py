"""A session: what is revealed, to whom, what is kept for later, and what is forgotten."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import mpc
from mpc.errors import InputError, SessionError
from mpc.ir.types import BOOL, INT64, fixed64
from mpc.lang.array import Settings
from mpc.lang.core import as_array
from mpc.lang.session import Session, decode_output, encode_input
from mpc.protocols.base import available

from ..memory import MemoryBackend, open_session

X = np.arange(6.0).reshape(2, 3)


def test_give_compute_reveal():
    with open_session("helper", 3) as s:
        x, y = s.input(X, owner=0), s.input(X, owner=1)
        assert np.array_equal((x + 2 * y).reveal(), 3 * X)
    with pytest.raises(SessionError, match="closed"):
        x.reveal()


@pytest.mark.parametrize(("protocol", "n"), [("plain", 1), ("helper", 3), ("additive", 3), ("replicated", 3)])
def test_constants_are_revealed_to_whom_they_are_declared(protocol: str, n: int):
    with open_session(protocol, n) as s:
        x = s.input(X)
        constants = [as_array(v, dtype, x.scope) for v, dtype in ((X, fixed64(16)), ([3, -4], INT64), ([True, False], BOOL))]
        s.cost(*constants)
        real, whole, bits, doubled = s.reveal(*constants, x * 2)
        assert np.array_equal(constants[0].reveal(to=0), X)
        assert mpc.searchsorted(x[0, :0], [1.0]).reveal().tolist() == [0]
    assert np.array_equal(real, X)
    assert whole.tolist() == [3, -4]
    assert bits.dtype == bool
    assert bits.tolist() == [True, False]
    assert np.array_equal(doubled, 2 * X)


def test_several_values_in_one_run(s: Session):
    x = s.input(X)
    values = s.reveal(x, x + 1, x > 2)
    assert s._backend.epoch == 1
    assert [v.dtype for v in values] == [np.float64, np.float64, np.bool_]
    both = mpc.reveal(x, x * 2)
    assert np.array_equal(both[1], 2 * X)
    assert np.array_equal(mpc.reveal(x), X)
    with pytest.raises(ValueError, match=r"zip|argument"):
        s.reveal_each([x], [])


def test_what_was_computed_is_not_computed_again(s: Session):
    x = s.input(X)
    y = mpc.nn.relu(x - 1)
    y.reveal()
    z = y + x
    z.reveal()
    assert {e.op for e in s._backend.programs[-1].eqns} == {"add", "reveal"}
    assert z.reveal().tolist() == (np.maximum(X - 1, 0) + X).tolist()
    assert [e.op for e in s._backend.programs[-1].eqns] == ["reveal"]


def test_an_input_is_shared_once(s: Session):
    x = s.input(X)
    (x + 1).reveal()
    (x + 2).reveal()
    assert [sum(e.op == "input" for e in p.eqns) for p in s._backend.programs] == [1, 0]


def test_only_what_is_needed_runs(s: Session):
    x = s.input(X)
    mpc.exp(x)
    unused = mpc.nn.sigmoid(x)
    x.sum().reveal()
    assert {e.op for e in s._backend.programs[-1].eqns} == {"input", "sum", "reveal"}
    assert unused.shape == X.shape


def test_what_nobody_can_ask_for_is_forgotten(s: Session):
    """Dropped arrays leave the parties' stores with the next run."""
    x = s.input(X)
    y = x + 1
    y.reveal()
    sizes = [len(store) for store in s._backend.stores]
    assert len(set(sizes)) == 1
    del y
    gc.collect()
    for _ in range(3):
        (x + 2).reveal()
    assert all(len(store) <= 3 for store in s._backend.stores), "x, the last sum, and the one that the next run drops"
    del x
    gc.collect()
    for _ in range(3):
        s.input([1.0]).reveal()
    assert all(len(store) <= 2 for store in s._backend.stores)


def test_many_runs_do_not_pile_up(s: Session):
    x = s.input(X)
    for i in range(30):
        x = x * 0.5 + i
        x.reveal()
    gc.collect()
    assert all(len(store) <= 3 for store in s._backend.stores)
    assert len(s._stored) <= 3
    assert len(s._inputs) == 0


def test_a_pending_result_keeps_what_it_depends_on(s: Session):
    x = s.input(X)
    y = x * x
    pending = y + 1
    (y * 2).reveal()
    del x, y
    gc.collect()
    s.input([1.0]).reveal()
    assert np.array_equal(pending.reveal(), X * X + 1)


def test_names_of_parties():
    with open_session("helper", 3) as s:
        s.names = ("lab", "clinic", "auditor")
        x = s.input(X, owner="clinic", name="rates")
        text = str(s.audit(x.sum()))
        assert np.array_equal(x.reveal(to="lab"), X)
        assert np.array_equal(x.reveal(to=["lab", 2]), X)
        assert s._backend.programs[-1].eqns[-1].params["to"] == [0, 2]
        assert "clinic supplies rates: fixed64.16[2, 3]" in text
        assert "auditor learns" in text
        assert "test_session.py:" in text
        with pytest.raises(InputError, match="lab"):
            s.input(X, owner="helper")


def test_receivers_may_be_numpy_integers(s: Session):
    assert np.array_equal(s.input(X).reveal(to=np.int64(1)), X)


def test_cost_and_audit_run_nothing(s: Session):
    x = s.input(X)
    cost, audit = s.cost(x @ x.T), s.audit(x @ x.T)
    assert s._backend.epoch == 0
    assert cost.rounds > 0
    assert cost.online_bytes > 0
    assert audit.learns("party 1") == ["a value: fixed64.16[2, 2]"]
    assert audit.as_dict()["program"] == s.equations([x @ x.T]).digest.hex()
    assert "dither" in str(audit)


def test_the_audit_names_the_dither_only_where_it_leaks():
    for truncation, leaks in (("dither", True), ("floor", False), ("nearest", False)):
        with open_session("helper", 3, truncation) as s:
            assert ("dither" in str(s.audit(s.input(X) * 0.3))) == leaks


def test_measured_is_what_every_process_did(s: Session):
    (s.input(X) * s.input(X, owner=1)).reveal()
    assert len(s.measured) == 3
    assert s.measured[0].sent[1] == s.measured[1].received[0]
    assert len({m.rounds for m in s.measured}) == 1


def test_an_error_while_running_ends_the_session(monkeypatch):
    class Broken(MemoryBackend):
        closed = False

        def run(self, *args):
            raise RuntimeError("no")

        def close(self):
            Broken.closed = True

    plain = available()["plain"]
    s = Session(plain, "plain", 1, Broken(plain, 1), Settings())
    with pytest.raises(RuntimeError):
        s.input(X).reveal()
    assert Broken.closed
    with pytest.raises(SessionError, match="closed"):
        s.input(X)


def test_a_session_without_parties_plans_only():
    s = Session(available()["helper"], "helper", 3, None, Settings())
    x = s.placeholder((1000, 1000), 0)
    assert s.cost(x @ x).rounds > 0
    with pytest.raises(SessionError, match="only plans"):
        s.input(X).reveal()


def test_encode_and_decode_are_inverse():
    for data in (X, X.astype(int), X > 2, np.float64(0.5), np.int64(-3), np.bool_(True), np.zeros((0, 2))):
        part, dtype = encode_input(data, None, Settings())
        assert part.shape == np.shape(data)
        assert np.array_equal(decode_output(part, dtype), data)


def test_inputs_are_copied():
    """Changing the caller's array afterwards changes nothing."""
    for data in (np.arange(4), np.arange(4.0), np.array([True, False])):
        with open_session("plain", 2) as s:
            x, before = s.input(data), data.copy()
            data[:] = 0
            assert np.array_equal(x.reveal(), before)


def test_audit_remembers_who_supplied_what_an_earlier_run_computed():
    with open_session("helper", 3) as s:
        x = s.input(np.ones(3), owner=0, name="age")
        product = x * s.input(np.ones(3), owner=1, name="dose")
        product.reveal()
        names = [flow.what.split(":")[0] for flow in s.audit(product + s.input(np.ones(3), owner=2, name="label")).inputs]
        assert sorted(names) == ["age", "dose", "label"]
        assert [flow.parties for flow in s.audit(x).inputs] == [("party 0",)]

"""Trees of comparisons: what each choice costs, that results stay the same, and when a network makes one pay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.ir.ops import TREE
from mpc.ir.program import Program
from mpc.lang.session import Session
from mpc.net.shaped import LAN, WAN, Network
from mpc.ring.ring import DEEP, NARROW, WIDE
from mpc.run.chunks import CHUNK
from mpc.run.rehearse import rehearse
from mpc.run.trees import TREES, Demand, choose_compare, with_trees

from ..memory import open_session, settings
from ..operations import OPERATIONS, Operation, results
from ..test_conformance import check
from .test_rehearse import same

SETTINGS = [(p, n) for p, n in settings() if n < 5 and p != "plain"]
each_setting = pytest.mark.parametrize(("protocol", "n"), SETTINGS, ids=lambda v: str(v))
X = np.linspace(-3, 3, 100)


def session(protocol: str = "helper", n: int = 3, compare: str = "auto", network: Network | None = None, **kw: Any) -> Session:
    s = open_session(protocol, n, **kw)
    s.compare, s.network = compare, network
    return s


def reveal(s: Session, *arrays: mpc.Array) -> tuple[list[np.ndarray], int]:
    """Values and rounds; rehearsed and measured costs agree."""
    found = s.reveal(*arrays)
    backend: Any = s._backend
    same(rehearse(backend.programs[-1], s.protocol, s.n), backend)
    return found, backend.rounds


def marked(program: Program, tree: int = WIDE) -> list[str]:
    return [e.op for e in program.walk() if e.params.get(TREE) == tree]


@each_setting
def test_a_comparison_saves_a_round(protocol: str, n: int):
    rounds = {}
    for compare in ("lan", "wan", "bulk"):
        with session(protocol, n, compare) as s:
            (found,), rounds[compare] = reveal(s, mpc.nn.relu(s.input(X)))
            assert np.abs(found - np.maximum(X, 0)).max() < 2**-16
    assert rounds["wan"] == rounds["lan"] - 1 == rounds["bulk"] - 2


COMPARING: dict[str, Callable[[Any, Any], list[Any]]] = {
    "less": lambda x, y: [x < y, x < 0.5],
    "equal": lambda x, y: [x == y, x == x],
    "thresholds": lambda x, y: [mpc.nn.relu(x), mpc.clip(x, -1, 1)],
    "layer": lambda x, y: [mpc.nn.relu(x.reshape(10, 10) @ y.reshape(10, 10))],
    "maximum": lambda x, y: [mpc.max(x.reshape(10, 10), axis=1)],
    "sigmoid": lambda x, y: [mpc.nn.sigmoid(x), mpc.exp(x)],
    "loop": lambda x, y: [mpc.fori(0, 3, lambda i, v: mpc.nn.relu(v - y), x)],
}


@each_setting
@pytest.mark.parametrize("name", COMPARING)
def test_results_are_those_of_narrow_trees(protocol: str, n: int, name: str):
    """On the same random words: dither is alike, so all results are, to the last bit."""
    found, rounds = {}, {}
    for compare in ("lan", "wan", "bulk"):
        with session(protocol, n, compare) as s:
            arrays = COMPARING[name](s.input(X), s.input(X[::-1] / 2, owner=1))
            found[compare], rounds[compare] = reveal(s, *arrays)
    for other in ("wan", "bulk"):
        assert all(np.array_equal(a, b) for a, b in zip(found["lan"], found[other], strict=True))
    assert rounds["wan"] < rounds["lan"] < rounds["bulk"]


@pytest.mark.parametrize("operation", OPERATIONS[::5], ids=str)
@pytest.mark.parametrize("compare", ["wan", "bulk"])
def test_operations_by_other_trees(compare: str, operation: Operation):
    with session("helper", 3, compare) as s:
        arrays = [s.input(x, owner=i % s.n) for i, x in enumerate(operation.inputs)]
        check(reveal(s, *results(operation.f(*arrays)))[0], operation)


@pytest.mark.parametrize("size", [CHUNK + 1, CHUNK + 5000])
@pytest.mark.parametrize("compare", ["wan", "bulk"])
def test_chunks_by_other_trees(compare: str, size: int):
    x = np.random.default_rng(size).integers(-(1 << 40), 1 << 40, size)
    with session("replicated", 3, compare) as s:
        a = s.input(x)
        (less, equal), _ = reveal(s, a < 0, a == a)
        assert np.array_equal(less, x < 0) and equal.all()


@pytest.mark.parametrize("bits", [16, 20, 40])
@pytest.mark.parametrize("compare", ["wan", "bulk"])
def test_exact_truncation_by_other_trees(compare: str, bits: int):
    x = np.random.default_rng(bits).integers(-(1 << 61), 1 << 61, 1000)
    with session("helper", 3, compare, truncation="floor", dtype=mpc.fixed64(bits)) as s:
        (found,), _ = reveal(s, s.input(x * 2.0**-bits).astype(mpc.int64))
        assert np.array_equal(found, np.floor(x * 2.0**-bits))


def test_windows_of_16_bits_have_one_tree():
    costs = []
    for compare in ("lan", "wan", "bulk"):
        with session(compare=compare) as s:
            x = s.input([3, -4, 30_000], low=-30_000, high=30_000)
            costs.append(s.cost(x < 0).as_dict())
    assert costs[0] == costs[1] == costs[2]


# ---- the rule ----
def pays(size: int, bits: int, network: Network) -> bool:
    demand = Demand(size, bits)
    return demand.seconds(WIDE, network) < demand.seconds(NARROW, network)


def test_without_a_network_auto_is_lan_and_bulk_for_large_arrays():
    with session() as s, session(compare="lan", network=WAN) as narrow:
        for which in (s, narrow):
            few, many = which.input(X), which.input(np.zeros(CHUNK))
            program = which.equations([mpc.nn.relu(few), mpc.nn.relu(many)])
            assert not marked(program) and set(marked(program, DEEP)) == ({"relu", "ltz"} if which is s else set())


@pytest.mark.parametrize("protocol", ["helper", "additive"])
def test_bulk_deals_least(protocol: str):
    dealt = {}
    for compare in TREES:
        with session(protocol, 3, compare) as s:
            dealt[compare] = s.cost(s.input(np.zeros(4096)) < 0).dealt_bytes
    assert dealt["bulk"] < 0.7 * dealt["lan"] and dealt["lan"] < dealt["wan"]


def test_auto_weighs_rounds_against_dealt_bytes():
    with session(network=WAN) as s:
        few, many = s.input(X), s.input(np.zeros(10_000))
        assert marked(s.equations([mpc.nn.relu(few)]))
        assert not marked(s.equations([mpc.nn.relu(many)]))
        assert marked(s.equations([mpc.nn.relu(s.input(np.zeros(100_000)))]), DEEP)
        assert {"relu", "ltz"} <= set(
            marked(s.equations([mpc.nn.relu(many), mpc.fori(0, 9, lambda i, v: mpc.nn.relu(v), few)]))
        )


def test_auto_is_faster_as_predicted():
    for size in (1, 1000, 10_000, 100_000):
        seconds = {}
        for compare in ("lan", "wan", "bulk", "auto"):
            with session(compare=compare, network=WAN) as s:
                seconds[compare] = s.cost(mpc.nn.relu(s.input(np.zeros(size)))).seconds(WAN)
        assert seconds["auto"] == min(seconds.values()), size


@pytest.mark.parametrize("network", [LAN, WAN, Network(200, 20)], ids=str)
@pytest.mark.parametrize("bits", [20, 31, 63])
def test_wide_trees_pay_up_to_a_size(network: Network, bits: int):
    """Few elements: the round decides; many: the bytes. Between them there is one point."""
    found = [pays(1 << k, bits, network) for k in range(24)]
    assert found[0] and not found[-1] and found == sorted(found, reverse=True)


def test_a_narrower_window_pays_for_longer():
    assert [pays(4096, bits, WAN) for bits in (20, 31, 63)] == [True, True, False]


def test_relu_after_a_truncation_compares_whole_words():
    """A window of its result is of no use there, so neither to the rule."""
    size = 3000
    with session(network=WAN) as s:
        x = s.input(np.zeros(size), low=-1, high=1)
        assert "relu" in marked(s.equations([mpc.nn.relu(x)]))
        assert "relu" not in marked(s.equations([mpc.nn.relu(x * x)]))
        assert "relu" not in marked(s.equations([mpc.nn.relu((x * x).reshape(30, 100))]))


def test_the_choice_is_part_of_the_digest():
    with session() as s:
        program = s.equations([s.input(X) < 0])
    wide = with_trees(program, "wan", None)
    assert wide.digest != program.digest and with_trees(program, "lan", WAN) is program
    wide.verify()
    assert Program.unpack(wide.pack()).digest == wide.digest


def test_a_body_that_is_shared_stays_shared():
    @mpc.function
    def f(x):
        return mpc.nn.relu(x) < 1

    with session(compare="wan") as s:
        x = s.input(X)
        program = s.equations([f(x), f(x + 1)])
    bodies = [e.body for e in program.eqns if e.body is not None]
    assert len(bodies) == 2 and bodies[0] is bodies[1] and marked(bodies[0])


def test_no_other_choices():
    with pytest.raises(mpc.errors.UsageError, match="lan"):
        choose_compare("moon")
    with pytest.raises(mpc.errors.UsageError, match="auto"):
        mpc.local(2, "additive", compare="fast")

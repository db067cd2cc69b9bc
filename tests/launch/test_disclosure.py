"""What policies find out about results: which hid small groups, which carry noise, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import mpc
from mpc.cli.programs import load_program
from mpc.errors import MPCError, PolicyRefused, ShapeMismatch, TypeMismatch, UsageError
from mpc.lang.array import Array, bind
from mpc.launch import config as configs
from mpc.launch import policy, remote
from mpc.launch.config import Allow, Budget, Config
from mpc.launch.disclosure import FOR_ALL, Disclosure, disclosure
from mpc.launch.remote import Finished, Seat

from ..e2e.hosts import Host, deploy
from ..memory import open_session

COUNTS = np.array([3, 12, 0, 10])
X = np.arange(8.0).reshape(4, 2) + 1


def shown(**results: Any) -> Disclosure:
    """Of results of an array `x` and counts `n` (functions of both)."""
    s = open_session("helper", 3)
    x, n = s.input(X, 0, name="x"), s.input(COUNTS, 1, name="n")
    arrays = [f(x, n) for f in results.values()]
    return disclosure(s.equations(arrays, names=tuple(results)), s.scope)


# ---- small groups ----
def test_small_groups_are_hidden():
    with open_session("helper", 3) as s:
        x, n = s.input(X), s.input(COUNTS, 1)
        table, bits, known = s.reveal(mpc.suppress(x, n, 10), mpc.suppress(n > 0, n, 10), mpc.suppress(x, 500, 10))
        assert table == pytest.approx(np.where(COUNTS[:, None] >= 10, X, 0))
        assert bits.tolist() == [False, True, False, True] and known == pytest.approx(X)
        city = np.array([2] * 12 + [5] * 3 + [9] * 10)
        groups = mpc.group_by(s.input(city), s.input(np.ones(25)), least=10)
        keys, counts, sums, number = s.reveal(groups.keys, groups.counts, groups.sums[0], groups.number)
        assert sorted(keys[keys > 0]) == [2, 9] and sorted(counts[counts > 0]) == [10, 12] and number == 2
        assert not sums[(counts == 0)].any() and sums.sum() == pytest.approx(22)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x, n: mpc.suppress(x, n, 0), UsageError, "from 1 on"),
        (lambda x, n: mpc.suppress(x, 5, 10), UsageError, "fewer than 10"),
        (lambda x, n: mpc.suppress(x, n > 3, 10), TypeMismatch, "counts are int64"),
        (lambda x, n: mpc.suppress(x[:3], n, 10), ShapeMismatch, "do not fit"),
        (lambda x, n: mpc.random.private(x, 0, 1), UsageError, "above 0"),
        (lambda x, n: mpc.random.private(n > 3, 1, 1), UsageError, "numbers with epsilon"),
        (lambda x, n: mpc.random.private(x, 1e-18, 1), UsageError, "up to 2"),
    ],
)
def test_what_cannot_be_asked(call: Any, error: type[Exception], says: str):
    s = open_session("helper", 3)
    with pytest.raises(error, match=says):
        call(s.input(X), s.input(COUNTS))


def forged(x: Array, n: Array, least: int) -> Array:
    """An equation of that name that hides nothing."""
    (body,) = [e.body for e in _program(lambda x, n: mpc.function(lambda v, w: v, name="call")(x, n)).eqns if e.op == "call"]
    return bind("suppress", x, n, body=body, least=least)  # type: ignore[no-any-return]


def _program(f: Any) -> Any:
    s = open_session("helper", 3)
    return s.equations([f(s.input(X, 0), s.input(COUNTS, 1))])


def lied(x: Array, n: Array) -> Array:
    """A public count that is too small."""
    (body,) = [e.body for e in _program(lambda x, n: mpc.suppress(x, 50, 10)).eqns if e.op == "suppress"]
    return bind("suppress", x, body=body, least=10, rows=1)  # type: ignore[no-any-return]


def test_every_way_from_an_input_counts():
    found = shown(
        raw=lambda x, n: x,
        table=lambda x, n: mpc.suppress(x, n, 10),
        after=lambda x, n: mpc.exp(mpc.suppress(x, n, 10)).sum() * 2 + mpc.suppress(n, n, 20)[0],
        both=lambda x, n: mpc.suppress(x, n, 10) + x * 0,
        twice=lambda x, n: mpc.suppress(mpc.suppress(x, n, 10), n, 4),
        known=lambda x, n: mpc.suppress(x.mean(axis=0), 400, 10),
        name=lambda x, n: mpc.function(lambda v: v, name="suppress")(x),
        forged=lambda x, n: forged(x, n, 10),
        lied=lied,
        loop=lambda x, n: mpc.fori(0, 3, lambda i, c: mpc.suppress(c, n, 10), x),
        coin=lambda x, n: mpc.random.bits(x, 3),
    )
    assert found.least == {
        "raw": 0, "table": 10, "after": 10, "both": 0, "twice": 10, "known": 10, "name": 0, "forged": 0, "lied": 0, "loop": 0,
        "coin": FOR_ALL,
    }  # fmt: skip


def test_noise_is_counted_once_an_equation():
    found = shown(
        one=lambda x, n: mpc.random.private(x.sum(), 0.5, 4.0),
        derived=lambda x, n: mpc.random.private(x.sum(0), 0.25, 4.0) * 2 + 1,
        bare=lambda x, n: mpc.random.private(x.sum(), 0.5, 4.0) + x.sum(),
        own=lambda x, n: x.sum() + mpc.random.normal(x),
    )
    assert found.bare == ("bare", "own") and found.epsilon == 1.25 and 0 < found.delta < 1e-14


def test_the_audit_says_what_is_hidden(tmp_path: Path):
    text = DP.replace("axis=0)", "axis=0).sum()").replace("return ", "return mpc.suppress(a, 50, 10).sum() + ")
    (tmp_path / "study.py").write_text(text)
    study = mpc.Study(load_program(str(tmp_path / "study.py")), {"a": A, "b": B})
    known = study.audit.by_design
    assert "that fixed64.16[2, 3] is 0 for groups of fewer than 10   (study.py:5)" in known
    assert any("epsilon 0.4, if one individual moves it by 3 at most   (study.py:5)" in line for line in known)
    assert not any("fewer" in line for line in shown(name=lambda x, n: forged(x, n, 10)).notes)


# ---- the noise itself ----
def exact(scale: float, reach: int) -> np.ndarray:
    p = np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)
    return p / p.sum()


@pytest.mark.parametrize("protocol", ["helper", "replicated"])
@pytest.mark.parametrize("scale", [0.4, 3.0])
def test_noise_has_the_discrete_laplace_distribution(protocol: str, scale: float):
    stats = pytest.importorskip("scipy.stats")
    with open_session(protocol, 3) as s:
        k = mpc.random.discrete_laplace(s, 4000, scale).reveal()
    reach = max(1, int(4 * scale))
    seen = np.bincount(np.clip(k, -reach, reach) + reach, minlength=2 * reach + 1)
    p = exact(scale, 60)
    wanted = np.concatenate([[p[: 61 - reach].sum()], p[61 - reach : 60 + reach], [p[60 + reach :].sum()]])
    assert stats.chisquare(seen, 4000 * wanted).pvalue > 1e-5


def test_noise_is_in_units_of_the_last_bit_and_fresh():
    with open_session("helper", 3) as s:
        x = s.input(np.full(300, 5.0))
        first, second = s.reveal(mpc.random.private(x, 1.0, 2.0), mpc.random.private(x, 1.0, 2.0))
    for noisy in (first, second):
        assert np.unique((noisy * 2**16) % 4).size == 4 and 1.5 < np.abs(noisy - 5).mean() < 2.6
    assert (first != second).sum() > 295


# ---- policies ----
DP = """\
import mpc

@mpc.program
def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", name="mean"):
    return mpc.random.private(mpc.clip(mpc.concatenate([a, b]), 0, 1).sum(axis=0), epsilon=0.4, sensitivity=3.0)
"""
SMALL = """\
import mpc

@mpc.program
def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", name="mean"):
    cities = mpc.concatenate([a, b])[:, 0].astype(mpc.int64)
    return mpc.group_by(cities, least=2, bits=8).counts
"""
A, B = np.array([[1.5, -2.0, 0.25], [0.0, 3.75, -1.0]]), np.array([[7.125, -1.0, 1.25], [1.0, 4.75, 0.0]])


def run(hosts: Sequence[Host]) -> list[Finished | MPCError]:
    data: dict[str, dict[str, np.ndarray]] = {"hospital_a": {"a": A}, "hospital_b": {"b": B}}

    def one(host: Host) -> Finished | MPCError:
        try:
            file = host.folder / "study.py"
            return Seat(configs.read(str(host.config)), load_program(str(file)), file, data.get(host.name, {})).run()
        except MPCError as error:
            return error

    with ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(one, hosts))


def asks(host: Host, program: str, more: str) -> None:
    entry = f'source = "{policy.TAG}{remote.digest(program)}"\noutputs = {{ mean = ["hospital_a"] }}\n{more}'
    host.edit('program = "any"', entry)


def refused(results: Sequence[Finished | MPCError], words: str) -> None:
    assert all(isinstance(r, MPCError) and r.exit_code == 5 for r in results), results
    assert any(words in str(r) for r in results), results


def test_the_ledger_of_privacy_is_spent_and_then_refuses(tmp_path: Path):
    hosts = deploy(tmp_path, program=DP)
    asks(hosts[1], DP, 'dp = { epsilon = 1.0, delta = 1e-6, data = "visits" }')
    for _ in range(2):
        assert all(isinstance(r, Finished) for r in run(hosts))
    refused(run(hosts), "hospital_b refuses: the run costs epsilon 0.4; of 1 for 'visits', 0.8 are spent")
    ledger = (hosts[1].folder / "state" / "runs.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["epsilon"] for line in ledger] == [0.4, 0.4]
    assert len((hosts[0].folder / "state" / "runs.jsonl").read_bytes().splitlines()) == 2


@pytest.mark.parametrize(
    ("program", "more", "words"),
    [
        (
            DP.replace("mpc.random.private(", "(lambda x, **_: x)("),
            "dp = { epsilon = 1.0 }",
            "without noise of mpc.random.private",
        ),
        (DP, "dp = { epsilon = 0.3 }", "costs epsilon 0.4; of 0.3"),
        (DP, "dp = { epsilon = 1.0, delta = 1e-18 }", "costs delta"),
        (DP, "min_group = 2", "did not all go through mpc.suppress, and at least 2 must be behind it (study.py:5)"),
        (SMALL, "min_group = 3", "hides groups of fewer than 2, and at least 3"),
    ],
)
def test_a_policy_refuses_what_shows_too_much(tmp_path: Path, program: str, more: str, words: str):
    hosts = deploy(tmp_path, program=program)
    asks(hosts[1], program, more)
    refused(run(hosts), words)
    assert not (hosts[1].folder / "state" / "runs.jsonl").exists()


def test_a_policy_allows_what_hides_small_groups(tmp_path: Path):
    hosts = deploy(tmp_path, program=SMALL)
    asks(hosts[1], SMALL, "min_group = 2")
    results = run(hosts)
    assert isinstance(results[0], Finished), results
    assert results[0].outputs["mean"].tolist() == [0, 2, 0, 0]  # cities 0, 1, 1, 7


def test_entries_of_one_data_set_share_its_ledger(tmp_path: Path):
    config: Config = configs.read(str(deploy(tmp_path)[0].config))
    cost = Disclosure({}, (), 0.5, 1e-15)
    one, two = (Allow(source=name, outputs={}, dp=Budget(1.0, 1e-6, "d")) for name in ("one", "two"))
    other = Allow(source="one", outputs={}, dp=Budget(1.0, 1e-6, "e"))
    policy.spend(config, one, "s", cost)
    policy.spend(config, two, "s", cost)
    policy.spend(config, other, "s", cost)
    for allow in (one, two):
        with pytest.raises(PolicyRefused, match="1 are spent"):
            policy.spend(config, allow, "s", cost)
    policy.spend(config, other, "s", cost)

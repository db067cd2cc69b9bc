"""Sealed payloads, preprocessing, stored results and every kind of refusal, between processes of parties with own folders."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mpc.launch import config as configs
from mpc.launch import keys

from .hosts import STUDY, Farm, Host, Process, deploy

A, B = np.array([[1.5, -2.0, 0.25], [0.0, 3.75, -1.0]]), np.array([[777.125, -1.0, 1.25], [1.0, 4.75, 0.0]])
MEAN = np.concatenate([A, B]).mean(axis=0)
SHAPES = ("--shape", "a=2x3", "--shape", "b=2x3")
TRAIN = STUDY.replace('mpc.Output("hospital_a", "hospital_b", name="mean")', 'mpc.Stored("model")')
PREDICT = """\
import mpc

@mpc.program
def main(model: mpc.Stored("model"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_b", name="mean"):
    return model + b.sum() * 0
"""


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    farm = Farm(tmp_path_factory.mktemp("farm"))
    yield farm
    farm.close()


def with_data(hosts: Sequence[Host]) -> list[Host]:
    for host, name, data in zip(hosts, "ab", (A, B), strict=False):
        np.save(host.folder / f"{name}.npy", data)
    return list(hosts)


def start(farm: Farm, hosts: Sequence[Host], *words: str, inputs: str = "ab") -> list[Process]:
    given = {f"hospital_{n}": ("--input", f"{n}={n}.npy") for n in inputs}
    return [h.run(farm, *given.get(h.name, ()), *words) for h in hosts]


def finish(processes: Sequence[Process], code: int) -> list[Process]:
    assert [p.wait() for p in processes] == [code] * len(processes), [p.err for p in processes]
    assert all("Traceback" not in p.err for p in processes)
    return list(processes)


def test_sealed_payloads(farm: Farm, tmp_path: Path):
    program = STUDY.replace("x.mean(axis=0)", "mpc.nn.relu(mpc.broadcast_to(x.mean(axis=0), (20_000, 3))).mean(axis=0)")
    hosts = with_data(deploy(tmp_path, program=program, encryption="gcm"))
    finish(start(farm, hosts, "--output", "mean.npy")[:2], 0)
    assert np.load(hosts[0].folder / "mean.npy") == pytest.approx(np.maximum(MEAN, 0), abs=1e-3)
    assert {r["encryption"] for h in hosts for r in h.records()} == {"gcm"}
    doctors = finish([h.start(farm, "doctor", "--config", "party.toml", "--json") for h in hosts], 0)
    found = json.loads(doctors[0].out)
    assert sum(f["what"] == "port" for f in found) == 4 and sum(f["what"] == "link" for f in found) == 2


def test_preprocessing_goes_from_the_dealer_to_each_party(farm: Farm, tmp_path: Path):
    hosts = with_data(deploy(tmp_path, ("hospital_a", "hospital_b", "dealer"), "additive"))
    words = ("prep", "study.py", "--config", "party.toml", *SHAPES, "--folder", "deal")
    (made,) = finish([hosts[2].start(farm, *words)], 0)
    assert made.out.count(".prep") == 2
    for host in hosts[:2]:  # by whatever way: each file opens at its party alone
        (host.folder / "deal").mkdir()
        for file in (hosts[2].folder / "deal").iterdir():
            (host.folder / "deal" / file.name).write_bytes(file.read_bytes())
    done = finish(start(farm, hosts[:2], "--prepared", "deal"), 0)
    assert done[0].out == done[1].out and done[0].out.startswith("mean: float64[3]")
    assert (hosts[0].folder / "state" / "used").is_dir() and "dealt beforehand" in done[0].err
    finish([hosts[0].start(farm, *words)], 2)  # who has data prepares nothing
    (local,) = finish([hosts[0].start(farm, "prep", "study.py", *SHAPES, "--folder", "here")], 0)
    assert local.out.count(".prep") == 2  # additive, though runs are by default of helper
    refused = hosts[0].start(farm, "prep", "study.py", *SHAPES, "--folder", "x", "--protocol", "helper")
    assert refused.wait() == 2 and "no separate dealer" in refused.err


def test_a_result_stays_shared_until_a_later_run(farm: Farm, tmp_path: Path):
    hosts = with_data(deploy(tmp_path, program=TRAIN))
    trained = finish(start(farm, hosts), 0)
    assert all("learns no output" in p.out for p in trained)
    assert "each party keeps its share of model: fixed64.16[3]" in trained[0].err
    for host in hosts:
        (host.folder / "study.py").write_text(PREDICT)
    audit = hosts[1].start(farm, "audit", "study.py", "--config", "party.toml", "--input", "b=b.npy")
    assert audit.wait() == 0 and "hospital_a supplies a: fixed64.16[2, 3]" in audit.out
    done = finish(start(farm, hosts, inputs="b"), 0)
    assert done[1].out.startswith("mean: float64[3]") and "learns no output" in done[0].out
    (hosts[2].folder / "state" / "stored" / "model" / "party-2.shares").unlink()
    for process in finish(start(farm, hosts, inputs="b"), 5):
        assert "party-2.shares: No such file" in process.err


# ---- everything that must be the same, or allowed: refused at all, before data ----
def program(host: Host) -> None:
    host.edit("axis=0", "axis=1", "study.py")


def roster(host: Host) -> None:
    host.edit("protocol =", "roster = 2\nprotocol =")


def parameters(host: Host) -> None:
    host.edit("protocol =", 'truncation = "nearest"\nprotocol =')


def encryption(host: Host) -> None:
    host.edit("protocol =", 'encryption = "gcm"\nprotocol =')


def shapes(host: Host) -> None:
    """Allows other shapes alone."""
    host.edit('program = "any"', 'program = "blake2b-256:0"\noutputs = { mean = ["hospital_a", "hospital_b"] }')


def consent(host: Host) -> None:
    host.edit('program = "any"', 'program = "any"\nmin_rows = 100')


def groups(host: Host) -> None:
    host.edit("[[allow]]", "[[allow]]\nmin_group = 5")


def noise(host: Host) -> None:
    host.edit("[[allow]]", "[[allow]]\ndp = { epsilon = 1.0 }")


CHANGES: list[Callable[[Host], None]] = [program, roster, parameters, encryption, shapes, consent, groups, noise]
PAIRS = [pytest.param(a, b, marks=pytest.mark.slow) for a, b in itertools.permutations(CHANGES, 2)]


@pytest.mark.parametrize(("first", "second"), [*((change, None) for change in CHANGES), *PAIRS], ids=lambda f: f and f.__name__)
def test_refused_by_all(farm: Farm, tmp_path: Path, first: Callable[[Host], None], second: Callable[[Host], None] | None):
    hosts = with_data(deploy(tmp_path))
    first(hosts[1])
    if second:
        second(hosts[0])
    for process in finish(start(farm, hosts), 5):
        assert "Nothing was sent" in process.err and not process.out
    assert not any((h.folder / "state").exists() for h in hosts)  # no run was begun, none counted


@pytest.mark.parametrize("change", [None, *CHANGES[:4]], ids=lambda f: f and f.__name__)
def test_a_wrong_key_comes_first(farm: Farm, tmp_path: Path, change: Callable[[Host], None] | None):
    hosts = with_data(deploy(tmp_path))
    old = configs.read(str(hosts[2].config)).party[2]
    (hosts[2].folder / "lab.key").unlink()
    new = keys.generate(hosts[2].folder / "lab.key")
    hosts[2].edit(old.key.replace("\\", "\\\\"), new.public.replace("\\", "\\\\"))
    hosts[2].edit(old.sign, new.verify)
    if change:
        change(hosts[0])
    finish(start(farm, hosts), 6)

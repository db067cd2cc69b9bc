"""Results that stay shared between runs of parties with keys: sealed at each, and every file that must be refused by all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.cli.programs import load_program
from mpc.errors import CheckpointError, MPCError, UsageError
from mpc.launch import config as configs
from mpc.launch import keys, policy, record, remote
from mpc.launch.remote import Finished, Seat
from mpc.run.checkpoint import path_of

from ..e2e.hosts import Host, deploy

TRAIN = """\
import mpc

@mpc.program
def train(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> (mpc.Stored("model"), mpc.Output("hospital_a", name="n")):
    x = mpc.concatenate([a, b])
    return {"weights": x.mean(axis=0), "positive": x[0] > 0, "scale": 2.0}, x.sum()
"""
PREDICT = """\
import mpc

@mpc.program
def predict(model: mpc.Stored("model"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_b", name="y"):
    return mpc.where(model["positive"], (b @ model["weights"])[:, None] * model["scale"], 0.0)
"""
MORE = """\
import mpc

@mpc.program
def more(model: mpc.Stored("model"), a: mpc.Input("hospital_a")) -> mpc.Stored("model"):
    return {"weights": model["weights"] + a[0], "positive": model["positive"], "scale": model["scale"]}
"""
A, B = np.array([[1.5, -2.0, 0.25], [0.0, 3.75, -1.0]]), np.array([[7.125, -1.0, 1.25], [1.0, 4.75, 0.0]])
MEAN = np.concatenate([A, B]).mean(axis=0)


def run(hosts: Sequence[Host], program: str, **data: np.ndarray) -> list[Finished | MPCError]:
    for host in hosts:
        (host.folder / "study.py").write_text(program)

    def one(host: Host) -> Finished | MPCError:
        try:
            file = host.folder / "study.py"
            loaded = load_program(str(file))
            mine: dict[str, Any] = {n: data[n] for n, i in loaded.inputs.items() if i.party == host.name}
            return Seat(configs.read(str(host.config)), loaded, file, mine).run()
        except MPCError as error:
            return error

    with ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(one, hosts))


def trained(tmp_path: Path, protocol: str = "helper", last: str = "lab", **options: Any) -> list[Host]:
    hosts = deploy(tmp_path, ("hospital_a", "hospital_b", last), protocol, **options)
    results = run(hosts, TRAIN, a=A, b=B)
    assert all(isinstance(r, Finished) for r in results), results
    return hosts


def shares(host: Host, number: int) -> Path:
    return path_of(host.folder / "state" / "stored" / "model", number)


@pytest.mark.parametrize(("protocol", "last"), [("helper", "lab"), ("additive", "dealer"), ("replicated", "lab")])
def test_a_later_run_goes_on_from_it(tmp_path: Path, protocol: str, last: str):
    hosts = trained(tmp_path, protocol, last)
    first = [shares(h, i).read_bytes() for i, h in enumerate(hosts)]
    assert all(shares(h, i).stat().st_mode & 0o777 == 0o600 for i, h in enumerate(hosts))
    assert not any(b"hospital" in data or b"weights" in data for data in first)  # sealed, with all that is said of it
    results = run(hosts, MORE, a=A)
    assert all(isinstance(r, Finished) and r.outputs == {} for r in results), results
    results = run(hosts, PREDICT, b=B)
    assert isinstance(results[1], Finished), results
    # row 0 of the concatenation is hospital_a's first
    expected = np.where(A[0] > 0, (B @ (MEAN + A[0]))[:, None] * 2.0, 0.0)
    assert results[1].outputs["y"] == pytest.approx(expected, abs=1e-2)


def test_what_the_audit_says(tmp_path: Path):
    hosts = trained(tmp_path)
    config = configs.read(str(hosts[1].config))
    (hosts[1].folder / "study.py").write_text(PREDICT)
    program = load_program(str(hosts[1].folder / "study.py"))
    contents = remote.stored(config, "model")
    plan = remote.plan(config, program, {"model": contents, "b": ((5, 3), None)})
    text = str(plan.audit())
    assert (
        "hospital_a supplies a: fixed64.16[2, 3]   (study.py:4)" in text and "hospital_b supplies b: fixed64.16[5, 3]" in text
    )
    assert "zeros" not in text
    (hosts[1].folder / "study.py").write_text(TRAIN)
    shapes = {n: ((2, 3), None) for n in "ab"}
    audit = remote.plan(config, load_program(str(hosts[1].folder / "study.py")), shapes).audit()
    assert any("keeps its share of model: fixed64.16[3], bool[3]" in line for line in audit.by_design)
    assert audit.learns("hospital_b") == [] and len(audit.inputs) == 2
    request = remote.request(plan, PREDICT, {"model": contents.program})
    assert set(request.inputs) == {"b"} and request.stored["model"] == remote.digest(TRAIN)


def allow(hosts: Sequence[Host], program: str, **more: str) -> None:
    lines = {"source": f'"{policy.TAG}{remote.digest(program)}"', "outputs": '{ y = ["hospital_b"] }', **more}
    hosts[1].edit('program = "any"', "\n".join(f"{k} = {v}" for k, v in lines.items()))


def refused(results: Sequence[Finished | MPCError], *words: str) -> None:
    assert all(isinstance(r, MPCError) and r.exit_code == 5 for r in results), results
    assert all(any(word in str(r) for r in results) for word in words), results


def test_another_programs_result_needs_the_policy(tmp_path: Path):
    hosts = trained(tmp_path)
    allow(hosts, PREDICT)
    refused(run(hosts, PREDICT, b=B), "was left by another program")
    hosts[1].edit("outputs =", f'stored = {{ model = "{policy.TAG}{remote.digest(TRAIN)}" }}\noutputs =')
    assert all(isinstance(r, Finished) for r in run(hosts, PREDICT, b=B))


@pytest.mark.parametrize(
    "fault", ["missing", "byte", "cut", "party", "rolled back", "all rolled back", "roster", "key", "note"]
)
def test_a_file_that_must_be_refused_by_all(tmp_path: Path, fault: str):
    hosts = trained(tmp_path)
    before = [shares(h, i).read_bytes() for i, h in enumerate(hosts)]
    assert all(isinstance(r, Finished) for r in run(hosts, MORE, a=A))
    mine = shares(hosts[1], 1)
    data = mine.read_bytes()
    words = {
        "missing": "No such file", "byte": "does not open", "cut": "does not open", "party": "does not open",
        "rolled back": "older than the last save", "all rolled back": "older than the last save", "roster": "roster",
        "key": "roster", "note": "cannot be read",
    }  # fmt: skip
    if fault == "missing":
        mine.unlink()
    elif fault == "byte":
        mine.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif fault == "cut":
        mine.write_bytes(data[:-20])
    elif fault == "party":
        shutil.copy(shares(hosts[0], 0), mine)
    elif fault == "rolled back":
        mine.write_bytes(before[1])
    elif fault == "all rolled back":
        for i, host in enumerate(hosts):
            shares(host, i).write_bytes(before[i])
    elif fault == "note":
        mine.with_name("last").write_text("one")
    else:
        for host in hosts:
            host.config.write_text("roster = 2\n" + host.config.read_text())
        if fault == "key":  # of its own party, whose row changes at all
            old = configs.read(str(hosts[1].config)).party[1]
            (hosts[1].folder / "hospital_b.key").unlink()
            new = keys.generate(hosts[1].folder / "hospital_b.key")
            for host in hosts:
                host.edit(old.key.replace("\\", "\\\\"), new.public.replace("\\", "\\\\"))
                host.edit(old.sign, new.verify)
    refused(run(hosts, PREDICT, b=B), words[fault])


def test_a_disk_that_was_set_back_with_its_note(tmp_path: Path):
    """Then the party cannot know; the others do."""
    hosts = trained(tmp_path)
    shutil.copytree(hosts[1].folder / "state", tmp_path / "copy")
    run(hosts, MORE, a=A)
    shutil.rmtree(hosts[1].folder / "state")
    shutil.copytree(tmp_path / "copy", hosts[1].folder / "state")
    refused(run(hosts, PREDICT, b=B), "are of different saves")


def test_records_name_what_was_loaded_and_kept(tmp_path: Path):
    hosts = trained(tmp_path)
    results = run(hosts, MORE, a=A)
    records = [r.record for r in results if isinstance(r, Finished)]
    assert not list(record.differences(records[0], records[1]))
    assert set(records[0]["loaded"]) == set(records[0]["kept"]) == {"model"} and records[0]["loaded"] != records[0]["kept"]


def test_one_result_under_two_names(tmp_path: Path):
    hosts = trained(tmp_path)
    twice = PREDICT.replace("b: mpc.Input", 'again: mpc.Stored("model"), b: mpc.Input')
    twice = twice.replace('model["scale"], 0.0)', 'again["scale"] + (model["weights"] - again["weights"]).sum(), 0.0)')
    results = run(hosts, twice, b=B)
    assert isinstance(results[1], Finished), results
    assert results[1].outputs["y"] == pytest.approx(np.where(A[0] > 0, (B @ MEAN)[:, None] * 2.0, 0.0), abs=1e-2)


def test_an_input_that_nothing_needs(tmp_path: Path):
    program = TRAIN.replace("mpc.concatenate([a, b])", "b")
    hosts = deploy(tmp_path)
    assert all(isinstance(r, Finished) for r in run(hosts, program, a=A, b=B))


def test_one_machine_says_what_to_do_instead(tmp_path: Path):
    (tmp_path / "study.py").write_text(TRAIN)
    with pytest.raises(UsageError, match=r"mpc\.save and mpc\.load"):
        mpc.Study(load_program(str(tmp_path / "study.py")), {"a": A, "b": B}).run()
    with pytest.raises(UsageError, match="letters, digits"):
        mpc.Stored("../model")
    assert CheckpointError.exit_code == 5

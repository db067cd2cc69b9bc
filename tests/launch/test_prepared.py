"""Preprocessing for parties with keys: sealed for each of them, used once, refused everywhere if it does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.cli.programs import load_program
from mpc.errors import MPCError, StoreError, UsageError
from mpc.launch import config as configs
from mpc.launch import remote
from mpc.launch.remote import Finished, Seat
from mpc.run.store import path_of

from ..e2e.hosts import Host, deploy

PROGRAM = """\
import mpc

@mpc.program
def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", "hospital_b", name="y"):
    return mpc.nn.relu(a * b)
"""
A, B = np.array([[1.5, -2.0, 0.25], [0.0, 3.75, -1.0]]), np.array([[7.125, -1.0, 1.25], [1.0, 4.75, 0.0]])
DATA = {"hospital_a": {"a": A}, "hospital_b": {"b": B}}


@pytest.fixture
def hosts(tmp_path: Path) -> list[Host]:
    return deploy(tmp_path, ("hospital_a", "hospital_b", "dealer"), "additive", PROGRAM, connect=5.0)


def prepare(hosts: Sequence[Host], folder: Path, shape: tuple[int, ...] = A.shape) -> Path:
    config = configs.read(str(hosts[2].config))
    program = load_program(str(hosts[2].folder / "study.py"))
    remote.prepare_for(config, remote.plan(config, program, {"a": (shape, None), "b": (shape, None)}), folder)
    return folder


def run(hosts: Sequence[Host], deals: Sequence[Path | None]) -> list[Finished | MPCError]:
    def one(host: Host, deal: Path | None) -> Finished | MPCError:
        try:
            file = host.folder / "study.py"
            data: dict[str, Any] = DATA.get(host.name, {})
            return Seat(configs.read(str(host.config)), load_program(str(file)), file, data, deal).run()
        except MPCError as error:
            return error

    with ThreadPoolExecutor(len(deals)) as pool:
        return list(pool.map(one, hosts, deals))


def test_a_run_without_the_dealer_once(hosts: list[Host], tmp_path: Path):
    deal = prepare(hosts, tmp_path / "deal")
    shutil.copytree(deal, tmp_path / "copy")
    results = run(hosts[:2], [deal, path_of(deal, 1)])  # a folder, or the party's file alone
    for result in results:
        assert isinstance(result, Finished), result
        assert result.outputs["y"] == pytest.approx(np.maximum(A * B, 0), abs=1e-3)
        assert (
            list(result.record["links"]) in (["hospital_a"], ["hospital_b"])
            and "dealt before" in result.record["preprocessing"]
        )
    assert not list(deal.iterdir())
    again = run(hosts[:2], [tmp_path / "copy"] * 2)
    assert all(isinstance(r, MPCError) and r.exit_code == 5 for r in again), again
    assert any("was used before" in str(r) for r in again)


def test_a_party_whose_disk_was_set_back_is_stopped_before_a_share_leaves(
    hosts: list[Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    deal = prepare(hosts, tmp_path / "deal")
    shutil.copytree(deal, tmp_path / "copy")
    run(hosts[:2], [deal, deal])
    shutil.rmtree(hosts[0].folder / "state")  # ledger and all
    begun: list[str] = []
    monkeypatch.setattr(remote, "spend", lambda *_: begun.append("a share may leave"))
    results = run(hosts[:2], [tmp_path / "copy"] * 2)
    assert isinstance(results[1], StoreError) and "was used before" in str(results[1])
    assert isinstance(results[0], MPCError) and results[0].exit_code == 5 and not begun


@pytest.mark.parametrize("fault", ["party", "roster", "shapes", "stranger", "byte", "cut", "other deal", "plain"])
def test_what_does_not_fit_is_refused_by_all(hosts: list[Host], tmp_path: Path, fault: str):
    deal = prepare(hosts, tmp_path / "deal", (2, 4) if fault == "shapes" else A.shape)
    path = path_of(deal, 0)
    data = path.read_bytes()
    if fault == "party":
        path.write_bytes(path_of(deal, 1).read_bytes())
    elif fault == "roster":
        for host in hosts:
            host.config.write_text("roster = 2\n" + host.config.read_text())
    elif fault == "stranger":
        other = deploy(tmp_path / "other", ("hospital_a", "hospital_b", "dealer"), "additive", PROGRAM)
        shutil.copy(path_of(prepare(other, tmp_path / "theirs"), 0), path)
    elif fault == "byte":
        path.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    elif fault == "cut":
        path.write_bytes(data[:-1])
    elif fault == "other deal":
        shutil.copy(path_of(prepare(hosts, tmp_path / "second"), 0), path)
    else:
        config = configs.read(str(hosts[2].config))
        shape = {"a": (A.shape, None), "b": (A.shape, None)}
        planned = remote.plan(config, load_program(str(hosts[2].folder / "study.py")), shape)
        remote.deal(planned.equations, "additive", config.scheme, 2, tmp_path / "plain")
        shutil.copy(path_of(tmp_path / "plain", 0), path)
    results = run(hosts[:2], [deal, deal])
    assert all(isinstance(r, MPCError) and r.exit_code == 5 for r in results), results
    assert path_of(deal, 1).exists()  # refused before anything was used


def test_one_with_and_one_without_the_dealer(hosts: list[Host], tmp_path: Path):
    deal = prepare(hosts, tmp_path / "deal")
    results = run(hosts, [deal, None, None])
    assert all(isinstance(r, MPCError) for r in results), results
    assert isinstance(results[0], MPCError) and results[0].exit_code == 5 and path_of(deal, 0).exists()


def test_who_prepares(hosts: list[Host], tmp_path: Path):
    config = configs.read(str(hosts[0].config))
    planned = remote.plan(config, load_program(str(hosts[0].folder / "study.py")), {"a": ((2,), None), "b": ((2,), None)})
    with pytest.raises(UsageError, match="is not the dealer of this roster, who prepares: dealer does"):
        remote.prepare_for(config, planned, tmp_path)

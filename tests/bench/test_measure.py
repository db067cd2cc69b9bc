"""Rows of figures, growth, comparison with another time, and the commands that show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mpc.bench.jobs import GROWING
from mpc.bench.measure import LARGE, Setting, compare, default_parties, growth, measure
from mpc.cli import main
from mpc.net import Network

FIGURES = {
    *("name", "protocol", "parties", "network", "size", "seconds", "offline_seconds", "online_seconds", "rounds"),
    *("bytes_per_party", "peak_mb", "max_error", "ratio_to_numpy", "spread", "ring", "multiplications", "words_written"),
}


def command(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("setting", [Setting("helper", 3, None), Setting("additive", 3, Network(4, 100))], ids=str)
def test_a_row(setting: Setting):
    row = measure("relu", GROWING["relu"](2048), setting, repeat=3)
    assert set(row) >= FIGURES
    assert json.loads(json.dumps(row)) == row
    assert row["max_error"] == 0 and len(row["samples"]) == 3
    assert row["offline_bytes"] == sum(k["bytes"] for k in row["links"] if k["offline"]) > 50 * 2048
    assert row["online_bytes"] == sum(k["bytes"] for k in row["links"] if not k["offline"])
    peers = setting.parties - 1 if setting.protocol == "additive" else 1  # to whom a party opens; it reveals to two
    assert row["bytes_per_party"] == 2048 * (8 + 4.25) * peers + 2048 * 8 * 2
    assert 0 < row["offline_seconds"] and 0 < row["online_seconds"] and row["peak_mb"] > 10
    if setting.network:
        assert row["seconds"] >= setting.network.seconds(row["rounds"], 0)
        assert row["network"] == "4 ms, 100 Mbit/s"


def series(exponent: float, bytes_exponent: float = 1.0, rounds: int = 5) -> list[dict[str, Any]]:
    sizes = [10**k for k in range(3, 8)]
    return [
        {
            "name": "relu",
            "protocol": "helper",
            "parties": 3,
            "network": "local",
            "size": str(n),
            "elements": n,
            "seconds": 1e-3 + 1e-8 * n**exponent,
            "bytes_per_party": 8 * n**bytes_exponent,
            "peak_mb": 50 + 48e-6 * n,
            "rounds": rounds if n < 10 * LARGE else 5,
        }
        for n in sizes
    ]


def test_growth():
    (found,) = growth(series(1.0))
    assert found["exponent"] == pytest.approx(1.0, abs=0.15) and not found["flags"]
    assert found["flat"] < 1 and found["element_bytes"] == pytest.approx(48)
    rows = series(1.0)
    rows[-1] |= {"seconds": 2 * rows[-1]["seconds"], "peak_mb": 900}
    time, memory = growth(rows)[0]["flags"]
    assert time == "an element takes up to 1.8 times as long as at a smaller size"
    assert memory == "memory an element grows from 48 to 89 bytes"
    (found,) = growth(series(1.5))
    assert found["exponent"] == pytest.approx(1.5, abs=0.1) and "time grows like n^1.5" in found["flags"][0]
    assert growth(series(1.0, 1.2))[0]["flags"] == ["bytes grow faster than the elements"]
    assert growth(series(1.0, 1.0, 4))[0]["flags"] == ["rounds grow from 4 to 5"]
    assert growth(series(1.0)[:3])[0]["exponent"] is None
    assert growth([{"name": "matmul256"}]) == []


def test_compare():
    row = {"name": "a", "protocol": "p", "parties": 2, "network": "local", "size": "", "seconds": 2.0, "spread": 0.05}
    ((_, ratio, beyond),) = compare([{**row, "seconds": 2.1}], [row])
    assert ratio == pytest.approx(1.05) and not beyond
    for seconds, spread, expected in ((2.6, 0.05, True), (1.4, 0.05, True), (2.6, 0.5, False)):
        assert compare([{**row, "seconds": seconds}], [{**row, "spread": spread}])[0].beyond == expected
    assert compare([{**row, "parties": 3}], [row]) == []


def test_defaults():
    assert [default_parties(p) for p in ("helper", "additive", "plain")] == [3, 2, 2]


def test_bench_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = ("bench", "--only", "sum", "--protocol", "additive", "--sizes", "1e3,1e4", "--repeat", "2")
    result = command(*words, "--json", "out.json")
    assert result.exit_code == 0, result.output
    found = json.loads(Path("out.json").read_text())
    assert [(r["name"], r["elements"]) for r in found["rows"]] == [("sum", 1000), ("sum", 10000)]
    assert all(set(r) >= FIGURES for r in found["rows"]) and found["machine"]["cpu"]
    assert [g["name"] for g in found["growth"]] == ["sum"]
    assert "[2/2] sum" in result.stderr and "sum 1e3" in result.stdout
    again = command(
        "bench", "--only", "sum", "--protocol", "additive", "--sizes", "1e3", "--repeat", "2", "--compare", "out.json"
    )
    assert again.exit_code == 0 and "new / old" in again.stdout
    assert "resnet50" in command("bench", "--list").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "walk"), "no job 'walk'"),
        (("--protocol", "magic"), "no protocol 'magic'"),
        (("--protocol", "helper", "--parties", "4"), "takes 3 parties"),
        (("--network", "moon"), "no network 'moon'"),
        (("--suite", "scaling", "--sizes", "many"), "--sizes many"),
        (("--compare", "nothing.json"), "nothing.json"),
        (("--json", "no/such/file.json"), "no/such"),
    ],
)
def test_usage(words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = command("bench", *words)
    assert result.exit_code == 2 and said in result.stderr and not result.stdout
    Path("other.json").write_text("[1]")
    assert command("report", "other.json").exit_code == 2

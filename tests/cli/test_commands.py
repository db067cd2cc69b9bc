"""What a user types, what comes back, and what comes back when it was wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from mpc import errors
from mpc.protocols.base import available

from .conftest import A, B, Run

SHAPES = ("--shape", "a=2x3", "--shape", "b=2x3")
DATA = ("--input", "a=a.csv", "--input", "b=b.npy")
MEAN = np.concatenate([A, B]).mean(axis=0)


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout
    for word in words:
        assert word in result.stderr


# ---- run ----
def test_run(folder: Path, mpc_command: Run):
    result = mpc_command("run", "study.py", "--local", *DATA, "--output", "means.npy")
    assert result.exit_code == 0, result.stderr
    assert np.load("means.npy") == pytest.approx(MEAN, abs=1e-3)
    assert result.stdout.startswith("result 0: float64[3], for hospital_a, hospital_b\n")
    assert result.stderr.index("Who learns what") < result.stderr.index("rounds") < result.stderr.index("measured")
    assert "as predicted" in result.stderr


def test_run_json(folder: Path, mpc_command: Run):
    result = mpc_command("run", "study.py", *DATA, "--protocol", "additive", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["outputs"]["result 0"] == pytest.approx(MEAN, abs=1e-3)
    assert found["receivers"] == {"result 0": ["hospital_a", "hospital_b"]}
    assert found["parties"] == ["hospital_a", "hospital_b"]
    assert found["measured"]["as_predicted"] is True
    assert found["measured"]["rounds"] == found["cost"]["rounds"] > 0
    assert {(k["from"], k["to"]): k["bytes"] for k in found["measured"]["links"]} == {
        (k["from"], k["to"]): k["bytes"] for k in found["cost"]["links"] if k["bytes"]
    }
    assert found["audit"]["outputs"] == [
        {"parties": ["hospital_a", "hospital_b"], "what": "result 0: fixed64.16[3]", "where": "study.py:6"}
    ]


def test_plain_is_loud(folder: Path, mpc_command: Run):
    for command in (("run", *DATA), ("cost", *SHAPES), ("audit", *SHAPES)):
        result = mpc_command(command[0], "study.py", *command[1:], "--protocol", "plain")
        assert result.exit_code == 0 and "INSECURE" in result.stderr.splitlines()[0]
    assert "INSECURE" not in mpc_command("cost", "study.py", *SHAPES).stderr


def test_load_functions_and_own_modules(folder: Path, mpc_command: Run):
    """Inputs that are left out are loaded, with a module that lies beside the program; several results get their names."""
    (folder / "own_table.py").write_text("import numpy as np\nTABLE = np.arange(6.0).reshape(3, 2)\n")
    (folder / "loads.py").write_text(
        "import mpc, own_table\n\n"
        "@mpc.program\n"
        'def sums(x: mpc.Input("lab", load=lambda: own_table.TABLE))'
        ' -> (mpc.Output("lab", name="sums"), mpc.Output("clinic")):\n'
        "    return x.sum(axis=0), x.max()\n"
    )
    result = mpc_command("run", "loads.py", "--output", "out.npz", "--json")
    assert result.exit_code == 0, result.stderr
    with np.load("out.npz") as saved:
        assert saved["sums"] == pytest.approx([6, 9], abs=1e-3)
        assert saved["result 1"] == pytest.approx(5, abs=1e-3)
    assert json.loads(result.stdout)["receivers"] == {"sums": ["lab"], "result 1": ["clinic"]}
    assert "lab learns sums" in mpc_command("audit", "loads.py").stdout


# ---- cost, audit, protocols ----
def test_audit(folder: Path, mpc_command: Run):
    result = mpc_command("audit", "study.py", *SHAPES)
    assert result.exit_code == 0 and not result.stderr
    for words in ("hospital_a supplies a: fixed64.16[2, 3]   (study.py:4)", "hospital_b learns result 0", "study.py:6",
                  "helper learns no output"):  # fmt: skip
        assert words in result.stdout
    found = json.loads(mpc_command("audit", "study.py", *SHAPES, "--json").stdout)
    assert [flow["parties"] for flow in found["inputs"]] == [["hospital_a"], ["hospital_b"]]


def test_cost(folder: Path, mpc_command: Run):
    result = mpc_command("cost", "study.py", *SHAPES)
    assert result.exit_code == 0 and not result.stderr
    for words in (
        "rounds",
        "correlated randomness",
        "WAN",
        "hospital_a  hospital_b",
        "most expensive source line",
        "study.py:6",
    ):
        assert words in result.stdout
    found, more = (
        json.loads(mpc_command("cost", "study.py", "--shape", f"a={rows}x3", "--shape", "b=2x3", "--json").stdout)
        for rows in (100, 200)
    )
    assert found["cost"]["rounds"] == more["cost"]["rounds"]
    assert [n["network"] for n in found["cost"]["predicted"]] == ["LAN", "WAN"]


def test_networks(folder: Path, mpc_command: Run):
    """One that is named comes first, beside the usual two; a run is slowed down to it."""
    found = json.loads(mpc_command("cost", "study.py", *SHAPES, "--network", "10,50", "--json").stdout)
    assert [(n["rtt_ms"], n["mbit"]) for n in found["cost"]["predicted"]] == [(10, 50), (0.2, 1000), (40, 100)]
    result = mpc_command("run", "study.py", *DATA, "--network", "10,50", "--json")
    assert result.exit_code == 0, result.stderr
    measured = json.loads(result.stdout)["measured"]
    assert measured["as_predicted"] and measured["seconds"] >= measured["rounds"] * 0.005
    refused(mpc_command("cost", "study.py", *SHAPES, "--network", "moon"), 2, "moon", "lan, wan")


def test_comparisons_on_a_network(folder: Path, mpc_command: Run):
    """One round less where few elements are compared on a slow line, and a run measures what was predicted."""
    file = folder / "study.py"
    file.write_text(file.read_text().replace("x.mean(axis=0)", "mpc.nn.relu(x)"))

    def cost(*words: str) -> dict[str, int]:
        return json.loads(mpc_command("cost", "study.py", *SHAPES, "--json", *words).stdout)["cost"]

    narrow, wide = (cost("--compare", how) for how in ("lan", "wan"))
    assert wide["rounds"] == narrow["rounds"] - 1 and wide["dealt_bytes"] > narrow["dealt_bytes"]
    assert cost()["links"] == narrow["links"] and cost("--network", "wan")["links"] == wide["links"]
    result = mpc_command("run", "study.py", *DATA, "--compare", "wan", "--json")
    assert json.loads(result.stdout)["measured"]["as_predicted"], result.stderr
    refused(mpc_command("cost", "study.py", *SHAPES, "--compare", "moon"), 2, "moon", "auto")


def test_profile_and_trace(folder: Path, mpc_command: Run):
    result = mpc_command("run", "study.py", *DATA, "--profile", "--trace", "trace.json", "--json")
    assert result.exit_code == 0, result.stderr
    for words in ("source line", "study.py:6", "wait", "trace saved to trace.json"):
        assert words in result.stderr
    found = json.loads(result.stdout)
    lines = {row["what"]: row for row in found["profile"]["lines"]}
    assert sum(row["online"] + row["dealt"] for row in lines.values()) == found["measured"]["bytes"]
    events = json.loads(Path("trace.json").read_text())["traceEvents"]
    assert {e["args"]["name"] for e in events if e["ph"] == "M"} == {"hospital_a", "hospital_b", "helper"}
    assert any(e["ph"] == "X" and e["args"]["line"] == "study.py:6" for e in events)
    refused(mpc_command("run", "study.py", *DATA, "--trace", "no/such/folder.json"), 2, "no/such")


def test_no_process_for_a_plan(folder: Path, mpc_command: Run, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a plan started a process")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert mpc_command("cost", "study.py", *DATA).exit_code == 0
    assert mpc_command("audit", "study.py", *DATA).exit_code == 0


def test_shapes_name_dtypes(folder: Path, mpc_command: Run):
    out = mpc_command("audit", "study.py", "--shape", "a=2x3:int64", "--shape", "b=2x3:fixed64.20").stdout
    assert "a: int64[2, 3]" in out and "b: fixed64.20[2, 3]" in out


@pytest.mark.parametrize("protocol", ["helper", "additive", "replicated"])
def test_other_widths(folder: Path, mpc_command: Run, protocol: str):
    """A shape of another width, or --dtype, makes the session of that width: the bytes of a plan are those of a session."""

    def cost(*words: str) -> dict[str, Any]:
        result = mpc_command("cost", "study.py", "--protocol", protocol, *words, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)["cost"]

    def total(cost: dict[str, Any]) -> int:
        return sum(link["bytes"] for link in cost["links"])

    file = folder / "study.py"
    file.write_text(file.read_text().replace("x.mean(axis=0)", "x < 1"))
    usual, wide = cost(*SHAPES), cost("--shape", "a=2x3:fixed128.40", "--shape", "b=2x3")
    assert wide == cost("--dtype", "fixed128.40", *SHAPES)
    assert wide["rounds"] == usual["rounds"] + 1 and total(wide) > 1.5 * total(usual)
    assert total(cost("--dtype", "fixed32.8", *SHAPES)) < total(usual)
    out = mpc_command("audit", "study.py", "--shape", "a=2x3:fixed128.40", "--shape", "b=2x3").stdout
    assert "a: fixed128.40[2, 3]" in out and "b: fixed128.40[2, 3]" in out
    file.write_text(file.read_text().replace("x < 1", "x @ x.T"))
    out = mpc_command("audit", "study.py", "--shape", "a=2x3", "--shape", "b=2x3:field.2^61-1,9223372036854775783").stdout
    assert "a: field(2^61 - 1, 2^63 - 25)[2, 3]" in out and "result 0: field(2^61 - 1, 2^63 - 25)[4, 4]" in out


def test_a_run_of_another_width(folder: Path, mpc_command: Run):
    result = mpc_command("run", "study.py", *DATA, "--dtype", "fixed128.40", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["outputs"]["result 0"] == pytest.approx(MEAN, abs=1e-9)
    assert found["measured"]["as_predicted"] is True


def test_seats(folder: Path, mpc_command: Run):
    """Roles in order of first appearance; the parties that remain get a name."""

    def parties(*words: str) -> list[str]:
        return list(json.loads(mpc_command("cost", "study.py", *SHAPES, "--json", *words).stdout)["parties"])

    assert parties() == ["hospital_a", "hospital_b", "helper"]
    assert parties("--protocol", "additive") == ["hospital_a", "hospital_b"]
    assert parties("--protocol", "additive", "--parties", "3") == ["hospital_a", "hospital_b", "party 2"]


def test_protocols(mpc_command: Run):
    out = mpc_command("protocols").stdout
    listed = json.loads(mpc_command("protocols", "--json").stdout)
    assert {p["protocol"] for p in listed} == set(available())
    assert all(name in out for name in available()) and "INSECURE" in out


@pytest.mark.parametrize("command", ["run", "cost", "audit", "protocols"])
def test_help_has_an_example(command: str, mpc_command: Run):
    text = mpc_command(command, "--help").stdout
    assert f"    mpc {command}" in text and text.count("\n") > 8


# ---- refusals ----
def test_missing_files(folder: Path, mpc_command: Run):
    refused(mpc_command("run", "study.py", "--local", "--input", "a=/does/not/exist.npy"), 2, "/does/not/exist.npy")
    refused(mpc_command("cost", "nowhere.py"), 2, "nowhere.py")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "study.py", "--input", "a=a.csv"), 2, "no data for input 'b' of hospital_b"),
        (("run", "study.py", *DATA, "--input", "c=a.csv"), 2, "no input 'c'; its inputs are a (hospital_a), b (hospital_b)"),
        (("cost", "study.py", "--input", "a.csv"), 2, "NAME=VALUE"),
        (("cost", "study.py", *SHAPES, "--shape", "a=2x3"), 2, "given twice"),
        (("cost", "study.py", "--shape", "a=twoxthree"), 2, "a=500x30"),
        (("cost", "study.py", "--shape", "a=2x3:float"), 2, "no dtype 'float'"),
        (("cost", "study.py", "--shape", "a=2x3:field.2^61"), 2, "no dtype 'field.2^61'"),
        (("cost", "study.py", "--shape", "a=2x3:fixed128.70"), 2, "from 1 to 60"),
        (("cost", "study.py", "--dtype", "int64", *SHAPES), 2, "--dtype int64"),
        (("cost", "study.py", "--shape", "a=2x3:fixed128.40", "--shape", "b=2x3:fixed32.8"), 1, "mpc.fixed128(8)"),
        (("run", "study.py", *DATA, "--protocol", "magic"), 2, "there are additive, helper"),
        (("run", "study.py", *DATA, "--parties", "2"), 2, "takes 3 parties"),
        (("run", "study.py", *DATA, "--protocol", "additive", "--truncation", "up"), 2, "choose dither, floor, nearest"),
        (("run", "study.py", *DATA, "--output", "out.xlsx"), 2, ".xlsx"),
        (("run", "study.py", *DATA, "--output", "no/such/folder.npy"), 2, "no/such"),
        (("audit", "study.py", "--shape", "a=2x3", "--shape", "b=2x4"), 1, "study.py:5"),
        (("walk", "study.py"), 2, "walk"),
        (("run",), 2, "PROGRAM"),
    ],
)
def test_usage(words: tuple[str, ...], code: int, said: str, folder: Path, mpc_command: Run):
    refused(mpc_command(*words), code, said)


def test_too_many_roles(folder: Path, mpc_command: Run):
    (folder / "four.py").write_text(
        "import mpc\n\n@mpc.program\ndef main("
        + ", ".join(f'x{i}: mpc.Input("p{i}")' for i in range(4))
        + ') -> mpc.Output("p0"):\n    return x0\n'
    )
    refused(mpc_command("cost", "four.py", *(w for i in range(4) for w in ("--shape", f"x{i}=2"))), 2, "at most 3", "4 roles")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("import mpc\n", 2, "has no function decorated with @mpc.program"),
        ("import mpc\nx = = 1\n", 1, "broken.py:2"),
        ("import mpc\nimport nothing_of_that_name\n", 1, "broken.py:2: ModuleNotFoundError"),
        ("import mpc\n\n@mpc.program\ndef f(a: int) -> mpc.Output('x'):\n    return a\n", 2, "annotate parameter 'a'"),
        (
            "import mpc\n\n@mpc.program\ndef f(a: mpc.Input('x')) -> mpc.Output('x'):\n    return aa\n",
            1,
            "broken.py:5: NameError",
        ),
        ("import mpc\n\n@mpc.program\ndef f(a: mpc.Input('x')) -> mpc.Output('x'):\n    return 1\n", 2, "no secret array"),
        (
            "import mpc\n\n@mpc.program\ndef f(a: mpc.Input('x')) -> mpc.Output('x'):\n    return a if a[0] > 0 else -a\n",
            1,
            "broken.py:5",
        ),
        (
            "import mpc\n" + "".join(f"@mpc.program\ndef {n}() -> mpc.Output('x'): ...\n" for n in "fg"),
            2,
            "several programs (f, g)",
        ),
    ],
)
def test_broken_programs(text: str, code: int, said: str, folder: Path, mpc_command: Run):
    (folder / "broken.py").write_text(text)
    refused(
        mpc_command("audit", "broken.py", "--shape", "a=3") if "(a:" in text else mpc_command("audit", "broken.py"), code, said
    )


def test_bad_data(folder: Path, mpc_command: Run):
    (folder / "a.csv").write_text("x,y,z\n1,2,3\n4,five,6\n")
    refused(mpc_command("run", "study.py", *DATA), 1, "a.csv, line 3, column 2")
    np.save("b.npy", np.array([[np.nan, 1.0, 2.0]]))
    (folder / "a.csv").write_text("1,2,3\n")
    refused(mpc_command("run", "study.py", *DATA), 1, "NaN")


def test_a_run_after_the_dealer_has_gone(folder: Path, mpc_command: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MPC_LEDGER", str(folder / "used"))
    dealt = mpc_command("prep", "study.py", "--protocol", "additive", "--folder", "deal", *SHAPES)
    assert dealt.exit_code == 0 and dealt.stdout.count("bytes") == len(list(Path("deal").iterdir()))
    arguments = ("run", "study.py", "--protocol", "additive", "--prepared", "deal", *DATA)
    first = mpc_command(*arguments)
    assert first.exit_code == 0 and "as predicted" in first.stderr
    refused(mpc_command(*arguments), 5)


def test_exit_codes(folder: Path, mpc_command: Run, monkeypatch: pytest.MonkeyPatch):
    """Whatever ends a run ends the command with the code that `mpc --help` lists."""
    failures = {
        3: errors.PeerLost(1, "stopped answering", 7, "mul, study.py:5"),
        4: errors.ProtocolError(1, "wrong size"),
        5: errors.ProgramMismatch("another program"),
        1: errors.RangeError("too large"),
        130: KeyboardInterrupt(),
    }
    for code, failure in failures.items():

        def fail(study: object, failure: BaseException = failure, **options: object) -> None:
            raise failure

        monkeypatch.setattr("mpc.cli.commands.run_live", fail)
        refused(mpc_command("run", "study.py", *DATA), code)
    assert (
        mpc_command("run", "study.py", *DATA)
        .stderr.strip()
        .endswith("interrupted: nothing was revealed, and no process is left")
    )


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the children of a process from /proc")
def test_interrupt_leaves_nothing(folder: Path):
    (folder / "long.py").write_text(
        "import mpc, numpy as np\n\n"
        "@mpc.program\n"
        'def main(x: mpc.Input("lab", load=lambda: np.ones(4))) -> mpc.Output("lab"):\n'
        "    return mpc.fori(0, 1_000_000, lambda i, x: x * x, x)\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", "from mpc.cli import main; main()", "run", "long.py", "--local"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    ) as process:
        try:
            children: list[str] = []
            limit = time.monotonic() + 30
            while len(children) < 3 and process.poll() is None and time.monotonic() < limit:
                time.sleep(0.05)  # a poll: nothing reports that the parties have started
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert len(children) == 3
    assert process.returncode == 130, err
    assert not out and "Traceback" not in err and err.strip().splitlines()[-1].startswith("interrupted")
    assert not [c for c in children if Path(f"/proc/{c}").exists()]

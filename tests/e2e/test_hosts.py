"""Parties as processes with own addresses, folders and keys: what an operator types, sees, and is left with."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mpc.launch import config as configs

from .hosts import ROOT, STUDY, Farm, Host, Process, deploy, free_ports
from .nets import Net

A, B = np.array([[1.5, -2.0, 0.25], [0.0, 3.75, -1.0]]), np.array([[777.125, -1.0, 1.25], [1.0, 4.75, 0.0]])
MEAN = np.concatenate([A, B]).mean(axis=0)
LONG = """\
import mpc

@mpc.program
def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", "hospital_b", name="mean"):
    return mpc.fori(0, TIMES, lambda i, c: mpc.nn.relu(c * 0.5 + a), b)
"""


def with_data(hosts: Sequence[Host]) -> list[Host]:
    for host, name, data in zip(hosts, "ab", (A, B), strict=False):
        np.save(host.folder / f"{name}.npy", data)
    return list(hosts)


def start(farm: Farm, hosts: Sequence[Host], *words: str) -> list[Process]:
    inputs = {"hospital_a": ("--input", "a=a.npy"), "hospital_b": ("--input", "b=b.npy")}
    return [h.run(farm, *inputs.get(h.name, ()), *words) for h in hosts]


def running(process: Process) -> bool:
    """Whether it has agreed with the others and computes."""
    return process.code is None and "Cost" in process.err


def until_running(processes: Sequence[Process]) -> None:
    end = time.monotonic() + 20
    while not all(map(running, processes)):
        assert time.monotonic() < end and all(p.code is None for p in processes), [p.err for p in processes]
        processes[0].farm.listen(0.01)


def nothing_runs(processes: Sequence[Process]) -> None:
    """All have ended, and so has every process of their sessions."""
    pids = {process.pid for process in processes if process.code is not None}
    assert len(pids) == len(processes)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        assert int(fields[3]) not in pids or fields[0] in "ZX", f"{stat} is an orphan"


def nothing_left(hosts: Sequence[Host], processes: Sequence[Process]) -> None:
    """No process in the sessions of these, no port in use."""
    nothing_runs(processes)
    for i, member in enumerate(configs.read(str(hosts[0].config)).party):
        for peer in range(i + 1, len(hosts)):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((member.host, member.port + peer))


def test_keys_configuration_audit_approval_and_a_run(farm: Farm, tmp_path: Path):
    """What docs/deploy.md tells two administrators and a dealer to type."""
    names, rows = ("hospital_a", "hospital_b", "dealer"), []
    base = configs.read(str(deploy(tmp_path / "ports")[0].config)).party[0].port
    hosts = [Host(name, tmp_path / name) for name in names]
    for i, host in enumerate(hosts):
        host.folder.mkdir()
        made = host.start(farm, "keygen", host.name, "--address", f"127.0.0.{i + 1}:{base}")
        assert made.wait() == 0, made.err
        assert (host.folder / f"{host.name}.key").stat().st_mode & 0o777 == 0o600
        rows.append((host.folder / f"{host.name}.pub").read_text())
        assert made.out == rows[-1]
        assert host.start(farm, "keygen", host.name).wait() == 6  # never overwritten
    (study,) = (Path(h.folder / "study.py") for h in deploy(tmp_path / "text")[:1])
    for host in with_data(hosts):
        host.write("\n".join(rows), "additive", "")
        (host.folder / "study.py").write_text(study.read_text())

    words = ("study.py", "--config", "party.toml", "--shape", "a=2x3", "--shape", "b=2x3")
    refused = start(farm, hosts)
    assert [p.wait() for p in refused] == [5] * 3
    for host in hosts:
        audit = host.start(farm, "audit", *words)
        assert audit.wait() == 0 and "hospital_b learns mean" in audit.out
        block = audit.out[audit.out.index("[[allow]]") :]
        host.config.write_text(f'{host.config.read_text()}{block}approvals = ["hospital_a", "hospital_b"]\n')
    assert [p.wait() for p in start(farm, hosts)] == [5] * 3
    for host in hosts[:2]:
        approved = host.start(farm, "approve", *words)
        assert approved.wait() == 0 and "hospital_a learns mean" in approved.out

    processes = start(farm, hosts)
    assert [p.wait() for p in processes] == [0] * 3, [p.err for p in processes]
    assert "hospital_a: waiting for hospital_b, dealer" in processes[0].err
    assert "Who learns what" in processes[0].err and processes[2].out == "dealer learns no output\n"
    assert processes[0].out == processes[1].out and processes[0].out.startswith("mean: float64[3]")

    (approval,) = hosts[1].folder.glob("*.approval")
    (hosts[0].folder / approval.name).write_bytes(approval.read_bytes())
    json_audit = hosts[0].start(farm, "audit", *words, "--json")
    assert json_audit.wait() == 0 and "allows this run" in json.loads(json_audit.out)["policy"]
    markdown = hosts[0].start(farm, "audit", *words, "--markdown")
    assert markdown.wait() == 0 and "| hospital_a, hospital_b | mean: fixed64.16[3] | study.py:6 |" in markdown.out

    files = [str(next((h.folder / "state").glob("run-*.json"))) for h in hosts]
    same = hosts[0].start(farm, "compare", files[0], files[1])
    assert same.wait() == 0 and "record the same run" in same.out
    record = json.loads(Path(files[1]).read_text())
    record["links"]["hospital_a"]["hash_received"] = "00"
    Path(files[1]).write_text(json.dumps(record))
    other = hosts[0].start(farm, "compare", files[0], files[1])
    assert other.wait() == 1 and "hash of what was sent from hospital_a to hospital_b" in other.out
    nothing_left(hosts, farm.processes)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("study.py", "axis=0", "axis=1", "line 6"),
        ("party.toml", 'program = "any"', 'source = "blake2b-256:0"\noutputs = {}', "hospital_b refuses"),
    ],
)
def test_refused_everywhere(farm: Farm, tmp_path: Path, file: str, old: str, new: str, says: str):
    hosts = with_data(deploy(tmp_path))
    hosts[1].edit(old, new, file)
    processes = start(farm, hosts)
    assert [p.wait(10) for p in processes] == [5] * 3, [p.err for p in processes]
    for p in processes:
        assert says in p.err and "Traceback" not in p.err and not p.out and p.err.count("\n") <= 3
    nothing_left(hosts, processes)
    assert not any(h.records() for h in hosts)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('me = "hospital_a"', 'me = "hospital_c"', "is not in the roster"),
        ('protocol = "helper"', 'protocol = "plain"', "protects nothing"),
        ("connect = 20.0", "conect = 20.0", "unknown field `conect`"),
        ('keys = "hospital_a.key"', 'keys = "nobody.key"', "mpc keygen"),
        ("127.0.0.1:", "127.0.0.1", "HOST:PORT"),
        ("[[allow]]", "[[allow]]\nrnus = 1", "unknown field `rnus`"),
    ],
)
def test_a_configuration_that_cannot_be(farm: Farm, tmp_path: Path, old: str, new: str, says: str):
    host = with_data(deploy(tmp_path))[0]
    host.edit(old, new)
    process = host.run(farm, "--input", "a=a.npy")
    assert process.wait() == 6 and says in process.err and "Traceback" not in process.err


def test_plain_links_are_loud(farm: Farm, tmp_path: Path):
    hosts = with_data(deploy(tmp_path, encryption="off"))
    processes = start(farm, hosts)
    assert [p.wait() for p in processes] == [0] * 3
    assert all('INSECURE: encryption = "off"' in p.err for p in processes)


def test_doctor(farm: Farm, tmp_path: Path):
    hosts = deploy(tmp_path)
    processes = [h.start(farm, "doctor", "--config", "party.toml", "--json") for h in hosts]
    assert [p.wait() for p in processes] == [0] * 3, [p.out for p in processes]
    for p, others in zip(processes, (2, 2, 2), strict=True):
        links = [f for f in json.loads(p.out) if f["what"] == "link"]
        assert len(links) == others and all("round trip" in f["detail"] and "Mbit/s" in f["detail"] for f in links)
    alone = hosts[1].start(farm, "doctor", "--config", "party.toml", "--wait", "0.5")
    assert alone.wait() == 6
    assert "nobody listens at 127.0.0.1" in alone.out and "did not call 127.0.0.2" in alone.out


def test_a_node_serves_run_after_run(farm: Farm, tmp_path: Path):
    hosts = with_data(deploy(tmp_path))
    node = hosts[2].start(farm, "party", "study.py", "--config", "party.toml")
    for _ in range(2):
        processes = start(farm, hosts[:2])
        assert [p.wait() for p in processes] == [0, 0], [p.err for p in processes]
    hosts[1].edit("axis=0", "axis=1", "study.py")
    assert [p.wait() for p in start(farm, hosts[:2])] == [5, 5]
    hosts[1].edit("axis=1", "axis=0", "study.py")
    assert [p.wait() for p in start(farm, hosts[:2])] == [0, 0]
    node.kill(signal.SIGTERM)
    assert node.wait(5) == 130 and "interrupted after 3 runs" in node.err and "ProgramMismatch" in node.err
    assert len(hosts[2].records()) == 3
    nothing_left(hosts, [node])


# ---- faults ----
def at_random(farm: Farm, tmp_path: Path, number: int, cases: int, code: int) -> None:
    """A signal for a random party at a random moment, from the start of its process on."""
    rng = random.Random(number)
    hosts = with_data(deploy(tmp_path, program=LONG.replace("TIMES", "1_000_000"), connect=5.0))
    for case in range(cases):
        victim, delay = rng.randrange(3), rng.choice((0.02, 0.3, 0.6)) * rng.random() + 0.02
        processes = start(farm, hosts)
        if case % 2:
            until_running(processes)
        time.sleep(delay)
        sent = time.monotonic()
        processes[victim].kill(number)
        codes = [p.wait(15) for p in processes]
        took = time.monotonic() - sent
        texts = [p.err for p in processes]
        if codes[victim] == -number and not texts[victim]:
            codes[victim] = code  # SIGTERM struck before the command had begun
        assert codes == [code if p == victim else 3 for p in range(3)], (case, victim, delay, codes, texts)
        for p, process in enumerate(processes):
            assert not process.out and "Traceback" not in process.err, (case, process.err)
            if p != victim:
                assert "Nothing was revealed" in process.err
                # whom a party never met may have ended before, because of the victim
                met = f"party {victim} ({hosts[victim].name})" in process.err
                assert met or (case % 2 == 0 and "did not appear" in process.err), (case, victim, process.err)
        assert sum(f"party {victim} (" in t for t in texts) >= 1 + case % 2
        if case % 2:
            assert took < 5
            assert any(re.search(r"in round \d+ \(\w+, study.py:5\)", t) for t in texts), texts
        elif code == 130 and texts[victim]:
            assert processes[victim].err.count("interrupted") == 1
        nothing_left(hosts, processes)


def test_a_killed_party_is_named_by_all_others(farm: Farm, tmp_path: Path):
    at_random(farm, tmp_path, signal.SIGKILL, 4, -signal.SIGKILL)


def test_an_interrupted_party_leaves_one_message(farm: Farm, tmp_path: Path):
    at_random(farm, tmp_path, signal.SIGINT, 4, 130)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_signals_at_random_moments(farm: Farm, tmp_path: Path, number: int, code: int):
    at_random(farm, tmp_path, number, 50, code)


@pytest.mark.slow
def test_sixteen_sessions_at_once_are_as_one_after_the_other(farm: Farm, tmp_path: Path):
    """Other keys and another program each, on the same three addresses."""
    sessions, base = [], free_ports(["127.0.0.1"])
    for i in range(16):
        program = STUDY.replace("x.mean(axis=0)", f"x.sum(axis=0) * {i + 1} + (x[{i % 4}] < {i - 8})")
        hosts = deploy(tmp_path / str(i), program=program, base=base + 4 * i, connect=60.0)
        for k, host in enumerate(hosts[:2]):
            np.save(host.folder / f"{'ab'[k]}.npy", np.arange(6).reshape(2, 3) * (i - 8) + k)
        sessions.append(hosts)

    def ends(processes: Sequence[Process]) -> str:
        assert [p.wait(120) for p in processes] == [0] * 3, [p.err for p in processes]
        assert processes[0].out == processes[1].out
        return processes[0].out

    alone = [ends(start(farm, hosts)) for hosts in sessions]
    together = [start(farm, hosts) for hosts in sessions]
    assert [ends(processes) for processes in together] == alone and len(set(alone)) == 16
    for hosts, processes in zip(sessions, together, strict=True):
        nothing_left(hosts, processes)
    assert len({r["session"] for hosts in sessions for r in hosts[0].records()}) == 32
    # a party of one session in another's place: not its key
    stray = [sessions[0][0], sessions[0][1], sessions[1][2]]
    stray[2].config.write_text(stray[2].config.read_text().replace(f":{base + 4}", f":{base}"))
    assert [p.wait(60) for p in start(farm, stray)] == [6] * 3


def test_a_short_pause_is_survived(farm: Farm, tmp_path: Path):
    hosts = with_data(deploy(tmp_path, program=LONG.replace("TIMES", "400")))
    processes = start(farm, hosts)
    until_running(processes)
    for victim in processes:
        victim.kill(signal.SIGSTOP)
        time.sleep(0.3)
        victim.kill(signal.SIGCONT)
    assert [p.wait() for p in processes] == [0] * 3, [p.err for p in processes]


@pytest.mark.slow
@pytest.mark.parametrize("victim", range(3))
def test_a_stopped_party_is_named_within_the_heartbeat(farm: Farm, tmp_path: Path, victim: int):
    hosts = with_data(deploy(tmp_path, program=LONG.replace("TIMES", "1_000_000")))
    processes = start(farm, hosts)
    until_running(processes)
    processes[victim].kill(signal.SIGSTOP)
    start_time = time.monotonic()
    for p in processes:
        if p is not processes[victim]:
            assert p.wait(15) == 3 and f"party {victim} ({hosts[victim].name})" in p.err
    assert time.monotonic() - start_time < 7
    processes[victim].kill(signal.SIGCONT)
    assert processes[victim].wait(15) == 3
    nothing_left(hosts, processes)


def test_a_full_disk_keeps_the_results(farm: Farm, tmp_path: Path):
    """The result is larger than any file that party 0 can write; its record is not."""
    program = (
        "import mpc\n@mpc.program\n"
        "def main(a: mpc.Input('hospital_a'), b: mpc.Input('hospital_b')) -> mpc.Output('hospital_a'):\n"
        "    return mpc.broadcast_to((a + b).sum(axis=0), (4000, 3)) + 0.0\n"
    )
    hosts = with_data(deploy(tmp_path, program=program))
    words = [("--input", "a=a.npy", "--output", "y.npy"), ("--input", "b=b.npy"), ()]
    processes = [h.run(farm, *w, largest=16384) for h, w in zip(hosts, words, strict=True)]
    assert [p.wait() for p in processes] == [1, 0, 0], [p.err for p in processes]
    assert "y.npy cannot be written: File too large" in processes[0].err and "result 0: float64[4000, 3]" in processes[0].out
    assert not list(hosts[0].folder.glob("y.npy*")) and len(hosts[0].records()) == 1


def test_inputs_stay_out_of_everything_that_is_kept(farm: Farm, tmp_path: Path):
    """A value of one party in no message, record or ledger of any party, when all goes well and when not."""
    hosts = with_data(deploy(tmp_path, program=LONG.replace("TIMES", "3")))
    hosts[1].edit("[[allow]]", "[[allow]]\nruns = 2")
    for _ in range(3):
        for p in start(farm, hosts):
            p.wait()
            assert "777" not in p.err
    kept = [f for h in hosts for f in (h.folder / "state").iterdir()]
    assert len(kept) == 3 * 2 + 3
    word = int(B[0, 0] * 2**16).to_bytes(8, "little")
    for file in kept:
        data = file.read_bytes()
        assert b"777.1" not in data and word not in data and word.hex().encode() not in data


def test_two_hospitals_between_three_addresses(farm: Farm, tmp_path: Path):
    two_hospitals(farm, tmp_path, 6)


@pytest.mark.slow
def test_two_hospitals_as_they_are_between_three_addresses(farm: Farm, tmp_path: Path):
    two_hospitals(farm, tmp_path, 300)


def two_hospitals(farm: Farm, tmp_path: Path, iterations: int, net: Net | None = None) -> None:
    """The example, each party loading its own columns: the results of one machine, each at those who may learn it."""
    pytest.importorskip("sklearn", reason="the example uses scikit-learn's data set")
    text = (ROOT / "examples" / "two_hospitals.py").read_text()
    program = text.replace("L2 = 300,", f"L2 = {iterations},")
    hosts = deploy(tmp_path, ("hospital_a", "hospital_b", "registry"), program=program, addresses=net.addresses if net else ())
    for host, name in zip(hosts, net.names if net else [""] * 3, strict=True):
        host.net = name
    here = farm.start(hosts[0].folder, ("run", "study.py", "--json"), 0)
    assert here.wait(120) == 0, here.err
    local = json.loads(here.out)
    processes = [h.run(farm, "--json") for h in hosts]
    assert [p.wait(120) for p in processes] == [0] * 3, [p.err for p in processes]
    for host, process in zip(hosts, processes, strict=True):
        found = json.loads(process.out)
        assert set(found["outputs"]) == {name for name, to in local["receivers"].items() if host.name in to}
        assert found["record"]["rounds"] == local["measured"]["rounds"]
        for name, value in found["outputs"].items():
            assert np.asarray(value) == pytest.approx(np.asarray(local["outputs"][name]), abs=0.01), name

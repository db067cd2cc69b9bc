"""The same work in other engines, run alternately with ours on this machine: the ratio of their time to ours.

    make bench-peers                                                        # all peers, all rows
    .venv/bin/python bench/peers/compare.py --peer spu --only relu1e6       # some of them

Each peer has a virtual environment of its own in build/peers, made at first use from the pinned lists beside this file; its
jobs are in NAME_peer.py. Inputs are the same arrays for both. A turn starts fresh processes on either side, shares the inputs,
warms up, and times whole operations from shares to the opened result, preprocessing included; the medians of all turns count.
Where a peer's first run takes longer than PATIENCE, that run is its figure ("once"). No encryption on either side. Our data
goes through shared memory, as it does by default between processes of one machine; the last column is the ratio with ours on
sockets, which all peers use.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import mpc
from mpc.bench.jobs import GROWING, JOBS, Job
from mpc.bench.measure import Work, machine
from mpc.run.rehearse import duration

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ENVIRONMENTS = ROOT / "build" / "peers"
REPEAT = 3  # runs that count, in a turn
PATIENCE = 10.0  # seconds of a first run, above which it is the only one
LIMIT = 150.0  # seconds for a peer's turn, its start included

# how many times ours is to be faster than every peer; for exp also how many times as exact
TARGETS = {
    "matmul1024": 4,
    "conv2d_64_56": 4,
    "relu1e6": 40,
    "lt1e6": 40,
    "sigmoid1e5": 12,
    "reciprocal1e5": 8,
    "exp1e5": 4,
    "softmax1000x10": 10,
    "lenet32": 15,
    "resnet18": 15,
    "bert_layer128": 9,
    "logreg1000x100": 10,
    "chain200": 8,
}
EXACTER = {"exp1e5": 100}


class Peer(NamedTuple):
    """An engine: what is printed, ours to compare it with, and its jobs: (ours, size if it grows, the peer's name for it)."""

    title: str
    engine: str  # its environment and script
    protocol: str
    parties: int
    jobs: Sequence[tuple[str, int | None, str]]
    options: tuple[str, ...] = ()


WHOLE = [
    *(("matmul256", None, "matmul"), ("matmul1024", None, "matmul"), ("mul1e6", None, "mul"), ("relu1e6", None, "relu")),
    *(("lt1e6", None, "lt"), ("sigmoid1e5", None, "sigmoid"), ("tanh1e5", None, "tanh"), ("exp1e5", None, "exp")),
    *(("reciprocal1e5", None, "reciprocal"), ("softmax1000x10", None, "softmax"), ("chain200", None, "chain")),
    *(("max1000x16", None, "max"), ("argmax1000x16", None, "argmax"), ("conv2d_64_56", None, "conv2d")),
    *(("lenet32", None, "lenet"), ("logreg1000x100", None, "logreg"), ("bert_layer128", None, "bert_layer")),
    ("resnet18", None, "resnet18"),
]
SLOW = [
    *(("mul", 10_000, "mul"), ("relu", 10_000, "relu"), ("lt", 10_000, "lt")),
    *(("chain200", None, "chain"), ("argmax1000x16", None, "argmax")),
]
PEERS = {
    "crypten": Peer("CrypTen, two parties", "crypten", "additive", 2, WHOLE),
    "spu": Peer("SPU ABY3, three parties", "spu", "helper", 3, WHOLE, ("ABY3",)),
    "spu-semi2k": Peer("SPU SEMI2K, two parties", "spu", "additive", 2, WHOLE, ("SEMI2K",)),
    "mpyc": Peer("MPyC, three parties", "mpyc", "helper", 3, SLOW, ("-M3",)),
}


class Failed(Exception):
    """What a peer could not do, in one line."""


# ---- environments ----
def environment(engine: str) -> Path:
    """The Python of an engine's virtual environment, made if it is not there or was made from other lists."""
    folder = ENVIRONMENTS / engine
    python, made = folder / "bin" / "python", folder / "made"
    lists = sorted(HERE.glob(f"{engine}*.txt"))
    wanted = "".join(packages.read_text() for packages in lists)
    if not made.exists() or made.read_text() != wanted:
        print(f"making an environment for {engine} in {folder.relative_to(ROOT)}: {' '.join(wanted.split())}", file=sys.stderr)
        _install([sys.executable, "-m", "venv", "--clear", folder])
        for packages in lists:  # a list that is called -alone is installed without what it asks for
            how = ["--no-deps"] if packages.stem.endswith("-alone") else []
            _install([python, "-m", "pip", "install", "--quiet", *how, "--requirement", packages])
        made.write_text(wanted)
    return python


def _install(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"its packages cannot be installed: {_reason(done.stderr)}")


def _reason(text: str) -> str:
    """The line of an error's text that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no message"]
    errors = [line for line in lines if line.startswith("ERROR") or "Error" in line.split(":")[0]]
    return (errors or lines)[-1][:160]


# ---- one turn ----
def ours(peer: Peer, job: Job, data: list[np.ndarray], transport: str) -> tuple[list[float], np.ndarray]:
    """Seconds of a turn of ours, and the result."""
    with mpc.local(peer.parties, peer.protocol, transport=transport) as session:
        work, seconds = Work(session, job, data), []
        for _ in range(REPEAT + 1):
            result = work.run()
            seconds.append(work.seconds())
    return seconds[1:], result


class Turn(NamedTuple):
    """What a peer's processes wrote."""

    seconds: list[float]
    once: bool  # the only run, which others had not warmed up for
    result: np.ndarray
    settings: str


def theirs(peer: Peer, job: str, data: list[np.ndarray], limit: float) -> Turn:
    """A turn of the peer's. Raises Failed, TimeoutExpired."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, output = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(inputs, **{f"x{i:03}": x for i, x in enumerate(data)})
        script = [
            environment(peer.engine),
            HERE / f"{peer.engine}_peer.py",
            job,
            inputs,
            output,
            REPEAT,
            PATIENCE,
            *peer.options,
        ]
        _watched([str(word) for word in (*script, REPEAT, PATIENCE, *peer.options)], limit, ENVIRONMENTS / f"{peer.engine}.log")
        with np.load(output) as saved:
            seconds = saved["seconds"].tolist()
            return Turn(seconds[1:] or seconds, len(seconds) == 1, saved["result"], str(saved["settings"]))


def _watched(command: Sequence[str], limit: float, log: Path) -> None:
    """Runs a command whose own processes end with it, its words in `log`."""
    env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    env["PYTHONPATH"] = str(ROOT / "mpc" / "bench")  # models.py, which takes no more than NumPy
    with log.open("w") as said:
        process = subprocess.Popen(command, env=env, stdout=said, stderr=said, start_new_session=True)
        try:
            code = process.wait(limit)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        raise Failed(_reason(log.read_text(errors="replace")))


# ---- a row ----
def settings(peer: Peer) -> str:
    """Under what ours is measured."""
    dealer = "a dealer in a process of its own" if peer.protocol == "additive" else "party 2 deals"
    return f"{peer.protocol}, {peer.parties} parties, {dealer}, ring 2^64, 16 fraction bits, shared memory, no encryption"


def measure(name: str, label: str, size: int | None, job_name: str, turns: int, limit: float) -> dict[str, Any]:
    """A row: both sides' samples, medians, errors, the ratio, and whether it is what it is to be."""
    peer = PEERS[name]
    job = JOBS[label] if size is None else GROWING[label](size)
    data = job.inputs(label)
    expected = np.asarray(job.plain(*data), float)
    row: dict[str, Any] = {"job": label, "size": job.size, "peer": name, "target": None if size else TARGETS.get(label)}
    row |= {"our_settings": settings(peer), "our_samples": [], "our_socket_samples": [], "their_samples": [], "once": False}
    for _ in range(turns):  # alternately, so that a busy machine is busy for both
        for key, transport in (("our_samples", "shared"), ("our_socket_samples", "zeromq")):
            samples, result = ours(peer, job, data, transport)
            row[key] += samples
        row["our_error"] = _error(result, expected)
        try:
            turn = theirs(peer, job_name, data, limit)
        except Failed as failure:
            return row | {"failed": str(failure)}
        except subprocess.TimeoutExpired:
            return _rated({**row, "their_samples": [limit], "their_error": None, "cut": True})
        row["their_samples"] += turn.seconds
        row |= {"once": turn.once, "their_settings": turn.settings, "their_error": _error(turn.result, expected)}
        if turn.once:
            break
    return _rated({**row, "cut": False})


def _error(result: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(np.reshape(result, expected.shape).astype(float) - expected)))


def _rated(row: dict[str, Any]) -> dict[str, Any]:
    mine, sockets, other = (statistics.median(row[f"{k}_samples"]) for k in ("our", "our_socket", "their"))
    row |= {"our_seconds": mine, "our_socket_seconds": sockets, "their_seconds": other}
    row |= {"ratio": other / mine, "socket_ratio": other / sockets}
    if row["target"]:
        share = EXACTER.get(row["job"])
        exact = share is None or row["their_error"] is None or row["our_error"] * share <= row["their_error"]
        row["met"] = row["ratio"] >= row["target"] and exact
    return row


# ---- what is printed ----
COLUMNS = "{:18} {:>11} {:>10} {:>9} {:>7}  {:5} {:>11} {:>9} {:>9} {}"
HEAD = COLUMNS.format("job", "theirs", "ours", "ratio", "target", "", "their error", "our error", "sockets", "")


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    title = row["job"] if row["job"] in JOBS else f"{row['job']} {row['size']}"
    if "failed" in row:
        return f"{title:18} left out: {row['failed']}"
    most = "> " if row["cut"] else ""
    target = f"{row['target']}x" if row["target"] else ""
    verdict = {None: "", True: "met", False: "SHORT"}[row.get("met")]
    error = "" if row["their_error"] is None else f"{row['their_error']:.1e}"
    return COLUMNS.format(
        title, most + duration(row["their_seconds"]), duration(row["our_seconds"]), f"{row['ratio']:.1f}x", target, verdict,
        error, f"{row['our_error']:.1e}", f"{row['socket_ratio']:.1f}x", "once" if row["once"] else "",
    )  # fmt: skip


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Every row that has a target beside the peer that comes closest to ours."""
    lines = [f"{'job':18} {'ahead of every peer by':>24} {'target':>8}"]
    for job, target in TARGETS.items():
        of = [r for r in rows if r["job"] == job and "met" in r]
        if of:
            closest = min(of, key=lambda r: float(r["ratio"]))
            verdict = "met" if all(r["met"] for r in of) else "SHORT"
            extra = f", {EXACTER[job]} times as exact" if job in EXACTER else ""
            lines.append(f"{job:18} {closest['ratio']:10.1f}x ({closest['peer']:>10}) {target:7}x  {verdict}{extra}")
    return "\n".join(lines)


def compare(name: str, only: Sequence[str], turns: int, limit: float) -> list[dict[str, Any]]:
    """The rows of a peer, printed as they come."""
    peer, rows = PEERS[name], list[dict[str, Any]]()
    jobs = [job for job in peer.jobs if not only or job[0] in only]
    if not jobs:
        return []
    print(f"\n{peer.title}\n  ours: {settings(peer)}", flush=True)
    try:
        environment(peer.engine)
    except Failed as failure:
        print(f"  left out: {failure}")
        return []
    for number, (label, size, job_name) in enumerate(jobs):
        rows.append(measure(name, label, size, job_name, turns, limit))
        if not number:
            print(f"  theirs: {rows[0].get('their_settings', 'unknown')}\n{HEAD}")
        print(line(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", action="append", choices=list(PEERS), help="may be given several times; default: all")
    parser.add_argument("--only", action="append", default=[], metavar="JOB", help="one of ours; may be given several times")
    parser.add_argument("--turns", type=int, default=2, help="of each side; default 2")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for a peer's turn; default %(default)s")
    parser.add_argument("--json", type=Path, default=ENVIRONMENTS / "peers.json", help="where the rows are kept")
    args = parser.parse_args()
    known = {label for peer in PEERS.values() for label, _, _ in peer.jobs}
    if unknown := set(args.only) - known:
        parser.error(f"no job {min(unknown)!r}; there are {', '.join(sorted(known))}")
    rows: list[dict[str, Any]] = []
    conditions = machine()
    print(f"{conditions['cpu']}, {conditions['cores']} cores, load {conditions['load']}, {conditions['time']}")
    try:
        for name in args.peer or PEERS:
            rows += compare(name, args.only, args.turns, args.limit)
    finally:  # what is measured is kept when the rest is interrupted
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": conditions, "rows": rows}, indent=1))
    print(f"\n{summary(rows)}")


if __name__ == "__main__":
    main()

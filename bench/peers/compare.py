"""The same work in other engines, run alternately with ours on this machine: the ratio of their time to ours.

    make bench-peers                                          # all peers, their usual sizes
    .venv/bin/python bench/peers/compare.py mpyc --job mul     # one peer, one job

Each peer has a virtual environment of its own in build/peers, made at first use from the pinned list beside this file; its
jobs are in NAME_peer.py. Inputs are the same arrays for both. A turn starts fresh processes on either side, shares the inputs,
warms up, and times whole operations from shares to the opened result, preprocessing included; the medians of all turns count.
Plain local connections on both sides.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import mpc
from mpc.bench.jobs import GROWING, JOBS, Job
from mpc.bench.measure import Work

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent.parent / "build" / "peers"
REPEAT = 2  # runs that count, in a turn
LIMIT = 300  # seconds for a peer's turn


class Peer(NamedTuple):
    """An engine: what is printed, ours to compare it with, and its jobs: (ours, size if it grows, the peer's name for it)."""

    title: str
    protocol: str
    parties: int
    jobs: Sequence[tuple[str, int | None, str]]
    options: tuple[str, ...] = ()


WHOLE = [
    *(("matmul256", None, "matmul"), ("matmul1024", None, "matmul"), ("mul1e6", None, "mul"), ("relu1e6", None, "relu")),
    *(("lt1e6", None, "lt"), ("sigmoid1e5", None, "sigmoid"), ("tanh1e5", None, "tanh"), ("exp1e5", None, "exp")),
    *(("reciprocal1e5", None, "reciprocal"), ("softmax1000x10", None, "softmax"), ("chain200", None, "chain")),
    *(("max1000x16", None, "max"), ("argmax1000x16", None, "argmax"), ("conv2d_64_56", None, "conv2d")),
    *(("lenet32", None, "lenet"), ("logreg1000x100", None, "logreg")),
]
PEERS = {
    "crypten": Peer("CrypTen, two parties and a dealer", "additive", 2, WHOLE),
    "spu": Peer("SPU ABY3, three parties", "helper", 3, [job for job in WHOLE if job[2] not in ("argmax", "lenet", "tanh")]),
    "mpyc": Peer(
        "MPyC, three parties",
        "helper",
        3,
        [("mul", 1000, "mul"), ("relu", 1000, "relu"), ("lt", 1000, "lt"), ("chain200", None, "chain")],
        ("-M3",),
    ),
}


def environment(name: str) -> Path:
    """The Python of a peer's virtual environment, made if it is not there."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        print(f"making an environment for {name} in {folder} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        for packages in sorted(HERE.glob(f"{name}*.txt")):  # a second list is installed without what it asks for
            how = ["--no-deps"] if packages.stem.endswith("-alone") else []
            subprocess.run([python, "-m", "pip", "install", "--quiet", *how, "--requirement", packages], check=True)
        (folder / "made").touch()
    return python


def ours(peer: Peer, job: Job, data: list[np.ndarray]) -> tuple[list[float], np.ndarray]:
    """Seconds of a turn of ours, and the result."""
    with mpc.local(peer.parties, peer.protocol) as session:
        work, seconds = Work(session, job, data), []
        for _ in range(REPEAT + 1):
            result = work.run()
            seconds.append(work.seconds())
    return seconds[1:], result


def theirs(name: str, job: str, data: list[np.ndarray], folder: Path) -> tuple[list[float], np.ndarray]:
    """Seconds of a turn of the peer's, and its result. Raises CalledProcessError, TimeoutExpired."""
    inputs, output = folder / "in.npz", folder / "out.npz"
    np.savez(inputs, **{f"x{i:03}": x for i, x in enumerate(data)})
    output.unlink(missing_ok=True)
    script = [environment(name), HERE / f"{name}_peer.py", job, inputs, output, str(REPEAT), *PEERS[name].options]
    path = str(HERE.parent.parent / "mpc" / "bench")  # models.py, which takes no more than NumPy
    subprocess.run(script, check=True, capture_output=True, text=True, timeout=LIMIT, env={"PYTHONPATH": path, **_ENV})
    with np.load(output) as saved:
        return list(saved["seconds"]), saved["result"]


def compare(name: str, only: Sequence[str], turns: int) -> None:
    peer = PEERS[name]
    print(f"\n{peer.title}; ours: {peer.protocol}, {peer.parties} parties")
    print(f"{'job':16} {'theirs':>12} {'ours':>12} {'theirs / ours':>14} {'their error':>12} {'our error':>12}")
    for label, size, their_name in peer.jobs:
        if only and label not in only:
            continue
        job = JOBS[label] if size is None else GROWING[label](size)
        data, title = job.inputs(label), label if size is None else f"{label} {size:,}"
        mine: list[float] = []
        other: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            try:
                for _ in range(turns):  # alternately, so that a busy machine is busy for both
                    seconds, result = ours(peer, job, data)
                    mine += seconds
                    seconds, their_result = theirs(name, their_name, data, Path(folder))
                    other += seconds
            except subprocess.TimeoutExpired:
                print(f"{title:16} {'> 300 s':>12}")
                continue
            except subprocess.CalledProcessError as error:
                last = (error.stderr or "").strip().splitlines()[-1:] or ["no message"]
                print(f"{title:16} failed: {last[0][:100]}")
                continue
        plain = np.asarray(job.plain(*data), float)
        a, b = statistics.median(other), statistics.median(mine)
        errors = [np.max(np.abs(np.reshape(r, plain.shape).astype(float) - plain)) for r in (their_result, result)]
        print(f"{title:16} {a * 1e3:9.2f} ms {b * 1e3:9.2f} ms {a / b:14.1f} {errors[0]:12.1e} {errors[1]:12.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", choices=[*PEERS, []], help="default: all")
    parser.add_argument("--job", action="append", default=[], help="one of ours; may be given several times")
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    for name in args.peers or PEERS:
        compare(name, args.job, args.turns)


_ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}

if __name__ == "__main__":
    main()

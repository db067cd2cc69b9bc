"""A guard against regressions that noise cannot hide: instructions, counted by callgrind, of fixed kernels and programs.

    make bench-guard                                      # fails where a count is more than 2 % above bench/instructions.json
    .venv/bin/python bench/instructions.py --write        # after a change that is meant: store the present counts

Kernels are those that tests/native/walk.c calls, on its fixed inputs. Programs run with all parties in this process, so the
scheduler, the protocol and the kernels count and the network does not: once to warm up, and once to be counted. Counts belong
to a compiler, a Python and a kernel tier: where one of them differs from the stored ones, nothing is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "bench" / "instructions.json"
WALK = ROOT / "build" / "native" / "walk"
TOLERANCE = 1.02
SMALL = 20_000  # instructions: kernels below it are not listed
TIER = "avx2"  # the best that valgrind 3.19 decodes on x86; elsewhere ref


# ---- programs: what runs under callgrind ----
def chain(mpc: Any, s: Any) -> Any:
    """40 dependent products of one element: the cost of an operation without data."""
    x, y = s.input([0.5]), s.input([0.99])
    return mpc.fori(0, 40, lambda i, c: c * y, x)


def network(mpc: Any, s: Any) -> Any:
    """A convolution, a maximum, a dense layer and softmax on a small image: many operations, little data."""
    import numpy as np

    image, filters, weight = (np.linspace(-1, 1, n) for n in (64, 18, 90))
    x = s.input(image.reshape(1, 1, 8, 8))
    h = mpc.nn.max_pool2d(mpc.nn.relu(mpc.nn.conv2d(x, s.input(filters.reshape(2, 1, 3, 3)))))
    return mpc.nn.softmax(h.reshape(1, 18) @ s.input(weight.reshape(18, 5)))


def large(mpc: Any, s: Any) -> Any:
    """relu and sigmoid of 140,000 elements: chunks, and kernels at their full rate."""
    import numpy as np

    x = s.input(np.linspace(-9, 9, 140_000))
    return mpc.nn.relu(x).sum() + mpc.nn.sigmoid(x).sum()


PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {f.__name__: f for f in (chain, network, large)}


def run_programs() -> None:
    """What the process under callgrind does: each program once to warm up, and once while instructions are counted."""
    sys.path.insert(0, str(ROOT))
    import mpc
    from tests.memory import open_session

    def control(*words: str) -> None:
        subprocess.run(["callgrind_control", *words, str(os.getpid())], check=True, capture_output=True)

    with open_session("helper", 3) as s:
        for name, program in PROGRAMS.items():
            program(mpc, s).reveal()
            control("--instr=on")
            control("--zero")
            program(mpc, s).reveal()
            control(f"--dump={name}")
            control("--instr=off")


# ---- counting ----
def callgrind(command: list[str], out: Path, *options: str) -> None:
    """Counts the instructions of a process, into `out` (dumps into `out`.1, .2, ...)."""
    environment = {**os.environ, "MPC_TIER": tier(), "MPC_THREADS": "1", "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *options]
    subprocess.run([*tool, *command], env=environment, check=True, capture_output=True, text=True)


def tier() -> str:
    tiers = subprocess.run(["valgrind", "-q", str(WALK)], check=True, capture_output=True, text=True).stdout.split()
    return TIER if TIER in tiers else "ref"


def kernels(folder: Path) -> dict[str, int]:
    """Instructions of each function of the native core in one walk."""
    out = folder / "walk"
    callgrind([str(WALK), tier()], out)
    command = ["callgrind_annotate", "--auto=no", "--threshold=100", str(out)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    parts = re.findall(r"^ *([\d,]+) \([ \d.]+%\) +(\S+?):(\w+)", text, re.MULTILINE)
    ours = {name for _, file, name in parts if file.startswith("native/")}
    counts = dict.fromkeys(sorted(ours), 0)
    for number, _, name in parts:  # what is inlined from a compiler's header counts for the function it is in
        if name in ours:
            counts[name] += int(number.replace(",", ""))
    return {name: n for name, n in counts.items() if n >= SMALL}


def programs(folder: Path) -> dict[str, int]:
    """Instructions of one run of each program, all parties together."""
    out = folder / "programs"
    callgrind([sys.executable, __file__, "--run"], out, "--instr-atstart=no")
    counts = {}
    for dump in folder.glob("programs.*"):
        text = dump.read_text()
        (name,) = re.findall(r"^desc: Trigger: dump (\w+)", text, re.MULTILINE)
        totals = re.findall(r"^totals: (\d+)", text, re.MULTILINE)
        counts[name] = sum(map(int, totals))
    return {name: counts[name] for name in PROGRAMS}


def conditions() -> dict[str, str]:
    """What counts depend on besides the code."""
    compiler = subprocess.run(["cc", "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()
    return {"tier": tier(), "compiler": compiler, "python": platform.python_version(), "machine": platform.machine()}


def grown(now: dict[str, int], before: dict[str, int]) -> list[str]:
    """What takes more than TOLERANCE times what it took, in words."""
    return [
        f"{name}: {now[name]:,} instructions, {now[name] / then - 1:+.1%} of {then:,}"
        for name, then in before.items()
        if name in now and now[name] > TOLERANCE * then
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="store the counts")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run_programs()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        now = {"conditions": conditions(), "kernels": kernels(Path(folder)), "programs": programs(Path(folder))}
    if args.write:
        BASELINE.write_text(json.dumps(now, indent=1) + "\n")
        return 0
    before = json.loads(BASELINE.read_text())
    if before["conditions"] != now["conditions"]:
        print(f"counts of {before['conditions']} say nothing about {now['conditions']}: nothing is compared")
        return 0
    worse = [line for what in ("kernels", "programs") for line in grown(now[what], before[what])]
    print("\n".join(worse) or f"{len(now['kernels'])} kernels and {len(now['programs'])} programs: none takes more than before")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())

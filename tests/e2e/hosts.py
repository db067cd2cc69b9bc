"""Parties with own folders, keys and configurations on loopback addresses 127.0.0.1, 127.0.0.2, ...: each stands for a host."""

from __future__ import annotations

import itertools
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpc.launch import keys

STUDY = """\
import mpc

@mpc.program
def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", "hospital_b", name="mean"):
    x = mpc.concatenate([a, b])
    return x.mean(axis=0)
"""
ROOT = Path(__file__).parents[2]


# A probe says that a port was free; until it is bound, who else looks for one must not find it: every worker of pytest has
# ports of its own below the kernel's (32768), and hands them out in turn.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
PORTS = itertools.cycle(range(20_000 + 1500 * WORKER, 20_000 + 1500 * (WORKER + 1)))
for _ in range(random.randrange(1500)):  # and two runs of the tests begin at different ones
    next(PORTS)


def free_ports(hosts: Sequence[str]) -> int:
    """A port from which on some are free at every host."""
    found: list[int] = []
    while len(found) < 2 * len(hosts):
        port = next(PORTS)
        try:
            for host in hosts:
                with socket.socket() as probe:
                    probe.bind((host, port))
        except OSError:
            found = []
        else:
            found = [*found, port] if found and port == found[-1] + 1 else [port]
    return found[0]


class Process:
    """A process of `mpc`. It is a session of its own, as if started by another user."""

    def __init__(self, farm: Farm, number: int, files: Path) -> None:
        self.farm, self.number, self.files = farm, number, files
        self.pid, self.code = 0, None  # type: tuple[int, int | None]
        self.ended = 0.0  # when, by the monotonic clock

    @property
    def out(self) -> str:
        return self._read(".out")

    @property
    def err(self) -> str:
        return self._read(".err")

    def _read(self, kind: str) -> str:
        path = self.files.with_suffix(kind)
        return path.read_text() if path.exists() else ""  # it has just been forked

    def kill(self, number: int) -> None:
        """Sends it a signal, if it still runs."""
        if self.code is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def wait(self, limit: float = 60.0) -> int:
        """Its exit code, negative for a signal."""
        end = time.monotonic() + limit
        while self.code is None:
            if time.monotonic() > end:
                self.kill(signal.SIGKILL)
                raise TimeoutError(f"still running after {limit} s:\n{self.err}")
            self.farm.listen(0.05)
        return self.code


class Farm:
    """Starts `mpc` processes in a few milliseconds, from one that has imported everything (see farm.py)."""

    def __init__(self, folder: Path, script: str = "farm.py") -> None:
        self.folder = folder
        self.processes: list[Process] = []
        self.parent = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name(script))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        )  # fmt: skip
        self.rest = b""

    def start(self, folder: Path, words: Sequence[str], largest: int, net: str = "") -> Process:
        process = Process(self, len(self.processes), self.folder / str(len(self.processes)))
        self.processes.append(process)
        job = {"id": process.number, "folder": str(folder), "words": words, "largest": largest, "net": net}
        job |= {name: str(process.files.with_suffix(f".{name}")) for name in ("out", "err")}
        assert self.parent.stdin
        self.parent.stdin.write(json.dumps(job).encode() + b"\n")
        self.parent.stdin.flush()
        while not process.pid:
            self.listen(5.0)
        return process

    def listen(self, seconds: float) -> None:
        """Takes in what the farm says."""
        assert self.parent.stdout
        ready, _, _ = select.select([self.parent.stdout], [], [], seconds)
        if ready:
            data = os.read(self.parent.stdout.fileno(), 1 << 16)
            assert data, "the farm is gone"
            *lines, self.rest = (self.rest + data).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "pid" in said:
                    self.processes[said["id"]].pid = said["pid"]
                else:
                    self.processes[said["id"]].code, self.processes[said["id"]].ended = said["code"], time.monotonic()

    def close(self) -> None:
        for process in self.processes:
            process.kill(signal.SIGKILL)
        assert self.parent.stdin and self.parent.stdout
        self.parent.stdin.close()
        self.parent.wait(30)
        self.parent.stdout.close()


@dataclass
class Host:
    """One party: its folder holds its keys, party.toml, and its copy of the program."""

    name: str
    folder: Path
    net: str = ""  # the network namespace that it is in

    @property
    def config(self) -> Path:
        return self.folder / "party.toml"

    def write(self, roster: str, protocol: str, allow: str, **options: Any) -> None:
        """Its configuration file."""
        head = {"me": self.name, "keys": f"{self.name}.key", "protocol": protocol, "connect": 20.0} | options
        lines = [f"{k} = {json.dumps(v)}" for k, v in head.items()]
        self.config.write_text("\n".join(lines) + f"\n\n{roster}\n{allow}\n")

    def edit(self, old: str, new: str, file: str = "party.toml") -> None:
        text = (self.folder / file).read_text()
        assert old in text
        (self.folder / file).write_text(text.replace(old, new, 1))

    def start(self, farm: Farm, *words: str, largest: int = 0) -> Process:
        """`mpc ...` in its folder; largest: bytes of a file it can write, 0 for any."""
        return farm.start(self.folder, words, largest, self.net)

    def run(self, farm: Farm, *words: str, largest: int = 0) -> Process:
        """`mpc run study.py --config party.toml ...`."""
        return self.start(farm, "run", "study.py", "--config", "party.toml", *words, largest=largest)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(p.read_text()) for p in sorted((self.folder / "state").glob("run-*.json"))]


def deploy(
    folder: Path,
    names: Sequence[str] = ("hospital_a", "hospital_b", "lab"),
    protocol: str = "helper",
    program: str = STUDY,
    allow: str = '[[allow]]\nprogram = "any"\n',
    addresses: Sequence[str] = (),
    base: int = 0,
    **options: Any,
) -> list[Host]:
    """Hosts that could run the program now. addresses: of hosts in namespaces of their own; else loopback ones,
    with free ports, or ports from `base` on."""
    base = base or (7000 if addresses else free_ports([f"127.0.0.{i + 1}" for i in range(len(names))]))
    addresses = addresses or [f"127.0.0.{i + 1}" for i in range(len(names))]
    hosts, rows = [], []
    for name, address in zip(names, addresses, strict=True):
        host = Host(name, folder / name)
        host.folder.mkdir(parents=True)
        made = keys.generate(host.folder / f"{name}.key")
        row = {"name": name, "address": f"{address}:{base}", "key": made.public, "sign": made.verify}
        rows.append("[[party]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in row.items()))
        (host.folder / "study.py").write_text(program)
        hosts.append(host)
    for host in hosts:
        host.write("\n".join(rows), protocol, allow, **options)
    return hosts

"""Parties with own folders, keys and configurations on loopback addresses 127.0.0.1, 127.0.0.2, ...: each stands for a host."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
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


def free_ports(hosts: Sequence[str]) -> int:
    """A port from which on some are free at every host."""
    while True:
        base = random.randrange(20_000, 32_000)
        try:
            for host in hosts:
                for i in range(len(hosts) + 1):
                    with socket.socket() as probe:
                        probe.bind((host, base + i))
            return base
        except OSError:
            continue


@dataclass
class Host:
    """One party: its folder holds its keys, party.toml, and its copy of the program."""

    name: str
    folder: Path
    extra: dict[str, Any] = field(default_factory=dict)

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

    def start(self, *words: str, command: str = "run") -> subprocess.Popen[str]:
        """`mpc run study.py --config party.toml ...` in its folder."""
        line = [sys.executable, "-m", "mpc.cli", command, *words]
        env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            line, cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )

    def run(self, *words: str, program: str = "study.py") -> subprocess.Popen[str]:
        return self.start(program, "--config", "party.toml", *words)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(p.read_text()) for p in sorted((self.folder / "state").glob("run-*.json"))]


def deploy(
    folder: Path,
    names: Sequence[str] = ("hospital_a", "hospital_b", "lab"),
    protocol: str = "helper",
    program: str = STUDY,
    allow: str = '[[allow]]\nprogram = "any"\n',
    **options: Any,
) -> list[Host]:
    """Hosts that could run the program now."""
    addresses = [f"127.0.0.{i + 1}" for i in range(len(names))]
    base = free_ports(addresses)
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
        tomllib.loads(host.config.read_text())
    return hosts


@dataclass
class Ended:
    """How a party's process ended."""

    code: int
    out: str
    err: str


def wait(processes: Sequence[subprocess.Popen[str]], limit: float = 60.0) -> list[Ended]:
    """All of them, ended."""
    found = []
    try:
        for p in processes:
            out, err = p.communicate(timeout=limit)
            found.append(Ended(p.returncode, out, err))
    finally:
        for p in processes:
            if p.poll() is None:
                p.kill()
                p.communicate()
    return found

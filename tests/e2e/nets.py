"""Hosts in network namespaces, joined by lines with a delay, a rate and losses (delay.c and the kernel's tbf). Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Net:
    """Namespaces by name, and the address of each."""

    names: list[str]
    addresses: list[str]

    def cut(self, host: int) -> None:
        """No packet goes to or from this host any more."""
        _ip("-n", self.names[host], "link", "set", "lag0", "down")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@cache
def _line(folder: Path) -> str:
    program = folder / "delay"
    source = Path(__file__).with_name("delay.c")
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(program)], check=True)
    return str(program)


@cache
def missing() -> str:
    """Why there can be no namespaces here, or ""."""
    for tool in ("ip", "tc", "cc"):
        if shutil.which(tool) is None:
            return f"no {tool} on this machine"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun on this machine"
    name = f"mpc-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
        return "network namespaces are not permitted here"
    _ip("netns", "del", name)
    return ""


@contextmanager
def hosts(folder: Path, count: int, delay_ms: float, mbit: float, loss: float = 0.0) -> Iterator[Net]:
    """Hosts whose packets take delay_ms to any other host, leave at `mbit` and are lost with probability `loss`."""
    if missing():
        pytest.skip(f"{missing()}: three loopback addresses stand for hosts in test_hosts.py")
    names = [f"mpc-{os.getpid()}-{i}" for i in range(count)]
    net = Net(names, [f"10.77.0.{i + 1}" for i in range(count)])
    made: list[str] = []
    line = None
    try:
        for name in names:
            _ip("netns", "add", name)
            made.append(name)
        words = [_line(folder), str(round(delay_ms * 1e3)), str(round(loss * 1e6)), *names]
        line = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert line.stdin and line.stdout and line.stdout.readline() == b"ready\n"
        for name, address in zip(names, net.addresses, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "lag0")
            for device in ("lo", "lag0"):
                _ip("-n", name, "link", "set", device, "up")
            rate = ["rate", f"{mbit}mbit", "burst", "128kb", "latency", "400ms"]
            shape = ["tc", "-n", name, "qdisc", "add", "dev", "lag0", "root", "tbf", *rate]
            subprocess.run(shape, check=True, capture_output=True)
        yield net
    finally:
        if line and line.stdin and line.stdout:
            line.stdin.close()
            line.wait(5)
            line.stdout.close()
        for name in made:
            _ip("netns", "del", name)

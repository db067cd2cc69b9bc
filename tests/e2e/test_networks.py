"""Three hosts in namespaces of their own, with delay, a rate and losses: right results, in the time they should take."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from . import nets
from .hosts import Farm, Host, deploy
from .test_hosts import LONG, MEAN, nothing_runs, start, two_hospitals, until_running, with_data

WORK = """\
import mpc

@mpc.program
def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", "hospital_b", name="y"):
    x = mpc.nn.relu(a @ b)
    return mpc.fori(0, 5, lambda i, c: mpc.nn.relu(c * 0.5), x[:4, :4])
"""


# One connection, no more than TCP: to send so many bytes and hear that they have come. On a fast and long line its windows, not
# the line's rate, are what bounds it.
LISTEN = """\
import socket, sys
s = socket.create_server((sys.argv[1], 5999))
print("ready", flush=True)
c, left, room = s.accept()[0], int(sys.argv[2]), bytearray(1 << 20)
while left:
    left -= c.recv_into(room, min(len(room), left))
c.sendall(b"k")
"""
SEND = """\
import socket, sys, time
c, data = socket.create_connection((sys.argv[1], 5999)), bytes(int(sys.argv[2]))
start = time.perf_counter()
c.sendall(data)
c.recv(1)
print(time.perf_counter() - start)
"""


def plain_tcp(net: nets.Net, size: int) -> float:
    """Seconds for so many bytes from the last host to the first one, by TCP alone."""
    inside = [["ip", "netns", "exec", name, sys.executable, "-c"] for name in net.names]
    words = [net.addresses[0], str(size)]
    listener = subprocess.Popen([*inside[0], LISTEN, *words], stdout=subprocess.PIPE)
    assert listener.stdout and listener.stdout.readline() == b"ready\n"
    with listener:
        try:
            sent = subprocess.run([*inside[-1], SEND, *words], capture_output=True, check=True, timeout=60)
        finally:
            listener.kill()  # it may still wait for a caller
    return float(sent.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("line")


def between(net: nets.Net, path: Path, **options: str) -> list[Host]:
    hosts = deploy(path, addresses=net.addresses, **options)
    for host, name in zip(hosts, net.names, strict=True):
        host.net = name
    return with_data(hosts)


def test_a_run_between_namespaces(farm: Farm, folder: Path, tmp_path: Path):
    with nets.hosts(folder, 3, 1, 1000) as net:
        processes = start(farm, between(net, tmp_path), "--json")
        assert [p.wait() for p in processes] == [0] * 3, [p.err for p in processes]
        assert json.loads(processes[0].out)["outputs"]["mean"] == pytest.approx(MEAN.tolist(), abs=1e-3)
        nothing_runs(processes)


def test_a_cut_line_ends_the_session_at_both_ends(farm: Farm, folder: Path, tmp_path: Path):
    with nets.hosts(folder, 3, 1, 1000) as net:
        processes = start(farm, between(net, tmp_path, program=LONG.replace("TIMES", "1_000_000")))
        until_running(processes)
        cut = time.monotonic()
        net.cut(1)
        assert [p.wait(20) for p in processes] == [3] * 3, [p.err for p in processes]
        assert all("party 1 (hospital_b)" in processes[p].err for p in (0, 2)), [p.err for p in processes]
        assert "hospital_a" in processes[1].err or "lab" in processes[1].err
        assert min(p.ended for p in processes) > cut
        nothing_runs(processes)


@pytest.mark.slow
def test_two_hospitals_between_three_namespaces(farm: Farm, folder: Path, tmp_path: Path):
    with nets.hosts(folder, 3, 0.1, 1000) as net:
        two_hospitals(farm, tmp_path, 300, net)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [0.0, 0.001])
@pytest.mark.parametrize("delay", [1, 20, 50])
@pytest.mark.parametrize("mbit", [100, 1000])
def test_time_on_a_network(
    farm: Farm, folder: Path, tmp_path: Path, mbit: int, delay: int, loss: float, record_property: Callable[[str, object], None]
):
    """No faster than its rounds and bytes allow; how much slower is noted, also than plain TCP (see docs/performance.md)."""
    size = 600
    rng = np.random.default_rng(1)
    a, b = rng.uniform(-1, 1, (2, size, size)) / 8
    with nets.hosts(folder, 3, delay, mbit, loss) as net:
        hosts = between(net, tmp_path, program=WORK)
        np.save(hosts[0].folder / "a.npy", a)
        np.save(hosts[1].folder / "b.npy", b)
        words = [("--input", "a=a.npy", "--output", "y.npy"), ("--input", "b=b.npy"), ()]
        processes = [h.run(farm, *w) for h, w in zip(hosts, words, strict=True)]
        assert [p.wait(120) for p in processes] == [0] * 3, "\n".join(p.err for p in processes)
        wanted = np.maximum(a @ b, 0)[:4, :4] / 32
        assert np.load(hosts[0].folder / "y.npy") == pytest.approx(wanted, abs=1e-3)
        (record,) = hosts[0].records()
        records = [h.records()[0] for h in hosts]
        sent = max(sum(link["sent"] for link in r["links"].values()) for r in records)
        bound = record["rounds"] * delay / 1e3 + sent * 8 / (mbit * 1e6)
        took = record["seconds"]["run"]
        record_property(
            "rounds, MB of one party, seconds, bound", [record["rounds"], sent / 1e6, round(took, 3), round(bound, 3)]
        )
        record_property("seconds / bound", round(took / bound, 3))
        tcp = record["rounds"] * delay / 1e3 + plain_tcp(net, sent)
        record_property("seconds / (rounds, and the bytes by plain TCP)", round(took / tcp, 3))
        assert took > 0.9 * record["rounds"] * delay / 1e3

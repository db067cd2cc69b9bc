"""The rates of this machine, and a prediction that comes from them."""

from __future__ import annotations

from mpc.launch import machine
from mpc.net.shaped import LAN
from mpc.run.rehearse import Report


def test_rates_are_those_of_a_computer():
    found = machine.measured()
    assert 1e7 < found.multiplications < 1e12 and 1e6 < found.words < 1e11 and 1e-6 < found.round < 0.1 and found.cores >= 1
    assert machine.measured() is found  # once per process


def test_work_is_shared_by_as_many_cores_as_there_are_processes():
    report = Report(rounds=100, processes=3, multiplications=10**9)
    slow, fast = (machine.Machine(1e9, 1e9, 1e-3, cores) for cores in (1, 64))
    assert report.seconds(LAN, slow) - LAN.seconds(100, 0) > 2.9 * (report.seconds(LAN, fast) - LAN.seconds(100, 0))

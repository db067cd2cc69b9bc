"""The process of one party on this machine: `python -m mpc.launch.party`, its parameters on standard input."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import shutil
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from ..errors import MPCError
from ..ir.program import Program
from ..net.channel import Channel
from ..net.shaped import Network, Shaped
from ..net.shared import Shared
from ..net.zeromq import ZeroMQ
from ..protocols.base import Part, available
from ..run import checkpoint
from ..run.clock import Clock, Task
from ..run.execute import Party
from ..run.store import Store, path_of
from . import control

HOLD = 5  # ms between two looks at what a dealer who runs ahead has sent


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the user's process, which then ends this one
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return  # the user's process was interrupted before it could say what to do
    config = msgspec.json.decode(line)
    threading.Thread(target=_die_with_parent, args=(config["folder"].removeprefix("ipc://"),), daemon=True).start()
    prepare()
    gc.freeze()  # what is imported stays: no collection need look at it again (a new program of 1,000 operations waited 40 ms)
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.PAIR)
    socket.linger = 2000
    socket.connect(config["control"])
    try:
        _serve(config, socket)
    finally:
        socket.close()
        context.term()


def prepare() -> None:
    """What every process that computes as a party sets up first."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold shares and keys
    keep_pages()
    np.seterr(over="ignore")  # words wrap by design; NumPy says so for scalars only


def _die_with_parent(folder: str) -> None:
    """Standard input ends when the user's process does, however it ends: no orphan stays, and no folder of sockets."""
    while os.read(0, 1):  # not through sys.stdin, whose lock would be held at exit
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(3)


def keep_pages() -> None:
    """Freed memory stays in the process: fresh pages cost more than most kernels (2 ms became 21 on new 8 MB arrays)."""
    try:
        libc = ctypes.CDLL(None)
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 1 << 25)  # the largest value glibc takes
        libc.mallopt(trim_threshold, 1 << 30)
    except (OSError, AttributeError):
        pass  # not glibc: slower, not wrong


def _serve(config: dict[str, Any], socket: zmq.Socket[bytes]) -> None:
    me, n = config["me"], config["parties"]
    protocol = available()[config["protocol"]]
    ends = me, config["processes"], lambda i, j: f"{config['folder']}/{i}-{j}", bytes.fromhex(config["session"])
    try:
        prepared = None
        if config["prepared"]:
            prepared = Store.open(path_of(Path(config["prepared"]), me), me, n, config["protocol"])
        if config["memory"] is not None:
            channel: Channel = Shared(*ends, descriptor=config["memory"], deadline=config["deadline"])
        else:
            channel = ZeroMQ(*ends, deadline=config["deadline"])
        if config["network"]:
            channel = Shaped(channel, Network(*config["network"]))
        party = Party(me, n, protocol, channel, prepared, config["ring"])
    except MPCError as error:
        control.send(socket, {"is": "error", **control.error_fields(error, me)})
        return
    control.send(socket, {"is": "ready"})
    programs: dict[bytes, Program] = {}
    while True:
        header, parts = control.receive(socket)
        if header["do"] == "close":
            channel.close()
            return
        try:
            if header["do"] == "run":
                _run(party, header, parts, programs, socket)
            elif header["do"] == "save":
                shares: list[Any] = [party.store[k] for k in header["args"]]
                checkpoint.save(party, Path(header["folder"]), shares, msgspec.convert(header["contents"], checkpoint.Contents))
                control.send(socket, {"is": "done"})
            else:
                folder, terms = Path(header["folder"]), (config["protocol"], header["names"], header["epoch"])
                loaded, contents = checkpoint.load(party, folder, *terms)
                party.store.update(enumerate(loaded, header["first"]))
                control.send(socket, {"is": "done", "contents": asdict(contents)})
        except Exception as error:
            if not isinstance(error, MPCError):  # a bug: show where, not the text, which may hold values
                sys.stderr.write(f"party {me}: {type(error).__name__}\n" + "".join(traceback.format_tb(error.__traceback__)))
            channel.fail(error)
            control.send(socket, {"is": "error", **control.error_fields(error, me)})
            return


def _run(party: Party, header: dict[str, Any], parts: list[Part], programs: dict[bytes, Program], socket: Any) -> None:
    packed = parts[0].tobytes()
    program = programs.get(packed)
    if program is None:
        if len(programs) > 64:
            programs.clear()
        program = programs[packed] = Program.unpack(packed)
    for number in header["drop"]:
        party.store.pop(number, None)
    inputs = dict(zip(header["slots"], parts[1:], strict=True))

    def progress(rounds: int, moved: int, task: Task | None) -> None:
        where = f"{task.op}  {task.line}" if task else ""
        control.send(socket, {"is": "progress", "rounds": rounds, "bytes": moved, "where": where})

    def hold() -> None:
        if party.deals:
            control.send(socket, {"is": "ahead"})
        else:
            while not socket.poll(HOLD):
                party.channel.make_way()
            control.receive(socket)  # "go"

    results, measured = party.run(
        program,
        [party.store[k] for k in header["args"]],
        inputs,
        header["epoch"],
        progress if header["progress"] else None,
        Clock() if header["profiled"] else None,
        hold if header["ahead"] else None,
    )
    measured.peak = peak_memory()
    revealed = results[: len(results) - len(header["keep"])]
    for number, value in zip(header["keep"], results[len(revealed) :], strict=True):
        party.store[number] = value
    known = [k for k, value in enumerate(revealed) if value is not None]
    told = [revealed[k] for k in header["tell"]]
    control.send(
        socket,
        {"is": "done", "known": known, "measured": control.measured_fields(measured)},
        [np.asarray(value, order="C") if isinstance(value, np.ndarray) else value for value in told],
    )


def peak_memory() -> int:
    """Bytes of memory that this process has held at most.

    From /proc where there is one: `ru_maxrss` of a new process begins with what its parent held when it started it.
    """
    try:
        with open("/proc/self/status", "rb", buffering=0) as status:  # at every run: half a millisecond as lines of text
            return int(status.read(1 << 14).split(b"VmHWM:")[1].split(None, 1)[0]) << 10
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


if __name__ == "__main__":
    main()

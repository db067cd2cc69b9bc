"""Forks processes that are `mpc` with everything imported: `python farm.py`, jobs on standard input, a line of JSON each.

A job: {"id", "folder", "words", "out", "err", "largest", "net"}; answers: {"id", "pid"}, later {"id", "code"} (negative: a
signal).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

CLONE_NEWNET = 0x40000000


def command(words: list[str]) -> None:
    """`mpc ...`"""
    from mpc.cli import main

    sys.argv = ["mpc", *words]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


def child(job: dict[str, Any], work: Callable[[list[str]], None]) -> None:
    """Never returns."""
    os.setsid()
    if job["net"] and ctypes.CDLL(None).setns(os.open(f"/var/run/netns/{job['net']}", os.O_RDONLY), CLONE_NEWNET):
        os._exit(99)
    os.chdir(job["folder"])
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if job["largest"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], job["largest"]))
    code: Any = 1
    try:
        work(job["words"])
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        say(id=running.pop(pid), code=os.waitstatus_to_exitcode(status))


def serve(work: Callable[[list[str]], None]) -> None:
    running: dict[int, int] = {}
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], 0.01)
        if ready:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                job = json.loads(line)
                pid = os.fork()
                if not pid:
                    child(job, work)
                running[pid] = job["id"]
                say(id=job["id"], pid=pid)
        reap(running)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)  # at once: taking down all that was imported lasts seconds on a busy machine


if __name__ == "__main__":
    import mpc.cli  # noqa: F401  (once, for all that are forked)

    with suppress(ImportError):
        import sklearn.datasets
        import sklearn.model_selection  # noqa: F401  (takes seconds, and the example needs it)
    serve(command)

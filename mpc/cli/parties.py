"""`mpc run --config`, `mpc party`, `mpc approve` and `mpc audit --config`: one party of a run on several hosts."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from ..errors import ConfigError, MPCError, PolicyRefused, UsageError
from ..lang.program import Planned, Program
from ..launch import config as configs
from ..launch import policy, record, remote
from ..launch.config import Config
from ..launch.disclosure import audited
from ..launch.local import Progress
from ..launch.remote import Finished, Seat
from ..run.rehearse import Report
from . import files
from .arguments import named, shape
from .programs import load_program, user_code
from .progress import shown

INTERRUPTED = 130
GRACE = 5.0  # seconds that an interrupted party may take to say farewell
PAUSE = 1.0  # seconds before a party of `mpc party` calls the others again


def run(path: str, program: str, inputs: Sequence[str], output: str | None, as_json: bool, prepared: str | None) -> None:
    """One run of this party."""
    with stoppable():
        config, seat = _seat(path, program, inputs, prepared)
        if output:
            files.check_output(output, sum(config.me in o.parties for o in seat.program.outputs))
        finished = _run(config, seat, config.connect)
        found = {"outputs": files.plain(finished.outputs), "receivers": finished.receivers, "record": finished.record}
        text = files.text(finished.outputs, finished.receivers) or f"{config.me} learns no output"
        try:
            files.deliver(output, finished.outputs, json.dumps(found, indent=2) if as_json else text)
        finally:
            _keep(config, finished)


@click.command()
@click.argument("program", type=click.Path())
@click.option("--config", "path", required=True, metavar="FILE", help="This party's TOML file.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE", help="Data of an input of this party.")
@click.option("--runs", type=click.IntRange(1), metavar="N", help="End after so many runs. Default: until it is stopped.")
def party(path: str, program: str, inputs: Sequence[str], runs: int | None) -> None:
    """Stay ready for runs of a program, one after the other: a dealer, a helper, or a party that serves its data.

    What this party learns is saved beside the run records, in the state folder. Ctrl-C or SIGTERM end it.

    \b
    Example:
        mpc party study.py --config dealer.toml
    """
    done = 0
    try:
        with stoppable():
            config, seat = _seat(path, program, inputs)
            while runs is None or done < runs:
                try:
                    finished = _run(config, seat, math.inf)
                    done += 1
                    _keep(config, finished)
                    if finished.outputs:
                        results = config.path(config.state) / f"result-{finished.record['session']}.npz"
                        files.write(str(results), finished.outputs)
                except (ConfigError, UsageError):
                    raise
                except MPCError as error:
                    click.echo(f"{type(error).__name__}: {error}", err=True)
                    time.sleep(PAUSE)
    except KeyboardInterrupt:
        click.echo(f"interrupted after {done} runs", err=True)
        sys.exit(INTERRUPTED)


@click.command()
@click.argument("program", type=click.Path())
@click.option("--config", "path", required=True, metavar="FILE", help="This party's TOML file.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE", help="Data of an input, for its shape.")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=RxC", help="Shape of an input: a=500x30, y=500:bool.")
@click.option("--exact", is_flag=True, help="Only with exactly these shapes. Default: with any number of rows.")
def approve(path: str, program: str, inputs: Sequence[str], shapes: Sequence[str], exact: bool) -> None:
    """Sign a program and what it reveals, with this party's key. Read what is printed first: it is what you sign.

    The signature covers the text of the program file, every output with its receivers, protocol, truncation and roster. It
    is left beside the program, where `mpc run` finds it and shows it to the other parties.

    \b
    Example:
        mpc approve study.py --config hospital_a.toml --shape a=500x30 --shape b=400x30
    """
    config, loaded = configs.read(path), load_program(program)
    plan = _plan(config, loaded, inputs, shapes)
    click.echo(audited(plan))
    request = remote.request(plan, remote.read_source(Path(program)))
    approval = policy.approve(config, request.source, request.outputs, request.program if exact else "")
    file = policy.approval_file(Path(program), config.me)
    try:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(approval), indent=2) + b"\n")
    except OSError as error:
        raise MPCError(f"cannot write {file}: {error.strerror}") from None
    click.echo(f"\napproved by {config.me}: {file}", err=True)


def audit(path: str, program: str, inputs: Sequence[str], shapes: Sequence[str], as_json: bool, markdown: bool) -> None:
    """Who learns what among the parties of a configuration, and what this party's policy says to it."""
    config = configs.read(path)
    loaded = load_program(program)
    plan = _plan(config, loaded, inputs, shapes)
    held = {s.name: contents.program for s in loaded.loads.values() if (contents := remote.stored(config, s.name))}
    request = remote.request(plan, remote.read_source(Path(program)), held)
    found, verdict = audited(plan), f"The policy of {config.me} allows this run."
    try:
        policy.permit(config, request, _approvals(config, Path(program)))
    except PolicyRefused as error:
        verdict = str(error)
        if not policy.entries(config, request):
            verdict += f"\nThese lines in {Path(path).name} would allow it:\n\n{request.block()}"
    if as_json:
        digests = {"source": policy.TAG + request.source, "program": policy.TAG + request.program}
        click.echo(json.dumps({**found.as_dict(), **digests, "policy": verdict, "encryption": config.encryption}, indent=2))
    elif markdown:
        click.echo(f"{found.as_markdown()}\n\n## Policy of {config.me}\n\n```\n{verdict.rstrip()}\n```")
    else:
        click.echo(f"{found}\n\n{verdict.rstrip()}")


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM (systemd, containers) end the block: peers are told, nothing is left behind.

    Once: a second signal does not disturb the farewell. But where the first one struck in a callback, from which Python lets
    no exception out, it strikes again. If the end takes longer than GRACE, the process ends all the same.
    """
    limit, struck, hook = threading.Timer(GRACE, _give_up), False, sys.unraisablehook
    limit.daemon = True

    def stop(*_: Any) -> None:
        nonlocal struck
        if not struck:
            struck = True
            if limit.ident is None:
                limit.start()
            raise KeyboardInterrupt

    def lost(what: sys.UnraisableHookArgs) -> None:
        nonlocal struck
        if what.exc_type is KeyboardInterrupt:
            struck = False
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
            hook(what)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.signal(number, stop) for number in numbers]
    sys.unraisablehook = lost
    try:
        yield
    finally:
        limit.cancel()
        sys.unraisablehook = hook
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _give_up() -> None:
    os.write(2, b"interrupted: nothing was revealed\n")
    os._exit(INTERRUPTED)


def warn(config: Config) -> None:
    """A line that cannot be overlooked, if links are not encrypted."""
    if not config.encrypted:
        line = 'INSECURE: encryption = "off". Whoever sees the network sees shares, and can pretend to be any party.'
        Console(stderr=True).print(Text(line, style="bold white on red"), soft_wrap=True)


def prep(path: str, program: str, inputs: Sequence[str], shapes: Sequence[str], folder: str) -> list[Path]:
    """The dealer's work for one run of the parties of a configuration."""
    config = configs.read(path)
    return remote.prepare_for(config, _plan(config, load_program(program), inputs, shapes), Path(folder))


def _seat(path: str, program: str, inputs: Sequence[str], prepared: str | None = None) -> tuple[Config, Seat]:
    config = configs.read(path)
    warn(config)
    _ = config.secrets
    loaded = load_program(program)
    data: dict[str, Any] = {}
    for text in inputs:
        name, value = named(loaded, text, "--input", "a=a.csv", data)
        if loaded.inputs[name].party != config.me:
            raise UsageError(f"--input {text}: {name!r} is {loaded.inputs[name].party}'s, and this is {config.me}")
        data[name] = files.read(value)
    with user_code():
        return config, Seat(config, loaded, Path(program), data, Path(prepared) if prepared else None)


def _run(config: Config, seat: Seat, connect: float) -> Finished:
    others = ", ".join(name for name in seat.names if name != config.me)
    click.echo(f"{config.me}: waiting for {others}", err=True)
    with ExitStack() as stack:  # the display starts when all have agreed

        def progress(cost: Report) -> Progress:
            return stack.enter_context(shown(cost, config.number))

        def ready(plan: Planned, cost: Report) -> None:
            click.echo(f"{audited(plan)}\n\nCost\n  {cost.summary()}\n", err=True)

        with user_code():
            finished = seat.run(progress, connect, ready)
    moved = sum(link["sent"] + link["received"] for link in finished.record["links"].values())
    click.echo(f"measured: {finished.measured.rounds:,} rounds, {moved:,} bytes, {finished.measured.seconds:.2f} s", err=True)
    return finished


def _keep(config: Config, finished: Finished) -> None:
    click.echo(f"record: {record.save(config, finished.record)}", err=True)


def _plan(config: Config, program: Program, inputs: Sequence[str], shapes: Sequence[str]) -> Planned:
    data: dict[str, Any] = {}
    for text in inputs:
        name, value = named(program, text, "--input", "a=a.csv", data)
        data[name] = files.read(value)
    for text in shapes:
        name, value = named(program, text, "--shape", "a=500x30", data)
        data[name] = shape(text, value)
    with user_code():
        data |= program.load({n for n, i in program.inputs.items() if i.party == config.me} - set(data))
        data |= {n: held for n, s in program.loads.items() if n not in data and (held := remote.stored(config, s.name))}
        absent = [n for n in (*program.inputs, *program.loads) if n not in data]
        if absent:
            raise UsageError(f"give the shape of {absent[0]!r}: --shape {absent[0]}=ROWSxCOLUMNS")
        return remote.plan(config, program, data)


def _approvals(config: Config, program: Path) -> dict[str, str]:
    """Approvals that lie beside the program."""
    paths = {name: policy.approval_file(program, name) for name in config.names}
    return {name: path.read_text(errors="replace") for name, path in paths.items() if path.is_file()}

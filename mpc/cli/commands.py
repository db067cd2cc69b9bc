"""The commands. Results go to stdout, everything else to stderr; errors are one message and an exit code, no traceback."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import MPCError, UsageError
from ..launch.study import Outcome, Study
from ..protocols.base import available
from . import files
from . import parties as party_runs
from .arguments import named, session_dtype, shape
from .programs import load_program, user_code
from .progress import prepare_live, run_live

F = TypeVar("F", bound=Callable[..., Any])


class Commands(click.Group):
    """Ends with the exit codes that `mpc --help` lists."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted: nothing was revealed, and no process is left", party_runs.INTERRUPTED)
        except BrokenPipeError:  # `mpc cost ... | head`
            sys.stdout = open("/dev/null", "w")  # noqa: SIM115 (for the interpreter's last flush)
            sys.exit(1)
        except MPCError as error:
            _fail(f"{type(error).__name__}: {error}", error.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mpc", prog_name="mpc")
def main() -> None:
    """Compute on data that several parties keep secret from each other.

    A program is a Python file with a function decorated with @mpc.program. Its signature says who supplies what and who
    learns what:

    \b
        import mpc

    \b
        @mpc.program
        def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", "hospital_b"):
            return mpc.concatenate([a, b]).mean(axis=0)

    \b
    See who learns what:     mpc audit study.py --shape a=500x30 --shape b=400x30
    See what it costs:       mpc cost study.py --shape a=500x30 --shape b=400x30
    Run it on this machine:  mpc run study.py --local --input a=a.csv --input b=b.npy

    Exit codes: 0 done, 1 error in the program or the data, 2 usage, 3 a party was lost, 4 bad message, 5 refused,
    6 configuration or key, 130 interrupted.
    """


def _shared(command: F) -> F:
    """What run, cost and audit take alike."""
    for decorate in reversed(
        [
            click.argument("program", type=click.Path()),
            click.option(
                "--input", "inputs", multiple=True, metavar="NAME=FILE",
                help="Data of an input: .npy, .npz with one array, .csv or .tsv (a header is recognised). Tables are read as "
                "fixed point unless the program declares a dtype; one column is a vector.",
            ),
            click.option("--protocol", default="helper", show_default=True, metavar="NAME", help="See `mpc protocols`."),
            click.option("--parties", type=int, metavar="N", help="Default: as many as the roles of the program need."),
            click.option(
                "--truncation", default="dither", show_default=True, metavar="HOW",
                help="How products are rounded: dither (unbiased, fastest; its coin is public), floor, nearest.",
            ),
            click.option(
                "--dtype", metavar="NAME",
                help="What numbers become: fixed64.16 (the default), fixed128.40, fixed32.8, field.2^61-1. It is the width of "
                "all of a run's numbers.",
            ),
            click.option(
                "--network", metavar="NAME",
                help="A run behaves as if it ran over this network, a cost predicts for it: lan (0.2 ms, 1000 Mbit/s), "
                "wan (40 ms, 100 Mbit/s), or RTT,RATE such as 10,300.",
            ),
            click.option(
                "--compare", default="auto", show_default=True, metavar="HOW",
                help="How comparisons trade bytes for rounds: lan (two rounds), wan (one), bulk (three, the fewest bytes), "
                "auto (what is fastest on --network; without one bulk for large arrays, else lan).",
            ),
            click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of text."),
        ]
    ):  # fmt: skip
        command = decorate(command)
    return command


shape_option = click.option(
    "--shape", "shapes", multiple=True, metavar="NAME=RxC",
    help="Shape of an input in place of its data: a=500x30, y=500:bool, k=1:int64, x=10x10:fixed64.20. A dtype of another "
    "width, x=10x10:fixed128.40, says --dtype too.",
)  # fmt: skip


@main.command()
@_shared
@click.option("--local", is_flag=True, help="Every party as a process of this machine (the default).")
@click.option("--config", metavar="FILE", help="As one party of many, each on its own host: its TOML file (docs/deploy.md).")
@click.option("--profile", is_flag=True, help="Also tell what each source line cost (on stderr): time, bytes, rounds.")
@click.option("--trace", metavar="FILE", help="Save what every party did when, for chrome://tracing or Perfetto (.json).")
@click.option("--output", metavar="FILE", help="Save the results: .npy or .csv (one result), .npz, .json.")
@click.option(
    "--prepared",
    metavar="FOLDER",
    help="What `mpc prep` dealt for this run: no dealer takes part. Used up. With --config, also a party's file alone.",
)
@click.pass_context
def run(
    context: click.Context, program: str, inputs: Sequence[str], protocol: str, parties: int | None, truncation: str,
    dtype: str | None, network: str | None, compare: str, as_json: bool, local: bool, config: str | None, profile: bool,
    trace: str | None, output: str | None, prepared: str | None,
) -> None:  # fmt: skip
    """Run a program: every party as a process of this machine, or one party of several hosts.

    On one machine, one user plays all parties, so nothing is hidden from whoever runs it: use it to develop, to test and to
    measure. The plan (whom you trust, who learns what, the cost) goes to stderr before the run; stdout carries the results
    alone. With --config, protocol and parameters are those of the file, and inputs are this party's own.

    \b
    Examples:
        mpc run study.py --local --input a=a.csv --input b=b.npy --output means.npy
        mpc run study.py --config hospital_a.toml --input a=a.csv

    Inputs that you leave out come from their `load` function, where the program gives one.
    """
    if config:
        _refuse(context, "protocol", "parties", "truncation", "dtype", "network", "compare", "local", "profile", "trace")
        return party_runs.run(config, program, inputs, output, as_json, prepared)
    study = _study(program, inputs, None, protocol, parties, truncation, dtype, network, compare)
    if output:
        files.check_output(output, len(study.outputs))
    if trace:
        files.check_folder(trace)
    _warn(study)
    click.echo(f"{study}\n", err=True)
    if prepared:
        click.echo(f"the randomness of this run was dealt beforehand: {prepared}\n", err=True)
    outcome = run_live(study, profile=profile or trace is not None, prepared=prepared)
    click.echo(_measured(outcome), err=True)
    if profile:
        click.echo(f"\n{outcome.profile}\n", err=True)
    if trace and outcome.profile is not None:
        outcome.profile.save(trace)
        click.echo(f"trace saved to {trace}", err=True)
    shown = json.dumps(_as_dict(study, outcome), indent=2) if as_json else files.text(outcome.outputs, outcome.receivers)
    files.deliver(output, outcome.outputs, shown)


@main.command()
@_shared
@shape_option
def cost(
    program: str,
    inputs: Sequence[str],
    shapes: Sequence[str],
    protocol: str,
    parties: int | None,
    truncation: str,
    dtype: str | None,
    network: str | None,
    compare: str,
    as_json: bool,
) -> None:
    """Count what a run will cost, without starting a process or sending a byte.

    Rounds, bytes on every link, correlated randomness, predicted time, and the operations and source lines that cost most.
    The count is exact: it is the protocol itself, run on shapes.

    \b
    Example:
        mpc cost study.py --shape a=500x30 --shape b=400x30 --protocol additive
    """
    study = _study(program, inputs, shapes, protocol, parties, truncation, dtype, network, compare)
    _warn(study)
    click.echo(json.dumps({**_head(study), "cost": study.cost.as_dict()}, indent=2) if as_json else str(study.cost))


@main.command()
@_shared
@shape_option
@click.option("--config", metavar="FILE", help="Among the parties of this file, and whether its policy allows the program.")
@click.option("--markdown", is_flag=True, help="Markdown, for a protocol of decisions or an ethics board.")
def audit(
    program: str,
    inputs: Sequence[str],
    shapes: Sequence[str],
    protocol: str,
    parties: int | None,
    truncation: str,
    dtype: str | None,
    network: str | None,
    compare: str,
    as_json: bool,
    config: str | None,
    markdown: bool,
) -> None:
    """Say who supplies what and who learns what, with source lines, without starting a process or sending a byte.

    \b
    Examples:
        mpc audit study.py --shape a=500x30 --shape b=400x30
        mpc audit study.py --config hospital_a.toml --input a=a.csv --shape b=400x30
    """
    if config:
        return party_runs.audit(config, program, inputs, shapes, as_json, markdown)
    study = _study(program, inputs, shapes, protocol, parties, truncation, dtype, network, compare)
    _warn(study)
    found = study.audit
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else found.as_markdown() if markdown else str(found))


@main.command()
@_shared
@shape_option
@click.option("--folder", required=True, metavar="FOLDER", help="Where to write a file for each party.")
@click.option("--config", metavar="FILE", help="For the parties of this file, whose dealer this is: files are sealed for each.")
@click.pass_context
def prep(
    context: click.Context, program: str, inputs: Sequence[str], shapes: Sequence[str], protocol: str, parties: int | None,
    truncation: str, dtype: str | None, network: str | None, compare: str, as_json: bool, folder: str, config: str | None,
) -> None:  # fmt: skip
    """Do the dealer's work for one run beforehand.

    A dealer needs the program and the shapes of its inputs, no data. So it must be nobody who has data: --protocol is additive
    if nothing is said (the helper of `helper` is a data party, whose part cannot be played before the data are there).
    It writes a file for each party; hand every file to its party alone, over a channel you trust. With --config, any channel
    will do: a file opens with its party's key alone, and only if this dealer wrote it. The run then takes place without a
    dealer. A file serves one run: it is noted as used (in the folder MPC_LEDGER, by default ~/.local/state/mpc/used; with
    --config, in the state folder) and removed, and a copy is refused afterwards.

    \b
    Example:
        mpc prep study.py --shape a=500x30 --shape b=400x30 --folder deal-1
        mpc run study.py --input a=a.csv --input b=b.csv --protocol additive --prepared deal-1
    """
    if config:
        _refuse(context, "protocol", "parties", "truncation", "dtype", "network", "compare")
        paths = party_runs.prep(config, program, inputs, shapes, folder)
    else:
        chosen = protocol if _given(context, "protocol") else "additive"
        paths = prepare_live(_study(program, inputs, shapes, chosen, parties, truncation, dtype, network, compare), folder)
    sizes = {str(p): p.stat().st_size for p in paths}
    click.echo(json.dumps(sizes, indent=2) if as_json else "\n".join(f"{p}  {size:,} bytes" for p, size in sizes.items()))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of a table.")
def protocols(as_json: bool) -> None:
    """List the protocols: how many parties they take, and who is protected against whom.

    \b
    Example:
        mpc protocols
    """
    found = sorted(available().items())
    if as_json:
        click.echo(json.dumps([{"protocol": n, "parties": list(p.parties), "trust": p.trust} for n, p in found], indent=2))
        return
    table = Table(show_lines=True)
    for title in ("protocol", "parties", "trust"):
        table.add_column(title)
    for name, protocol in found:
        takes = protocol.parties
        count = str(takes[0]) if len(takes) == 1 else f"{takes[0]} to {takes[-1]}"
        dealer = " and a dealer" if protocol.has_dealer else ""
        table.add_row(name, count + dealer, Text(protocol.trust, style="bold red" if "INSECURE" in protocol.trust else ""))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _refuse(context: click.Context, *names: str) -> None:
    """Raises UsageError if one of these options is given."""
    fixed = [f"--{name}" for name in names if _given(context, name)]
    if fixed:
        raise UsageError(f"{fixed[0]} does not go with --config: the file says who takes part, and how")


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


# ---- from arguments to a study ----
def _study(
    path: str, inputs: Sequence[str], shapes: Sequence[str] | None, protocol: str, parties: int | None, truncation: str,
    dtype: str | None, network: str | None, compare: str,
) -> Study:  # fmt: skip
    program = load_program(path)
    data: dict[str, Any] = {}
    for text in inputs:
        name, value = named(program, text, "--input", "a=a.csv", data)
        data[name] = files.read(value)
    for text in shapes or ():
        name, value = named(program, text, "--shape", "a=500x30", data)
        data[name] = shape(text, value)
    for name, declared in program.inputs.items():
        if name not in data and declared.load is None:
            raise UsageError(
                f"no data for input {name!r} of {declared.party}: give --input {name}=FILE"
                + ("" if shapes is None else f" (or, to cost or audit, --shape {name}=ROWSxCOLUMNS)")
            )
    chosen = session_dtype(dtype, [value[1] for value in data.values() if isinstance(value, tuple)])
    with user_code():
        return Study(program, data, protocol=protocol, parties=parties, truncation=truncation, dtype=chosen, network=network,
                     compare=compare)  # fmt: skip


# ---- what is printed ----
def _warn(study: Study) -> None:
    if study.insecure:
        line = f"INSECURE: protocol {study.protocol!r} protects nothing. Every party sees every input."
        Console(stderr=True).print(Text(line, style="bold white on red"), soft_wrap=True)


def _measured(outcome: Outcome) -> str:
    moved = sum(outcome.links.values())
    verdict = "as predicted" if outcome.as_predicted else "NOT as predicted: please report this"
    split = outcome.phases
    dealing = f" (dealing {split.offline_seconds:.2f} s, online {split.online_seconds:.2f} s)" if split.offline else ""
    return f"measured: {outcome.rounds:,} rounds, {moved:,} bytes ({verdict}), {outcome.seconds:.2f} s{dealing}"


def _head(study: Study) -> dict[str, Any]:
    return {"protocol": study.protocol, "trust": study.trust, "parties": list(study.parties)}


def _as_dict(study: Study, outcome: Outcome) -> dict[str, Any]:
    return {
        **_head(study),
        "outputs": files.plain(outcome.outputs),
        "receivers": {name: list(parties) for name, parties in outcome.receivers.items()},
        "measured": {
            "rounds": outcome.rounds,
            "links": [
                {"from": outcome.cost.name(i), "to": outcome.cost.name(j), "bytes": b} for (i, j), b in outcome.links.items()
            ],
            "bytes": sum(outcome.links.values()),
            "seconds": round(outcome.seconds, 6),
            "offline_seconds": round(outcome.phases.offline_seconds, 6),
            "online_seconds": round(outcome.phases.online_seconds, 6),
            "offline_bytes": outcome.phases.offline_bytes,
            "online_bytes": outcome.phases.online_bytes,
            "peak_bytes": [m.peak for m in outcome.measured],
            "as_predicted": outcome.as_predicted,
        },
        **({"profile": outcome.profile.as_dict()} if outcome.profile else {}),
        "cost": outcome.cost.as_dict(),
        "audit": study.audit.as_dict(),
    }

"""`mpc bench` and `mpc report`: figures of this machine, and the page that shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..bench.jobs import GROWING, JOBS, SUITES, Job
from ..bench.measure import FORMAT, KEY, Row, Setting, collect, compare, default_parties, run_all
from ..errors import UsageError
from ..launch.local import choose_protocol
from ..net.shaped import Network
from ..run.rehearse import duration, size_of
from ..run.trees import choose_compare
from . import files
from .commands import main

SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)


@main.command()
@click.option("--only", multiple=True, metavar="NAME", help="A job; may be given several times. See --list.")
@click.option(
    "--suite",
    type=click.Choice([*SUITES, "scaling"]),
    multiple=True,
    help="Default: operations. scaling: elementwise jobs of growing size.",
)
@click.option("--protocol", "protocols", multiple=True, metavar="NAME", help="Default: helper and additive.")
@click.option("--parties", metavar="N,N", help="Numbers of parties; those a protocol does not take are left out.")
@click.option(
    "--network",
    "networks",
    default="local",
    show_default=True,
    metavar="NAME,NAME",
    help="local (this machine as it is), lan, wan; emulated without root.",
)
@click.option(
    "--comparisons",
    default="auto",
    show_default=True,
    metavar="HOW",
    help="lan, wan, bulk, auto: as `mpc run --compare`. Several with commas between them.",
)
@click.option("--sizes", metavar="N,N", help="Elements of the scaling suite. Default: 1e3 to 1e7; 1e8 takes about 10 GB.")
@click.option("--repeat", default=5, show_default=True, help="Runs that count, after a warm-up; the median is told.")
@click.option("--json", "output", metavar="FILE", help="Save the figures, for --compare and `mpc report`.")
@click.option("--compare", "before", metavar="FILE", help="Beside the figures of another time.")
@click.option("--list", "listing", is_flag=True, help="List the jobs and stop.")
def bench(
    only: Sequence[str], suite: Sequence[str], protocols: Sequence[str], parties: str | None, networks: str,
    comparisons: str, sizes: str | None, repeat: int, output: str | None, before: str | None, listing: bool,
) -> None:  # fmt: skip
    """Measure operations and models between real processes of this machine.

    Seconds, offline and online apart, rounds, bytes, memory, error, and the ratio to NumPy in the clear. Figures of a busy
    machine are worth little: `load` is noted in the file. The table goes to stdout, progress to stderr.

    \b
    Examples:
        mpc bench --only matmul256 --only relu1e6
        mpc bench --suite models --protocol helper --network lan,wan --json out.json
        mpc bench --suite scaling --protocol additive --parties 2,4,8 --json scaling.json
        mpc bench --json new.json --compare old.json
    """
    if listing:
        for name, group in {**{n: list(jobs) for n, jobs in SUITES.items()}, "scaling": list(GROWING)}.items():
            click.echo(f"{name}: {' '.join(group)}")
        return
    old = read(before)["rows"] if before else []
    if output:
        files.check_folder(output)
    jobs = _jobs(only, suite, sizes, _settings(protocols, parties, networks, comparisons))
    console = Console(stderr=True)

    def tell(name: str, setting: Setting, number: int) -> None:
        at = f"{setting.protocol}, {setting.parties} parties, {setting.network_name}"
        console.print(f"[{number + 1}/{len(jobs)}] {name}  {at}", highlight=False, markup=False)

    rows: list[Row] = []
    try:
        for row in run_all(jobs, repeat, tell):
            rows.append(row)
    finally:  # what is measured is kept when the rest is interrupted
        found = collect(rows)
        if output and rows:
            Path(output).write_text(json.dumps(found, indent=1))
    _print(table(rows))
    for line in found["growth"]:
        click.echo(told(line))
    if before:
        _print(comparison(rows, old))


@main.command()
@click.argument("figures", type=click.Path())
@click.option("-o", "--output", default="report.html", show_default=True, metavar="FILE", help="The page (.html).")
def report(figures: str, output: str) -> None:
    """Make one HTML page of what `mpc bench --json` saved: tables, plots, and where the time went.

    The page holds everything it shows and asks no server for anything.

    \b
    Example:
        mpc report out.json -o report.html
    """
    from ..bench.report import page

    files.check_folder(output)
    Path(output).write_text(page(read(figures)), encoding="utf-8")
    click.echo(f"saved to {output}", err=True)


def read(path: str) -> dict[str, Any]:
    """The figures that `mpc bench --json` saved. Raises UsageError for anything else."""
    try:
        found = json.loads(Path(path).read_text())
        if found["format"] != FORMAT or not all(k in row for row in found["rows"] for k in (*KEY, "seconds", "spread")):
            raise ValueError
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is no file of `mpc bench --json`") from None
    return dict(found)


# ---- what is to be measured ----
def _settings(protocols: Sequence[str], parties: str | None, networks: str, comparisons: str) -> list[Setting]:
    settings, ways = [], [choose_compare(how) for how in comparisons.split(",")]
    for protocol in protocols or ("helper", "additive"):
        takes = choose_protocol(protocol, default_parties(protocol)).parties
        counts = [default_parties(protocol)] if parties is None else [n for n in _numbers("--parties", parties) if n in takes]
        if not counts:
            choose_protocol(protocol, _numbers("--parties", parties or "")[0])
        for network in networks.split(","):
            shape = None if network == "local" else Network.of(network)
            settings += [Setting(protocol, n, shape, how) for how in ways for n in counts]
    return settings


def _jobs(
    only: Sequence[str], suites: Sequence[str], sizes: str | None, settings: Sequence[Setting]
) -> list[tuple[str, Job, Setting, int | None]]:
    unknown = [name for name in only if name not in JOBS and name not in GROWING]
    if unknown:
        raise UsageError(f"no job {unknown[0]!r}; there are {', '.join([*JOBS, *GROWING])}")
    named = [n for s in suites or ([] if only else ["operations"]) if s != "scaling" for n in SUITES[s]]
    names = [n for n in JOBS if n in (only or named)]
    jobs: list[tuple[str, Job, Setting, int | None]] = [(n, JOBS[n], s, None) for s in settings for n in names]
    growing = [n for n in GROWING if n in only or (not only and "scaling" in suites)]
    counts = _numbers("--sizes", sizes) if sizes else SIZES
    return jobs + [(n, GROWING[n](size), s, size) for s in settings for n in growing for size in counts]


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(float(n)) for n in text.split(",")]
        if min(numbers) < 1:
            raise ValueError
    except ValueError:
        raise UsageError(f"{option} {text}: write numbers with commas between them, for example 2,3 or 1e3,1e6") from None
    return numbers


# ---- what is printed ----
def _print(shown: Table) -> None:
    console = Console()
    Console(width=None if console.is_terminal else 200).print(shown)


def table(rows: Iterable[Row]) -> Table:
    """The figures of a suite."""
    shown = Table()
    shown.add_column("job", no_wrap=True)
    for title in ("protocol", "n", "network"):
        shown.add_column(title)
    kept = list(rows)
    limited = ["× limit"] if any("ratio_to_limit" in r for r in kept) else []
    columns = ("time", "±", "offline", "online", "predicted", "rounds", "sent/party", "dealt", "peak", "error", "× NumPy")
    for title in (*columns, *limited):
        shown.add_column(title, justify="right")
    for r in kept:
        name = f"{r['name']} {r['size']}" if "elements" in r else r["name"]
        shown.add_row(
            name, r["protocol"], str(r["parties"]), r["network"], duration(r["seconds"]), f"{r['spread'] / 2:.0%}",
            duration(r["offline_seconds"]), duration(r["online_seconds"]), duration(r["predicted_seconds"]), f"{r['rounds']:,}",
            size_of(r["bytes_per_party"]), size_of(r["offline_bytes"]), f"{r['peak_mb']:,.0f} MB", f"{r['max_error']:.1e}",
            f"{r['ratio_to_numpy']:,.1f}", *(f"{r['ratio_to_limit']:.1f}" if "ratio_to_limit" in r else "" for _ in limited),
        )  # fmt: skip
    return shown


def told(line: Row) -> str:
    """How a job grows, in a line."""
    facts = [f"{line['name']}, {line['protocol']}, {line['parties']} parties, {line['network']}"]
    if line["exponent"] is not None:
        facts.append(f"n^{line['exponent']:.2f}, an element at most {line['flat']:.2f} times the time at a smaller size")
    if line["element_bytes"] is not None:
        facts.append(f"{line['element_bytes']:.0f} B of memory an element")
    verdict = f"WORSE THAN LINEAR: {'; '.join(line['flags'])}" if line["flags"] else "ok"
    return f"{'; '.join(facts)}  {verdict}"


def comparison(rows: Sequence[Row], old: Sequence[Row]) -> Table:
    """New beside old; what is beyond the spread of both is told apart."""
    shown = Table(title="against the figures before")
    for title in ("job", "protocol", "n", "network", "new / old", ""):
        shown.add_column(title)
    for row, ratio, beyond in compare(rows, old):
        verdict = ("slower" if ratio > 1 else "faster") if beyond else "within the spread"
        shown.add_row(row["name"], row["protocol"], str(row["parties"]), row["network"], f"{ratio:.2f}", verdict)
    return shown

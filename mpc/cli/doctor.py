"""`mpc doctor`: what would keep a run from starting."""

from __future__ import annotations

import json
import sys
from itertools import chain

import click

from ..launch import config as configs
from ..launch.doctor import here, links
from .parties import stoppable, warn


@click.command()
@click.option("--config", "path", required=True, metavar="FILE", help="This party's TOML file.")
@click.option("--wait", default=20.0, show_default=True, metavar="SECONDS", help="For the others to run it too.")
@click.option("--local", is_flag=True, help="This host alone: call nobody.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of lines.")
def doctor(path: str, wait: float, local: bool, as_json: bool) -> None:
    """Check keys, names, ports, clocks, versions, and measure every link: round trip and bandwidth.

    Run it at every party within the waiting time. Nothing but zeros and clock readings is sent. Exit code 6 if anything is
    wrong.

    \b
    Example:
        mpc doctor --config hospital_a.toml
    """
    config = configs.read(path)
    warn(config)
    findings = []
    with stoppable():
        for finding in chain(here(config), () if local else links(config, wait)):
            findings.append(finding)
            if not as_json:
                click.echo(f"{'ok   ' if finding.good else 'WRONG'}  {finding.what:<10}  {finding.detail}")
    if as_json:
        click.echo(json.dumps([f._asdict() for f in findings], indent=2))
    if not all(f.good for f in findings):
        sys.exit(6)

"""`mpc keygen` and `mpc compare`: files of one party, without a network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..errors import UsageError
from ..launch import keys, record


@click.command()
@click.argument("name")
@click.option("--address", default="HOST:7000", metavar="HOST:PORT", help="Where the others find this party.")
@click.option("--folder", default=".", metavar="FOLDER", help="Where to leave the keys.", show_default=True)
def keygen(name: str, address: str, folder: str) -> None:
    """Make the keys of a party on its own host: NAME.key, secret, and NAME.pub, its row of the roster.

    The secret file never leaves the host, and nobody else may read it. Send NAME.pub to the other parties on a way on which
    they can be sure that it comes from you.

    \b
    Example:
        mpc keygen hospital_a --address 10.0.0.1:7000
    """
    if not name or not all(c.isalnum() or c in "_-" for c in name):
        raise UsageError(f"{name!r}: a party's name has letters, digits, _ and -")
    made = keys.generate(Path(folder) / f"{name}.key")
    pairs = {"name": name, "address": address, "key": made.public, "sign": made.verify}
    row = "[[party]]\n" + "".join(f"{field:7} = {json.dumps(value)}\n" for field, value in pairs.items())
    public = Path(folder) / f"{name}.pub"
    public.write_text(row)
    click.echo(row, nl=False)
    click.echo(f"secret keys: {Path(folder) / f'{name}.key'}; the lines above are in {public}", err=True)


@click.command()
@click.argument("first", type=click.Path())
@click.argument("second", type=click.Path())
def compare(first: str, second: str) -> None:
    """Say whether the records of two parties tell the same story of one run: what one sent is what the other received.

    Exit code 1 if they differ.

    \b
    Example:
        mpc compare state/run-6f….json theirs/run-6f….json
    """
    a, b = record.read(first), record.read(second)
    found = list(record.differences(a, b))
    for line in found:
        click.echo(line)
    if found:
        sys.exit(1)
    click.echo(f"{a['me']} and {b['me']} record the same run: {a['rounds']} rounds, session {a['session']}")

"""What docs/deploy.md and deploy/ tell administrators to type exists, and its configuration can be read."""

import re
import shlex
from pathlib import Path

import click
import pytest

from mpc.cli import main
from mpc.launch import config as configs
from mpc.launch import policy, remote

ROOT = Path(__file__).parents[1]
DOC = (ROOT / "docs" / "deploy.md").read_text()


def blocks(kind: str) -> list[str]:
    return [text for name, text in re.findall(r"^```(\w*)\n(.*?)^```\n", DOC, re.M | re.S) if name == kind]


def commands() -> list[str]:
    """Every `mpc ...` line of the page, the units and the manifests."""
    lines = [line for block in blocks("") for line in block.splitlines()]
    compose = re.findall(r"command: (.*)", (ROOT / "deploy" / "compose.yml").read_text())
    manifests = [(ROOT / "deploy" / "kubernetes" / name).read_text() for name in ("party.yaml", "dealer.yaml")]
    arguments = [a.replace(",", " ") for text in manifests for a in re.findall(r" args: \[(.*)\]", text)]
    unit = re.findall(r"^ExecStart=\S*/mpc (.*)", (ROOT / "deploy" / "mpc-party@.service").read_text(), re.M)
    return [line.removeprefix("mpc ") for line in [*lines, *compose, *arguments, *unit]]


@pytest.mark.parametrize("line", commands())
def test_commands_exist(line: str):
    name, *words = shlex.split(line, comments=True)
    command = main.commands[name]
    command.parse_args(click.Context(command), words)  # raises for an unknown option or a missing argument


def test_there_are_commands():
    assert {line.split()[0] for line in commands()} == {
        "keygen",
        "doctor",
        "audit",
        "approve",
        "run",
        "party",
        "compare",
        "prep",
    }


def test_the_configuration(tmp_path: Path):
    party, *allow = blocks("toml")
    (tmp_path / "party.toml").write_text("\n".join([party, *allow]))
    config = configs.read(str(tmp_path / "party.toml"))
    assert config.names == ("hospital_a", "hospital_b", "dealer") and config.data_parties == ("hospital_a", "hospital_b")
    assert config.endpoint(0, 2) == "tcp://10.0.0.1:7002" and config.endpoint(0, 1) == "tcp://10.0.0.1:7001"
    (study,) = blocks("python")
    assert config.allow[0].min_group == 10 and config.allow[0].dp and config.allow[0].stored
    assert config.allow[0].source == policy.TAG + remote.digest(study)


def test_every_key_is_explained():
    fields = {f for f in configs.Config.__struct_fields__ if f != "folder"}
    explained = {k for row in re.findall(r"^\| (`.*?) \|", DOC, re.M) for k in re.findall(r"`(\w+)`", row)}
    assert fields <= explained

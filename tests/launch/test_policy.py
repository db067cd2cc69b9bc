"""Files of a party: what hostile or broken ones do, and what a crash leaves."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mpc.errors import ConfigError, MPCError, PolicyRefused, ProtocolError, UsageError
from mpc.launch import config as configs
from mpc.launch import keys, policy, record
from mpc.launch.config import Allow, Config
from mpc.run.agreement import Supplied, Terms, _read

from ..e2e.hosts import deploy

ALLOW = Allow(source=policy.TAG + "00", outputs={}, runs=3)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configs.read(str(deploy(tmp_path)[0].config))


# ---- the ledger of runs ----
@pytest.mark.parametrize("fault", ["open", "write", "fsync", "short"])
def test_a_run_that_cannot_be_counted_does_not_begin(config: Config, monkeypatch: pytest.MonkeyPatch, fault: str):
    policy.spend(config, ALLOW, "first")

    def fail(*_: Any) -> int:
        if fault == "short":
            return 1
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write" if fault == "short" else fault, fail)
        with pytest.raises(MPCError, match="cannot write the ledger"):
            policy.spend(config, ALLOW, "second")
    assert policy.used(config, ALLOW) >= 1  # never fewer than the runs that were made


def test_a_crash_at_any_byte_of_the_ledger_gives_no_run_away(config: Config):
    """The last line may be cut anywhere: then the ledger is refused, or the run counts, or it had not begun."""
    for name in ("first", "second"):
        policy.spend(config, ALLOW, name)
    ledger = config.path(config.state) / "runs.jsonl"
    whole = ledger.read_bytes()
    one = len(whole.splitlines(keepends=True)[0])
    for cut in range(one, len(whole) + 1):
        ledger.write_bytes(whole[:cut])
        try:
            count = policy.used(config, ALLOW)
        except PolicyRefused:
            assert one < cut < len(whole)
        else:
            assert count == 1 + (cut >= len(whole) - 1)


def test_entries_are_counted_apart(config: Config):
    other = Allow(source=policy.TAG + "11", outputs={}, runs=3)
    for _ in range(2):
        policy.spend(config, ALLOW, "x")
    policy.spend(config, other, "x")
    assert (policy.used(config, ALLOW), policy.used(config, other)) == (2, 1)
    assert (config.path(config.state) / "runs.jsonl").stat().st_mode & 0o777 == 0o600


# ---- keys ----
def test_keys(tmp_path: Path):
    made = keys.generate(tmp_path / "a.key")
    assert keys.load(tmp_path / "a.key") == made and "secret" in repr(made) and made.curve not in repr(made)
    signature = made.signature(b"text")
    assert keys.signed(b"text", signature, made.verify)
    other = keys.generate(tmp_path / "b.key")
    for data, s, verify in (
        (b"texT", signature, made.verify), (b"text", signature, other.verify), (b"text", "00" * 64, made.verify),
        (b"text", "", made.verify), (b"text", "zz", made.verify), (b"text", signature, "00"),
    ):  # fmt: skip
        assert not keys.signed(data, s, verify)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"curve": "x", "sign": "y"}', b'{"curve": 1, "sign": 2}', b"\xff"])
def test_files_that_are_no_keys(tmp_path: Path, text: bytes):
    path = tmp_path / "a.key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no key file"):
        keys.load(path)
    with pytest.raises(ConfigError, match="exists"):
        keys.generate(path)
    assert path.read_bytes() == text


# ---- texts of others, bent ----
def mutants(text: bytes, count: int, seed: int) -> list[bytes]:
    rng, found = random.Random(seed), []
    for _ in range(count):
        data = bytearray(text)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            kind = rng.randrange(4)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del data[at : at + rng.randint(1, 8)]
            elif kind == 2:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
            else:
                data[at:at] = data[: rng.randrange(len(data))]
            if not data:
                data = bytearray(b"\0")
        found.append(bytes(data))
    return found


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_bent_terms_are_read_or_refused(count: int):
    terms = Terms(
        [("protocol", "helper"), ("roster", "00" * 32)], "import mpc\n", {"a": Supplied([3, 4], "fixed", 16)}, "", b"x" * 32
    )
    for data in mutants(msgspec.msgpack.encode(terms), count, 1):
        try:
            found = _read(data, 1)
        except ProtocolError as error:
            assert error.party == 1
        else:
            assert all(n >= 0 for s in found.inputs.values() for n in s.shape)


def test_bent_approvals_do_not_pass(config: Config):
    outputs = {"mean": ("hospital_a",)}
    text = msgspec.json.encode(policy.approve(config, "00", outputs)).decode()
    request = policy.Request("00", "11", {}, outputs, {})
    signed = msgspec.json.decode(text, type=policy.Approval).text()
    assert policy._unapproved(config, "hospital_a", request, text) is None
    for data in mutants(text.encode(), 3000, 2):
        bent = data.decode(errors="replace")
        try:
            same = msgspec.json.decode(bent, type=policy.Approval).text() == signed
        except (ValueError, RecursionError):
            same = False
        assert same or policy._unapproved(config, "hospital_a", request, bent)


def test_bent_configurations_and_records_are_named(config: Config, tmp_path: Path):
    path = tmp_path / "bent"
    for data in mutants(Path(config.folder, "party.toml").read_bytes(), 300, 3):
        path.write_bytes(data)
        try:
            configs.read(str(path))
        except ConfigError as error:
            assert "bent" in str(error)
    for data in mutants(b'{"me": "a", "links": {}, "versions": {}}', 500, 4):
        path.write_bytes(data)
        with pytest.raises(UsageError):
            record.read(str(path))


def test_the_last_run_is_spent_once(config: Config):
    """Also if two processes of the party have both found it unspent."""
    for name in ("first", "second", "third"):
        policy.spend(config, ALLOW, name)
    with pytest.raises(PolicyRefused, match="all 3 runs"):
        policy.spend(config, ALLOW, "fourth")
    assert policy.used(config, ALLOW) == 3

"""Records of runs: one file per run and party, and whether the files of two parties tell the same story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import MPCError, UsageError
from .config import Config

SHARED = ("session", "program", "source", "protocol", "trust", "parties", "roster", "parameters", "encryption", "inputs",
          "outputs", "rounds", "loaded", "kept", "preprocessing")  # fmt: skip


def save(config: Config, record: Mapping[str, Any]) -> Path:
    """Writes `run-SESSION.json` into the state folder, and returns its path. Raises MPCError if it cannot be written."""
    folder = config.path(config.state)
    path = folder / f"run-{record['session']}.json"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    except OSError as error:
        raise MPCError(f"the run is done, but its record {path} cannot be written: {error.strerror}") from None
    return path


def read(path: str) -> dict[str, Any]:
    """The record in a file. Raises UsageError if it holds none."""
    try:
        record = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is no record of a run") from None
    absent = [field for field in ("me", "links", "versions", *SHARED) if field not in record]
    if absent:
        raise UsageError(f"{path} is no record of a run: it has no {absent[0]!r}")
    return record


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """In words, what two parties' records of one run do not agree on. Nothing, if both saw the same run.

    What one has sent must be what the other has received: bytes, messages, and the hash of all of them in order.
    """
    me, peer = str(a["me"]), str(b["me"])
    for field in SHARED:
        if a[field] != b[field]:
            yield f"{field}: {a[field]} at {me}, {b[field]} at {peer}"
    for package in ("mpc", "wire"):
        if a["versions"].get(package) != b["versions"].get(package):
            yield f"version of {package}: {a['versions'].get(package)} at {me}, {b['versions'].get(package)} at {peer}"
    if me == peer:
        yield f"both are records of {me}"
    elif peer not in a["links"] or me not in b["links"]:
        yield f"{me} and {peer} had no link"
    else:
        here, there = a["links"][peer], b["links"][me]
        for what, sent, received in (("bytes", "sent", "received"), ("messages", "messages_sent", "messages_received"),
                                     ("the hash of what was sent", "hash_sent", "hash_received")):  # fmt: skip
            for source, to, out, into in ((me, peer, here, there), (peer, me, there, here)):
                if out.get(sent) != into.get(received):
                    yield f"{what} from {source} to {to}: {out.get(sent)} at {source}, {into.get(received)} at {to}"

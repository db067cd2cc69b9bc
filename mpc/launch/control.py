"""Messages between the user's process and the party processes it started: one MessagePack header, then raw arrays."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec
import numpy as np
import zmq

from .. import errors
from ..errors import MPCError
from ..protocols.base import Part
from ..ring.packed import Packed
from ..ring.words import dtype_of
from ..run.clock import Clock
from ..run.execute import Measured

_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


def send(socket: zmq.Socket[Any], header: dict[str, Any], parts: list[Part] | None = None) -> None:
    """Sends a header and arrays (words, or Packed bits)."""
    forms = [["bits" if isinstance(p, Packed) else p.dtype.str, list(p.shape)] for p in parts or []]
    arrays = [p.words if isinstance(p, Packed) else p for p in parts or []]
    frames: list[Any] = [_encode({**header, "parts": forms}), *arrays]
    socket.send_multipart(frames, copy=False)


def receive(socket: zmq.Socket[Any]) -> tuple[dict[str, Any], list[Part]]:
    frames = socket.recv_multipart(copy=False)
    header = _decode(frames[0].buffer)
    parts: list[Part] = []
    for (form, shape), frame in zip(header.pop("parts"), frames[1:], strict=True):
        if form == "bits":
            parts.append(Packed(np.frombuffer(frame.buffer, "<u8"), tuple(shape)))
        else:
            parts.append(np.frombuffer(frame.buffer, dtype_of(form)).reshape(shape))
    return header, parts


def measured_fields(measured: Measured) -> dict[str, Any]:
    """What a party measured, as plain fields."""
    plain = {f.name: getattr(measured, f.name) for f in fields(measured)}
    return {**plain, "clock": measured.clock.plain() if measured.clock else None}


def measured_from(plain: dict[str, Any]) -> Measured:
    """Inverse of `measured_fields`."""
    return Measured(**{**plain, "clock": Clock.read(plain["clock"]) if plain["clock"] else None})


def error_fields(error: BaseException, me: int) -> dict[str, Any]:
    """An exception as plain fields. Of an exception that is not ours only the class travels: its text may hold values."""
    if isinstance(error, MPCError):
        return {"kind": type(error).__name__, "args": [a if a is None or isinstance(a, int) else str(a) for a in error.args],
                "where": getattr(error, "where", ""), "echo": error.echo}  # fmt: skip
    return {"kind": "MPCError", "args": [f"party {me} failed with {type(error).__name__}"], "where": "", "echo": False}


def error_from(plain: dict[str, Any]) -> MPCError:
    kind = getattr(errors, plain["kind"], MPCError)
    error = kind(*plain["args"]) if isinstance(kind, type) and issubclass(kind, MPCError) else MPCError(*plain["args"])
    if plain["where"] and hasattr(error, "where"):
        error.where = plain["where"]
    error.echo = plain["echo"]
    return error

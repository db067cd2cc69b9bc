"""Sealed files: what was written comes back, and nothing else does."""

from __future__ import annotations

from io import BytesIO

import pytest

from mpc.run import sealed
from mpc.run.sealed import MAGIC, SALT, TAG, NotOurs, Writer, reader

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
HEAD, STEP = len(MAGIC) + SALT, 64 + TAG


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "CHUNK", 64)


def seal(data: bytes, pieces: int = 3) -> bytes:
    file = BytesIO()
    writer = Writer(file, KEY)
    for i in range(pieces):
        writer.write(memoryview(data)[len(data) * i // pieces : len(data) * (i + 1) // pieces])
    writer.finish()
    return file.getvalue()


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 129, 1000])
def test_what_was_written_comes_back(size: int):
    data = bytes(i % 251 for i in range(size))
    whole = seal(data)
    assert reader(BytesIO(whole), KEY).read() == data
    parts = reader(BytesIO(whole), KEY)
    assert parts.read(10) + parts.read(100) + parts.read() == data
    assert seal(data)[HEAD:] != whole[HEAD:]  # another salt, another key


def test_everything_else_is_refused():
    whole = seal(bytes(200))  # four chunks, the last of 8 bytes
    chunks = [whole[HEAD + STEP * i : HEAD + STEP * (i + 1)] for i in range(4)]
    head = whole[:HEAD]
    bent = {
        "cut between chunks": head + b"".join(chunks[:3]),
        "cut to nothing": head + b"",
        "cut in a chunk": whole[:-1],
        "swapped": head + chunks[1] + chunks[0] + chunks[2] + chunks[3],
        "left out": head + chunks[0] + chunks[2] + chunks[3],
        "repeated": head + chunks[0] + b"".join(chunks),
        "more": whole + chunks[3],
        "salt": MAGIC + bytes(SALT) + whole[HEAD:],
    }
    bent |= {f"byte {i}": whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(0, len(whole), 7)}
    for what, data in bent.items():
        try:
            found = reader(BytesIO(data), KEY).read()
        except NotOurs:
            continue
        pytest.fail(f"{what} gave {found!r}")
    with pytest.raises(NotOurs, match="another key"):
        reader(BytesIO(whole), OTHER).read()
    with pytest.raises(NotOurs, match="not sealed"):
        reader(BytesIO(b"plain"), KEY)

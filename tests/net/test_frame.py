"""The wire format: what is accepted, and every way to be refused."""

from __future__ import annotations

import random
import resource
import struct

import numpy as np
import pytest

from mpc.errors import ProtocolError, UsageError
from mpc.net import frame
from mpc.net.frame import HEADER, Header, Lane, layout, layout_of

from ..scale import nightly

SESSION = bytes(range(16))
SPECS = (("<u8", (2, 3)), ("|u1", (5,)), ("<u4", ()), ("<u8", (0, 4)))


def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 2**8, shape).astype(dtype) for dtype, shape in SPECS]


def lanes() -> tuple[Lane, Lane]:
    """The sender's and the receiver's view of the direction from party 2 to party 0."""
    return Lane(SESSION, 2, 0), Lane(SESSION, 2, 0)


def sealed(lane: Lane, what: list[np.ndarray], round: int = 7) -> list[bytes]:
    plan = layout_of(what)
    return [lane.join(round, plan, what)] if plan.joined else [bytes(f) for f in lane.split(round, plan, what)]


def opened(lane: Lane, frames: list[bytes], specs=SPECS, round: int = 7) -> list[np.ndarray]:
    plan = layout(tuple(specs))
    got = lane.open(frames, lane.header(round, plan), round, plan)
    if got is None:  # a control message, by its kind: this is what a receiver does with it
        lane.open_control(frames)
        raise ProtocolError(lane.src, "a control message where data are due")
    return got


def test_small_arrays_share_a_frame_with_their_header():
    out, into = lanes()
    frames = sealed(out, arrays())
    assert [len(f) for f in frames] == [HEADER + 6 * 8 + 5 + 4]
    for got, sent in zip(opened(into, frames), arrays(), strict=True):
        assert got.dtype == sent.dtype and got.shape == sent.shape and got.flags.aligned
        np.testing.assert_array_equal(got, sent)


def test_large_arrays_travel_uncopied_in_frames_of_their_own():
    out, into = lanes()
    big = np.arange(1 << 16, dtype=np.uint64).reshape(256, 256)
    plan = layout_of([big, big[:0]])
    frames = out.split(7, plan, [big, big[:0]])
    assert [len(f) for f in frames] == [HEADER, big.nbytes]
    assert np.shares_memory(np.frombuffer(frames[1], np.uint64), big)
    got, empty = into.open(frames, into.header(7, plan), 7, plan)
    np.testing.assert_array_equal(got, big)
    assert empty.shape == (0, 256)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_arrays_above_the_frame_size_are_split_and_reassembled(extra):
    out, into = lanes()
    big = np.arange(2 * frame.FRAME + extra, dtype=np.uint64).astype(np.uint8)
    frames = sealed(out, [big])
    assert max(map(len, frames)) <= frame.FRAME and len(frames) == (4 if extra == 1 else 3)
    np.testing.assert_array_equal(opened(into, frames, [("|u1", big.shape)])[0], big)


def test_no_arrays_at_all_are_a_message_too():
    out, into = lanes()
    assert opened(into, sealed(out, []), ()) == []


def test_a_view_that_is_not_contiguous_is_sent_as_it_reads():
    out, into = lanes()
    view = np.arange(12, dtype=np.uint64).reshape(3, 4).T
    np.testing.assert_array_equal(opened(into, sealed(out, [view]), [("<u8", (4, 3))])[0], view)


@pytest.mark.parametrize("dtype", ["<i8", "<f8", ">u8", "<u2", "O"])
def test_other_dtypes_do_not_travel(dtype):
    with pytest.raises(UsageError, match="uint64"):
        layout_of([np.zeros(3, dtype)])


def test_different_lists_have_different_digests():
    lists = [
        (),
        (("<u8", (6,)),),
        (("<u8", (2, 3)),),
        (("<u8", (3, 2)),),
        (("<u4", (12,)),),
        (("|u1", (48,)),),
        (("<u8", (2,)), ("<u8", (4,))),
        (("<u8", (4,)), ("<u8", (2,))),
        (("<u8", ()), ("<u8", (5,))),
        (("<u8", (1,)), ("<u8", (5,))),
    ]
    assert len({layout(specs).spec for specs in lists}) == len(lists)


def header(**changed: object) -> bytes:
    """A header as party 0 expects it from party 2, but for the changed fields; packed by another hand."""
    plan = layout(SPECS)
    fields: dict[str, object] = {
        "magic": b"MPCf",
        "version": 3,
        "kind": frame.DATA,
        "flags": 0,
        "session": SESSION,
        "src": 2,
        "dst": 0,
        "epoch": 0,
        "seq": 0,
        "round": 7,
        "spec": plan.spec,
        "length": plan.size,
    }
    return struct.pack("<4sHBB16sHHIQQ8sQ", *(fields | changed).values())


BODY = sealed(Lane(SESSION, 2, 0), arrays())[0][HEADER:]


def test_the_header_has_the_documented_layout():
    assert len(header()) == HEADER == 64
    assert sealed(Lane(SESSION, 2, 0), arrays()) == [header() + BODY]
    assert frame.parse(header(), 2) == Header(1, 0, SESSION, 2, 0, 0, 0, 7, layout(SPECS).spec, len(BODY))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"magic": b"MPCe"}, "magic"),
        ({"version": 1}, "wire version 1, but this party speaks version 3"),
        ({"kind": 0}, "unknown kind 0"),
        ({"kind": 99}, "unknown kind 99"),
        ({"flags": 1}, "unknown flags 0x01"),
        ({"session": bytes(16)}, "another session"),
        ({"src": 1}, "names party 1 as its sender"),
        ({"dst": 1}, "for party 1 instead of 0"),
        ({"epoch": 1}, "epoch 1 instead of 0"),
        ({"seq": 2}, "frame 2 instead of 0: 2 missing"),
        ({"round": 8}, "round 8 instead of 7"),
        ({"spec": bytes(8)}, "other dtypes or shapes"),
        ({"length": 0}, "payload of 0 bytes instead of 57"),
        ({"length": 1 << 63}, "payload of 9223372036854775808 bytes"),
    ],
)
def test_a_wrong_header_is_refused_by_name(changed, reason):
    with pytest.raises(ProtocolError, match=reason) as caught:
        opened(Lane(SESSION, 2, 0), [header(**changed) + BODY])
    assert caught.value.party == 2


def test_a_control_message_is_told_from_data_but_must_be_one():
    with pytest.raises(ProtocolError, match="a message of round 7 instead of 0"):
        opened(Lane(SESSION, 2, 0), [header(kind=frame.BYE) + BODY])
    with pytest.raises(ProtocolError, match="where data are due"):
        opened(Lane(SESSION, 2, 0), [Lane(SESSION, 2, 0).control(frame.BYE)])


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b"\0", BODY * 2])
def test_a_payload_of_another_size_is_refused(body):
    with pytest.raises(ProtocolError, match=f"{len(body)} payload bytes in 1 frames instead of 57 in 1"):
        opened(Lane(SESSION, 2, 0), [header() + body])


@pytest.mark.parametrize("length", [0, 1, 63])
def test_a_truncated_header_is_refused(length):
    with pytest.raises(ProtocolError, match=f"header of {length} bytes"):
        opened(Lane(SESSION, 2, 0), [header()[:length]])


def test_a_message_of_another_number_of_frames_is_refused():
    big = np.zeros(1 << 14, np.uint64)
    head, body = sealed(Lane(SESSION, 2, 0), [big])
    for frames in ([head], [head, body, b""], [head, body[:-1]], [head + body], [head, body[:8], body[8:]]):
        with pytest.raises(ProtocolError, match="frames instead of 131072 in 2"):
            opened(Lane(SESSION, 2, 0), frames, [("<u8", big.shape)])
    with pytest.raises(ProtocolError, match="in 2 frames instead of 57 in 1"):
        opened(Lane(SESSION, 2, 0), [header() + BODY, b""])


def test_duplicates_and_gaps_are_refused():
    out, into = lanes()
    first, second, third = (sealed(out, arrays()) for _ in range(3))
    opened(into, first)
    with pytest.raises(ProtocolError, match=r"frame 0 again \(expected 1\)"):
        opened(into, first)
    with pytest.raises(ProtocolError, match="frame 2 instead of 1: 1 missing"):
        opened(into, third)
    opened(into, second)


def test_same_bytes_in_other_shapes_are_refused():
    flat = np.arange(6, dtype=np.uint64)
    with pytest.raises(ProtocolError, match="other dtypes or shapes"):
        opened(Lane(SESSION, 2, 0), sealed(Lane(SESSION, 2, 0), [flat]), [("<u8", (2, 3))])


def test_control_frames_carry_their_payloads():
    out, into = lanes()
    assert into.open_control([out.control(frame.HELLO, frame.hello(3))]) == (frame.HELLO, frame.hello(3))
    assert into.open_control([out.control(frame.BYE)]) == (frame.BYE, b"")
    assert frame.read_hello(frame.hello(3), 2) == 3
    assert frame.read_abort(frame.abort(1, "stopped answering"), 2) == (1, 3, "stopped answering")


def test_the_reason_of_an_abort_is_bounded_and_printable():
    payload = frame.abort(1, "é" * 1000)
    assert len(payload) == 3 + frame.REASON and frame.read_abort(payload, 2)[2].isprintable()
    assert frame.read_abort(b"\0\0\3\x1b[2J\n\xff\xfeok", 2) == (0, 3, "?[2J?��ok")
    for bad in (b"", b"\0", payload + b"x"):
        with pytest.raises(ProtocolError, match="ABORT"):
            frame.read_abort(bad, 2)
    for bad in (b"", b"1", b"123"):
        with pytest.raises(ProtocolError, match="HELLO"):
            frame.read_hello(bad, 2)


def mutate(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    """One fault in a message: in a field, in a length, or in the list of frames."""
    frames = list(frames)
    i = rng.randrange(len(frames))
    data = bytearray(frames[i])
    fields = [(0, 4), (4, 2), (6, 1), (7, 1), (8, 16), (24, 2), (26, 2), (28, 4), (32, 8), (40, 8), (48, 8), (56, 8)]
    fault = rng.randrange(7)
    if fault == 0 and len(data) >= HEADER:  # a field of the header, to a random or an extreme value
        at, size = rng.choice(fields)
        data[at : at + size] = rng.choice([rng.randbytes(size), bytes(size), b"\xff" * size])
    elif fault == 1 and data:  # one bit
        data[rng.randrange(min(len(data), HEADER))] ^= 1 << rng.randrange(8)
    elif fault == 2:
        del data[rng.randrange(len(data) + 1) :]
    elif fault == 3:
        data += rng.randbytes(rng.randrange(1, 100))
    elif fault == 4:
        return [*frames, bytes(data)]
    elif fault == 5:
        return [*frames[:i], rng.randbytes(rng.randrange(200)), *frames[i + 1 :]]
    elif fault == 6:
        return [*frames[:i], b"", *frames[i:]]
    frames[i] = bytes(data)
    return frames


def refuse_mutated_messages(count: int, seed: int) -> None:
    rng = random.Random(seed)
    big = np.arange(1 << 12, dtype=np.uint64)
    kinds = [(SPECS, arrays()), ((("<u8", big.shape),), [big])]
    valid = [sealed(Lane(SESSION, 2, 0), what) for _, what in kinds]
    refused = 0
    for i in range(count):
        (specs, what), frames = kinds[i % 2], valid[i % 2]
        bad = mutate(rng, frames)
        if bad == frames:
            continue
        lane = Lane(SESSION, 2, 0)
        try:
            got = opened(lane, bad, specs)
        except ProtocolError:
            refused += 1
            assert lane.seq == 0
        else:  # only a payload of the right size may differ: integrity is the business of protocol and encryption
            assert bad[0][:HEADER] == frames[0][:HEADER], f"seed {seed}, case {i}"
            assert [a.shape for a in got] == [a.shape for a in what]
    assert refused > 0.8 * count


def refuse_mutated_control_frames(count: int, seed: int) -> None:
    rng = random.Random(seed)
    readers = {frame.HELLO: frame.read_hello, frame.ABORT: frame.read_abort}
    payloads = {frame.HELLO: frame.hello(3), frame.ABORT: frame.abort(1, "ë"), frame.BYE: b""}
    for i in range(count):
        kind = list(payloads)[i % len(payloads)]
        bad = mutate(rng, [Lane(SESSION, 2, 0).control(kind, payloads[kind])])
        try:
            got, payload = Lane(SESSION, 2, 0).open_control(bad)
            if got in readers:
                readers[got](payload, 2)
        except ProtocolError as error:
            assert error.party == 2


FAULTS = ("drop", "duplicate", "reorder", "delay", "another session", "another operation", "another sender", "another receiver")


def refuse_faulty_streams(count: int, seed: int) -> None:
    """Five messages, one of which is not where it belongs: refused there, whatever it holds, and nothing after it is read."""
    rng = random.Random(seed)
    flat = [np.zeros(57, np.uint8)]  # as many bytes as the arrays have

    def messages(session: bytes, src: int, dst: int, what: list[np.ndarray]) -> list[list[bytes]]:
        lane = Lane(session, src, dst)
        return [sealed(lane, what, round) for round in range(5)]

    valid = messages(SESSION, 2, 0, arrays())
    spliced = {
        "another session": messages(bytes(16), 2, 0, arrays()),
        "another sender": messages(SESSION, 1, 0, arrays()),
        "another receiver": messages(SESSION, 2, 1, arrays()),
        "another operation": messages(SESSION, 2, 0, flat),
    }
    for i in range(count):
        fault, k, stream = FAULTS[i % len(FAULTS)], rng.randrange(4), list(valid)
        if fault == "drop":
            del stream[k]
        elif fault == "duplicate":
            stream.insert(k, stream[k])
            k += 1
        elif fault == "reorder":
            stream[k], stream[k + 1] = stream[k + 1], stream[k]
        elif fault == "delay":
            stream.append(stream.pop(k))
        else:
            stream[k] = spliced[fault][k]
        into = Lane(SESSION, 2, 0)
        for round in range(k):
            opened(into, stream[round], round=round)
        try:
            opened(into, stream[k], round=k)
        except ProtocolError as error:
            assert error.party == 2 and into.seq == k, f"seed {seed}, case {i}, {fault}"
        else:
            pytest.fail(f"accepted: seed {seed}, case {i}, {fault}")


def test_mutated_messages_are_refused_and_raise_nothing_else():
    refuse_mutated_messages(90_000, 20240)


def test_mutated_control_frames_are_refused_and_raise_nothing_else():
    refuse_mutated_control_frames(10_000, 20241)


def test_messages_out_of_place_are_refused():
    refuse_faulty_streams(5_000, 20242)


@pytest.mark.slow
def test_ten_million_mutated_messages(record_property):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refuse_mutated_messages(nightly(9_000_000), 1)
    refuse_mutated_control_frames(nightly(1_000_000), 2)
    refuse_faulty_streams(nightly(100_000), 3)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    record_property("KiB more memory", grown)
    assert grown < 64 << 10

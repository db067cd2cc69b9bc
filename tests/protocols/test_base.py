"""Steps: what is merged arrives where it belongs, in the same order at every party, in as few rounds as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mpc.protocols.base import IDLE, Exchange, Origin, Protocol, Share, Steps, available, merge, pipeline, together
from mpc.protocols.plain import Plain
from mpc.ring.prg import Name
from mpc.ring.ring import Ring

from ..memory import lockstep, make_parties


def word(value: int) -> np.ndarray:
    return np.array([value], "<u8")


ONE = [("<u8", (1,))]


def swap(me: int, *values: int) -> Steps[list[int]]:
    """Two parties tell each other one value a round; returns what the other said."""
    heard = []
    for value in values:
        got = yield Exchange({1 - me: [word(value)]}, {1 - me: ONE})
        heard.append(int(got[1 - me][0][0]))
    return heard


def run(*parties: Steps[Any]) -> tuple[list[Any], list[list[Exchange]]]:
    seen: list[list[Exchange]] = []
    return lockstep(parties, lambda step, exchanges: seen.append(exchanges)), seen


def test_two_parties_swap_a_value():
    results, rounds = run(swap(0, 5), swap(1, 7))
    assert results == [[7], [5]]
    assert len(rounds) == 1


def test_together_takes_the_rounds_of_the_longest():
    results, rounds = run(*[together(swap(me, 1 + me), swap(me, 10 + me, 20 + me, 30 + me), swap(me)) for me in (0, 1)])
    assert results == [[[2], [11, 21, 31], []], [[1], [10, 20, 30], []]]
    assert [len(ex[0].send[1]) for ex in rounds] == [2, 1, 1]


def test_together_of_nothing_and_of_steps_without_a_message():
    def silent() -> Steps[str]:
        yield from ()
        return "done"

    assert run(together())[0] == [[]]
    results, rounds = run(together(silent(), silent()))
    assert results == [["done", "done"]]
    assert not rounds


def test_together_nested():
    results, rounds = run(*[together(together(swap(me, me), swap(me, 2 + me)), swap(me, 4 + me, 6 + me)) for me in (0, 1)])
    assert results == [[[[1], [3]], [5, 7]], [[[0], [2]], [4, 6]]]
    assert len(rounds) == 2


def test_merge_keeps_each_ones_arrays_apart():
    parts = [
        Exchange({1: [word(1), word(2)]}, {2: ONE * 2}),
        IDLE,
        Exchange({1: [word(3)], 2: [word(4)]}, {1: ONE, 2: ONE}, turn=False),
    ]
    merged, split = merge(parts)
    assert {p: [int(a[0]) for a in arrays] for p, arrays in merged.send.items()} == {1: [1, 2, 3], 2: [4]}
    assert {p: len(specs) for p, specs in merged.recv.items()} == {1: 1, 2: 3}
    assert merged.turn
    first, _, third = split({1: [word(50)], 2: [word(60), word(61), word(62)]})
    assert [int(a[0]) for a in first[2]] == [60, 61]
    assert [int(a[0]) for a in third[2]] == [62]
    assert [int(a[0]) for a in third[1]] == [50]


def test_merge_of_one_copies_nothing():
    only = Exchange({1: [word(1)]}, {1: ONE})
    merged, split = merge([only])
    assert merged is only
    inbox = {1: [word(9)]}
    assert split(inbox) == [inbox]


@pytest.mark.parametrize("turns", [(False, False), (False, True), (True, True)])
def test_a_merged_exchange_is_a_round_if_one_part_is(turns):
    merged, _ = merge([Exchange({}, {}, turn) for turn in turns])
    assert merged.turn == any(turns)


def test_an_inbox_is_read_only_by_who_looks():
    """Reading waits; so a step that does not look must not make its neighbours wait."""

    reads: Counter[int] = Counter()

    class Slow(dict):
        def __getitem__(self, peer: int) -> list[np.ndarray]:
            reads[peer] += 1
            return super().__getitem__(peer)

    _, split = merge([Exchange({}, {1: ONE}), Exchange({}, {2: ONE})])
    first, second = split(Slow({1: [word(1)], 2: [word(2)]}))
    assert not reads
    assert int(second[2][0][0]) == 2
    assert reads == {2: 1}
    assert int(first[1][0][0]) == 1


# ---- pipelines ----
def lane(me: int, number: int, rounds: int, log: list[str]) -> Steps[None]:
    log.append(f"{number} starts")
    for r in range(rounds):
        got = yield Exchange({1 - me: [word(100 * number + r)]}, {1 - me: ONE})
        assert int(got[1 - me][0][0]) == 100 * number + r
        log.append(f"{number} has {r}")


def lanes(me: int, lengths: list[int], log: list[str]) -> Iterator[Steps[None]]:
    return (lane(me, i, length, log) for i, length in enumerate(lengths))


@pytest.mark.parametrize("window", [1, 2, 3, 10])
@pytest.mark.parametrize("lengths", [[1], [2, 2, 2, 2, 2], [3, 1, 2, 0, 4, 1], [0, 0], []])
def test_pipeline_order_rounds_and_window(lengths: list[int], window: int):
    logs: list[list[str]] = [[], []]
    results, seen = run(*[pipeline(lanes(me, lengths, logs[me]), window) for me in (0, 1)])
    assert results == [None, None]
    assert logs[0] == logs[1], "the order is the same at every party"
    assert Counter(logs[0]) == Counter(
        [f"{i} starts" for i in range(len(lengths))] + [f"{i} has {r}" for i, n in enumerate(lengths) for r in range(n)]
    )
    started = [i for i, text in enumerate(logs[0]) if text.endswith("starts")]
    assert [logs[0][i] for i in started] == [f"{i} starts" for i in range(len(lengths))]
    # every yield carries the message of one lane, and there are as many rounds as the longest lane has
    assert len(seen) == sum(lengths)
    assert sum(ex[0].turn for ex in seen) == max(lengths, default=0)
    flight: set[int] = set()
    for text in logs[0]:
        number, _, what = text.split(" ", 2)[0], None, text.split(" ")[1]
        if what == "starts":
            if lengths[int(number)]:
                flight.add(int(number))
            assert len(flight) <= window
        elif int(text.split(" ")[2]) == lengths[int(number)] - 1:
            flight.discard(int(number))


def test_pipeline_resumes_who_waited_longest():
    log: list[str] = []
    run(*[pipeline(lanes(me, [2, 2, 2], log if me == 0 else []), 2) for me in (0, 1)])
    assert log == [
        "0 starts", "1 starts", "0 has 0", "1 has 0", "0 has 1", "2 starts", "1 has 1", "2 has 0", "2 has 1",
    ]  # fmt: skip


def test_pipeline_does_not_make_rounds_of_what_is_none():
    def dealt(me: int) -> Steps[None]:
        yield Exchange({}, {}, turn=False)
        yield Exchange({1 - me: [word(1)]}, {1 - me: ONE})

    _, seen = run(*[pipeline([dealt(me) for _ in range(4)], 3) for me in (0, 1)])
    assert sum(ex[0].turn for ex in seen) == 1


# ---- shares and protocols ----
def test_a_share_shows_no_value():
    share = Share((np.array([123456789], "<u8"),), Origin(Name(1, 2), 3))
    assert repr(share) == "Share(words[1])"
    assert str(share) == repr(share)


def test_every_file_is_a_protocol_that_says_whom_it_protects():
    found = available()
    assert {"plain", "additive", "helper", "replicated"} <= set(found)
    for name, protocol in found.items():
        assert issubclass(protocol, Protocol)
        assert len(protocol.trust) > 20, name
        assert len(protocol.parties) >= 1, name
        for n in protocol.parties:
            parties = make_parties(protocol, n, seed=1)
            assert len(parties) == n + protocol.has_dealer


def test_an_unfinished_protocol_cannot_be_made():
    class Half(Plain):
        ltz = Protocol.ltz

    with pytest.raises(TypeError, match=r"abstract.*ltz"):
        Half(0, 1, Ring(), lambda peer, purpose: np.zeros((1, 176), np.uint8))

"""The tiny ring computes what the kernels compute: at 64 bits, on the same random words, every message is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpc.protocols.additive import Additive
from mpc.protocols.base import Origin, Share, Tape
from mpc.protocols.helper import Helper
from mpc.ring.composed import Composed
from mpc.ring.packed import Packed
from mpc.ring.prg import Name, Stream
from mpc.ring.ring import DEEP, NARROW, WIDE, Comparison, Ring

from ..memory import lockstep, pair_keys
from .gates import GATES, TREES, Gate
from .tiny import NativeWords, Tree

SETTINGS = [(Additive, 2), (Additive, 3), (Helper, 3)]


def transcript(protocol: type[Additive], n: int, ring: Ring, gate: Gate, size: int) -> tuple[list[Any], list[np.ndarray]]:
    """(the evaluators' results, every array sent), from shares that depend on the gate alone."""
    keys, said = pair_keys(7, n + protocol.has_dealer), []
    parties = [protocol(me, n, ring, keys(me)) for me in range(n + protocol.has_dealer)]
    steps = []
    for p in parties:
        rng = np.random.default_rng(p.me)
        shares = []
        for k, operand in enumerate(gate.operands):
            shape = (size // 64,) if operand.is_bit else (size, *operand.shape)
            part: Any = p.ring.empty(shape) if p.deals else rng.integers(0, 1 << 64, shape, np.uint64)
            shares.append(Share((Packed(part, (size,)) if operand.is_bit else part,), Origin(Name(1, 8 + k), 0)))
        steps.append(gate.step(p, Tape(Name(1, 1)), *shares))

    def see(step: int, exchanges: list[Any]) -> None:
        said.extend(a for ex in exchanges for arrays in ex.send.values() for a in arrays)

    results = lockstep(steps, see)[: parties[0].evaluators]
    return [r.parts[0].words if r.is_bits else r.parts[0] for r in results], said


@pytest.mark.parametrize(("protocol", "n"), SETTINGS)
@pytest.mark.parametrize("name", [*GATES, *TREES])
def test_every_message_is_the_same_as_the_kernels(protocol: type[Additive], n: int, name: str):
    gate, size = (GATES | TREES)[name], 128
    if gate.two_only and protocol._roles(n)[0] != 2:
        pytest.skip("two evaluators only")
    results, said = transcript(protocol, n, Ring(), gate, size)
    again, told = transcript(protocol, n, NativeWords(size), gate, size)
    assert len(said) == len(told)
    for a, b in zip([*said, *results], [*told, *again], strict=True):
        assert np.array_equal(a, b)


class Made(Composed):
    """64 bits of elementary operations and the native streams: what other rings are made of."""

    def blind(self, x: np.ndarray, sign: int, stream: Stream, out: np.ndarray | None = None) -> np.ndarray:
        return Ring.blind(self, x, sign, stream, out)


@pytest.mark.parametrize(("protocol", "n"), SETTINGS)
@pytest.mark.parametrize("name", GATES)
def test_every_message_of_a_composed_ring_is_the_same(protocol: type[Additive], n: int, name: str):
    gate, size = GATES[name], 200
    size = 192 if any(o.is_bit for o in gate.operands) else size
    if gate.two_only and protocol._roles(n)[0] != 2:
        pytest.skip("two evaluators only")
    results, said = transcript(protocol, n, Ring(), gate, size)
    again, told = transcript(protocol, n, Made(), gate, size)
    assert len(said) == len(told)
    for a, b in zip([*said, *results], [*told, *again], strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("tree", [NARROW, WIDE, DEEP])
@pytest.mark.parametrize("equal", [False, True])
def test_a_tree_has_the_kernels_counts(equal: bool, tree: int):
    for bits in range(1, 65):
        what = Comparison(bits, equal, tree)
        assert Tree(what, 4).counts() == Ring.compare_counts(what)

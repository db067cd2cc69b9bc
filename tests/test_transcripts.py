"""What one party is told is uniform, whatever the inputs are; and no random word ever hides two things.

The first test of a kind says what is looked at. A party sees the arrays it receives; with its own messages it knows every
opened word; and it may subtract one from another. All of these are put to a chi-square test of their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from functools import partial, reduce
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec import structs

import mpc
from mpc.lang.array import Settings
from mpc.lang.elementwise import thresholds
from mpc.lang.session import Session
from mpc.lang.sorting import _key_bits
from mpc.protocols.additive import Additive
from mpc.protocols.base import Origin, available
from mpc.protocols.fields import Field
from mpc.protocols.replicated import Replicated
from mpc.ring.composed import Composed
from mpc.ring.prg import Name, Stream
from mpc.ring.ring import Comparison, Ring
from mpc.ring.words import PAIR
from mpc.run.chunks import CHUNK

from .memory import View, open_session, settings

LIMIT = 414.5  # chi-square, 255 degrees of freedom: exceeded by chance once in 10^9
SIGMAS = 6.2  # of the ones at a bit position: exceeded by chance once in 10^9
DEFAULT = mpc.fixed64(16)
SIZE = 20_000  # elements; no multiple of 64
PRIVATE = [(p, n) for p, n in settings() if not available()[p].trust.startswith("INSECURE")]
each_setting = pytest.mark.parametrize(
    ("protocol", "n"),
    [pytest.param(p, n, id=f"{p}-{n}", marks=[pytest.mark.slow] if n > 3 else []) for p, n in PRIVATE],
)


BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")  # (byte, bit)


def chi_square(counts: np.ndarray) -> float:
    """Of the number of occurrences of each byte against the uniform distribution."""
    expected = counts.sum() / 256
    return float(((counts - expected) ** 2).sum() / expected)


def are_elements(data: np.ndarray, ring: Ring) -> bool:
    """Whether these are elements of a field, not packed bits: with one prime both are words."""
    if not ring.primes or data.dtype != ring.word:
        return False
    return all(bool((limb < p).all()) for limb, p in zip(ring.limbs(data), ring.primes, strict=True))


def octets_of(data: np.ndarray, ring: Ring) -> np.ndarray:
    """(elements, bytes) that are uniform if the data are; of a residue its lowest byte, and in which of 256 parts it lies."""
    if not are_elements(data, ring):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8).reshape(-1, data.itemsize)
    limbs = zip(ring.limbs(data), ring.primes, strict=True)
    pairs = [np.stack([x & np.uint64(255), x // np.uint64(p // 256 + 1)], -1).reshape(-1, 2) for x, p in limbs]
    return np.concatenate(pairs).astype(np.uint8)


def suspicious(name: str, data: np.ndarray, ring: Ring = Ring()) -> Iterator[str]:  # noqa: B008 (it keeps nothing)
    """Complaints about an array that should be uniform: all bytes, the first and last of every word, single bits."""
    octets = octets_of(data, ring)
    counts = np.stack([np.bincount(column, minlength=256) for column in octets.T])  # by place in the word
    for what, found in (("bytes", counts.sum(0)), ("low bytes", counts[0]), ("high bytes", counts[-1])):
        if found.sum() >= 2000 and (statistic := chi_square(found)) > LIMIT:
            yield f"{name}: chi-square {statistic:.0f} over {found.sum()} {what}"
    size = len(octets)
    if size >= 100:
        ones = (counts @ BITS).reshape(-1)
        for bit in np.flatnonzero(np.abs(2 * ones - size) > SIGMAS * np.sqrt(size)):
            yield f"{name}: bit {bit} is 1 in {ones[bit]} of {size}"


def is_order(words: np.ndarray) -> bool:
    """Whether these are the places 0 .. n-1 of shuffled rows, perhaps in the upper halves of the words."""
    flat = words.reshape(-1)
    if flat.dtype.kind == "V":
        flat = flat["hi"] if flat.dtype == PAIR and not flat["lo"].any() else flat["lo"]
    places = flat.astype(np.uint64)
    if not (places << np.uint64(32)).any():
        places = places >> np.uint64(32)
    return places.size > 1 and np.array_equal(np.sort(places), np.arange(places.size))


def orders(view: View, ring: Ring) -> list[np.ndarray]:
    """The orders that a party sees."""
    said = {(step, array.shape): array for step, _, array in view.sent if array.dtype == ring.word}
    sums: dict[Any, np.ndarray] = {}
    for step, _, array in view.received:
        if array.dtype == ring.word and (step, array.shape) in said:
            sums[step, array.shape] = ring.add(sums.get((step, array.shape), said[step, array.shape]), array)
    limbs = [[limb for limb in ring.limbs(a) if limb.any()] for a in sums.values() if is_order(a)]
    return [limb.astype(float) for (limb,) in limbs]


def plus(ring: Ring, x: np.ndarray, y: np.ndarray, sign: int = 1) -> np.ndarray:
    """x + sign y, of elements of the ring or of other words."""
    words = x.dtype == ring.word and (not ring.primes or (are_elements(x, ring) and are_elements(y, ring)))
    return (ring.add if sign > 0 else ring.sub)(x, y) if words else np.add(x, y) if sign > 0 else np.subtract(x, y)


def xor(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bit by bit, words of several limbs too."""
    if x.dtype.kind != "V":
        return np.asarray(x ^ y)
    bits = np.ascontiguousarray(x).reshape(-1).view(np.uint64) ^ np.ascontiguousarray(y).reshape(-1).view(np.uint64)
    return bits.view(x.dtype).reshape(x.shape)


def learned(view: View, me: int, dealer: int | None, ring: Ring) -> Iterator[tuple[str, np.ndarray]]:
    """What a party computes from its view without effort: messages, opened words, differences of these."""
    by_step: dict[int, dict[int, list[np.ndarray]]] = {}
    for step, peer, array in view.received:
        by_step.setdefault(step, {}).setdefault(peer, []).append(array)
    said: dict[int, dict[int, list[np.ndarray]]] = {}
    for step, peer, array in view.sent:
        said.setdefault(step, {}).setdefault(peer, []).append(array)
    opened: list[tuple[str, np.ndarray]] = []
    dealt: list[tuple[str, np.ndarray]] = []
    for step, peers in by_step.items():
        for peer, arrays in peers.items():
            for k, array in enumerate(arrays):
                name = f"step {step}, from {peer}, array {k} {array.dtype}{list(array.shape)}"
                yield name, array
                if dealer in (peer, None):
                    dealt.append((name, array))
        others = [peer for peer in peers if peer != dealer]
        # without a dealer, any two parties may open something to each other
        for group in [others] if dealer is not None else [[peer] for peer in others]:
            mine = next((arrays for peer, arrays in said.get(step, {}).items() if peer in group), [])
            for k, arrays in enumerate(zip(mine, *(peers[peer] for peer in group), strict=False)):
                if len({a.shape for a in arrays}) > 1:
                    continue
                total = reduce(partial(plus, ring), arrays)
                if is_order(total):  # opened by design, and judged as an order
                    continue
                opened.append((f"step {step}, with {group} opened {k} by addition", total))
                if not any(are_elements(a, ring) for a in arrays):
                    opened.append((f"step {step}, with {group} opened {k} by xor", reduce(xor, arrays)))
    yield from opened
    sums = [(name, array) for name, array in opened if name.endswith("addition")]
    for kind in (sums, [pair for pair in opened if not pair[0].endswith("addition")], dealt):
        for (a, x), (b, y) in pairwise(kind):
            if x.shape == y.shape and x.dtype == y.dtype and are_elements(x, ring) == are_elements(y, ring):
                yield f"{a} minus {b}", plus(ring, x, y, -1)
                if not are_elements(x, ring):
                    yield f"{a} xor {b}", xor(x, y)


def complaints(session: Session, least: int = 100_000) -> list[str]:
    """Everything suspicious in the views of all processes of a session, and that there was enough to look at."""
    backend = session._backend
    dealer, stream = getattr(backend.parties[0], "dealer", None), backend.parties[0].stream
    ring = session.settings.ring
    out: list[str] = []
    for me, view in enumerate(backend.views):
        told = learned(view, me, dealer, ring)
        out += [f"party {me}: {text}" for name, data in told for text in suspicious(name, data, ring)]
        everything = np.concatenate([np.zeros(0, np.uint8), *(octets_of(a, ring).reshape(-1) for _, _, a in view.received)])
        if not stream or me != stream[0]:  # who deals may be told nothing at all
            assert everything.size >= least, "too little was said to judge"
            out += [f"party {me}: {text}" for text in suspicious("all it received", everything)]
    return out


Gate = Callable[[Any, Any, Any], list[Any]]
GATES: dict[str, Gate] = {
    "multiply": lambda x, y, c: [x * y],
    "multiply twice": lambda x, y, c: [x * y, x * (y + 1), (x * y) * x],
    "multiply int": lambda x, y, c: [x.astype(mpc.int64) * y.astype(mpc.int64) * y.astype(mpc.int64)],
    "square": lambda x, y, c: [mpc.square(x)],
    "matmul": lambda x, y, c: [x.reshape(100, 200) @ y.reshape(200, 100)],
    "truncate": lambda x, y, c: [x * 0.3, y.astype(replace(y.dtype, fraction=y.dtype.fraction // 2))],
    "less": lambda x, y, c: [x < y],
    "equal": lambda x, y, c: [x == y],
    "thresholds": lambda x, y, c: [x < 1, x < 2, x < -1],
    "relu": lambda x, y, c: [mpc.nn.relu(x), mpc.nn.relu(y)],
    "where": lambda x, y, c: [mpc.where(c, x, y)],
    "bit to number": lambda x, y, c: [c * 3, c * y],
    "and": lambda x, y, c: [c & (x < y)],
    "sigmoid": lambda x, y, c: [mpc.nn.sigmoid(x)],
    "gelu": lambda x, y, c: [mpc.nn.gelu(x)],
    "exp": lambda x, y, c: [mpc.exp(x)],
    "sin": lambda x, y, c: [mpc.sin(x), mpc.cos(x)],
    "chain": lambda x, y, c: [x * y * y * (x * y)],
    "reciprocal": lambda x, y, c: [1 / x],
    "log": lambda x, y, c: [mpc.log(x)],
    "chain of products": lambda x, y, c: [x * y * y * y],
    "convolution": lambda x, y, c: [mpc.nn.conv2d(x[:9216].reshape(1, 4, 48, 48), y[:16].reshape(4, 4, 1, 1))],
    "views": lambda x, y, c: [x[::-1] * x, x.reshape(100, 200).T @ y.reshape(100, 200)],
    "layer": lambda x, y, c: [mpc.nn.relu(x.reshape(100, 200) @ y.reshape(200, 100))],
    "function": lambda x, y, c: [mpc.fori(0, 2, lambda i, v: mpc.nn.relu(v * y), x)],
}

ORDERS: dict[str, Gate] = {
    "shuffle": lambda x, y, c: list(mpc.shuffle(x, y, c)),
    "permute": lambda x, y, c: list(mpc.permute(mpc.permutation(x), x, c)),
    "sort": lambda x, y, c: list(mpc.sort_by(x, x, y, c, bits=8)),
    "sort short rows": lambda x, y, c: [mpc.sort(x.reshape(2500, 8))],
    "bits of a key": lambda x, y, c: [_key_bits(x.astype(mpc.int64), x.dtype.bits, False)],
}
GATES |= ORDERS


def inputs(kind: str, size: int, dtype: mpc.DType) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if kind == "zero":
        return np.zeros(size), np.zeros(size), np.zeros(size, bool)
    if kind == "equal":
        x = np.random.default_rng(3).uniform(-8, 8, size)
        return x, x, np.ones(size, bool)
    end = 2.0 ** ((dtype.bits - 3) // 2 - dtype.fraction)  # of a product's domain
    return np.full(size, end / 2), np.full(size, 2.0**-dtype.fraction - end), np.ones(size, bool)


def talk(
    protocol: str,
    n: int,
    gate: Gate,
    kind: str,
    seed: int,
    size: int = SIZE,
    compare: str = "lan",
    dtype: mpc.DType = DEFAULT,
) -> Session:
    """A session in which `gate` has run; of its results only zero times their sum is revealed, to party 0."""
    X, Y, C = inputs(kind, size, dtype)
    s = open_session(protocol, n, dtype=dtype, seed=seed, record=True)
    s.compare = compare
    x, y, c = s.input(X, owner=0), s.input(Y, owner=n - 1), s.input(C, owner=n - 1)
    results = gate(x, y, c)
    s.reveal(*(r & False if r.dtype.is_bool else (r * 0).sum() for r in results), to=0)
    return s


@each_setting
@pytest.mark.parametrize("gate", GATES)
def test_what_a_party_receives_is_uniform(protocol: str, n: int, gate: str):
    for seed, kind in enumerate(("zero", "extreme", "equal")):
        with talk(protocol, n, GATES[gate], kind, seed) as s:
            found = complaints(s)
            assert not found, f"seed {seed}, inputs {kind}:\n" + "\n".join(found)


@each_setting
@pytest.mark.parametrize("gate", ["less", "equal", "relu", "layer"])
def test_what_a_party_receives_is_uniform_by_wide_trees(protocol: str, n: int, gate: str):
    with talk(protocol, n, GATES[gate], "extreme", 11, compare="wan") as s:
        assert not complaints(s)


@pytest.mark.parametrize(("protocol", "n"), [(p, n) for p, n in PRIVATE if available()[p].cycle > 1], ids=lambda v: str(v))
@pytest.mark.parametrize("gate", ["multiply", "less", "where", "relu", "and", "bit to number", "sigmoid", "layer of chunks"])
def test_what_a_party_receives_is_uniform_in_chunks(protocol: str, n: int, gate: str):
    """Three chunks and a rest, where parties take turns in what they do for a chunk."""
    size = 3 * CHUNK + 6784

    def layer(x: Any, y: Any, c: Any) -> list[Any]:
        return [mpc.nn.relu(x[: 800 * 400].reshape(800, 400) @ y[: 400 * 500].reshape(400, 500))]

    with talk(protocol, n, GATES.get(gate, layer), "zero", 7, size) as s:
        assert not complaints(s)


@each_setting
def test_what_a_party_receives_is_uniform_where_a_body_runs_in_chunks(protocol: str, n: int):
    if n > 3:
        pytest.skip("as with three parties, only longer")
    with talk(protocol, n, GATES["reciprocal"], "zero", 8, CHUNK + 640) as s:
        assert not complaints(s)


# ---- other widths: every kind of gate of `helper`, and slowly all gates of all protocols ----
WIDTHS = [mpc.fixed128(40), mpc.fixed32(8)]
SOME = {"multiply", "matmul", "truncate", "less", "equal", "thresholds", "relu", "where", "exp", "chain", "sort"}
IN_WIDTHS = [
    pytest.param(p, n, dtype, gate, marks=[] if p == "helper" and gate in SOME else [pytest.mark.slow])
    for dtype in WIDTHS
    for p, n in PRIVATE
    for gate in GATES
    if dtype.bits > 32 or gate != "reciprocal"  # for which 32 bits have no room
]


@pytest.mark.parametrize(("protocol", "n", "dtype", "gate"), IN_WIDTHS, ids=str)
def test_what_a_party_receives_is_uniform_in_words_of_another_width(protocol: str, n: int, dtype: mpc.DType, gate: str):
    with talk(protocol, n, GATES[gate], "extreme", 31, dtype=dtype) as s:
        assert not complaints(s, 100_000 * min(dtype.bits, 64) // 64)


@pytest.mark.parametrize("gate", ["less", "equal"])
def test_what_a_party_receives_is_uniform_by_wide_trees_of_two_limbs(gate: str):
    with talk("helper", 3, GATES[gate], "equal", 32, compare="wan", dtype=WIDTHS[0]) as s:
        assert not complaints(s)


@each_setting
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("zero", DEFAULT), ("equal", DEFAULT), *(pytest.param("equal", d, marks=pytest.mark.slow) for d in WIDTHS)],
    ids=str,
)
def test_the_orders_that_are_seen_are_random(protocol: str, n: int, kind: str, dtype: mpc.DType):
    """Whatever the data are: no order goes with another one, with the rows, or with the rows as they come out."""
    with talk(protocol, n, ORDERS["sort"], kind, 21, dtype=dtype) as s:
        backend = s._backend
        holders = set(backend.parties[0].holders)
        for me, view in enumerate(backend.views):
            seen = orders(view, s.settings.ring)
            assert len(seen) == (4 if me in holders else 0)  # two digits, and what three columns move by in the end
            for a, b in pairwise([np.arange(SIZE), *seen]):
                assert abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(SIZE) < SIGMAS
                assert np.count_nonzero(a == b) < 30


# ---- planted errors: the same tests see them ----
def constant_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every share is opened, or replicated, under the same mask."""

    def reusing(hide: Callable[..., Any]) -> Callable[..., Any]:
        def reuse(self: Any, *xs: Any) -> Any:
            for x in xs:
                while x.parent is not None:
                    x = x.parent
                x.origin = Origin(Name(0, 1), 0)
            return hide(self, *xs)

        return reuse

    monkeypatch.setattr(Additive, "masked", reusing(Additive.masked))
    monkeypatch.setattr(Replicated, "replicated", reusing(Replicated.replicated))


def no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ring, "mask", lambda self, x, stream: (self.solid(x), np.zeros_like(x)))


def one_stream_for_two_dealt_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words that hide beta hide r * beta as well: their difference tells beta where r is known, and r is not uniform."""
    deal = Ring.select_deal
    monkeypatch.setattr(Ring, "select_deal", lambda self, r, beta, b, rb: deal(self, np.ones_like(r), beta, b, b))


def biased(monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of every word that hides a bit opening is always 0."""
    blind = Ring.blind_bits

    def weak(self: Ring, x: np.ndarray, stream: Stream) -> np.ndarray:
        noise = blind(self, np.zeros_like(x), stream) & ~np.uint64(1 << 17)
        return np.asarray(self.solid(x) ^ noise)

    monkeypatch.setattr(Ring, "blind_bits", weak)


def no_zero_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A party's summand of a product is sent as it is."""
    monkeypatch.setattr(Replicated, "_with_zero", lambda self, z, name, at, bits: z)


PLANTED = [(constant_origin, "multiply"), (no_mask, "multiply"), (one_stream_for_two_dealt_words, "relu"), (biased, "and")]
IN_REPLICATED = [(no_zero_sharing, "multiply int"), *PLANTED[2:]]


@pytest.mark.parametrize(
    ("protocol", "n", "plant", "gate"),
    [
        *((p, n, *planted) for p, n in (("helper", 3), ("additive", 3)) for planted in PLANTED),
        *(("replicated", 3, *planted) for planted in IN_REPLICATED),
    ],
)
def test_planted_errors_are_found(monkeypatch, protocol: str, n: int, plant, gate: str):
    plant(monkeypatch)
    with talk(protocol, n, GATES[gate], "zero", seed=9) as s:
        assert complaints(s)


@pytest.mark.parametrize("dtype", WIDTHS, ids=str)
@pytest.mark.parametrize(("plant", "gate"), [(constant_origin, "multiply"), (biased, "less")])
def test_planted_errors_are_found_in_words_of_another_width(monkeypatch, dtype: mpc.DType, plant, gate: str):
    plant(monkeypatch)
    with talk("helper", 3, GATES[gate], "zero", seed=9, dtype=dtype) as s:
        assert complaints(s, 0)


# ---- the addresses of random words ----
TOKEN = object()  # what a kernel hides by itself: never the same twice
RHO = 19  # Field.RHO of the dealer protocols: hides a product
# kernel -> positions of: what is hidden (None: made inside), its size, keys, name, position in the stream
MASKS = {
    "mask_u64": (2, 3, 4, 5, 6),
    "prg_add_u64": (1, 2, 4, 6, 7),
    "prg_add_u32": (1, 2, 4, 6, 7),
    "prg_add_u128": (1, 2, 4, 6, 7),
    "prg_xor_u64": (1, 2, 3, 5, 6),
    "mul_pair_u64": (None, 5, 7, 8, 9),
    "mul_beaver_u64": (None, 5, 9, 10, 11),
    "chain_u64": (None, 5, 9, 11, 12),
    "compare_leaves": (None, 3, 10, 12, 13),
    "prg_u64": (None, 1, 2, 4, 5),
    "field_prg_add_u64": (1, 2, 4, 6, 7),
}
# expand a party's shares of dealt words, or serve the dealer
EXPAND = {
    *(
        "trunc_u64",
        "select_u64",
        "compare_level",
        "trunc_deal_u64",
        "chain_deal_u64",
        "select_deal_u64",
        "compare_deal",
        "lookup_deal_u64",
    ),
    *("spline_u64", "spline_deal_u64", "settled_u64", "bit_words_u64", "and_bits", "and_deal_bits"),
}


# words of a stream that an element takes, and of how many words positions are a multiple (`native/mpc_kernels.h`)
UNITS = {"prg_add_u32": 0.5, "prg_add_u128": 2}
ALIGNED = {"prg_xor_u64": 8, "prg_add_u128": 512}


class Use(NamedTuple):
    """Elements start .. stop - 1 of a stream, of `unit` words each, hide `what`."""

    start: int
    stop: int
    unit: float
    what: Any

    @property
    def words(self) -> tuple[float, float]:
        return self.start * self.unit, self.stop * self.unit

    def same(self, other: Use) -> bool:
        """Whether they hide the same where they overlap."""
        if self.what is TOKEN or other.what is TOKEN or self.unit != other.unit:
            return False
        first, last = max(self.start, other.start), min(self.stop, other.stop)
        return np.array_equal(*(u.what[first - u.start : last - u.start] for u in (self, other)))


class Recorder(Ring):
    """Notes under which address which words are hidden: (key, name) -> uses. `recorder` makes one of any ring."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[tuple[bytes, int], list[Use]] = {}

    def called(self, run: Callable[..., Any], kernel: str, *args: Any) -> None:
        run(*args)
        draws = any(isinstance(a, np.ndarray) and a.ndim == 2 and a.shape[1] == 176 for a in args)
        assert not draws or kernel in MASKS or kernel in EXPAND, f"this test does not know what {kernel} draws"
        if kernel not in MASKS:
            return
        what, *rest = MASKS[kernel]
        size, keys, name, at = (args[i] for i in rest)
        if kernel == "mul_beaver_u64" and args[8] is not None:
            return  # the dealt word is given
        if kernel == "prg_u64" and name & 0xFF != RHO:
            return  # expands a dealt word, or a mask again
        data = TOKEN if what is None or name & 0xFF == RHO else flat(args[what])
        if kernel != "mask_u64" and data is not TOKEN and not data.view(np.uint8).any():
            return  # the stream itself: a mask that is known to its owner, expanded again
        unit = 2 * len(self.primes) if kernel.startswith("field") else UNITS.get(kernel, 1)
        self.note(Stream(keys, name, at), size, data, unit)
        assert at * unit % ALIGNED.get(kernel, 2) == 0, f"{kernel} does not begin at element {at}"

    def note(self, stream: Stream, size: int, data: Any, unit: float) -> None:
        for key in stream.keys:
            use = Use(stream.at, stream.at + size, unit, data)
            self.hidden.setdefault((key.tobytes(), stream.name), []).append(use)

    # composed rings expand the stream first
    def mask(self, x: np.ndarray, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(self, Composed):
            self.note(stream, x.size, flat(x), self.drawn / 8)
        return super().mask(x, stream)

    # a dealer's masks and one-hots: nobody hides anything under them but these very bits
    def compare_deal(
        self, r: np.ndarray, what: Comparison, again: bool, hot: Stream, mask: Stream, ands: Stream
    ) -> list[np.ndarray]:
        planes, whole = self.compare_counts(what), -(-r.size // 512) * 512
        for name, stream in {"mask": mask, "ands": ands, **({} if again else {"hot": hot})}.items():
            if planes[name]:
                self.note(stream, whole, TOKEN, planes[name] / 64)
        return super().compare_deal(r, what, again, hot, mask, ands)

    def and_deal_bits(self, shape: tuple[int, ...], a: Stream, b: int, ab: int) -> np.ndarray:
        for stream in (a, structs.replace(a, name=b), structs.replace(a, keys=a.keys[:-1], name=ab)):
            self.note(stream, int(np.prod(shape)), TOKEN, 1)
        return super().and_deal_bits(shape, a, b, ab)

    def reused(self) -> list[str]:
        """Addresses that hide two different things."""
        out = []
        for (_, name), uses in self.hidden.items():
            uses.sort(key=lambda u: u.words)
            for i, use in enumerate(uses):
                for other in uses[i + 1 :]:
                    if other.words[0] >= use.words[1]:
                        break
                    if not use.same(other):
                        place = f"epoch {name >> 40}, node {name >> 8 & 0xFFFFFFFF}, field {name & 255}"
                        out.append(f"{place}, words {other.words[0]} to {min(use.words[1], other.words[1])}")
        return out


def flat(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).reshape(-1).copy()


def recorder(ring: Ring) -> Recorder:
    """The ring, as one that notes."""
    made = object.__new__(type("Recorder", (Recorder, type(ring)), {}))
    made.__dict__ |= {**vars(ring), "hidden": {}}
    made.kernels = copy(ring.kernels)
    made.kernels.__dict__ |= {k: partial(made.called, f, k) for k, f in vars(ring.kernels).items() if callable(f)}
    return made


def recorders(session: Session) -> list[Recorder]:
    """Of its processes that compute."""
    return [
        ring for p in session._backend.parties for ring in {p.ring, getattr(p, "exact", p.ring)} if isinstance(ring, Recorder)
    ]


def recorded(protocol: str, n: int, size: int, truncation: str = "dither", dtype: mpc.DType | None = None) -> list[Recorder]:
    """A session of several runs with many gates on shared operands, views and stored values."""
    rng = np.random.default_rng(11)
    side, narrow = size // 100, dtype is not None and dtype.bits == 32
    ring = Settings(truncation, dtype or mpc.fixed64(16)).ring
    with open_session(protocol, n, truncation, dtype, seed=13, ring=lambda: recorder(ring)) as s:
        x, y = s.input(rng.uniform(-2, 2, size), owner=0), s.input(rng.uniform(-2, 2, size), owner=n - 1)
        c = s.input(rng.random(size) < 0.5, owner=0)
        for _ in range(2):
            m = x.reshape(side, 100).T @ y.reshape(side, 100)
            z = [x * y, mpc.square(x), x * 0.3, mpc.nn.relu(x), mpc.nn.relu(x * y), x < y, x == y, x < 1, mpc.where(c, x, y)]
            z += [c & (x < 0), c * x, x[::-1] * x, x.reshape(2, -1)[:, ::-1] * y.reshape(2, -1), m, mpc.nn.relu(m), m.max(0)]
            z += [mpc.fori(0, 2, lambda i, v: mpc.nn.relu(v * y) + i, x), abs(x), x.reshape(side, 100).mean(0)]
            s.reveal(*z)
            z += [x * y * y * y, x * y * (x * y), mpc.nn.relu(x * y * x), mpc.nn.gelu(x), mpc.exp(y)]
            z += [mpc.nn.conv2d(x.reshape(1, side, 10, 10), y[: 9 * side].reshape(1, side, 3, 3), padding=1)]
            s.reveal(*z[-6:])
            z += [*mpc.sort_by(x, x, y, c, bits=8), *mpc.shuffle(x, c), mpc.sort(x.reshape(-1, 4)), mpc.sort(x[:200])]
            z += [mpc.random.bits(x, 70)]
            s.reveal(*z[-8:])
            some = [mpc.nn.sigmoid(x[:500]), mpc.exp(x[:500])]
            s.reveal(*some, *([] if narrow else [1 / (x + 3), mpc.log(x)]), *z[:3], to=0)
        s.reveal(x, y, c, to=n - 1)
        return recorders(s)


@pytest.mark.parametrize(
    ("protocol", "n"), [pytest.param(p, n, marks=[] if p == "helper" else [pytest.mark.slow]) for p, n in PRIVATE], ids=str
)
@pytest.mark.parametrize("dtype", WIDTHS, ids=str)
def test_no_random_word_hides_two_things_in_words_of_another_width(protocol: str, n: int, dtype: mpc.DType):
    parties = recorded(protocol, n, 600, dtype=dtype)
    assert sum(map(bool, (p.hidden for p in parties))) >= 2
    for me, party in enumerate(parties):
        assert not party.reused(), f"party {me}"


@each_setting
@pytest.mark.parametrize("size", [1000, 140_000])
def test_no_random_word_hides_two_things(protocol: str, n: int, size: int):
    if size > 1000 and n > 3:
        pytest.skip("as with three parties, only longer")
    parties = recorded(protocol, n, size)
    assert sum(map(bool, (p.hidden for p in parties))) >= 2
    for me, party in enumerate(parties):
        assert not party.reused(), f"party {me}"


LIMBS = [WIDTHS[0], mpc.field(2**61 - 1, 2**62 - 57, 2**63 - 25)]


def of_limbs(dtype: mpc.DType, compare: str) -> list[Recorder]:
    """Comparisons of words of several limbs in chunks, and at more values than one gate has words for."""
    ring = Settings(dtype=dtype).ring
    with open_session("helper", 3, dtype=dtype, ring=lambda: recorder(ring)) as s:
        s.compare = compare
        x, y = s.input(np.arange(CHUNK + 640)), s.input(np.arange(CHUNK + 640) // 2)
        z = [x == y]
        if not dtype.primes:
            z += [x < y, mpc.nn.relu(x - y), thresholds(x[:1000], list(range(-500, 1500, 100)))]
        s.reveal(*z)
        return recorders(s)


@pytest.mark.parametrize("compare", ["lan", "wan"])
@pytest.mark.parametrize("dtype", LIMBS, ids=str)
def test_limbs_have_words_of_their_own(dtype: mpc.DType, compare: str):
    parties = of_limbs(dtype, compare)
    fields = {name & 0xFF for party in parties for _, name in party.hidden}
    assert Field.HOT in fields
    assert dtype.primes or Field.TREE + 12 * 12 + 11 in fields
    assert not [text for party in parties for text in party.reused()]


@pytest.mark.parametrize("dtype", LIMBS, ids=str)
def test_a_mask_that_limbs_share_is_found(monkeypatch, dtype: mpc.DType):
    both = Additive.and_
    monkeypatch.setattr(Additive, "and_", lambda self, tape, x, y, field=0: both(self, tape, x, y, Field.TREE))
    assert [text for party in of_limbs(dtype, "lan") for text in party.reused()]


@each_setting
@pytest.mark.parametrize("truncation", ["floor", "nearest"])
def test_no_random_word_hides_two_things_in_exact_truncation(protocol: str, n: int, truncation: str):
    for me, party in enumerate(recorded(protocol, n, 1000, truncation)):
        assert not party.reused(), f"party {me}"


@pytest.mark.parametrize(("protocol", "n"), [("helper", 3), ("additive", 3), ("replicated", 3)])
def test_a_reused_mask_is_found(monkeypatch, protocol: str, n: int):
    constant_origin(monkeypatch)
    assert any(party.reused() for party in recorded(protocol, n, 1000))


# ---- reveals ----
@each_setting
@pytest.mark.parametrize("kind", ["numbers", "bits"])
def test_revealed_shares_are_randomised_anew(protocol: str, n: int, kind: str):
    """The receiver learns the value, not the share that the gates left: two reveals of one share have nothing in common."""
    data = np.random.default_rng(4).uniform(-8, 8, SIZE)
    with open_session(protocol, n, seed=17, record=True) as s:
        x = s.input(data, owner=1)
        y = x if kind == "numbers" else x < 0
        mpc.reveal(y, to=1)
        for receiver in range(n):
            said = []
            for _ in range(2):
                start = len(s._backend.views[receiver].received)
                y.reveal(to=receiver)
                said.append(s._backend.views[receiver].received[start:])
            assert said[0], f"party {receiver} received nothing"
            for (_, sender, a), (_, same, b) in zip(*said, strict=True):
                assert sender == same
                found = [*suspicious("minus", a - b), *suspicious("xor", a ^ b)]
                assert not found, f"party {receiver} from {sender}: {found}"

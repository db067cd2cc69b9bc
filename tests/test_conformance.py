"""Every operation of the language on every protocol against NumPy. A new protocol file is found by itself."""

from __future__ import annotations

import re
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import mpc
from mpc.errors import TypeMismatch, UsageError
from mpc.lang.session import Session
from mpc.run.chunks import CHUNK
from mpc.run.rehearse import rehearse

from .memory import open_session, settings
from .operations import OPERATIONS, ULP, Operation, results

SETTINGS = settings()
each_setting = pytest.mark.parametrize(("protocol", "n"), SETTINGS, ids=lambda v: str(v))


def test_three_parties_add_and_compare():
    with open_session("helper", 3) as s:
        x, y = s.input([1.0, -2.5], owner=0), s.input([3.0, 4.0], owner=1)
        assert ((x + y) * 2).reveal().tolist() == [8.0, 3.0]
        assert (x < y).reveal().tolist() == [True, True]


def evaluate(s: Session, operation: Operation) -> list[np.ndarray]:
    """The operation's results in one run; every party owns an input in turn."""
    arrays = [s.input(x, owner=i % s.n) for i, x in enumerate(operation.inputs)]
    return s.reveal(*results(operation.f(*arrays)))


def check(found: list[np.ndarray], operation: Operation) -> None:
    wanted = operation.oracle()
    assert len(found) == len(wanted)
    for k, (got, want) in enumerate(zip(found, map(np.asarray, wanted), strict=True)):
        assert got.shape == want.shape, f"result {k} has shape {got.shape}, not {want.shape}"
        bound = np.broadcast_to(operation.bound(), want.shape)
        if not np.any(bound) or want.dtype.kind == "b":
            assert got.dtype == want.dtype, f"result {k} has dtype {got.dtype}, not {want.dtype}"
            wrong = got != want
        else:
            wrong = ~(np.abs(got - want) <= bound)
        assert not wrong.any(), (
            f"result {k}: {np.count_nonzero(wrong)} of {want.size} are wrong, the first at {tuple(np.argwhere(wrong)[0])}: "
            f"{got[wrong][0]!r}, not {want[wrong][0]!r}"
        )


@each_setting
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_operation(operation: Operation, protocol: str, n: int):
    with open_session(protocol, n) as s:
        check(evaluate(s, operation), operation)


# ---- sessions of other rings: the same operations, on inputs that fit ----
WIDE, NARROW, FIELD = mpc.fixed128(16), mpc.fixed32(8), mpc.field(2**61 - 1)
ENDS, SCALE, GRID = "its domain ends elsewhere", "names a scale of 64 bits", "its public numbers are multiples of 2^-16"
LEFT_OUT = {  # why
    WIDE: {
        **{f"{f} of huge numbers": ENDS for f in ("reciprocal", "rsqrt", "sqrt", "log")},
        **dict.fromkeys(("asinh saturates", "divide by zero and by huge numbers"), ENDS),
    },
    NARROW: {
        **dict.fromkeys(("exp", "expm1", "exp saturates"), ENDS),
        **dict.fromkeys(("conv", "multiply domain ends"), SCALE),
        **dict.fromkeys(("nn.conv2d public filters", "nn.conv2d public images", "linear public"), GRID),
        "linear tails are exact": "its inputs are 2^-16 apart",
        **dict.fromkeys(("sin", "cos"), "without a gate the error is |x| 2^-15 (`plain`)"),
    },
    FIELD: {"divide int": "a quotient in a field is another number"},
}
# what a ring refuses, and how
FUNCTIONS = r"reciprocal|sqrt|\blog(\d|_|\b)|softmax|^divide$|divide (of|by)|power (of halves|negative)|\bstd\b"
FUNCTIONS += r"|\batan|\btan\b|asin|acosh|cbrt|layer_norm|batch_norm secret|cosine_similarity|cross entropy"
ORDER = r"^[<>]|absolute|max|\bsign\b|relu|fraction|fixed|mean|conv|exp|gelu|log of|sin |sort|public branches"
REFUSED = {
    WIDE: (r"(?!)", UsageError, ""),
    NARROW: (rf"^(?!approximate).*({FUNCTIONS})", UsageError, "32 bits have no room"),
    FIELD: (ORDER, TypeMismatch, "has no meaning in field"),
}
OWN = {"add int", "subtract int", "negative int", "multiply int", "matmul int wraps", "absolute int"}  # leave int64
QUICK = {  # every kind of gate: the rest of the product is slow
    *("add fixed", "sum axis", "index negative steps", "multiply", "multiply int", "multiply public fraction", "matmul"),
    *("nn.conv2d everything", "nn.conv_transpose2d", "< fixed", "< lowest int", "== fixed", "== all extremes", "logic long"),
    *("multiply bool", "where", "where public branch", "relu", "relu int", "to int64", "to bool", "mixed scales", "mean"),
    *("mean of int", "sigmoid", "exp", "sin of a matrix of int", "reciprocal", "log ends", "approximate sqrt", "permute"),
    *("sort", "sort long rows", "argmax int", "take and put at secret places", "fori compares", "dynamic_slice", "power"),
    *("function of a tree", "gradient of a layer", "add bool", "power of int", "where int", "concatenate bool"),
}


def fitted(x: np.ndarray, dtype: mpc.DType) -> np.ndarray:
    """Inputs made for words of 64 bits, in another ring: numbers keep their words' place near the ends of the range."""
    if dtype is WIDE or x.dtype.kind == "b" or not x.size:
        return x
    if dtype is FIELD:
        return np.asarray(np.fmod(x, dtype.primes[0]), np.int64)
    words = np.rint(x / ULP) if x.dtype.kind == "f" else x
    top = int(np.abs(words.astype(object)).max()).bit_length()
    if x.dtype.kind == "f":
        return np.rint(x * 2**8) / 2**8 if top <= 30 else np.fmod(words, 2.0 ** min(28, top - 32)) / 2**8
    return x if top <= 30 else x.astype(np.int32).astype(np.int64) if top > 62 else np.fmod(x, 1 << top - 32)


def in_ring(operation: Operation, dtype: mpc.DType) -> Operation:
    """The operation there, and what it gives: integers modulo the ring, reals in units of the scale, to one unit more where
    there are fewer bits."""
    exact = dtype is FIELD or (dtype is WIDE and operation.name in OWN)

    def integers(x: np.ndarray) -> np.ndarray:
        low, high = mpc.iinfo(mpc.DType("int", 0, dtype.ring))[1:3]
        signed = (x.astype(object) - low) % (high - low + 1) + low
        return np.asarray(signed, object if np.any((signed < -(2**63)) | (signed >= 2**63)) else np.int64)

    def expected(*inputs: np.ndarray) -> list[np.ndarray]:
        arrays = [x.astype(object) if exact and x.dtype.kind == "i" else x for x in inputs]
        with np.errstate(over="ignore"):
            found = list(map(np.asarray, results(operation.expected(*arrays))))
        return [integers(w) if w.dtype.kind in "iuO" else w for w in found]

    def tolerance(*inputs: np.ndarray) -> Any:
        bound = operation.tolerance(*inputs) if callable(operation.tolerance) else operation.tolerance
        real = any(np.asarray(w).dtype.kind == "f" for w in expected(*inputs))
        return bound * 2**8 + 2.0**-8 * real if dtype is NARROW else bound

    inputs = tuple(fitted(x, dtype) for x in operation.inputs)
    return Operation(operation.name, operation.f, inputs, expected, tolerance)


def conforms(operation: Operation, protocol: str, n: int, dtype: mpc.DType) -> None:
    """Right, at the cost that the rehearsal counts; or refused as it should be."""
    pattern, error, text = REFUSED[dtype]
    with open_session(protocol, n, dtype=dtype) as s:
        if re.search(pattern, operation.name):
            with pytest.raises(error, match=text):
                evaluate(s, in_ring(operation, dtype))
            return
        check(evaluate(s, in_ring(operation, dtype)), in_ring(operation, dtype))
        backend = s._backend
        cost = rehearse(backend.programs[-1], s.protocol, n)
        assert cost.rounds == backend.rounds
        assert {k: b for k, b in cost.links.items() if b} == {k: b for k, b in backend.links.items() if b}


def whole(operation: Operation) -> bool:
    return all(x.dtype.kind in "bi" for x in operation.inputs)


IN_RINGS = [
    pytest.param(o, p, n, dtype, id=f"{dtype}-{p}-{n}-{o}", marks=[] if n == 3 and o.name in QUICK else [pytest.mark.slow])
    for dtype in (WIDE, NARROW, FIELD)
    for p, n in SETTINGS
    for o in OPERATIONS
    if o.name not in LEFT_OUT[dtype] and (dtype is not FIELD or whole(o))
]


@pytest.mark.parametrize(("operation", "protocol", "n", "dtype"), IN_RINGS)
def test_operation_in_another_ring(operation: Operation, protocol: str, n: int, dtype: mpc.DType):
    conforms(operation, protocol, n, dtype)


def test_what_is_left_out_exists():
    names = {o.name for o in OPERATIONS}
    assert names >= QUICK | OWN
    assert all(names >= set(left) for left in LEFT_OUT.values())


# ---- large arrays, which run in chunks ----
LARGE = 140_000  # 700 times 200
assert LARGE > CHUNK
SIZES = [CHUNK, CHUNK + 1, 400_001]  # the last with a last chunk that fills no word of bits
EDGES = np.array([0, 1, -1, ULP, -ULP, 2.0**14, -(2.0**14) + ULP, 0.5])


@cache
def large(size: int, seed: int = 0) -> np.ndarray:
    """Multiples of 2^-16 with edge values first, last, and around the end of the first chunk."""
    x = np.rint(np.random.default_rng(seed).uniform(-100, 100, size) / ULP) * ULP
    for at in (0, size - len(EDGES), min(CHUNK, size) - len(EDGES) // 2 * 2):
        x[at : at + len(EDGES)] = EDGES[: size - at]
    return x


def dithered(found: np.ndarray, exact: np.ndarray) -> bool:
    """Every result is the floor or the ceiling of the exact value, in units of 2^-16."""
    return bool(np.isin(np.rint(found / ULP) - np.floor(exact / ULP), (0, 1)).all())


few_settings = pytest.mark.parametrize(("protocol", "n"), [(p, n) for p, n in SETTINGS if n < 5], ids=lambda v: str(v))


@few_settings
@pytest.mark.parametrize("size", SIZES)
def test_chunks_of_gates(protocol: str, n: int, size: int):
    """Products, relu, comparisons, selections, bits: alone and with operands that an earlier gate has opened."""
    X, Y, C = large(size), large(size, 1), np.random.default_rng(2).random(size) < 0.5
    with open_session(protocol, n) as s:
        x, y, c = s.input(X, owner=0), s.input(Y, owner=n - 1), s.input(C, owner=0)
        product, relu, less, chosen = s.reveal(x * y, mpc.nn.relu(x), x < y, mpc.where(c, x, y))
        assert dithered(product, X * Y)
        assert np.array_equal(relu, np.maximum(X, 0))
        assert np.array_equal(less, X < Y)
        assert np.array_equal(chosen, np.where(C, X, Y))
        # x and y are open now
        square, equal, flags, word = s.reveal(x * x, x == y, (x < 0) & c | ~c, c * x)
        assert dithered(square, X * X)
        assert np.array_equal(equal, X == Y)
        assert np.array_equal(flags, (X < 0) & C | ~C)
        assert np.array_equal(word, C * X)


@few_settings
@pytest.mark.parametrize("size", SIZES)
def test_chunks_of_views(protocol: str, n: int, size: int):
    """Reshaped, reversed and broadcast operands, before and after what they are made of has been opened."""
    X, V = large(size), EDGES[:3]
    with open_session(protocol, n) as s:
        x, v = s.input(X, owner=0), s.input(V, owner=n - 1)
        column, back = x.reshape(-1, 1), x[::-1]
        for _ in range(2):
            wide, relu, less, reverse = s.reveal(column * v, mpc.nn.relu(column), column < 0, back * x)
            assert dithered(wide, X[:, None] * V)
            assert np.array_equal(relu, np.maximum(X, 0)[:, None])
            assert np.array_equal(less, X[:, None] < 0)
            assert dithered(reverse, X[::-1] * X)
        dot = (column.T @ s.input(np.ones((size, 1)))).reveal()  # opens the view, not in chunks
        assert abs(dot[0, 0] - X.sum()) <= ULP
        relu, equal = s.reveal(mpc.nn.relu(column), column == x.reshape(size, 1))
        assert np.array_equal(relu, np.maximum(X, 0)[:, None])
        assert equal.all()


@few_settings
def test_chunks_with_public_operands(protocol: str, n: int):
    """A secret scalar with a large public array, a large secret with a public scalar, row and column."""
    X, scalar = large(LARGE), 2.5
    with open_session(protocol, n) as s:
        x, one, column = s.input(X), s.input(scalar), s.input(X[:500].reshape(500, 1))
        a, b, c, d = s.reveal(one * X, x * 0.75, x < X[::-1], mpc.where(x > 0, x, 0.5))
        assert dithered(a, scalar * X)
        assert dithered(b, 0.75 * X)
        assert np.array_equal(c, X < X[::-1])
        assert np.array_equal(d, np.where(X > 0, X, 0.5))
        public = large(500 * 300, 3).reshape(500, 300)
        wide, row = s.reveal(column * public, x.reshape(700, 200) * public[0, :200])
        assert dithered(wide, X[:500, None] * public)
        assert dithered(row, X.reshape(700, 200) * public[0, :200])


@few_settings
def test_chunks_within_functions_and_loops(protocol: str, n: int):
    X = large(LARGE)
    with open_session(protocol, n) as s:
        x = s.input(X)
        out = mpc.fori(0, 2, lambda i, c: mpc.nn.relu(c - 1), x)
        assert np.array_equal(out.reveal(), np.maximum(np.maximum(X - 1, 0) - 1, 0))


# ---- truncation: "floor" and "nearest" are exact, "dither" is one of the two neighbours ----
@each_setting
@pytest.mark.parametrize("size", [1000, CHUNK + 1])
@pytest.mark.parametrize("rounding", ["dither", "floor", "nearest"])
def test_truncation(protocol: str, n: int, rounding: str, size: int):
    rng = np.random.default_rng(5)
    X, Y = (rng.integers(-(1 << 24), 1 << 24, size) for _ in range(2))
    edges = [
        0,
        1,
        -1,
        (1 << 15),
        -(1 << 15),
        (1 << 15) + 1,
        (1 << 15) - 1,
        1 << 16,
        -(1 << 16),
        -(1 << 16) - 1,
        1 << 29,
        -(1 << 29),
    ]
    X[: len(edges)], Y[: len(edges)] = edges, 1
    X[len(edges) : 2 * len(edges)], Y[len(edges) : 2 * len(edges)] = edges, -1
    with open_session(protocol, n, truncation=rounding) as s:
        x, y = s.input(X * ULP), s.input(Y * ULP, owner=n - 1)
        product = (x * y).reveal() / ULP
        public = (x * (Y[0] * ULP)).reveal() / ULP if size == 1000 else None
    with open_session(protocol, n, truncation=rounding, seed=1) as s:
        fewer = s.input(X * ULP).astype(mpc.fixed64(8)).reveal() * 256
    for found, exact, bits in ((product, X * Y, 16), (public, X, 16), (fewer, X, 8)):
        if found is None:
            continue
        low = exact >> bits
        if rounding == "dither" and protocol != "plain":
            assert np.isin(found - low, (0, 1)).all()
            assert np.array_equal(found[exact % (1 << bits) == 0], low[exact % (1 << bits) == 0]), "a multiple is not moved"
        else:
            rounds = exact + (1 << bits - 1) if rounding != "floor" else exact
            assert np.array_equal(found, rounds >> bits)


@each_setting
def test_truncation_by_more_than_32_bits(protocol: str, n: int):
    X = np.array([0, 1, -1, 2.0**20, -(2.0**20), 0.5, -0.5, 1 - 2.0**-40, 2.0**-40, -(2.0**-40)])
    with open_session(protocol, n, dtype=mpc.fixed64(40)) as s:
        assert np.array_equal(s.input(X).astype(mpc.int64).reveal(), np.floor(X))


@each_setting
def test_dither_is_unbiased(protocol: str, n: int):
    """The mean of 40,000 truncations of 1/4 ulp is 1/4 ulp: its standard deviation is 0.0022."""
    if protocol == "plain":
        pytest.skip("rounds to nearest")
    with open_session(protocol, n) as s:
        found = (s.input(np.full(40_000, 0.25)) * s.input(ULP, owner=n - 1)).reveal() / ULP
    assert set(np.unique(found)) == {0.0, 1.0}
    assert abs(found.mean() - 0.25) < 0.011


# ---- who gives, who learns ----
@each_setting
def test_every_party_gives_and_any_parties_learn(protocol: str, n: int):
    """The in-memory backend checks that exactly the named parties hold the value."""
    X = np.arange(6.0).reshape(2, 3) - 2.5
    with open_session(protocol, n) as s:
        xs = [s.input(X + i, owner=i) for i in range(n)]
        bits = [s.input(X > i, owner=i) for i in range(n)]
        whole = [s.input(i - 2, owner=i) for i in range(n)]
        total, flags, integers = sum(xs[1:], xs[0]), bits[0], sum(whole[1:], whole[0])
        for b in bits[1:]:
            flags = flags ^ b
        sizes = range(1, n + 1) if n <= 3 else (1, 2, n)
        everyone = {to for size in sizes for to in combinations(range(n), size)}
        for to in sorted(everyone):
            assert np.array_equal(total.reveal(to=list(to)), sum(X + i for i in range(n)))
            assert np.array_equal(flags.reveal(to=list(to)), np.logical_xor.reduce([X > i for i in range(n)]))
            assert integers.reveal(to=to).tolist() == sum(i - 2 for i in range(n))


def test_new_protocol_is_found(tmp_path, monkeypatch):
    """A file dropped into the folder of protocols is in the suite: nothing else names it."""
    import shutil
    import sys

    import mpc.protocols as package
    from mpc.protocols.base import available

    source = available()["plain"].__module__
    shutil.copy(sys.modules[source].__file__, tmp_path / "clone.py")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mpc.protocols.clone", raising=False)
    assert {(p, n) for p, n in settings() if p == "clone"} == {("clone", 1), ("clone", 3), ("clone", 5)}
    for operation in OPERATIONS[::9]:
        with open_session("clone", 3) as s:
            check(evaluate(s, operation), operation)
    monkeypatch.delitem(sys.modules, "mpc.protocols.clone")
    monkeypatch.delattr(package, "clone")

"""Programs travel, are compared and are checked: what differs shows in the digest, what was tampered with is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

import mpc
from mpc.errors import ProgramMismatch, TypeMismatch
from mpc.ir.ops import OPS
from mpc.ir.program import Eqn, Program, Where, first_difference
from mpc.ir.types import BOOL, INT64, Type, fixed64
from mpc.lang.array import Settings, bind
from mpc.lang.core import shift_right
from mpc.lang.session import Session
from mpc.protocols.base import available

from ..memory import open_session
from ..operations import OPERATIONS, Operation, results


def planner(rounding: str = "dither") -> Session:
    """A session that only plans."""
    return Session(available()["helper"], "helper", 3, None, Settings(rounding))


def written(
    f: Callable[..., Any], *shapes: tuple[int, ...], rounding: str = "dither", owners: tuple[int, ...] = (0, 1, 2)
) -> Program:
    """The program that reveals f of fixed-point inputs."""
    s = planner(rounding)
    return s.equations(results(f(*(s.placeholder(shape, owner) for shape, owner in zip(shapes, owners, strict=False)))))


def test_a_program_reads_like_one():
    text = str(written(lambda x, y: x + y, (3,), (3,)))
    assert "%2: fixed64.16[3], secret = add(%0, %1)" in text
    assert "# test_program.py:" in text
    assert text.endswith("return %3")


def same(a: Program, b: Program) -> None:
    assert (a.params, a.outs, a.names, a.digest, str(a)) == (b.params, b.outs, b.names, b.digest, str(b))
    assert [t for t, _ in a.consts] == [t for t, _ in b.consts]
    assert all(np.array_equal(c, d) and c.dtype == d.dtype for (_, c), (_, d) in zip(a.consts, b.consts, strict=True))
    assert [(e.op, e.ins, e.types, e.where) for e in a.walk()] == [(e.op, e.ins, e.types, e.where) for e in b.walk()]


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_there_and_back(operation: Operation):
    s = planner()
    dtypes = {"b": BOOL, "i": INT64, "f": fixed64(16)}
    arrays = [s.placeholder(x.shape, i % 3, dtypes[x.dtype.kind]) for i, x in enumerate(operation.inputs)]
    program = s.equations(results(operation.f(*arrays)), names=["a", "b"])
    program.verify()
    again = Program.unpack(program.pack())
    same(program, again)
    assert again.pack() == program.pack()


def test_a_shared_body_travels_once():
    @mpc.function
    def layer(x):
        return mpc.nn.relu(x @ (x * 0.37))

    def stack(times: int) -> Program:
        def f(x):
            for _ in range(times):
                x = layer(x)
            return x

        return written(f, (4, 4))

    one, ten = (Program.unpack(stack(n).pack()) for n in (1, 10))
    assert len(ten.pack()) < 3 * len(one.pack())
    bodies = [e.body for e in ten.eqns if e.body is not None]
    assert len(bodies) == 10
    assert len({id(b) for b in bodies}) == 1


# ---- digests ----
DIFFERENT: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "another operation": (lambda x, y: x - y * 0.5, {}),
    "another constant": (lambda x, y: x + y * 0.25, {}),
    "operands swapped": (lambda x, y: y + x * 0.5, {}),
    "another parameter": (lambda x, y: (x + y * 0.5).sum(0), {}),
    "another axis": (lambda x, y: (x + y * 0.5).sum(1), {}),
    "an equation more": (lambda x, y: -(x + y * 0.5), {}),
    "two results": (lambda x, y: (x + y * 0.5, x), {}),
    "results swapped": (lambda x, y: (x, x + y * 0.5), {}),
    "inside a function": (lambda x, y: mpc.nn.relu(x + y * 0.5), {}),
    "inside another function": (lambda x, y: mpc.nn.sigmoid(x + y * 0.5), {}),
    "a loop": (lambda x, y: mpc.fori(0, 2, lambda i, c: c + y * 0.5, x), {}),
    "a longer loop": (lambda x, y: mpc.fori(0, 3, lambda i, c: c + y * 0.5, x), {}),
    "another body": (lambda x, y: mpc.fori(0, 3, lambda i, c: c - y * 0.5, x), {}),
    "another owner": (lambda x, y: x + y * 0.5, {"owners": (0, 2)}),
    "another rounding": (lambda x, y: x + y * 0.5, {"rounding": "floor"}),
}


def test_any_change_changes_the_digest():
    base = written(lambda x, y: x + y * 0.5, (3, 4), (3, 4))
    digests = {name: written(f, (3, 4), (3, 4), **options).digest for name, (f, options) in DIFFERENT.items()}
    digests["the program"] = base.digest
    digests["another shape"] = written(lambda x, y: x + y * 0.5, (4, 3), (4, 3)).digest
    assert len(set(digests.values())) == len(digests), digests


def test_receivers_change_the_digest():
    s = planner()
    x = s.placeholder((3,), 0)
    assert len({s.equations([x], [to]).digest for to in ([0], [1], [0, 1], [0, 1, 2])}) == 4


def test_source_lines_do_not_change_the_digest():
    def f(x, y):
        return x + y

    a = written(f, (3,), (3,))
    b = written(lambda x, y: x + y, (3,), (3,))
    assert str(a) != str(b)
    assert a.digest == b.digest


def test_names_cannot_imitate_other_equations():
    """A name is quoted: it cannot end its line and write another one."""
    s = planner()
    x, _y = s.placeholder((3,), 0, name="a"), s.placeholder((3,), 0, name="b")
    two = s.equations([x, _y])
    lines = str(two).splitlines()
    name = lines[1].split("name='", 1)[-1].split("'", 1)[0]
    assert name == "a"
    for forged in ("a owner=1", "a' owner=1", "a\n  %1: fixed64.16[3], secret = input()"):
        other = planner()
        program = other.equations([other.placeholder((3,), 0, name=forged)])
        assert len(str(program).splitlines()) == 4
        assert "owner=0" in str(program)


# ---- what was tampered with ----
def base() -> Program:
    return written(lambda x, y: mpc.fori(0, 3, lambda i, c: c * 0.5 + x[0], mpc.where(x < y, x, y)), (3, 4), (3, 4))


def changed(program: Program, which: str, /, **fields: Any) -> Program:
    """The program with fields of its first equation of this operation replaced."""
    eqns = list(program.eqns)
    at = next(i for i, e in enumerate(eqns) if e.op == which)
    eqns[at] = replace(eqns[at], **fields)
    return Program(program.params, program.consts, tuple(eqns), program.outs, program.names)


def body_of(program: Program) -> Program:
    body = next(e.body for e in program.eqns if e.op == "fori")
    assert body is not None
    return body


SECRET = Type((3, 4), fixed64(16), True)
TAMPERED: dict[str, Callable[[Program], Program]] = {
    "a secret called public": lambda p: changed(p, "select", types=(replace(SECRET, secret=False),)),
    "another shape": lambda p: changed(p, "select", types=(SECRET.with_shape((4, 3)),)),
    "another dtype": lambda p: changed(p, "sub", types=(SECRET.with_dtype(fixed64(8)),)),
    "a value from the future": lambda p: changed(p, "sub", ins=(0, 99)),
    "a negative value": lambda p: changed(p, "sub", ins=(0, -1)),
    "too few operands": lambda p: changed(p, "sub", ins=()),
    "too many operands": lambda p: changed(p, "ltz", ins=(0, 1)),
    "too many results": lambda p: changed(p, "sub", types=(SECRET, SECRET)),
    "an unknown operation": lambda p: changed(p, "sub", op="subtract"),
    "a method of the protocol": lambda p: changed(p, "sub", op="__init__"),
    "parameters missing": lambda p: changed(p, "input", params={}),
    "a truncation of integers by more than a word": lambda p: changed(
        written(lambda x: shift_right(x.astype(mpc.int64), 8), (3,)), "trunc", params={"bits": 64, "rounding": "floor"}
    ),
    "a rounding that does not exist": lambda p: changed(
        written(lambda x: x.astype(mpc.fixed64(8)), (3,)), "trunc", params={"bits": 8, "rounding": "up"}
    ),
    "a body for other types": lambda p: changed(p, "fori", ins=tuple(reversed(next(e for e in p.eqns if e.op == "fori").ins))),
    "a loop that changes its type": lambda p: changed(
        p, "fori", body=replace(body_of(p), outs=tuple(reversed(body_of(p).outs)))
    ),
    "a loop without an end": lambda p: changed(p, "fori", params={"times": -1}),
    "a body that is tampered with": lambda p: changed(p, "fori", body=changed(body_of(p), "add", ins=(0, 99))),
    "results that are not there": lambda p: replace(p, outs=(99,)),
    "a constant of another shape": lambda p: replace(p, consts=((Type((7,), INT64, False), p.consts[0][1]), *p.consts[1:])),
    "a secret constant": lambda p: replace(p, consts=((replace(p.consts[0][0], secret=True), p.consts[0][1]), *p.consts[1:])),
    "a revealed secret without reveal": lambda p: changed(p, "reveal", op="reshape", params={"shape": [3, 4]}),
}


@pytest.mark.parametrize("bits", [-1, 0, 62, 63, 64, 1 << 32])
def test_shifts_that_leave_a_word_are_refused(bits: int):
    """The kernels shift by as many bits as they are told."""
    x = planner().placeholder((3,), 0, INT64)
    with pytest.raises(TypeMismatch, match=rf"1 to 61 bits, not {bits} \(in trunc"):
        bind("trunc", x, bits=bits, rounding="floor")
    if bits:
        with pytest.raises(TypeMismatch, match=rf"0 to 61 bits, not {bits} \(in mul"):
            bind("mul", x, x, bits=bits, rounding="dither")


@pytest.mark.parametrize(("protocol", "n"), [("plain", 1), ("helper", 3), ("additive", 3), ("replicated", 3)])
def test_the_largest_shift_is_right(protocol: str, n: int):
    v = np.array([0, 1, -1, 1 << 61, (1 << 61) - 1, -(1 << 61), -(1 << 61) - 1, (1 << 62) - 1, -(1 << 62)])
    with open_session(protocol, n) as s:
        x = s.input(v)
        assert np.array_equal(shift_right(x, 61, "floor").reveal(), v >> 61)
        assert np.array_equal((x >> 61).reveal(), v >> 61)
        assert np.array_equal((x >> 63).reveal(), v >> 63)


@pytest.mark.parametrize("name", TAMPERED)
def test_verify_refuses(name: str):
    base().verify()
    program = TAMPERED[name](base())
    with pytest.raises(ProgramMismatch):
        program.verify()
    with pytest.raises(ProgramMismatch):
        Program.unpack(program.pack())


def test_every_operation_has_a_rule_that_refuses_nonsense():
    """No operands, or a bool and a number: a rule says no, or the program is refused for it."""
    for op in OPS:
        for ins in ((), (0, 1, 0, 1)):
            params = (Type((2,), BOOL), Type((3,), fixed64(16)))
            program = Program(params, (), (Eqn(op, ins, {}, (Type((5,), INT64),)),), (2,))
            with pytest.raises(ProgramMismatch):
                program.verify()


def test_unpack_refuses_what_is_no_program():
    good = base().pack()
    rng = np.random.default_rng(7)
    for data in (
        b"",
        b"\x00",
        b"\xc1",
        good[:-1],
        good[: len(good) // 2],
        good + b"\x00",
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode({"a": 1}),
        msgspec.msgpack.encode([[[[], [], [["fori", [], {}, [], 0, ["", 0]]], [], [], []], [5]]]),
        msgspec.msgpack.encode([[[[], [], [["fori", [], {}, [], 5, ["", 0]]], [], [], []], []]]),
    ):
        with pytest.raises(ProgramMismatch):
            Program.unpack(data)
    for _ in range(500):
        broken = bytearray(good)
        for at in rng.integers(0, len(good), 1 + rng.integers(3)):
            broken[at] ^= 1 << rng.integers(8)
        try:
            Program.unpack(bytes(broken)).verify()  # a changed constant or name is a program, too
        except ProgramMismatch as error:
            assert str(error)


# ---- the first difference in words ----
@pytest.mark.parametrize(
    ("mine", "theirs", "says"),
    [
        (lambda x: x + 1, lambda x: x * 2, ["equation 1", "`add`", "`mul`", "here", "there", "test_program.py:"]),
        (lambda x: x.sum(0), lambda x: x.sum(1), ["equation 1", "`sum`", "'axis': [0]", "'axis': [1]"]),
        (lambda x: mpc.nn.relu(x), lambda x: mpc.nn.relu(-x), ["equation 1", "`relu`", "`neg`"]),
        (lambda x: x + 1, lambda x: (x + 1) * 2, ["equation 2", "`reveal`", "`mul`"]),
        (lambda x: x + 1, lambda x: x + 2, ["constants"]),
        (
            lambda x: mpc.fori(0, 2, lambda i, c: c + x, x),
            lambda x: mpc.fori(0, 2, lambda i, c: c - x, x),
            ["`fori`", "inside", "`add`", "`sub`"],
        ),
        (lambda x: (x + 1) - x, lambda x: x - (x + 1), ["equation 2", "`sub`", "other operands"]),
        (lambda x: (x, x + 1), lambda x: (x,), ["equation 1", "`add`", "`reveal`"]),
    ],
)
def test_first_difference(mine, theirs, says):
    text = first_difference(written(mine, (3, 3)), written(theirs, (3, 3)))
    for part in says:
        assert part in text, text


def test_spans_do_not_overlap():
    """Every equation, in every iteration and body, has addresses of randomness of its own."""
    program = base()
    used: list[int] = []

    def count(p: Program, start: int) -> None:
        for e, offset in zip(p.eqns, p.schedule.offset, strict=True):
            used.append(start + offset)
            if e.body is not None:
                for i in range(e.params.get("times", 1)):
                    count(e.body, start + offset + 1 + i * e.body.span)

    count(program, 0)
    assert len(set(used)) == len(used)
    assert max(used) < program.span


def test_where_prints_as_a_place():
    assert str(Where("study.py", 12)) == "study.py:12"
    assert str(Where("", 0)) == ""

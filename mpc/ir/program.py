"""A program: equations in order, over numbered values. It has a text form, a binary form, a verifier and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ..errors import ProgramMismatch
from ..ring.ring import Ring
from ..ring.rings import ring_of
from .ops import OPS, result_types
from .types import DType, Type


class Where(NamedTuple):
    """The user's source line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else ""


NOWHERE = Where("", 0)  # inside the library


@dataclass(frozen=True, slots=True)
class Eqn:
    """outs = op(ins): values are numbers, see `Program`. `body`: the meaning of a derived operation, or what is repeated."""

    op: str
    ins: tuple[int, ...]
    params: dict[str, Any]
    types: tuple[Type, ...]
    body: Program | None = None
    where: Where = NOWHERE

    @property
    def span(self) -> int:
        """Addresses of randomness this equation reserves: its own, and those of its body (times its repetitions)."""
        inner = self.body.span if self.body else 0
        return 1 + inner * int(self.params.get("times", 1))


@dataclass(frozen=True)
class Program:
    """Values 0.. are the parameters, then the constants (public), then every equation's results in order."""

    params: tuple[Type, ...]
    consts: tuple[tuple[Type, np.ndarray], ...]
    eqns: tuple[Eqn, ...]
    outs: tuple[int, ...]
    names: tuple[str, ...] = field(default=())  # of the outputs, for messages

    @cached_property
    def span(self) -> int:
        return sum(e.span for e in self.eqns)

    @cached_property
    def ring(self) -> str:
        """The ring of all its values."""
        return next((t.dtype.ring for t in self.types), Ring.name)

    @cached_property
    def types(self) -> tuple[Type, ...]:
        """The type of every value."""
        return (*self.params, *(t for t, _ in self.consts), *(t for e in self.eqns for t in e.types))

    @cached_property
    def schedule(self) -> Schedule:
        return Schedule(self)

    def walk(self) -> Iterator[Eqn]:
        """Every equation, bodies included, each body as often as it is written (not as often as it runs)."""
        for e in self.eqns:
            yield e
            if e.body:
                yield from e.body.walk()

    def __str__(self) -> str:
        return "\n".join(self._lines("", where=True))

    def _lines(self, indent: str, where: bool) -> Iterator[str]:
        yield indent + "program(" + ", ".join(f"%{i}: {t}" for i, t in enumerate(self.params)) + ")"
        n = len(self.params)
        for i, (t, c) in enumerate(self.consts, n):
            digest = hashlib.blake2b(c.tobytes(), digest_size=16).hexdigest()
            yield f"{indent}  %{i}: {t} = constant {digest}"
        n += len(self.consts)
        for e in self.eqns:
            outs = ", ".join(f"%{i}: {t}" for i, t in enumerate(e.types, n))
            n += len(e.types)
            params = "".join(f" {k}={v!r}" for k, v in sorted(e.params.items()))
            comment = f"    # {e.where}" if where and e.where.line else ""
            yield f"{indent}  {outs} = {e.op}({', '.join(f'%{v}' for v in e.ins)}){params}{comment}"
            if e.body:
                yield from e.body._lines(indent + "    ", where)
        yield indent + "  return " + ", ".join(f"%{v}" for v in self.outs)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes over the text without source lines: equal iff the parties would compute the same."""
        return hashlib.blake2b(
            "\n".join(self._lines("", where=False)).encode(), digest_size=32, person=b"mpc program v1"
        ).digest()

    def verify(self) -> None:
        """Recomputes every type; raises ProgramMismatch for a program that no tracer would write."""
        for t, c in self.consts:
            if t.secret or c.shape != t.shape or c.dtype != _word(t):
                raise ProgramMismatch(f"a constant of type {t} holds {c.dtype}{list(c.shape)}")
        if len({t.dtype.ring for t in self.types}) > 1:
            raise ProgramMismatch(f"a program of several rings: {', '.join(sorted({t.dtype.ring for t in self.types}))}")
        types: list[Type] = [*self.params, *(t for t, _ in self.consts)]
        for e in self.eqns:
            if any(not 0 <= v < len(types) for v in e.ins):
                raise ProgramMismatch(f"{e.op} at {e.where} uses a value that is not defined before it")
            ins = [types[v] for v in e.ins]
            if e.body:
                e.body.verify()
                if e.body.params != tuple(ins):
                    raise ProgramMismatch(f"{e.op} at {e.where}: its body takes other types than it is given")
                expected = tuple(e.body.types[v] for v in e.body.outs)
                if e.op == "fori" and (expected != tuple(ins[: len(expected)]) or not e.params["times"] > 0):
                    raise ProgramMismatch(f"{e.op} at {e.where}: the body does not return what the next iteration takes")
            elif e.op in OPS:
                try:
                    expected = result_types(e.op, ins, e.params)
                except Exception as error:
                    raise ProgramMismatch(f"{e.op} at {e.where}: operands or parameters do not fit ({error})") from None
            else:
                raise ProgramMismatch(f"{e.op} at {e.where} is no operation of this version and has no body")
            if e.types != expected[: len(e.types)] or len(e.types) > len(expected):
                raise ProgramMismatch(f"{e.op} at {e.where} claims type {e.types}, but gives {expected}")
            types.extend(e.types)
        if any(not 0 <= v < len(types) for v in self.outs):
            raise ProgramMismatch("the program returns a value that it does not define")

    @cached_property
    def _text(self) -> tuple[bytes, tuple[Program, ...]]:
        """Its stored form without its bodies, and these, each once: equations name them by their place. Written once, for a
        library's bodies serve many programs."""
        bodies = {id(e.body): e.body for e in self.eqns if e.body is not None}
        place = {key: k for k, key in enumerate(bodies)}
        plain = [
            [_plain_type(t) for t in self.params],
            [[_plain_type(t), c.dtype.str, list(c.shape), np.ascontiguousarray(c).tobytes()] for t, c in self.consts],
            [
                [e.op, e.ins, _stored(e.params), [_plain_type(t) for t in e.types], place.get(id(e.body)), e.where]
                for e in self.eqns
            ],
            self.outs,
            self.names,
        ]
        return msgspec.msgpack.encode(plain), tuple(bodies.values())

    def pack(self) -> bytes:
        """Binary form. A body that occurs several times is stored once, before what uses it; the program is the last."""
        numbers: dict[int, int] = {}
        table: list[Any] = []

        def number(p: Program) -> int:
            if id(p) not in numbers:
                text, bodies = p._text
                entry = [msgspec.Raw(text), list(map(number, bodies))]
                numbers[id(p)] = len(table)
                table.append(entry)
            return numbers[id(p)]

        number(self)
        return msgspec.msgpack.encode(table)

    @staticmethod
    def unpack(data: bytes) -> Program:
        """The program of `pack`. Only numbers, strings and arrays are read: nothing is executed. Verified.

        Raises ProgramMismatch for anything else.
        """
        try:
            return Program._read(data)
        except ProgramMismatch:
            raise
        except Exception as error:
            raise ProgramMismatch(f"no program of this version ({type(error).__name__})") from None

    @staticmethod
    def _read(data: bytes) -> Program:
        programs: list[Program] = []

        def build(plain: list[Any], bodies: list[int]) -> Program:
            params, consts, eqns, outs, names = plain
            return Program(
                tuple(map(_type, params)),
                tuple(_constant(_type(t), dtype, shape, raw) for t, dtype, shape, raw in consts),
                tuple(
                    Eqn(
                        op,
                        tuple(ins),
                        _loaded(ps),
                        tuple(map(_type, ts)),
                        None if body is None else programs[bodies[body]],
                        Where(*where),
                    )
                    for op, ins, ps, ts, body, where in eqns
                ),
                tuple(outs),
                tuple(names),
            )

        for text, bodies in msgspec.msgpack.decode(data):
            programs.append(build(text, bodies))
        programs[-1].verify()
        return programs[-1]


SAME_ORDER = frozenset({"reshape", "retype"})  # what is opened of a result is open of the operand


class Schedule:
    """What an interpreter looks up: computed once per program."""

    def __init__(self, program: Program) -> None:
        first = len(program.params) + len(program.consts)
        first_out, offset, all_missing = list[int](), list[int](), list[int]()
        readers: list[list[int]] = [[] for _ in range(first)]
        self.forms: dict[int, set[int]] = {}  # value -> all values with its elements in the same order, if there are others
        value, node = first, 0
        for i, e in enumerate(program.eqns):
            first_out.append(value)
            offset.append(node)
            missing = 0
            for v in e.ins:
                readers[v].append(i)
                if v >= first:
                    missing += 1
            all_missing.append(missing)
            if e.op in SAME_ORDER:
                forms = self.forms.setdefault(e.ins[0], {e.ins[0]})
                forms.add(value)
                self.forms[value] = forms
            for _ in e.types:
                readers.append([])
                value += 1
            node += e.span if e.body else 1
        self.first_out = first_out  # number of each equation's first result
        self.offset, self.span = offset, node  # of its randomness addresses; all of them
        self.missing = all_missing  # operands that other equations produce
        self.readers = readers  # value -> equations that read it, once for each time
        self.uses = list(map(len, readers))  # value -> how often it is read, by the result too
        for v in program.outs:
            self.uses[v] += 1


def first_difference(mine: Program, theirs: Program, me: str = "here", them: str = "there") -> str:
    """In words: the first equation in which two programs differ."""
    for i, (a, b) in enumerate(zip(mine.eqns, theirs.eqns, strict=False)):
        if a.op != b.op:
            return f"equation {i}: `{a.op}` ({a.where}) {me}, `{b.op}` ({b.where}) {them}"
        if (a.params, a.types) == (b.params, b.types) and _operands(mine, a) != _operands(theirs, b):
            return f"equation {i}, `{a.op}` ({a.where}): takes other operands {me} than {them} ({b.where})"
        if (a.params, a.types) != (b.params, b.types):
            forms = [f"{', '.join(map(str, e.types))} {e.params}" for e in (a, b)]
            return f"equation {i}, `{a.op}` ({a.where}): {forms[0]} {me}, {forms[1]} {them}"
        if a.body and b.body and a.body.digest != b.body.digest:
            return f"equation {i}, `{a.op}` ({a.where}), inside: " + first_difference(a.body, b.body, me, them)
    if len(mine.eqns) != len(theirs.eqns):
        return f"{len(mine.eqns)} equations {me}, {len(theirs.eqns)} {them}"
    return "parameters, constants or outputs differ"


def _operands(p: Program, e: Eqn) -> list[tuple[str, int]]:
    """What an equation takes, however many parameters and constants come first."""
    first, start = len(p.params), len(p.params) + len(p.consts)
    return [("value", v - start) if v >= start else ("constant", v - first) if v >= first else ("input", v) for v in e.ins]


def _plain_type(t: Type) -> list[Any]:
    return [t.shape, t.secret, *t.dtype.plain]


def _type(plain: list[Any]) -> Type:
    shape, secret, *dtype = plain
    return Type(tuple(shape), DType(*dtype), secret)


def _word(t: Type) -> np.dtype[Any]:
    """Of a public value's elements."""
    return np.dtype(np.uint8) if t.dtype.is_bool else ring_of(t.dtype.ring).word


def _constant(t: Type, dtype: str, shape: Sequence[int], raw: bytes) -> tuple[Type, np.ndarray]:
    word = _word(t)
    return t, np.frombuffer(raw, word if dtype == word.str else dtype).reshape(shape)


def _stored(value: Any) -> Any:
    """A parameter in MessagePack's types: integers of more than 64 bits as text."""
    if isinstance(value, dict):
        return {k: _stored(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_stored(v) for v in value]
    large = isinstance(value, int) and not -(1 << 63) <= value < 1 << 64
    return {"integer": hex(value)} if large else value


def _loaded(value: Any) -> Any:
    """Inverse of `_stored`."""
    if isinstance(value, dict):
        return int(value["integer"], 16) if value.keys() == {"integer"} else {k: _loaded(v) for k, v in value.items()}
    return [_loaded(v) for v in value] if isinstance(value, list) else value

"""The only scheduler: runs a program over a protocol, as one step that merges the exchanges of all that is ready."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import GeneratorType
from typing import Any

import numpy as np
from msgspec.structs import replace

from ..ir.ops import BILINEAR, ELEMENTWISE_GATES, OPS, TREE, bilinear_map, index_key
from ..ir.program import NOWHERE, SAME_ORDER, Eqn, Program, Where
from ..ir.types import Type
from ..protocols.base import (
    OPERAND,
    Exchange,
    Origin,
    Part,
    Protocol,
    Share,
    Steps,
    Tape,
    Value,
    merge,
)
from ..protocols.plain import Plain
from ..ring.packed import Packed
from ..ring.prg import Name, Stream, expand_key, fresh_seed
from ..ring.ring import NARROW
from ..ring.rings import ring_of
from ..ring.shapes import blank, is_blank
from ..ring.words import words_for
from .chunks import CHUNK, Later, Steady, in_chunks, revealed_in_chunks
from .clock import Clock, Task

Observer = Callable[[Eqn, Where, Exchange], None]
WHOLE = Tape(Name(0, 0))  # of a run on all elements


@dataclass
class Context:
    """What an execution needs besides the program."""

    protocol: Protocol
    epoch: int
    inputs: dict[int, Part] = field(default_factory=dict)  # slot -> my own input values
    observe: Observer | None = None  # told of every exchange, the equation it belongs to and its line
    steady: Steady | None = None  # in a rehearsal: whether what remains of a loop can be counted
    # this party's own random words; None: blanks
    private: np.ndarray | None = field(default_factory=lambda: expand_key(fresh_seed(), "private"))
    clock: Clock | None = None  # told which equation is at work
    latest: tuple[Eqn, Where] | None = None  # that began, and the line of the equations around it: see `line_of`

    @property
    def at_work(self) -> Task | None:
        """The latest equation that began."""
        return Task(self.latest[0].op, str(line_of(*self.latest))) if self.latest else None

    @cached_property
    def clear(self) -> Protocol:
        """What computes on public values."""
        return Plain(0, 1, ring_of(self.protocol.ring.name), lambda peer, purpose: np.zeros((1, 176), np.uint8))


def interpret(
    program: Program,
    args: Sequence[Value],
    ctx: Context,
    base: int = 0,
    where: Where = NOWHERE,
    within: Callable[[], bool] = lambda: True,
    outside: Callable[[], Later] = Later,
    piece: Tape = WHOLE,
) -> Steps[list[Value]]:
    """The program's results. Every equation that is ready runs until it must wait; all that wait exchange at once.

    `base` is the first address of randomness: an equation's is a function of its place in the program alone. `where` is the
    line of equations that name none (bodies of library operations). `within`: whether the enclosing programs wait for this
    one alone. `outside`: what they do with the arguments and the results. `piece`: of which elements of an elementwise body
    this is a run; its first one alone takes rounds.
    """
    plan, eqns, clock, observe = program.schedule, program.eqns, ctx.clock, ctx.observe
    first_out, readers, offset = plan.first_out, plan.readers, plan.offset
    env: list[Any] = [*args, *(c for _, c in program.consts), *[None] * (len(readers) - len(args) - len(program.consts))]
    missing, uses = plan.missing.copy(), plan.uses.copy()
    ready = [i for i, count in enumerate(missing) if not count]
    live: dict[int, tuple[Name, Callable[[Any], Exchange]]] = {}
    waiting: dict[int, Exchange] = {}
    Name(ctx.epoch, base + plan.span)  # raises where addresses do not suffice
    first, observed = Name(ctx.epoch, base), clock is not None or observe is not None

    def finish(i: int, name: Name, result: Any) -> None:
        v = first_out[i]
        for k, value in enumerate(result[: len(eqns[i].types)] if type(result) is list else (result,), v):
            if type(value) is Share:
                made = value
                while made.parent is not None:
                    made = made.parent
                if made.origin is None:
                    made.origin = Origin(name, k - v, piece.at)
            if uses[k]:
                env[k] = value
            for j in readers[k]:
                missing[j] -= 1
                if not missing[j]:
                    heapq.heappush(ready, j)

    def alone() -> bool:
        return len(live) == 1 and not ready and within()

    def later(i: int) -> Later:
        eqn, beyond, made = eqns[i], outside(), first_out[i]
        given, taken = (dict(enumerate(flags)) for flags in beyond)

        def again(v: int) -> bool:
            forms = plan.forms.get(v, (v,))
            others = (w for j in live if j != i for w in eqns[j].ins)  # that have begun, and go on reading
            return any(uses[w] for w in forms) or any(w in forms for w in others) or any(map(given.get, forms))

        def goes_on(v: int) -> bool:
            return any(_goes_on(eqns[j]) for j in readers[v]) or any(
                taken.get(k, False) for k, w in enumerate(program.outs) if w == v
            )

        return Later(tuple(map(again, eqn.ins)), tuple(goes_on(made + k) for k in range(len(eqn.types))))

    def advance(i: int, inbox: Any) -> None:
        name, send = live[i]
        try:
            ex = send(inbox)
        except StopIteration as end:
            del live[i]
            finish(i, name, end.value)
            return
        waiting[i] = ex
        if observe is not None and (eqns[i].body is None or _defines(ctx.protocol, eqns[i].op)):
            observe(eqns[i], line_of(eqns[i], where), replace(ex, turn=False) if piece.chunk else ex)

    while True:
        while ready:
            i = heapq.heappop(ready)
            eqn, name = eqns[i], first.after(offset[i])
            ctx.latest = eqn, where
            ins = [env[v] for v in eqn.ins]
            for v in eqn.ins:
                uses[v] -= 1
                if not uses[v]:
                    env[v] = None  # what nobody reads any more is freed
            if clock is None:
                step = start(eqn, ins, ctx, name, where, alone, partial(later, i), piece)
            else:
                step = clock.call(eqn, line_of(eqn, where), start, eqn, ins, ctx, name, where, alone, partial(later, i), piece)
            if type(step) is GeneratorType:
                send = step.send
                live[i] = name, send if clock is None else partial(clock.call, eqn, line_of(eqn, where), send)
                if observed or ready or len(live) > 1:
                    advance(i, None)
                else:  # most often: nothing to merge
                    result = yield from step
                    del live[i]
                    finish(i, name, result)
            else:
                finish(i, name, step)
        if not waiting:
            return [env[v] for v in program.outs]
        merged, split = merge(list(waiting.values()))
        inboxes = split((yield merged))
        resumed, waiting = list(waiting), {}
        for i, inbox in zip(resumed, inboxes, strict=True):
            advance(i, inbox)


def line_of(eqn: Eqn, where: Where) -> Where:
    """The equation's line, or that of the one whose body it is in."""
    return eqn.where if eqn.where.line else where


def start(
    eqn: Eqn,
    ins: list[Value],
    ctx: Context,
    name: Name,
    where: Where,
    alone: Callable[[], bool],
    later: Callable[[], Later],
    piece: Tape = WHOLE,
) -> Any:
    """The equation's result (of the elements of this piece), if it is local, or the step that computes it."""
    op, protocol, result = eqn.op, ctx.protocol, eqn.types[0]

    def steady() -> Steady | None:
        """Where nothing else shares its rounds."""
        return ctx.steady if alone() else None

    if eqn.body is not None:
        if op == "fori":
            return _repeat(eqn, ins, ctx, name.node, line_of(eqn, where), alone)
        if not _defines(protocol, op):
            body = partial(interpret, eqn.body, ctx=ctx, base=name.node + 1, where=line_of(eqn, where))
            if piece is WHOLE and result.size > CHUNK and _elementwise(eqn, ins, protocol):
                return in_chunks(
                    lambda part, *xs: body(xs, piece=part), protocol, Tape(name), ins, result.shape, later(), steady
                )
            return body(ins, within=alone, outside=later, piece=piece)
    if not result.secret and ins and not any(isinstance(x, Share) for x in ins):
        if op == "reveal":  # of a constant, which nobody need be told
            return ins[0] if protocol.me in eqn.params["to"] else None
        if op in OPS:
            return _public(eqn, ins, ctx, Tape(name))
    if op in LOCAL:
        return LOCAL[op](protocol, ins, eqn.params)
    tape = Tape(name, piece.at, piece.chunk, eqn.params.get(TREE, NARROW))
    if op == "input":
        return protocol.share(tape, eqn.params["owner"], result.shape, result.dtype.is_bool, ctx.inputs.get(eqn.params["slot"]))
    if op == "random":
        return protocol.random(tape, result.shape, _coins(ctx, name, result))
    if op == "reveal":
        assert isinstance(ins[0], Share)
        if result.size > CHUNK:
            return revealed_in_chunks(partial(_reveal, protocol, eqn), protocol, tape, ins[0], steady)
        return _reveal(protocol, eqn, tape, ins[0])
    if piece is WHOLE and result.size > CHUNK and _elementwise(eqn, ins, protocol):
        return in_chunks(partial(_gate, protocol, eqn), protocol, tape, ins, result.shape, later(), steady)
    return _gate(protocol, eqn, tape, *ins)


def _reveal(protocol: Protocol, eqn: Eqn, tape: Tape, x: Share) -> Steps[Part | None]:
    """Of an integer of w bits the lowest w bits alone: those above would tell how it was computed."""
    dtype = eqn.types[0].dtype
    above = protocol.ring.bits - dtype.width if dtype.wraps else 0
    if above:
        x = yield from protocol.product(tape, bilinear_map("mul", {}), x, protocol.ring.of(1 << above), 0, "dither")
    value = yield from protocol.reveal(tape, x, tuple(eqn.params["to"]))
    if not above or not isinstance(value, np.ndarray) or is_blank(value):
        return value
    return value >> np.uint64(above)  # a word of 64 bits; who only receives has a ring of shapes


def _coins(ctx: Context, name: Name, t: Type) -> Part:
    """Uniform bits or words that this party alone knows."""
    words, ring = (words_for(t.size),), ctx.clear.ring
    if ctx.private is None:
        return Packed(blank(words), t.shape) if t.dtype.is_bool else blank(t.shape, ring.word)
    stream = Stream(ctx.private, name.field(0))
    return Packed(ring.packed(words, stream), t.shape) if t.dtype.is_bool else ring.prg(t.shape, stream)


def _defines(protocol: Protocol, op: str) -> bool:
    """Whether the protocol has a gate of its own for a derived operation."""
    return getattr(protocol, op, None) is not None


def _elementwise(eqn: Eqn, ins: Sequence[Value], protocol: Protocol) -> bool:
    """Whether element i of every result depends on element i of the operands alone, and on public numbers."""
    size = eqn.types[0].size
    if not all(x.size == size or (x.size == 1 and not isinstance(x, Share)) for x in ins):
        return False
    return _streams(eqn, size, protocol)


def _streams(eqn: Eqn, size: int, protocol: Protocol) -> bool:
    """Whether an equation of so many elements works element by element, all that its body does included."""
    if eqn.body is None or _defines(protocol, eqn.op):
        return OPS[eqn.op].elementwise if eqn.op in OPS else eqn.op in ELEMENTWISE_GATES
    body = eqn.body
    given, made = body.types[: len(body.params)], body.types[len(body.params) :]
    return (
        eqn.op != "fori"
        and all(t.size == size if t.secret else t.size in (1, size) for t in given)
        and all(t.size == size if t.secret else not t.shape for t in made)
        and all(t.secret for t in eqn.types)
        and all(_streams(e, size, protocol) for e in body.eqns)
    )


def _gate(protocol: Protocol, eqn: Eqn, tape: Tape, *xs: Value) -> Steps[Share]:
    op, params = eqn.op, eqn.params
    if op in BILINEAR:
        return protocol.product(tape, bilinear_map(op, params), xs[0], xs[1], params["bits"], params["rounding"])
    if TREE in params:  # the tape says it to whatever compares
        params = {k: v for k, v in params.items() if k != TREE}
    if op == "and_" and not all(isinstance(x, Share) for x in xs):
        x, c = (xs[0], xs[1]) if isinstance(xs[0], Share) else (xs[1], xs[0])
        return _now(protocol.mask_bits(x, np.broadcast_to(c, x.shape)))  # type: ignore[arg-type]
    step: Steps[Share] = getattr(protocol, op)(tape, *(_shared(protocol, x, tape, k) for k, x in enumerate(xs)), **params)
    return step


def _now(value: Share) -> Steps[Share]:
    """A step without an exchange."""
    yield from ()
    return value


def _shared(protocol: Protocol, x: Value, tape: Tape, k: int) -> Share:
    """A public operand as a share."""
    if isinstance(x, Share):
        return x
    share = protocol.constant(x)
    share.origin = Origin(tape.name, OPERAND + k, tape.at)
    return share


def _goes_on(eqn: Eqn) -> bool:
    """Whether it may use what was opened of its operand, or to truncate it."""
    return eqn.body is not None or eqn.op == "mul" or eqn.op in SAME_ORDER


def _repeat(eqn: Eqn, ins: list[Value], ctx: Context, node: int, where: Where, alone: Callable[[], bool]) -> Steps[list[Value]]:
    """`times` runs of the body on the carried values; the other operands stay."""
    assert eqn.body is not None
    carried, times = len(eqn.types), eqn.params["times"]
    values, rest = ins[:carried], ins[carried:]
    later = Later((False,) * carried + (True,) * len(rest), (True,) * carried)
    for i in range(times):
        args = [*values, *rest]
        values = yield from interpret(eqn.body, args, ctx, node + 1 + i * eqn.body.span, where, alone, lambda: later)
        # nothing else shares the rounds of a loop that is alone, so the iterations that remain can be counted by one
        if ctx.steady is not None and alone() and ctx.steady(node, i + 1, times, [*values, *rest]):
            break
    return values


def _public(eqn: Eqn, ins: Sequence[Value], ctx: Context, tape: Tape) -> Value:
    """An operation on public values alone: computed in the clear by everyone."""
    shares = [ctx.clear.constant(x) for x in ins if not isinstance(x, Share)]
    result: Any = LOCAL[eqn.op](ctx.clear, shares, eqn.params) if eqn.op in LOCAL else _gate(ctx.clear, eqn, tape, *shares)
    if isinstance(result, Generator):
        try:
            next(result)
        except StopIteration as end:
            result = end.value
    part: Part = result.parts[0]
    return part.bytes() if isinstance(part, Packed) else part


def _add(p: Protocol, ins: Sequence[Any], params: dict[str, Any]) -> Value:
    x, y = ins
    if isinstance(x, Share) and isinstance(y, Share):
        return p.add(x, y)
    return p.add_public(x, y) if isinstance(x, Share) else p.add_public(y, x)


def _sub(p: Protocol, ins: Sequence[Any], params: dict[str, Any]) -> Value:
    x, y = ins
    if isinstance(x, Share) and isinstance(y, Share):
        return p.sub(x, y)
    return p.add_public(x, p.ring.neg(y)) if isinstance(x, Share) else p.add_public(p.neg(y), x)


def _xor(p: Protocol, ins: Sequence[Any], params: dict[str, Any]) -> Value:
    x, y = ins
    if isinstance(x, Share) and isinstance(y, Share):
        return p.xor(x, y)
    return p.add_public(x, y) if isinstance(x, Share) else p.add_public(y, x)


def _take(p: Protocol, ins: Sequence[Any], params: dict[str, Any]) -> Value:
    x, start = ins
    if isinstance(start, Share):  # the clear protocol, on public values
        start = start.parts[0]
    begin, length = int(ring_of(p.ring.name).integers(start)), params["length"]
    if not 0 <= begin <= x.shape[0] - length:
        raise IndexError(f"rows {begin} to {begin + length} of {x.shape[0]}")
    return p.rearrange(x, lambda a: a[begin : begin + length], whole=False)


def _concatenate(p: Protocol, ins: Sequence[Any], params: dict[str, Any]) -> Value:
    return p.concatenate([x if isinstance(x, Share) else p.constant(x) for x in ins], params["axis"])


LOCAL: dict[str, Callable[[Protocol, Sequence[Any], dict[str, Any]], Value]] = {
    "add": _add,
    "sub": _sub,
    "neg": lambda p, ins, params: p.neg(ins[0]),
    "xor": _xor,
    "cumsum": lambda p, ins, params: p.cumsum(ins[0], params["axis"]),
    "sum": lambda p, ins, params: p.sum(ins[0], tuple(params["axis"])),
    "reshape": lambda p, ins, params: p.reshape(ins[0], tuple(params["shape"])),
    "transpose": lambda p, ins, params: p.rearrange(ins[0], lambda a: a.transpose(params["axes"])),
    "broadcast": lambda p, ins, params: p.rearrange(ins[0], lambda a: np.broadcast_to(a, tuple(params["shape"]))),
    "index": lambda p, ins, params: p.rearrange(ins[0], lambda a: a[index_key(params["key"])], whole=False),
    "take": _take,
    "concatenate": _concatenate,
    "retype": lambda p, ins, params: ins[0],  # the same share, so that what is opened of it serves both
}

"""Gradients: a function is traced into a program, the program runs here once more and remembers, then is walked backwards.

`RULES` (`slopes.py`) has one row an operation: what reaches its operands, given what reaches its result. A derived operation
without a row is taken apart into its body. A gradient travels as an array and a power of two, so that the 1/128 of a mean
costs nothing and takes no precision before the end. Masks opened forward serve backward: the gradients of x @ w open nothing
of x and w again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import UsageError
from ..ir.program import Eqn, Program, Where
from . import core, views
from .array import Array, Scope, scope_of, whole
from .core import add, astype, multiply, subtract
from .creation import zeros_like
from .function import flatten, fori, trace, unflatten
from .manipulation import concatenate
from .slopes import RULES, Call, Cotangent, Gradient
from .views import broadcast_to, reshape

UNROLL = 8  # loops of so few iterations are written out; longer ones keep what they carry, and compute the rest again


class Value:
    """A value of the program that is walked: its array, whether a gradient goes through it, and what has reached it."""

    __slots__ = ("active", "array", "reached")

    def __init__(self, array: Array, active: bool = False) -> None:
        self.array, self.active = array, active
        self.reached: Cotangent | None = None


class Tape:
    """The equations that a gradient goes through, in order; and the first that let none through."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.steps: list[tuple[Callable[[list[Cotangent | None]], Sequence[Cotangent | None]], list[Value], list[Value]]] = []
        self.stopped: tuple[str, Where] | None = None

    def run(self, program: Program, values: Sequence[Value], where: Where) -> list[Value]:
        """The program's results, recorded."""
        env = [*values, *(Value(Array(self.scope.graph.constant(t, c), self.scope)) for t, c in program.consts)]
        for e in program.eqns:
            env.extend(self._equation(e, [env[v] for v in e.ins], e.where if e.where.line else where))
        return [env[v] for v in program.outs]

    def emit(self, e: Eqn, ins: Sequence[Value], where: Where) -> list[Array]:
        """The equation once more, as it is."""
        nodes = self.scope.graph.bind(e.op, [v.array.node for v in ins], e.params, e.body, where)
        return [Array(n, self.scope) for n in nodes]

    def _equation(self, e: Eqn, ins: list[Value], where: Where) -> Sequence[Value]:
        if not any(v.active for v in ins):
            return [Value(a) for a in self.emit(e, ins, where)]
        if all(t.dtype.is_bool for t in e.types) or self._jumps(e):
            self.stopped = self.stopped or (e.op, where)
            return [Value(a) for a in self.emit(e, ins, where)]
        if e.op == "fori":
            return self._loop(e, ins, where)
        rule = RULES.get(e.op)
        if rule is None:
            if e.body is None:
                raise UsageError(
                    f"{e.op} at {where} has no gradient: keep it out of the function, or reveal what it needs before"
                )
            return self.run(e.body, ins, where)
        arrays = [v.array for v in ins]
        saved = None
        if rule.forward is not None:
            out, saved = rule.forward(arrays, e.params)
            outs = [Value(out, True)]
        else:
            outs = [Value(a, not a.dtype.is_bool) for a in self.emit(e, ins, where)]
        call = Call(e.op, e.params, arrays, [v.array for v in outs], [v.active for v in ins], saved)

        def pull(reached: list[Cotangent | None]) -> list[Cotangent | None]:
            found: list[Cotangent | None] = [None] * len(ins)
            for k, g in enumerate(reached):
                if g is not None:  # several results have operands of their own
                    parts = rule.backward(call._replace(result=k), g.array)
                    found = [_further(x, g.shift) or before for x, before in zip(parts, found, strict=True)]
            return found

        self.steps.append((pull, ins, outs))
        return outs

    def _jumps(self, e: Eqn) -> bool:
        """Whether a truncation makes integers: the whole fraction goes, or floor is asked for where products do otherwise."""
        if e.op != "trunc":
            return False
        floored = e.params["rounding"] == "floor" != self.scope.settings.rounding
        return floored if e.types[0].dtype.kind == "int" else e.types[0].dtype.fraction == 0

    def _loop(self, e: Eqn, ins: list[Value], where: Where) -> Sequence[Value]:
        assert e.body is not None
        body, times, carried = e.body, int(e.params["times"]), len(e.types)
        start, carry, rest = ins[0], ins[1:carried], ins[carried:]
        if times <= UNROLL:
            values = [start, *carry]
            for _ in range(times):
                values = self.run(body, [*values, *rest], where)
            return values

        def forward(i: Array, state: Any) -> Any:
            now, kept = state
            tape = Tape(scope_of(i))
            after = tape.run(body, [Value(add(start.array, i)), *map(Value, now), *(Value(v.array) for v in rest)], where)
            # the last `times` values of each, like a shift register: exact and local
            kept = [concatenate([k[1:], views.expand_dims(x)], 0) for k, x in zip(kept, now, strict=True)]
            return [v.array for v in after[1:]], kept

        first = [v.array for v in carry]
        room = [broadcast_to(views.expand_dims(x), (times, *x.shape)) for x in first]
        results, kept = fori(0, times, forward, (first, room))
        active = [v.array.dtype.kind == "fixed" for v in carry]
        outs = [Value(add(start.array, times)), *(Value(a, on) for a, on in zip(results, active, strict=True))]
        varying = [v for v in rest if v.active]

        def pull(reached: list[Cotangent | None]) -> list[Cotangent | None]:
            def back(k: Array, state: Any) -> Any:
                of_carry, of_rest = state
                i = subtract(times - 1, k)
                tape = Tape(scope_of(k))
                now = [
                    Value(reshape(views.dynamic_slice(s, i, 1), s.shape[1:]), on) for s, on in zip(kept, active, strict=True)
                ]
                others = [Value(v.array, v.active) for v in rest]
                after = tape.run(body, [Value(add(start.array, i)), *now, *others], where)
                arrived = iter(of_carry)
                for value, on in zip(after[1:], active, strict=True):
                    if on:
                        _reach(value, Cotangent(next(arrived)))
                tape.back()
                fixed = [v for v, on in zip(now, active, strict=True) if on]
                mine = [v for v in others if v.active]
                return (
                    [_settled(v) for v in fixed],
                    [add(total, _settled(v)) for total, v in zip(of_rest, mine, strict=True)],
                )

            finals = [v for v, on in zip(outs[1:], active, strict=True) if on]
            init = ([add(zeros_like(v.array), _settled(v)) for v in finals], [zeros_like(v.array) for v in varying])
            of_carry, of_rest = fori(0, times, back, init)
            carries, others = iter(of_carry), iter(of_rest)
            return [
                None,
                *(Cotangent(next(carries)) if on else None for on in active),
                *(Cotangent(next(others)) if v.active else None for v in rest),
            ]

        self.steps.append((pull, ins, outs))
        return outs

    def back(self) -> None:
        """From what has reached the results to what reaches everything before them."""
        for pull, ins, outs in reversed(self.steps):
            reached = [v.reached for v in outs]
            if all(r is None for r in reached):
                continue
            for value, found in zip(ins, pull(reached), strict=True):
                if value.active and found is not None:
                    _reach(value, found)


def _further(x: Gradient, shift: int) -> Cotangent | None:
    if x is None:
        return None
    return Cotangent(x.array, x.shift + shift) if isinstance(x, Cotangent) else Cotangent(x, shift)


def _reach(value: Value, g: Cotangent) -> None:
    """Adds what reaches a value over another way."""
    dtype = value.array.dtype
    if g.array.type.secret and dtype.kind == "fixed" and g.array.dtype.fraction > dtype.fraction:  # a public factor stays fine
        g = g._replace(array=astype(g.array, dtype))
    if g.array.shape != value.array.shape:
        g = g._replace(array=broadcast_to(g.array, value.array.shape))
    before = value.reached
    if before is None:
        value.reached = g
        return
    low, high = sorted((before, g), key=lambda c: c.shift)
    if high.shift - low.shift <= 12:  # exact while a word has the room
        lifted = _scaled(high.array, high.shift - low.shift)
        value.reached = Cotangent(add(low.array, lifted), low.shift)
    else:
        value.reached = Cotangent(add(_scaled(low.array, low.shift - high.shift), high.array), high.shift)


def _scaled(x: Array, shift: int) -> Array:
    """x 2^shift."""
    if shift < 0:
        return core.shift_right(x if x.dtype.kind == "fixed" else astype(x, scope_of(x).settings.dtype), -shift)
    return multiply(x, 1 << shift) if shift else x


def _settled(value: Value) -> Array:
    """What has reached a value, as an array of its shape and dtype."""
    if value.reached is None:
        return zeros_like(value.array)
    x, g = value.array, value.reached
    found = _scaled(astype(g.array, x.dtype), g.shift)
    return found if found.type.secret else add(zeros_like(x), found)


# ---- what users call ----
def value_and_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns (f(...), gradient), by one walk backwards through f.

    f returns one number of fixed point (with has_aux: that and anything else, which is passed on). argnums: the positional
    arguments to differentiate by; each is an array or a tuple, list or dict of arrays, and its gradient is alike. Other
    arguments and arrays from outside are constants. Through comparisons, bits and integers no gradient goes: where nothing else
    reaches the result, UsageError names the line. A gradient costs about twice what f costs; what nobody uses is not computed.
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    name = getattr(f, "__name__", "function")

    def call(*args: Any, **kwargs: Any) -> Any:
        counts = [len(flatten(a)[0]) for a in args]
        if not all(-len(args) <= k < len(args) for k in numbers):
            raise UsageError(f"argnums={argnums}: {name} is called with {len(args)} positional arguments")
        chosen = [k % len(args) for k in numbers]
        leaves, structure = flatten((args, kwargs))
        wanted = [k in chosen for k, count in enumerate(counts) for _ in range(count)]
        wanted += [False] * (len(leaves) - len(wanted))
        for leaf, on in zip(leaves, wanted, strict=True):
            if on and leaf.dtype.kind != "fixed":
                raise UsageError(
                    f"the gradient of {name} by {leaf.type} is not defined: convert it with .astype(mpc.fixed64())"
                )
        scope = scope_of(*leaves)

        def run(arrays: list[Array]) -> Any:
            positional, named = unflatten(structure, arrays)
            return f(*positional, **named)

        traced = trace(f, [x.type for x in leaves], run, scope)
        values = [Value(x, on) for x, on in zip(leaves, wanted, strict=True)]
        tape = Tape(scope)
        outs = tape.run(traced.program, [*values, *(Value(Array(n, scope)) for n in traced.lifted)], Where("", 0))
        loss = outs[0]
        if loss.array.size != 1 or loss.array.dtype.kind != "fixed" or (len(outs) > 1 and not has_aux):
            raise UsageError(
                f"{name} returns {loss.array.type}{' and more' if len(outs) > 1 else ''}: a gradient is taken of one number of "
                "fixed point; sum or average it, or return (number, rest) with has_aux=True"
            )
        if not loss.active and tape.stopped:
            op, where = tape.stopped
            raise UsageError(
                f"no gradient of {name} reaches its arguments: {op} at {where} has none (it is flat, and jumps). "
                "Put something smooth in its place, e.g. mpc.nn.sigmoid(x) for x > 0"
            )
        if loss.active:
            loss.reached = Cotangent(whole(np.ones(loss.array.shape, np.int64), scope))
            tape.back()
        found = [_settled(v) if v.active else None for v in values]
        first = np.cumsum([0, *counts])
        trees = [unflatten(flatten(args[k])[1], found[first[k] : first[k + 1]]) for k in chosen]
        result = unflatten(traced.structure, [v.array for v in outs])
        return result, trees[0] if isinstance(argnums, int) else tuple(trees)

    return call


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of f; see `value_and_grad`. With has_aux: (gradient, the rest that f returns)."""
    both = value_and_grad(f, argnums, has_aux)

    def call(*args: Any, **kwargs: Any) -> Any:
        result, gradient = both(*args, **kwargs)
        return (gradient, result[1]) if has_aux else gradient

    return call

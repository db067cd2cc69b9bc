"""The shadow of a local run: the same program in the clear, every operation compared with float64.

Of each equation the operands that the ring computed so far are taken, the operation is done both as the `plain` protocol does
it and as NumPy does it in float64, and the first result that is farther off than the operation promises stops the run with
its source line. So an overflow is found where it happens, not where its consequences show. Only where one process holds all
inputs: in a local session.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShadowError
from ..ir.ops import OPS
from ..ir.program import NOWHERE, Eqn, Program, Where
from ..ir.types import Type
from ..protocols.base import Part, Share, Steps, Value
from ..protocols.plain import Plain
from ..ring.packed import Packed
from ..ring.prg import Name
from ..ring.ring import Ring
from ..ring.rings import ring_of
from .chunks import Later
from .interpret import Context, start

Real = Callable[..., np.ndarray]


class Reference(NamedTuple):
    """What an operation means in float64, and how far off a result y may be: absolute + relative |y| + 4 units of 2^-f.
    Functions also take the equation's parameters that they name."""

    f: Real
    absolute: float = 0.0
    relative: float = 0.0
    takes: tuple[str, ...] = ()


def _places(kernel: Sequence[int], space: Sequence[int], stride: Any, dilation: Any) -> Any:
    """(place in the kernel, the pixels that it meets) for `space` steps of a window."""
    for place in np.ndindex(*kernel):
        sides = zip(place, space, stride, dilation, strict=True)
        yield place, (Ellipsis, *(slice(i * d, i * d + s * (n - 1) + 1, s) for i, n, s, d in sides))


def _conv(x: np.ndarray, w: np.ndarray, stride: Any, padding: Any, dilation: Any, groups: int) -> np.ndarray:
    x, kernel = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)]), w.shape[2:]
    space = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    x, w = x.reshape(x.shape[0], groups, -1, *x.shape[2:]), w.reshape(groups, -1, *w.shape[1:])
    out = np.zeros((x.shape[0], groups, w.shape[1], *space))
    for place, seen in _places(kernel, space, stride, dilation):
        out += np.einsum("ngc...,goc->ngo...", x[seen], w[(..., *place)])
    return out.reshape(out.shape[0], -1, *space)


def _conv_transposed(
    x: np.ndarray, w: np.ndarray, stride: Any, padding: Any, dilation: Any, groups: int, extra: Any
) -> np.ndarray:
    kernel, space = w.shape[2:], x.shape[2:]
    sides = zip(space, kernel, stride, dilation, extra, strict=True)
    whole = [(n - 1) * s + d * (k - 1) + 1 + e for n, k, s, d, e in sides]
    x, w = x.reshape(x.shape[0], groups, -1, *space), w.reshape(groups, -1, *w.shape[1:])
    out = np.zeros((x.shape[0], groups, w.shape[2], *whole))
    for place, seen in _places(kernel, space, stride, dilation):
        out[seen] += np.einsum("ngc...,gco->ngo...", x, w[(..., *place)])
    inside: Any = (Ellipsis, *(slice(p, n - p) for n, p in zip(whole, padding, strict=True)))
    return np.asarray(out.reshape(out.shape[0], -1, *whole)[inside])


def _log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    centred = x - x.max(axis, keepdims=True)
    return np.asarray(centred - np.log(np.exp(centred).sum(axis, keepdims=True)))


_erf = np.vectorize(math.erf, otypes=[float])
REFERENCES: dict[str, Reference] = {
    "add": Reference(np.add),
    "sub": Reference(np.subtract),
    "neg": Reference(np.negative),
    "sum": Reference(lambda x, axis: x.sum(tuple(axis)), takes=("axis",)),
    "mul": Reference(np.multiply),
    "matmul": Reference(np.matmul),
    "conv": Reference(_conv, takes=("stride", "padding", "dilation", "groups")),
    "conv_transposed": Reference(_conv_transposed, takes=("stride", "padding", "dilation", "groups", "extra")),
    "relu": Reference(lambda x: np.maximum(x, 0)),
    "maximum": Reference(np.maximum),
    "minimum": Reference(np.minimum),
    "absolute": Reference(np.abs),
    "sigmoid": Reference(lambda x: 1 / (1 + np.exp(-x)), 2.0**-13),
    "tanh": Reference(np.tanh, 2.0**-13),
    "erf": Reference(_erf, 2.0**-13),
    "gelu": Reference(lambda x: x * (1 + _erf(x / 2**0.5)) / 2, 2.0**-13),
    "silu": Reference(lambda x: x / (1 + np.exp(-x)), 2.0**-12),
    "softplus": Reference(lambda x: np.logaddexp(0, x), 2.0**-12),
    **dict.fromkeys(("exp", "exponential"), Reference(np.exp, 2.0**-13, 2.0**-13)),
    "sin": Reference(np.sin, 2.0**-13),
    "cos": Reference(np.cos, 2.0**-13),
    "sine": Reference(lambda x, quarter: np.sin(x + quarter * np.pi / 2), 2.0**-13, takes=("quarter",)),
    "reciprocal": Reference(np.reciprocal, 2.0**-15, 2.0**-15),
    "sqrt": Reference(np.sqrt, 2.0**-13, 2.0**-13),
    "rsqrt": Reference(lambda x: 1 / np.sqrt(x), 2.0**-15, 2.0**-13),
    "log": Reference(np.log, 2.0**-14),
    "asin": Reference(np.arcsin, 2.0**-13),
    "atan": Reference(np.arctan, 2.0**-13),
    "atan2": Reference(np.arctan2, 2.0**-13),
    "asinh": Reference(np.arcsinh, 2.0**-13),
    "cbrt": Reference(np.cbrt, 2.0**-13, 2.0**-13),
    "softmax": Reference(lambda x, axis: np.exp(_log_softmax(x, axis)), 2.0**-10, takes=("axis",)),
    "log_softmax": Reference(_log_softmax, 2.0**-10, takes=("axis",)),
}


class Shadow:
    """Follows the runs of a local session; holds the values that its parties hold shares of."""

    def __init__(self, ring: str = Ring.name) -> None:
        plain = Plain(0, 1, ring_of(ring), lambda peer, purpose: np.zeros((1, 176), np.uint8))  # alone: it needs no key
        self.context = Context(plain, 0)
        self.store: dict[int, Value] = {}

    def run(
        self,
        program: Program,
        stored: Sequence[int],
        inputs: dict[int, dict[int, Part]],
        keep: Sequence[int],
        drop: Sequence[int],
    ) -> None:
        """Raises ShadowError at the first operation that is farther off than it promises."""
        for number in drop:
            self.store.pop(number, None)
        slots = {slot: part for mine in inputs.values() for slot, part in mine.items()}
        results = self._follow(program, [self.store[k] for k in stored], slots, NOWHERE)
        self.store.update(zip(keep, results[len(results) - len(keep) :], strict=True))

    def _follow(self, program: Program, args: Sequence[Value], slots: dict[int, Part], where: Where) -> list[Value]:
        values: list[Value] = [*args, *(c for _, c in program.consts)]
        for eqn in program.eqns:
            line = eqn.where if eqn.where.line else where
            ins = [values[v] for v in eqn.ins]
            outs = self._equation(eqn, ins, slots, line)
            if eqn.op in REFERENCES and not eqn.types[0].dtype.wraps:  # those wrap around, which float64 does not
                compare(eqn, [program.types[v] for v in eqn.ins], ins, outs[0], line)
            values.extend(outs)
        return [values[v] for v in program.outs]

    def _equation(self, eqn: Eqn, ins: list[Value], slots: dict[int, Part], line: Where) -> list[Value]:
        if eqn.op == "input":
            return [Share((slots[eqn.params["slot"]],))]
        if eqn.op == "reveal":
            return ins
        if eqn.body is None or not any(e.where.line for e in eqn.body.eqns):  # a body that names no lines is the library's
            once = Later((False,) * len(ins), (False,) * len(eqn.types))
            return _now(start(eqn, ins, self.context, Name(0, 0), line, lambda: False, lambda: once))
        count, repeated = len(eqn.types), eqn.op == "fori"
        for _ in range(eqn.params["times"] if repeated else 1):
            outs = self._follow(eqn.body, ins, slots, line)
            ins = [*outs, *ins[count:]]
        return outs


def _now(step: Any) -> list[Value]:
    """The results of a step in which nothing is sent."""
    if hasattr(step, "send"):
        step = _result(step)
    return step if isinstance(step, list) else [step]


def _result(step: Steps[Any]) -> Any:
    try:
        step.send(None)  # type: ignore[arg-type]
    except StopIteration as end:
        return end.value
    raise AssertionError("one party alone has nobody to talk to")


def numbers(x: Value, t: Type) -> np.ndarray:
    """The float64 values of a share of everything, or of a public value."""
    part = x.parts[0] if isinstance(x, Share) else x
    if t.dtype.is_bool:
        return np.asarray(part.bytes() if isinstance(part, Packed) else part, float)
    return ring_of(t.dtype.ring).decode(part, t.dtype.fraction)


def compare(eqn: Eqn, types: Sequence[Type], ins: Sequence[Value], out: Value, line: Where) -> None:
    """Raises ShadowError if the result is farther from float64's than the operation's reference allows."""
    reference, t = REFERENCES[eqn.op], eqn.types[0]
    operands = [numbers(x, of) for x, of in zip(ins, types, strict=True)]
    found = numbers(out, t)
    with np.errstate(all="ignore"):
        expected = np.asarray(reference.f(*operands, **{k: eqn.params[k] for k in reference.takes}))
        largest = max((float(np.abs(x).max(initial=0)) for x in operands), default=0.0)
        bound = reference.absolute + reference.relative * np.abs(expected)
        # float64 itself rounds: sums of operands far larger than their result above all
        bound = bound + 4 * 2.0**-t.dtype.fraction * (t.dtype.kind == "fixed") + 2.0**-40 * (np.abs(expected) + largest)
        wrong = ~(np.abs(found - expected) <= bound) | ~np.isfinite(expected)
    if not wrong.any():
        return
    at = tuple(map(int, np.argwhere(wrong)[0]))
    shown = [f"{x[at] if x.shape == found.shape else x.flat[0]:.6g}" for x in operands if x.shape in (found.shape, ())]
    if eqn.op in OPS:
        holds = 2.0 ** (t.dtype.bits - 3 - sum(of.dtype.fraction for of in types))
        why = (
            f"The result left its word: {t.dtype} holds products below {holds:.3g} here"
            if "rounding" in eqn.params
            else (f"The result left its word: {t.dtype} holds numbers below {2.0 ** (t.dtype.bits - 2 - t.dtype.fraction):.3g}")
        )
        why += ". Scale the data, or use fewer fraction bits, or a wider ring (dtype=mpc.fixed128(f) for the session)."
    else:
        why = "The operand is outside the domain of the function (docs/numerics.md). Scale or clip it."
    raise ShadowError(
        f"{eqn.op} at {line}: element {list(at)} of {list(found.shape)} is {found[at]:.6g}, float64 gives {expected[at]:.6g}"
        f"{' for ' + ' and '.join(shown) if shown else ''}; {np.count_nonzero(wrong)} elements are off.\n    {why}"
    )

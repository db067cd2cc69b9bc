"""What a program does to its inputs before it reveals anything: read off its equations, for policies.

A result counts as protected if every way from an input to it leads through `mpc.suppress` (or `mpc.random.private`) at the top
level of the program: whatever is computed from protected values alone is protected. Only equations whose body is the library's
own count, whatever they are called. The rule is sound and narrow: who protects results in another way is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..ir.program import Eqn, Program
from ..lang.array import Scope
from ..lang.disclosure import BODIES
from ..lang.function import trace
from ..lang.program import Planned
from ..random import noisy
from ..run.audit import Audit

FOR_ALL = 1 << 62  # strength of what depends on no input
NOISE_DELTA = 2.0**-54  # an element's distance from the distribution of its noise


class Disclosure(NamedTuple):
    """Of all results of a program."""

    least: Mapping[str, int]  # name -> so many individuals at least are behind all that it shows; 0 if nothing says so
    bare: tuple[str, ...]  # names of results that depend on inputs without noise
    epsilon: float = 0.0  # of all noisy results together
    delta: float = 0.0
    notes: tuple[str, ...] = ()  # what was hidden where, in words


def disclosure(program: Program, scope: Scope) -> Disclosure:
    """Of a program in a session's scope, whose settings fix the bodies of library functions."""
    groups, noise = [0] * len(program.params), [False] * len(program.params)
    groups += [FOR_ALL] * len(program.consts)
    noise += [True] * len(program.consts)
    least: dict[str, int] = {}
    bare: list[str] = []
    notes: list[str] = []
    epsilon = delta = 0.0
    names = iter(program.names)
    for eqn in program.eqns:
        behind, quiet = min((groups[v] for v in eqn.ins), default=FOR_ALL), all(noise[v] for v in eqn.ins)
        if eqn.op == "input":
            behind, quiet = 0, False
        elif eqn.op == "suppress" and _genuine(eqn, program, scope):
            behind = max(eqn.params["least"], groups[eqn.ins[0]])
            notes.append(f"that {_what(eqn)} is 0 for groups of fewer than {eqn.params['least']}   ({eqn.where})")
        elif eqn.op == "private" and _genuine(eqn, program, scope):
            quiet = True
            moves = eqn.params["units"] * 2.0 ** -eqn.types[0].dtype.fraction
            noise_is = f"noise that no party knows: epsilon {eqn.params['epsilon']:g}, if one individual moves it by {moves:g}"
            notes.append(f"that {_what(eqn)} has {noise_is} at most   ({eqn.where})")
            epsilon += eqn.params["epsilon"]
            delta += (1 + math.exp(min(eqn.params["epsilon"], 700))) * eqn.types[0].size * NOISE_DELTA
        elif eqn.op == "reveal":
            name = next(names, "a value")
            least[name] = behind
            bare += [] if quiet else [name]
        groups += [behind] * len(eqn.types)
        noise += [quiet] * len(eqn.types)
    return Disclosure(least, tuple(bare), epsilon, delta, tuple(notes))


def audited(plan: Planned) -> Audit:
    """The audit of a plan, with what it hides."""
    found = plan.audit()
    return replace(found, by_design=(*found.by_design, *disclosure(plan.equations, plan.session.scope).notes))


def _what(eqn: Eqn) -> str:
    return f"{eqn.types[0].dtype}{list(eqn.types[0].shape)}"


def _genuine(eqn: Eqn, program: Program, scope: Scope) -> bool:
    """Whether the equation does what its name says: its body is the one that the library writes for it."""
    body: Any = noisy.__wrapped__ if eqn.op == "private" else BODIES.get(len(eqn.ins))  # type: ignore[attr-defined]
    if eqn.params.get("rows", FOR_ALL) < eqn.params.get("least", 0):
        return False
    types = [program.types[v] for v in eqn.ins]
    try:
        written = trace(body, types, lambda xs: body(*xs, **eqn.params), scope, located=False).program
    except Exception:  # parameters that the library would not have given
        return False
    return eqn.body is not None and written.digest == eqn.body.digest

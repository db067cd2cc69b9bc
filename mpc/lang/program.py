"""`@mpc.program`: a computation that named parties agree on. Its signature says who supplies what and who learns what."""

from __future__ import annotations

import inspect
import itertools
import linecache
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError, UsageError
from ..ir.program import Program as Equations
from ..ir.program import Where
from ..ir.types import DType
from ..protocols.base import Part
from ..run.audit import Audit, Flow
from ..run.checkpoint import Contents
from ..run.rehearse import Report
from .array import Array
from .checkpoint import nested, to_keep
from .function import flatten, unflatten
from .session import Session

T = TypeVar("T")


@dataclass(frozen=True)
class Input:
    """Annotation of a parameter: `x: mpc.Input("hospital_a")`.

    load: called without arguments where no data is given on the command line, so that a program file can be run, costed
    and audited as it is. dtype, low, high: as in `Session.input`.
    """

    party: str
    dtype: DType | None = None
    load: Callable[[], Any] | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Output:
    """Annotation of a result: the parties that learn it. `name` is for reports."""

    parties: tuple[str, ...]
    name: str

    def __init__(self, *parties: str, name: str = "") -> None:
        if not parties:
            raise UsageError("Output() needs the names of the parties that learn it")
        object.__setattr__(self, "parties", parties)
        object.__setattr__(self, "name", name)


@dataclass(frozen=True)
class Stored:
    """Annotation of a result that stays shared, and of a parameter that is such a result of an earlier run.

        def train(x: mpc.Input("a"), y: mpc.Input("b")) -> mpc.Stored("model"): ...
        def predict(model: mpc.Stored("model"), x: mpc.Input("c")) -> mpc.Output("c"): ...

    Each party keeps its shares on its own host, sealed under its key, in the state folder of its configuration (`mpc run
    --config`). Arrays, or tuples, lists and dicts of them.
    """

    name: str
    parties: tuple[str, ...] = field(default=(), init=False)  # nobody learns it

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "_-" for c in self.name):
            raise UsageError(f"Stored({self.name!r}): a name has letters, digits, _ and -")


@dataclass(frozen=True)
class Kept:
    """A result that stays shared."""

    name: str
    arrays: list[Array]
    contents: Contents  # what everybody may know of it

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(f'{x.dtype}{list(x.shape)}' for x in self.arrays)}"


@dataclass(frozen=True)
class Planned:
    """A program with the shapes of its inputs fixed, in a session: ready to be costed, audited, run."""

    session: Session
    results: list[Array]
    receivers: list[tuple[int, ...]]
    names: list[str]  # of the results, each once
    lines: list[Where] = field(repr=False)  # where each result was computed
    structure: Any = field(repr=False)
    revealed: list[bool] = field(repr=False)  # of each array in what `main` returns, or else it is kept
    kept: list[Kept] = field(default_factory=list)
    dealt: str = ""  # who dealt the randomness, where that was done beforehand

    @cached_property
    def equations(self) -> Equations:
        return self.session.equations(self.results, self.receivers, self.names, self.lines, self._kept)

    @property
    def _kept(self) -> list[Array]:
        return [x for kept in self.kept for x in kept.arrays]

    def needs(self, party: int) -> tuple[list[int], dict[int, Part]]:
        """What a party brings: see `Session.needs`."""
        return self.session.needs([*self.results, *self._kept], party)

    def cost(self) -> Report:
        """Rounds, bytes and predicted time."""
        return self.session.rehearse(self.equations)

    def audit(self) -> Audit:
        """Who supplies what and who learns what."""
        everything = [*self.results, *self._kept]
        earlier = self.session.supplies(everything, earlier=True)
        found = self.session.audit_of(self.equations, earlier, list(map(str, self.kept)))
        beforehand = [Flow((self.dealt,), "the randomness of this run, dealt beforehand", "mpc prep")] if self.dealt else []
        return replace(found, inputs=(*found.inputs, *beforehand))

    def run(self) -> Any:
        """The results as `main` returns them, in NumPy arrays. (In a local session all of them, whoever the receiver.)

        Once: the parties keep nothing. Raises SessionError the second time.
        """
        return self.arrange(self.values())

    def values(self) -> list[np.ndarray]:
        """The results in order of `names`."""
        return self.session.reveal_each(self.results, self.receivers, self.lines, last=True)

    def arrange(self, values: Sequence[Any]) -> Any:
        """One value per result, as `main` returns them; None for one that is kept."""
        rest = iter(values)
        return unflatten(self.structure, [next(rest) if known else None for known in self.revealed])


class Program:
    """What `@mpc.program` makes of a function."""

    def __init__(self, main: Callable[..., Any]) -> None:
        self.main = main
        self.__doc__ = main.__doc__
        self.__name__ = main.__name__
        try:
            signature = inspect.signature(main, eval_str=True)
        except NameError as error:  # annotations as text (from __future__ import annotations) see global names alone
            raise UsageError(f"{main.__name__}: an annotation uses a name that is not global: {error}") from None
        self.inputs: dict[str, Input] = {}
        self.loads: dict[str, Stored] = {}  # parameters that an earlier run has left
        for name, parameter in signature.parameters.items():
            if isinstance(parameter.annotation, Stored):
                self.loads[name] = parameter.annotation
                continue
            if not isinstance(parameter.annotation, Input):
                raise UsageError(f'{main.__name__}: annotate parameter {name!r} with mpc.Input("party"): who supplies it')
            self.inputs[name] = parameter.annotation
        returned = signature.return_annotation
        outputs = getattr(returned, "__args__", None) or (returned if isinstance(returned, tuple) else (returned,))
        if not all(isinstance(o, Output | Stored) for o in outputs):
            raise UsageError(f'{main.__name__}: annotate the result with mpc.Output("party", ...): who learns it')
        self.outputs: tuple[Output | Stored, ...] = tuple(outputs)
        self.roles = list(
            dict.fromkeys([*(i.party for i in self.inputs.values()), *(p for o in self.outputs for p in o.parties)])
        )

    def plan(self, session: Session, data: Mapping[str, Any]) -> Planned:
        """Traces the program. data: per input an array, or (shape, dtype or None) where only the plan is wanted; for what an
        earlier run has left its `Contents`, or a shape."""
        takes = {*self.inputs, *self.loads}
        missing, unknown = sorted(takes - set(data)), sorted(set(data) - takes)
        if missing or unknown:
            problem = f"missing input {missing[0]!r}" if missing else f"unknown input {unknown[0]!r}"
            raise InputError(
                f"{problem}: the program takes {', '.join(f'{n} (from {i.party})' for n, i in self.inputs.items())}"
            )
        arrays: dict[str, Any] = {}
        for name in self.loads:
            contents = data[name] if isinstance(data[name], Contents) else _unknown(data[name], session)
            arrays[name] = nested(contents.structure, session.restored(contents))
        for name, declared in self.inputs.items():
            value, line, span = data[name], self._line(name), (declared.low, declared.high)
            if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], tuple):
                arrays[name] = session.placeholder(value[0], declared.party, declared.dtype or value[1], name, line, *span)
            else:
                arrays[name] = session.input(value, declared.party, declared.dtype, name, line, *span)
        result = self.main(**arrays)
        leaves, structure = flatten(result)
        if not leaves:
            raise UsageError(f"{self.main.__name__} returns no secret array (at {self._line('')}): there is nothing to compute")
        parts = self._parts(result)
        declared_for = [o for part, o in parts for _ in flatten(part)[0]]
        labels = [o.name for o in declared_for]
        if isinstance(result, dict):
            keys = [str(k) for k, v in result.items() for _ in flatten(v)[0]]
            labels = [label or key for label, key in zip(labels, keys, strict=True)]
        names = [label if labels.count(label) == 1 and label else f"{label or 'result'} {i}" for i, label in enumerate(labels)]
        lines = [x.node.eqn.where if x.node.eqn and x.node.eqn.where.line else self._line("") for x in leaves]
        revealed = [isinstance(o, Output) for o in declared_for]
        kept = [Kept(o.name, *to_keep(*flatten(part), session)) for part, o in parts if isinstance(o, Stored)]
        if len({k.name for k in kept}) < len(kept):
            raise UsageError(f"{self.main.__name__} stores two results under one name")
        receivers = [tuple(session.party(p) for p in o.parties) for o in declared_for]

        def shown(column: list[T]) -> list[T]:
            return list(itertools.compress(column, revealed))

        return Planned(session, shown(leaves), shown(receivers), shown(names), shown(lines), structure, revealed, kept)

    def _line(self, parameter: str) -> Where:
        """The source line of a parameter; else that of the function."""
        code = self.main.__code__
        lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
        pattern = re.compile(rf"\b{re.escape(parameter)}\s*:") if parameter else re.compile(r"\bdef\b")
        found = next((i for i, text in enumerate(lines) if pattern.search(text)), 0)
        return Where(Path(code.co_filename).name, code.co_firstlineno + found)

    def _parts(self, result: Any) -> list[tuple[Any, Output | Stored]]:
        """What `main` returned, with the annotation that applies to each part."""
        if len(self.outputs) == 1:
            return [(result, self.outputs[0])]
        parts = list(result.values()) if isinstance(result, dict) else list(result) if isinstance(result, (tuple, list)) else []
        if len(parts) != len(self.outputs):
            raise UsageError(f"{self.main.__name__} declares {len(self.outputs)} outputs and returns {max(1, len(parts))}")
        return list(zip(parts, self.outputs, strict=True))

    def load(self, names: Collection[str] | None = None) -> dict[str, Any]:
        """Data from the `load` functions of the inputs (all of them, or these), where they have one."""
        wanted = {n: i for n, i in self.inputs.items() if names is None or n in names}
        return {name: np.asarray(i.load()) for name, i in wanted.items() if i.load is not None}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.main(*args, **kwargs)


def _unknown(kind: tuple[tuple[int, ...], DType | None], session: Session) -> Contents:
    """One array of this shape that an earlier run will have left."""
    shape, dtype = kind[0], session.settings.own(kind[1] or session.settings.dtype)
    return Contents(session.protocol_name, list(session.names), [[list(shape), *dtype.plain]], None)


def program(main: Callable[..., Any]) -> Program:
    """Decorator: a program that parties agree on.

        @mpc.program
        def main(a: mpc.Input("hospital_a"), b: mpc.Input("hospital_b")) -> mpc.Output("hospital_a", "hospital_b"):
            return mpc.concatenate([a, b]).mean(axis=0)

    Several results: annotate with a tuple of Outputs, one for each entry of the returned tuple (or dict).
    """
    return Program(main)

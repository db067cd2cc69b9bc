"""`Study`: a program with its data and parties, planned before it runs. What the command line and the examples are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..ir.types import DType
from ..lang.program import Planned, Program
from ..lang.session import Session
from ..net.shaped import Network
from ..protocols.base import available
from ..run.audit import Audit
from ..run.execute import Measured, Phases, phases
from ..run.profile import Profile
from ..run.rehearse import Report
from ..run.store import prepare
from ..run.trees import choose_compare
from .disclosure import audited
from .local import Progress, choose_protocol, choose_settings, local


@dataclass(frozen=True)
class Outcome:
    """What a run gave."""

    result: Any  # as the program returns it, in NumPy arrays
    outputs: dict[str, np.ndarray]  # the same by name
    receivers: dict[str, tuple[str, ...]]  # who learnt each
    cost: Report  # what the rehearsal predicted
    measured: list[Measured]  # by process
    profile: Profile | None = None  # what each source line cost, where that was asked for

    @property
    def rounds(self) -> int:
        return max(m.rounds for m in self.measured)

    @property
    def links(self) -> dict[tuple[int, int], int]:
        """(from, to) -> payload bytes, as measured by the sender."""
        return {(i, j): b for i, m in enumerate(self.measured) for j, b in sorted(m.sent.items()) if b}

    @property
    def seconds(self) -> float:
        """From the agreement on the program to the last result."""
        return max(m.seconds for m in self.measured)

    @property
    def phases(self) -> Phases:
        """Time and bytes before the data matter, and with them."""
        return phases(self.measured)

    @property
    def as_predicted(self) -> bool:
        """Whether every party measured exactly the rounds and bytes of the rehearsal. (A dealer that was there beforehand
        sends nothing.)"""
        predicted = {(i, j): b for (i, j), b in self.cost.links.items() if b and i < len(self.measured)}
        return all(m.rounds == self.cost.rounds for m in self.measured) and self.links == predicted

    def __str__(self) -> str:
        """What was measured, in a line."""
        verdict = "as predicted" if self.as_predicted else "NOT as predicted"
        return f"measured {self.rounds:,} rounds, {sum(self.links.values()):,} bytes ({verdict}), {self.seconds:.2f} s"


class Study:
    """A program, its data, and who runs it. Planned without a process or a message; `run` starts the parties here.

    print(study)            # who is trusted, who supplies and who learns what, the cost in a line
    print(study.cost)       # the cost table
    outcome = study.run()   # every party as a process of this machine

    data: per input an array, or (shape, dtype or None) where only the plan is wanted; inputs that are left out come from
    their `load` function. parties: by default as many as the protocol needs to seat every role. network: as in `mpc.local`;
    the cost is predicted for it too. compare: as in `mpc.local`. Raises UsageError for a
    combination that does not exist, InputError for data that does not fit the program.
    """

    def __init__(
        self,
        program: Program,
        data: Mapping[str, Any] | None = None,
        *,
        protocol: str = "helper",
        parties: int | None = None,
        truncation: str = "dither",
        dtype: DType | None = None,
        network: Network | str | None = None,
        compare: str = "auto",
    ) -> None:
        if not isinstance(program, Program):
            raise UsageError("a study needs a function decorated with @mpc.program")
        self.program, self.protocol = program, protocol
        self.parties = seat(program, protocol, parties)
        self._truncation, self._dtype = truncation, dtype
        self.network = None if network is None else Network.of(network)
        self.compare = choose_compare(compare)
        self.data = {**program.load(set(program.inputs) - set(data or {})), **(data or {})}
        self._plan = self._planned(None)

    def _planned(self, running: Session | None) -> Planned:
        chosen, settings = choose_protocol(self.protocol, len(self.parties)), choose_settings(self._truncation, self._dtype)
        session = running or Session(chosen, self.protocol, len(self.parties), None, settings, self.parties)
        session.network, session.compare = self.network, self.compare
        return self.program.plan(session, self.data)

    @property
    def trust(self) -> str:
        """The sentence that says who is protected against whom."""
        return available()[self.protocol].trust

    @property
    def insecure(self) -> bool:
        """Whether the protocol protects nothing."""
        return self.trust.startswith("INSECURE")

    @property
    def outputs(self) -> dict[str, tuple[str, ...]]:
        """Names of the results, and who learns each."""
        plan = self._plan
        return {n: tuple(self.parties[p] for p in to) for n, to in zip(plan.names, plan.receivers, strict=True)}

    @cached_property
    def cost(self) -> Report:
        """Rounds, bytes and predicted time."""
        return self._plan.cost()

    @cached_property
    def audit(self) -> Audit:
        """Who supplies what and who learns what."""
        return audited(self._plan)

    def __str__(self) -> str:
        return f"{self.audit}\n\nCost\n  {self.cost.summary()}"

    def prepare(self, folder: str | Path, progress: Callable[[int, int], None] = lambda steps, size: None) -> list[Path]:
        """Does a dealer's work for one run beforehand: a file for each party in `folder`; see `run/store.py`. Shapes suffice.

        progress: told of yields done and bytes written. Raises UsageError for a protocol without a dealer of its own.
        """
        chosen = choose_protocol(self.protocol, len(self.parties))
        return prepare(self._plan.equations, self.protocol, chosen, len(self.parties), Path(folder), progress)

    def run(self, progress: Progress | None = None, profile: bool = False, prepared: str | Path | None = None) -> Outcome:
        """Runs the program with every party as a process of this machine. progress: called about ten times a second with
        rounds done, bytes moved by party 0, and "operation  file:line". profile: also notes what each source line
        costs. prepared: a folder that `prepare` wrote."""
        cost = self.cost
        n = len(self.parties)
        shapes = [name for name, value in self.data.items() if isinstance(value, tuple)]
        if shapes:
            raise UsageError(f"only the shape of input {shapes[0]!r} is given: a run needs its data")
        if self._plan.kept:
            raise UsageError(
                "the program stores a result, which parties with configurations do (mpc run --config): "
                "on one machine use mpc.save and mpc.load in a session"
            )
        with local(
            n,
            self.protocol,
            truncation=self._truncation,
            dtype=self._dtype,
            names=self.parties,
            prepared=prepared,
            progress=progress,
            network=self.network,
            compare=self.compare,
        ) as session:
            plan = self._planned(session)
            with session.profile() if profile else nullcontext() as found:
                values = plan.values()
            measured = session.measured
        return Outcome(plan.arrange(values), dict(zip(plan.names, values, strict=True)), self.outputs, cost, measured, found)


def seat(program: Program, protocol: str, parties: int | None = None) -> tuple[str, ...]:
    """The names of parties 0, 1, ...: the roles of the program in order of first appearance, then those without a role."""
    n = parties if parties is not None else _smallest(program, protocol)
    choose_protocol(protocol, n)
    if n < len(program.roles):
        raise UsageError(f"{n} parties cannot seat the {len(program.roles)} roles of the program: {', '.join(program.roles)}")
    return (*program.roles, *(_extra(protocol, i, n) for i in range(len(program.roles), n)))


def _smallest(program: Program, protocol: str) -> int:
    """The least number of parties that the protocol takes and that seats every role."""
    if protocol not in available():
        choose_protocol(protocol, 1)  # raises, with the names there are
    takes = available()[protocol].parties
    fitting = [n for n in takes if n >= len(program.roles)]
    if not fitting:
        raise UsageError(
            f"protocol {protocol!r} takes at most {takes[-1]} parties; the program has {len(program.roles)} roles: "
            f"{', '.join(program.roles)}"
        )
    return fitting[0]


def _extra(protocol: str, party: int, n: int) -> str:
    return "helper" if protocol == "helper" and party == n - 1 else f"party {party}"

"""Who supplies what, who learns what, through which line, under which assumption: read off the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..ir.ops import OPS
from ..ir.program import Program, Where
from ..ir.types import Type
from ..protocols.base import Protocol

ZEROS = "zeros of mpc.save"  # name of the inputs that make shares at rest fresh: nobody's data


@dataclass(frozen=True)
class Flow:
    """An input or an output."""

    parties: tuple[str, ...]  # the owner, or the receivers
    what: str  # name, dtype and shape
    where: str  # source line


@dataclass(frozen=True)
class Audit:
    """Prints in plain words; `as_dict()` for machines."""

    protocol: str
    trust: str
    parties: tuple[str, ...]
    digest: str
    inputs: tuple[Flow, ...]
    outputs: tuple[Flow, ...]
    by_design: tuple[str, ...] = field(default=())

    def learns(self, party: str) -> list[str]:
        """What this party learns from outputs."""
        return [flow.what for flow in self.outputs if party in flow.parties]

    def as_dict(self) -> dict[str, Any]:
        def flows(items: Sequence[Flow]) -> list[dict[str, Any]]:
            return [{"parties": list(f.parties), "what": f.what, "where": f.where} for f in items]

        return {
            "protocol": self.protocol,
            "trust": self.trust,
            "parties": list(self.parties),
            "program": self.digest,
            "inputs": flows(self.inputs),
            "outputs": flows(self.outputs),
            "by_design": list(self.by_design),
        }

    def as_markdown(self) -> str:
        """A page for readers who have never seen the program."""

        def table(flows: Sequence[Flow], verb: str) -> list[str]:
            rows = [f"| {', '.join(f.parties)} | {f.what} | {f.where} |" for f in flows] or ["| nobody | | |"]
            return ["", f"| who | {verb} | line |", "|---|---|---|", *rows]

        return "\n".join(
            [
                "# Who learns what",
                "",
                f"Parties: {', '.join(self.parties)}. Protocol `{self.protocol}`: {self.trust}",
                "",
                f"Program `blake2b-256:{self.digest}`.",
                "",
                "## Supplied, and kept secret from everybody else",
                *table(self.inputs, "supplies"),
                "",
                "## Revealed",
                *table(self.outputs, "learns"),
                "",
                "## Known to all parties by design",
                "",
                *(f"- {item}" for item in self.by_design),
            ]
        )

    def __str__(self) -> str:
        lines = [
            f"protocol {self.protocol}: {self.trust}",
            "parties  " + ", ".join(f"{i} {name}" for i, name in enumerate(self.parties)),
            f"program  blake2b-256:{self.digest}",
            "",
            "Who supplies what",
        ]
        lines += [f"  {f.parties[0]} supplies {f.what}   ({f.where})" for f in self.inputs] or ["  nobody supplies anything"]
        lines += ["", "Who learns what"]
        for party in self.parties:
            learnt = [f"{f.what}   ({f.where})" for f in self.outputs if party in f.parties]
            lines += [f"  {party} learns {item}" for item in learnt] or [f"  {party} learns no output"]
        lines += ["", "Known to all parties by design", *(f"  {item}" for item in self.by_design)]
        return "\n".join(lines)


class Supply(NamedTuple):
    """An input, as its equation says it."""

    params: dict[str, Any]
    type: Type
    where: Where


def audit(
    program: Program,
    protocol: type[Protocol],
    name: str,
    parties: Sequence[str],
    rounding: str,
    earlier: Sequence[Supply] = (),
    kept: Sequence[str] = (),
) -> Audit:
    """The audit of a program under a protocol; `parties` are the names of parties 0, 1, ... `earlier` are inputs behind the
    values that the program takes from a run before; `kept` says what stays shared when it ends."""
    inputs: list[Flow] = []
    outputs: list[Flow] = []

    def supplied(s: Supply) -> Flow:
        label = s.params.get("name") or f"input {s.params['slot']}"
        declared = s.params.get("range")  # everybody knows it: it is part of the program
        within = f" in [{', '.join(f'{v * 2.0**-s.type.dtype.fraction:g}' for v in declared)}]" if declared else ""
        return Flow((parties[s.params["owner"]],), f"{label}: {_shape(s.type)}{within}", str(s.where))

    inputs.extend(map(supplied, earlier))
    labels = iter(program.names)
    for eqn in program.walk():
        if eqn.op == "input" and eqn.params["name"] != ZEROS:
            inputs.append(supplied(Supply(eqn.params, eqn.types[0], eqn.where)))
        elif eqn.op == "reveal":
            label = next(labels, "") or "a value"
            receivers = tuple(parties[p] for p in eqn.params["to"])
            outputs.append(Flow(receivers, f"{label}: {_shape(eqn.types[0])}", str(eqn.where)))
    design = ["the program, its constants, the shapes and types of all values, message sizes and timing"]
    design += dict.fromkeys(OPS[e.op].opens for e in program.walk() if e.op in OPS and OPS[e.op].opens)
    design += [leak for leak in protocol.leaks if rounding == "dither" or "dither" not in leak]
    design += [f"that each party keeps its share of {what}, which nobody learns from it" for what in kept]
    return Audit(name, protocol.trust, tuple(parties), program.digest.hex(), tuple(inputs), tuple(outputs), tuple(design))


def _shape(t: Any) -> str:
    return f"{t.dtype}{list(t.shape)}"

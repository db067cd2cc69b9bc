"""Building a program: a `Graph` collects equations while Python code runs on symbolic values."""

from __future__ import annotations

import copy
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .ops import result_types
from .program import NOWHERE, Eqn, Program, Where
from .types import Type

PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
NOT_THE_USERS = (PACKAGE, copy.__file__)  # copy.copy(x) asks from its own file
USERS = PACKAGE + "bench" + os.sep  # programs like those of users


def user_line() -> Where:
    """The innermost source line that is not inside this package."""
    frame = sys._getframe(1)
    while frame is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    return Where(Path(frame.f_code.co_filename).name, frame.f_lineno) if frame else NOWHERE


def _is_ours(file: str) -> bool:
    return file.startswith(NOT_THE_USERS) and not file.startswith(USERS)


class Node:
    """A value of a graph under construction."""

    __slots__ = ("__weakref__", "eqn", "graph", "type", "value")

    def __init__(self, graph: Graph, type: Type, eqn: Pending | None = None, value: np.ndarray | None = None) -> None:
        self.graph, self.type, self.eqn, self.value = graph, type, eqn, value


class Pending:
    """An equation whose operands are nodes. `order`: when it was written."""

    __slots__ = ("body", "ins", "op", "order", "outs", "params", "where")
    counter = itertools.count()

    def __init__(self, op: str, ins: Sequence[Node], params: dict[str, Any], body: Program | None, where: Where) -> None:
        self.op, self.ins, self.params, self.body, self.where = op, tuple(ins), params, body, where
        self.outs: tuple[Node, ...] = ()
        self.order = next(Pending.counter)


class Graph:
    """Nodes and equations, in program order. A graph inside a function lifts outer nodes to extra parameters."""

    def __init__(self, outer: Graph | None = None, located: bool = True) -> None:
        self.outer = outer
        self.located: bool = located and (outer is None or outer.located)  # equations note the user's line
        self.params: list[Node] = []
        self.lifted: dict[Node, Node] = {}  # outer node -> my parameter

    def parameter(self, type: Type) -> Node:
        node = Node(self, type)
        self.params.append(node)
        return node

    def constant(self, type: Type, value: np.ndarray) -> Node:
        return Node(self, type, value=value)

    def own(self, node: Node) -> Node:
        """node, if it is mine, or a parameter that stands for it."""
        if node.graph is self:
            return node
        if node.value is not None:
            return self.constant(node.type, node.value)
        if node not in self.lifted:
            if self.outer is None:
                raise LookupError("a value of another session")
            self.outer.own(node)  # raises if no enclosing graph knows it
            self.lifted[node] = Node(self, node.type)
        return self.lifted[node]

    def bind(
        self,
        op: str,
        ins: Sequence[Node],
        params: dict[str, Any],
        body: Program | None = None,
        where: Where | None = None,
    ) -> tuple[Node, ...]:
        """Adds the equation op(ins) and returns its results. The doorway of every operation."""
        ins = [self.own(n) for n in ins]
        if body is not None:
            types = tuple(body.types[v] for v in body.outs)
        else:
            types = result_types(op, [n.type for n in ins], params)
        eqn = Pending(op, ins, params, body, where or (user_line() if self.located else NOWHERE))
        eqn.outs = tuple(Node(self, t, eqn) for t in types)
        return eqn.outs

    def close(self, outs: Sequence[Node], names: Sequence[str] = ()) -> tuple[Program, list[Node]]:
        """The program that computes `outs` (what they do not need is left out), and the outer nodes it takes as extra
        parameters after its own."""
        lifted = list(self.lifted)
        return assemble([*self.params, *self.lifted.values()], outs, names), lifted


class Needed(NamedTuple):
    """What nodes depend on. Leaves are nodes without an equation or a value: parameters, and values stored earlier."""

    eqns: list[Pending]  # in the order they were written
    consts: list[Node]
    leaves: list[Node]


def needed(outs: Sequence[Node]) -> Needed:
    eqns: set[Pending] = set()
    consts: dict[Node, None] = {}
    leaves: dict[Node, None] = {}
    stack = list(reversed(outs))
    while stack:
        node = stack.pop()
        if node.eqn is None:
            (leaves if node.value is None else consts)[node] = None
        elif node.eqn not in eqns:
            eqns.add(node.eqn)
            stack.extend(reversed(node.eqn.ins))
    return Needed(sorted(eqns, key=lambda e: e.order), list(consts), list(leaves))


def assemble(params: Sequence[Node], outs: Sequence[Node], names: Sequence[str] = ()) -> Program:
    """A program from nodes: numbers the values."""
    eqns, consts, leaves = needed(outs)
    number = {node: i for i, node in enumerate([*params, *consts])}
    assert all(node in number for node in leaves)
    written = []
    for e in eqns:
        ins = tuple(number[n] for n in e.ins)
        for node in e.outs:
            number[node] = len(number)
        written.append(Eqn(e.op, ins, e.params, tuple(n.type for n in e.outs), e.body, e.where))
    return Program(
        tuple(n.type for n in params),
        tuple((n.type, n.value) for n in consts),  # type: ignore[misc]
        tuple(written),
        tuple(number[n] for n in outs),
        tuple(names),
    )

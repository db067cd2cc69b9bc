"""A session: inputs, the pending program, its cost and audit, and what runs it."""

from __future__ import annotations

import itertools
import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError, RangeError, SessionError, UsageError
from ..ir.program import Program, Where
from ..ir.ranges import Range, annotate
from ..ir.trace import Graph, Node, assemble, needed
from ..ir.types import DType
from ..net.shaped import Network
from ..protocols.base import Part, Protocol
from ..ring.fixed import fits, integral
from ..ring.packed import Packed
from ..ring.rings import ring_of
from ..run.audit import Audit, Supply, audit
from ..run.checkpoint import Contents
from ..run.execute import Measured
from ..run.profile import Profile
from ..run.rehearse import Report, rehearse
from ..run.trees import with_trees
from .array import Array, Scope, Settings
from .dispatch import numpy_dtype
from .widths import check_integers, dtype_of

T = TypeVar("T")


class Backend(ABC):
    """Runs programs for a session: the parties of this machine, or this party of many."""

    profiled = False  # whether runs note what their time is spent on
    ahead = False  # whether a dealer deals everything before the others begin, so that the phases do not overlap

    @abstractmethod
    def run(
        self,
        program: Program,
        stored: Sequence[int],
        inputs: dict[int, dict[int, Part]],
        keep: Sequence[int],
        drop: Sequence[int],
    ) -> tuple[list[dict[int, Part]], list[Measured]]:
        """Runs `program` on the values stored under these numbers. The first results are revealed (by party), the last
        `len(keep)` are stored under those numbers; `drop` are forgotten first. inputs: party -> slot -> value."""

    def save(self, folder: Path, numbers: Sequence[int], contents: Contents) -> None:
        """Every party writes what it stores under these numbers into its file of a checkpoint."""
        raise SessionError("this session's parties cannot save: use mpc.local")

    def load(self, folder: Path, first: int, names: Sequence[str]) -> Contents:
        """Every party stores the shares of its file under the numbers first, first + 1, ..."""
        raise SessionError("this session's parties cannot load: use mpc.local")

    @abstractmethod
    def close(self) -> None: ...


def encode_input(x: Any, dtype: DType | None, settings: Settings) -> tuple[Part, DType]:
    """(words or Packed bits, dtype) of plain data: bool and integers keep their dtype, floats get the session's fixed point.

    Python integers of any size are taken as int64 (the ring's integers), where the ring holds them."""
    array, ring = np.asarray(x), settings.ring
    exact = array.dtype.kind == "O" and all(isinstance(v, int) for v in array.reshape(-1))
    if array.dtype.kind not in "biuf" and not exact:
        raise InputError(f"input of dtype {array.dtype}: give numbers or bool (encode text and categories first)")
    if dtype is None:
        dtype = dtype_of(array, settings)
    dtype = settings.own(dtype)
    if dtype.is_bool:
        if not np.isin(array, (0, 1)).all():
            raise InputError("a bool input holds True and False (or 0 and 1) only")
        return Packed.of(np.array(array, np.uint8, order="C")), dtype
    if dtype.is_int:
        if array.dtype.kind == "f" and not (array == np.rint(array)).all():
            raise InputError(f"fractional values as {dtype}: choose dtype=mpc.fixed{ring.bits}(), or round them first")
        check_integers(array, dtype, ring)
        return ring.solid(ring.of(integral(array))), dtype
    if not exact:
        return ring.solid(ring.encode(array, dtype.fraction)), dtype
    if not fits(array, dtype.bits - 2 - dtype.fraction):
        raise RangeError(f"values of 2^{dtype.bits - 2 - dtype.fraction} and more do not fit {dtype}: scale the data")
    return ring.solid(ring.of(array << dtype.fraction)), dtype


def _declared(low: float | None, high: float | None, dtype: DType) -> list[int]:
    """The declared range of an input in integers of its dtype."""
    if low is None or high is None or not -math.inf < low <= high < math.inf:
        raise UsageError(f"a range needs finite low <= high, not low={low}, high={high}")
    if dtype.is_bool:
        raise UsageError("a bool input has no range to declare: it is True or False")
    words = math.floor(low * 2**dtype.fraction), math.ceil(high * 2**dtype.fraction)
    least, most = dtype.bounds if dtype.wraps else (-(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1)
    return [min(max(w, least), most) for w in words]


def _check_range(x: np.ndarray, low: float, high: float, name: str) -> None:
    outside = (x < low) | (x > high)
    if outside.any():
        raise RangeError(
            f"{np.count_nonzero(outside)} of {x.size} values of input{' ' + name if name else ''} are outside its declared "
            f"range [{low}, {high}], the first at index {tuple(map(int, np.argwhere(outside)[0]))}. Nothing was sent. "
            "Correct the data, or declare the range it has."
        )


def decode_output(part: Part, dtype: DType) -> np.ndarray:
    """float64, bool or the integer type (Python ints, where some of a session's integers do not fit int64)."""
    if dtype.is_bool:
        return (part.bytes() if isinstance(part, Packed) else part).astype(bool)
    ring = ring_of(dtype.ring)
    if dtype.wraps:
        return ring.limbs(part)[0].astype(numpy_dtype(dtype))
    return ring.integers(part).copy() if dtype.is_int else ring.decode(part, dtype.fraction)


def numbered(program: Program) -> tuple[Program, list[int]]:
    """The program with its inputs' slots counted from 1, and what they were: a step that runs again on new inputs is the
    same program, which the parties have verified before."""
    slots = [e.params["slot"] for e in program.eqns if e.op == "input"]
    count = itertools.count(1)
    eqns = [replace(e, params={**e.params, "slot": next(count)}) if e.op == "input" else e for e in program.eqns]
    return replace(program, eqns=tuple(eqns)), slots


class Session:
    """Secret arrays of `n` parties under one protocol. Made by `mpc.local`; use it in a `with` block."""

    def __init__(
        self,
        protocol: type[Protocol],
        name: str,
        n: int,
        backend: Backend | None,
        settings: Settings,
        names: Sequence[str] = (),
    ) -> None:
        self.protocol, self.protocol_name, self.n = protocol, name, n
        self.names = tuple(names) or tuple(f"party {i}" for i in range(n))
        self.settings = settings
        self.network: Network | None = None  # that is declared for the parties' links
        self.compare = "auto"  # how comparisons trade bytes for rounds: see run/trees.py
        self.measured: list[Measured] = []  # of the last run, by party
        self._backend = backend
        self._profile: Profile | None = None  # of the innermost `profile` block
        self._scope = Scope(Graph(), settings, self)
        self._arrays: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()
        self._inputs: dict[int, tuple[int, Part]] = {}  # slot -> (owner, value), until it is shared
        self._stored: dict[Node, int] = {}
        self._sources: dict[Node, dict[int, Supply]] = {}  # inputs behind what is stored, for the audit
        self._ranges: dict[Node, Range] = {}  # of what is stored
        self._garbage: list[int] = []
        self._next = self._slots = 0
        self._closed = False

    # ---- inputs ----
    def input(
        self,
        x: Any,
        owner: int | str = 0,
        dtype: DType | None = None,
        name: str = "",
        where: Where | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> Array:
        """A secret array from plain data that `owner` holds. Shared when a result that needs it is revealed.

        dtype: by default float64 becomes the session's fixed point, integers and bool keep theirs. Raises InputError,
        RangeError for values that cannot be represented; then nothing is sent. name and where (the caller's source line
        by default) are what the audit shows. low, high: all values are in [low, high]. From this range follow warnings where a
        result may overflow (RangeWarning, before the run), and cheaper comparisons. Everybody learns the declared range; it is
        checked here, where the data is. An owner who lies can make results wrong, and learns nothing by it.
        """
        self._check_open()
        party = self.party(owner)
        part, dtype = encode_input(x, dtype, self.settings)
        array = self.placeholder(tuple(part.shape), party, dtype, name, where, low, high)
        if low is not None and high is not None:
            _check_range(np.asarray(x), low, high, name)
        self._inputs[self._slots] = (party, part)
        return array

    @property
    def scope(self) -> Scope:
        """Where this session's operations are recorded."""
        return self._scope

    def party(self, who: int | str) -> int:
        """A party's number from its number or name."""
        if isinstance(who, str) and who in self.names:
            return self.names.index(who)
        if isinstance(who, (int, np.integer)) and 0 <= who < self.n:
            return int(who)
        raise InputError(f"no party {who!r}: this session has {', '.join(f'{i} ({n})' for i, n in enumerate(self.names))}")

    def placeholder(
        self,
        shape: tuple[int, ...],
        owner: int | str,
        dtype: DType | None = None,
        name: str = "",
        where: Where | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> Array:
        """An input of which only the shape is known: enough for `cost` and `audit`."""
        dtype = self.settings.own(dtype or self.settings.dtype)
        params = {"owner": self.party(owner), "slot": self._slot(), "shape": list(shape), "dtype": dtype.plain,
                  "name": name}  # fmt: skip
        if low is not None or high is not None:
            params["range"] = _declared(low, high, dtype)
        return Array(self._scope.graph.bind("input", [], params, where=where)[0], self._scope)

    def needs(self, arrays: Sequence[Array], party: int) -> tuple[list[int], dict[int, Part]]:
        """What a party brings to the program of these arrays (see `equations`): under which numbers the values are stored
        that it starts from, in order, and slot -> its own inputs."""
        found = needed([a.node for a in arrays])
        slots = [e.params["slot"] for e in found.eqns if e.op == "input"]
        own = {number: self._inputs[slot] for number, slot in enumerate(slots, 1) if slot in self._inputs}
        inputs = {number: part for number, (owner, part) in own.items() if owner == party}
        return [self._stored[leaf] for leaf in found.leaves], inputs

    def _slot(self) -> int:
        self._slots += 1
        return self._slots

    @property
    def processes(self) -> tuple[str, ...]:
        """Names of the parties, and of a dealer that is none of them."""
        return (*self.names, *(["dealer"] if self.protocol.has_dealer else []))

    # ---- before the run ----
    def equations(
        self,
        arrays: Sequence[Array],
        receivers: Sequence[Sequence[int]] | None = None,
        names: Sequence[str] = (),
        lines: Sequence[Where] | None = None,
        kept: Sequence[Array] = (),
    ) -> Program:
        """The program that reveals these arrays (to everyone by default); `lines` are what the audit shows for each. `kept`
        are results that stay shared."""
        nodes = [*self._reveal_nodes(arrays, receivers, lines), *(a.node for a in kept)]
        return numbered(self._program(needed(nodes).leaves, nodes, names)[0])[0]

    def _program(self, leaves: list[Node], outs: list[Node], names: Sequence[str] = ()) -> tuple[Program, list[Range]]:
        """The program that computes `outs` from stored `leaves`, its windows and trees chosen; the ranges of its results."""
        program, ranges = annotate(assemble(leaves, outs, names), [self._ranges.get(n) for n in leaves])
        return with_trees(program, self.compare, self.network), ranges

    def rehearse(self, program: Program) -> Report:
        """The cost of a program of this session."""
        report = rehearse(program, self.protocol, self.n)
        report.names = self.processes
        if self.network is not None and self.network not in report.networks:
            report.networks = (self.network, *report.networks)
        return report

    def audit_of(self, program: Program, earlier: Sequence[Supply] = (), kept: Sequence[str] = ()) -> Audit:
        """Who supplies and who learns what in a program of this session. kept: what stays shared, in words."""
        return audit(program, self.protocol, self.protocol_name, self.names, self.settings.rounding, earlier, kept)

    def supplies(self, arrays: Sequence[Array], earlier: bool = False) -> list[Supply]:
        """The inputs behind these arrays; `earlier`: only those of runs before."""
        nodes = [a.node for a in arrays]
        here = {e.params["slot"] for e in needed(nodes).eqns if e.op == "input"} if earlier else ()
        return [s for slot, s in self._supplies(nodes).items() if slot not in here]

    def _supplies(self, nodes: Sequence[Node]) -> dict[int, Supply]:
        """slot -> input, for every input that these nodes depend on, in this run or an earlier one."""
        found = needed(nodes)
        supplies = {e.params["slot"]: Supply(e.params, e.outs[0].type, e.where) for e in found.eqns if e.op == "input"}
        for leaf in found.leaves:
            supplies.update(self._sources.get(leaf, {}))
        return supplies

    def cost(self, *arrays: Array) -> Report:
        """What `reveal` of these arrays will cost: rounds, bytes on every link, time predicted for a LAN and a WAN.

        Counted by running the protocol on shapes; a test holds that a run measures the same. Values stored by an earlier
        reveal are taken as not opened yet, which is an upper bound.
        """
        return self.rehearse(self.equations(arrays))

    @contextmanager
    def profile(self) -> Iterator[Profile]:
        """Notes what the runs of a `with` block spend on each source line and operation: time, bytes, rounds.

        with s.profile() as p:
            y.reveal()
        print(p)               # tables
        p.save("trace.json")   # for chrome://tracing or Perfetto

        The clock costs a few microseconds an operation.
        """
        if self._backend is None:
            raise SessionError("this session only plans: no party is there whose time could be measured")
        outer, self._profile = self._profile, Profile(self.processes)
        self._backend.profiled = True
        try:
            yield self._profile
        finally:
            self._profile, self._backend.profiled = outer, outer is not None

    def audit(self, *arrays: Array) -> Audit:
        """Who supplies what and who learns what if these arrays are revealed to everyone."""
        return self.audit_of(self.equations(arrays), self.supplies(arrays, earlier=True))

    # ---- results ----
    def _reveal_nodes(
        self, arrays: Sequence[Array], receivers: Sequence[Sequence[int]] | None, lines: Sequence[Where] | None = None
    ) -> list[Node]:
        for array in arrays:
            if array.scope is not self._scope:
                raise SessionError("this array belongs to another session, or to a function that is being traced")
        everyone = range(self.n)
        lists = receivers if receivers is not None else [everyone] * len(arrays)
        places: Sequence[Where | None] = lines or [None] * len(arrays)
        return [
            self._scope.graph.bind("reveal", [a.node], {"to": sorted(set(to))}, where=place)[0]
            for a, to, place in zip(arrays, lists, places, strict=True)
        ]

    def reveal(self, *arrays: Array, to: int | str | Sequence[int | str] | None = None) -> list[np.ndarray]:
        """The values of several arrays in one run. See `Array.reveal`."""
        parties = (
            range(self.n) if to is None else [self.party(p) for p in ([to] if isinstance(to, (int, np.integer, str)) else to)]
        )
        return self.reveal_each(arrays, [list(parties)] * len(arrays))

    def reveal_each(
        self,
        arrays: Sequence[Array],
        receivers: Sequence[Sequence[int]],
        lines: Sequence[Where] | None = None,
        last: bool = False,
    ) -> list[np.ndarray]:
        """The values of several arrays in one run, each for its own receivers.

        last: nothing is computed from these arrays afterwards, so the parties run exactly the program of `equations`.
        """
        self._check_open()
        if any(len(r) == 0 for r in receivers):
            raise InputError("reveal to nobody")
        values = self._run(self._reveal_nodes(arrays, receivers, lines), last)
        return [decode_output(v, a.dtype) for v, a in zip(values, arrays, strict=True)]

    def save(self, folder: Path, arrays: Sequence[Array], contents: Contents) -> None:
        """Computes arrays without revealing them, and has every party save its shares; see `mpc.save`."""
        self._check_open()
        nodes = [a.node for a in arrays]
        self._run([], also=nodes)
        self._guarded(lambda backend: backend.save(folder, [self._stored[n] for n in nodes], contents))

    def load(self, folder: Path) -> tuple[list[Array], Any]:
        """The arrays of a checkpoint and how they are nested; see `mpc.load`."""
        self._check_open()
        contents = self._guarded(lambda backend: backend.load(folder, self._next, self.names))
        return self.restored(contents), contents.structure

    def restored(self, contents: Contents) -> list[Array]:
        """The arrays of a checkpoint whose shares the parties store under the next numbers."""
        behind = {}
        for supply in contents.supplies_of():
            slot = self._slot()
            behind[slot] = supply._replace(params={**supply.params, "slot": slot})
        arrays = []
        for t in contents.array_types():
            node = Node(self._scope.graph, t)
            self._stored[node], self._sources[node], self._ranges[node] = self._next, behind, None
            self._next += 1
            arrays.append(Array(node, self._scope))
        return arrays

    def _guarded(self, work: Callable[[Backend], T]) -> T:
        """What the parties do: an error in it ends the session."""
        if self._backend is None:
            raise SessionError(
                "this session only plans: no party is there to do anything. A program returns its results, and their receivers "
                "get them: write `return x` in place of x.reveal()"
            )
        try:
            return work(self._backend)
        except BaseException as error:
            self.close()
            if isinstance(error, KeyboardInterrupt):  # Python prints it as the last line, below its traceback
                error.add_note("mpc: interrupted. The parties have ended, and this run revealed nothing.")
            raise

    def _run(self, outs: list[Node], last: bool = False, also: Sequence[Node] = ()) -> list[Part]:
        found = needed([*outs, *also])
        computed = {n for e in found.eqns for n in e.outs}
        keep = [] if last else self._still_needed(computed)
        leaves = found.leaves
        if any(n not in self._stored for n in leaves):
            raise SessionError("a value was not kept: the program that computed it has run. Plan it again.")
        program, ranges = self._program(leaves, [*outs, *keep])
        program, slots = numbered(program)
        if any(slot not in self._inputs for slot in slots):
            raise InputError("a placeholder has a shape and no data: it can be costed and audited, not revealed. Use `input`.")
        inputs: dict[int, dict[int, Part]] = {}
        for number, slot in enumerate(slots, 1):
            owner, part = self._inputs[slot]
            inputs.setdefault(owner, {})[number] = part
        numbers = list(range(self._next, self._next + len(keep)))
        self._next += len(keep)
        drop, self._garbage = self._garbage, []
        args = [self._stored[n] for n in leaves]
        revealed, self.measured = self._guarded(lambda backend: backend.run(program, args, inputs, numbers, drop))
        if self._profile is not None:
            self._profile.add(self.measured)
        for slot in slots:
            del self._inputs[slot]
        sources = [self._supplies([node]) for node in keep]
        for node, number, behind, reach in zip(keep, numbers, sources, ranges[len(outs) :], strict=True):
            self._stored[node], self._sources[node], self._ranges[node] = number, behind, reach
        for eqn in found.eqns:
            for node in eqn.outs:
                node.eqn = None  # its value is stored, or nobody can ask for it again
        self._forget_unused()
        return [next(iter(by_party.values())) for by_party in revealed]

    def _still_needed(self, computed: set[Node]) -> list[Node]:
        """Nodes of this run that a living array is, or depends on."""
        keep: dict[Node, None] = {}
        seen: set[int] = set()
        stack = [a.node for a in list(self._arrays.values())]
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if node in computed:
                keep[node] = None
            elif node.eqn is not None:
                stack.extend(node.eqn.ins)
        return list(keep)

    def _forget_unused(self) -> None:
        alive: set[Node] = set()
        stack = [a.node for a in list(self._arrays.values())]
        while stack:
            node = stack.pop()
            if node not in alive:
                alive.add(node)
                stack.extend(node.eqn.ins if node.eqn is not None else ())
        for node in [n for n in self._stored if n not in alive]:
            self._garbage.append(self._stored.pop(node))
            del self._sources[node], self._ranges[node]

    def remember(self, array: Array) -> None:
        """Keeps track of living arrays (weakly): their values outlive the run that computes them."""
        self._arrays[id(array)] = array

    # ---- life ----
    def _check_open(self) -> None:
        if self._closed:
            raise SessionError("the session is closed: its arrays cannot be revealed any more. Start a new one.")

    def close(self) -> None:
        """Ends the parties' processes. Secret arrays of the session are gone."""
        if not self._closed and self._backend is not None:
            self._closed = True
            self._backend.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Session({self.protocol_name}, {self.n} parties{', closed' if self._closed else ''})"


def reveal(*arrays: Array, to: int | str | Sequence[int | str] | None = None) -> Any:
    """Reveals arrays of one session in one run; see `Array.reveal`. One array gives one value, several a list."""
    session = arrays[0].scope.session
    if session is None:
        raise SessionError("reveal inside a traced function or program: return the array instead")
    values = session.reveal(*arrays, to=to)
    return values[0] if len(values) == 1 else values

"""Measuring jobs: a row of figures for each job, protocol and network; how they grow; and what changed since another time."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from importlib import metadata
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..lang.array import Array
from ..lang.session import Session
from ..launch import machine as rates
from ..launch.local import local
from ..net.shaped import Network
from ..protocols.base import available
from ..ring.kernels import kernels
from ..run.execute import Phases, phases
from ..run.rehearse import THIS_MACHINE
from .jobs import Job

Row = dict[str, Any]
FORMAT = 1  # of the file that `mpc bench --json` writes
PATIENCE = 30.0  # seconds of one job, after which it is not repeated more than LEAST times
LEAST = 2
AHEAD = 2 << 30  # bytes dealt, above which they are not all held in memory to keep the phases apart
KEY = ("name", "protocol", "parties", "network", "size")  # what a row is about


class Setting(NamedTuple):
    """Under what a job is measured."""

    protocol: str
    parties: int
    network: Network | None  # None: this machine's own
    compare: str = "auto"

    @property
    def network_name(self) -> str:
        """Of the network, and how comparisons go where that is not the default."""
        name = "local" if self.network is None else self.network.name or str(self.network)
        return name if self.compare == "auto" else f"{name}, compare {self.compare}"


def default_parties(protocol: str) -> int:
    """As few as the protocol takes: two for `additive`, three for `helper`; at least two."""
    if protocol not in available():
        return 2  # whoever takes it says that there is no such protocol
    takes = available()[protocol].parties
    return next((n for n in takes if n >= 2), takes[0])


class Work:
    """A job in a session. Inputs are shared before the clock starts, and fresh for every run, so that no opening is reused."""

    def __init__(self, session: Session, job: Job, data: Sequence[np.ndarray]) -> None:
        self.session, self.job, self.data = session, job, data

    def prepare(self) -> list[Array]:
        """The inputs as shares."""
        arrays = [self.session.input(d, owner=i % min(2, self.session.n)) for i, d in enumerate(self.data)]
        self.session.reveal(*(a.sum() for a in arrays))  # shared now; the sums are openings of their own
        return arrays

    def run(self) -> np.ndarray:
        """One run on fresh shares; `session.measured` tells the rest."""
        value: np.ndarray = np.asarray(self.job.private(*self.prepare()).reveal())
        return value

    def seconds(self) -> float:
        """Wall time of the last run, from the agreement on the program to the last result."""
        return max(m.seconds for m in self.session.measured)


def measure(name: str, job: Job, setting: Setting, repeat: int = 5) -> Row:
    """The figures of one job: medians of `repeat` runs after a warm-up.

    Offline and online seconds come from runs of their own, in which the dealer deals everything before the others begin;
    what operations and parties spend, from one more with the clock on. `spread` is (slowest - fastest) / median.
    """
    data = job.inputs(name)
    expected, clear = _in_the_clear(job, data)
    begin = time.monotonic()
    with local(setting.parties, setting.protocol, network=setting.network, compare=setting.compare) as session:
        work = Work(session, job, data)
        cost = session.cost(job.private(*work.prepare()))
        error = float(np.max(np.abs(work.run().astype(float) - expected), initial=0.0))
        times: list[float] = []
        while len(times) < repeat and (len(times) < LEAST or time.monotonic() - begin < PATIENCE):
            work.run()
            times.append(work.seconds())
        peaks = [m.peak / 1e6 for m in session.measured]  # before a dealer's work of a whole run is held at once, below
        apart = cost.dealt_bytes <= AHEAD
        splits: list[Phases] = []
        with _dealing_ahead(session) if apart else nullcontext():
            while len(splits) < (repeat + 1) // 2 and (not splits or time.monotonic() - begin < PATIENCE):
                work.run()
                splits.append(phases(session.measured))
        arrays = work.prepare()
        with session.profile() as profile:
            job.private(*arrays).reveal()
        measured, processes = session.measured, session.processes
    seconds = statistics.median(times)
    evaluators = [sum(m.sent.values()) for m in measured if not m.deals]
    return {
        "name": name,
        "protocol": setting.protocol,
        "parties": setting.parties,
        "network": setting.network_name,
        "size": job.size,
        "ring": "2^64, 16 fraction bits",
        "seconds": seconds,
        "spread": (max(times) - min(times)) / seconds,
        "samples": times,
        "offline_seconds": statistics.median(p.offline_seconds for p in splits),
        "online_seconds": statistics.median(p.online_seconds for p in splits),
        "phases_apart": apart,
        "predicted_seconds": cost.seconds(setting.network or THIS_MACHINE, rates.measured()),
        "rounds": cost.rounds,
        "multiplications": cost.multiplications,
        "words_written": cost.words,
        "bytes_per_party": max(evaluators),
        "offline_bytes": splits[0].offline_bytes,
        "online_bytes": splits[0].online_bytes,
        "links": [
            {"from": processes[i], "to": processes[j], "bytes": b, "offline": measured[i].deals}
            for i, m in enumerate(measured)
            for j, b in sorted(m.sent.items())
            if b
        ],
        "peak_mb": max(peaks),
        "peak_mb_by_party": peaks,
        "max_error": error,
        "numpy_seconds": clear,
        "ratio_to_numpy": seconds / clear,
        "profile": {**profile.as_dict(), "names": list(profile.names), "timeline": profile.timeline(150)},
    }


def _in_the_clear(job: Job, data: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """NumPy's result and its time: the least of five runs, unless they take long."""
    times: list[float] = []
    while len(times) < 5 and sum(times) < 1:
        start = time.perf_counter()
        result = job.plain(*data)
        times.append(time.perf_counter() - start)
    return np.asarray(result, float), min(times)


@contextmanager
def _dealing_ahead(session: Session) -> Any:
    backend = session._backend
    assert backend is not None
    backend.ahead = True
    try:
        yield
    finally:
        backend.ahead = False


def collect(rows: Iterable[Row]) -> dict[str, Any]:
    """What `mpc bench --json` writes: the machine, the rows, and how those of a scaling suite grow."""
    measured = list(rows)
    return {"format": FORMAT, "machine": machine(), "rows": measured, "growth": growth(measured)}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    try:
        with open("/proc/cpuinfo") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0,
        "kernels": kernels().tier,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "mpc": metadata.version("mpc"),
        "system": platform.platform(terse=True),
    }


# ---- growth ----
STEEP = 1.15  # exponent of time in elements, above which growth is called worse than linear
LARGE = 100_000  # elements from which time is no longer mostly rounds
FLAT = 1.5  # how much longer than at a smaller size an element may take


def growth(rows: Sequence[Row]) -> list[Row]:
    """How the jobs of a scaling suite grow with their elements, and what is worse than linear.

    `exponent`: slope of log seconds over log elements from LARGE elements on (least squares); None with fewer than two
    such sizes. `flat`: how many times as long as at a smaller size an element takes at most, from LARGE on. `element_bytes`:
    what the process with most memory holds for each further element, between the two largest sizes. `flags`: in words.
    """
    series: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if "elements" in row:
            series.setdefault(tuple(row[k] for k in KEY[:4]), []).append(row)
    found = []
    for key, unsorted in series.items():
        of = sorted(unsorted, key=lambda r: int(r["elements"]))
        flags = []
        large = [r for r in of if r["elements"] >= LARGE]
        exponent, flat = _slope(large), _flatness(large)
        if exponent is not None and exponent > STEEP:
            flags.append(f"time grows like n^{exponent:.2f}")
        elif flat > FLAT:
            flags.append(f"an element takes up to {flat:.1f} times as long as at a smaller size")
        held = [1e6 * (b["peak_mb"] - a["peak_mb"]) / (b["elements"] - a["elements"]) for a, b in pairwise(large)]
        if len(held) > 1 and held[-1] > FLAT * held[-2] > 0:
            flags.append(f"memory an element grows from {held[-2]:.0f} to {held[-1]:.0f} bytes")
        first, last = of[0], of[-1]
        ratio = last["elements"] / first["elements"]
        if last["bytes_per_party"] > 1.05 * ratio * first["bytes_per_party"]:
            flags.append("bytes grow faster than the elements")
        some = (large or of)[0]["rounds"]  # large arrays take other trees (run/trees.py)
        if last["rounds"] > some:
            flags.append(f"rounds grow from {some} to {last['rounds']}")
        about = dict(zip(KEY[:4], key, strict=True))
        found.append({**about, "exponent": exponent, "flat": flat, "element_bytes": held[-1] if held else None, "flags": flags})
    return found


def _slope(rows: Sequence[Row]) -> float | None:
    if len({r["elements"] for r in rows}) < 2:
        return None
    x, y = (np.log([r[k] for r in rows]) for k in ("elements", "seconds"))
    return float(np.polyfit(x, y, 1)[0])


def _flatness(rows: Sequence[Row]) -> float:
    """The most by which time an element exceeds that of a smaller size."""
    each = [r["seconds"] / r["elements"] for r in rows]
    return max((b / a for i, b in enumerate(each) for a in each[:i]), default=1.0)


# ---- comparison ----
class Change(NamedTuple):
    """A row beside the same row of another time."""

    row: Row
    ratio: float  # of seconds, new to old
    beyond: bool  # whether the difference is larger than what runs of one time differ by


def compare(new: Sequence[Row], old: Sequence[Row]) -> list[Change]:
    """The rows that both have. A change counts as one beyond both spreads, and 10 %."""
    before = {tuple(r[k] for k in KEY): r for r in old}
    changes = []
    for row in new:
        then = before.get(tuple(row[k] for k in KEY))
        if then is not None:
            ratio = row["seconds"] / then["seconds"]
            noise = 1 + max(row["spread"], then["spread"], 0.1)
            changes.append(Change(row, ratio, not 1 / noise <= ratio <= noise))
    return changes


def run_all(
    jobs: Sequence[tuple[str, Job, Setting, int | None]], repeat: int, tell: Callable[[str, Setting, int], None]
) -> Iterable[Row]:
    """Rows one after the other; `tell` is called before each with its name, setting and number."""
    for number, (name, job, setting, elements) in enumerate(jobs):
        tell(name, setting, number)
        row = measure(name, job, setting, repeat)
        yield row if elements is None else {**row, "elements": elements}

"""One HTML page of what `mpc bench --json` saved. Geometry here, text and looks in `report.html.j2`; nothing is fetched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..run.rehearse import duration, size_of
from .measure import Row

KINDS = ("compute", "send", "wait")


def page(found: dict[str, Any]) -> str:
    """The page, complete: no script, style, font or picture comes from elsewhere."""
    environment = Environment(
        loader=PackageLoader("mpc.bench", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(duration=duration, size=size_of, log=_digits)
    rows = found["rows"]
    return environment.get_template("report.html.j2").render(
        machine=found["machine"],
        rows=rows,
        limited=any("ratio_to_limit" in r for r in rows),
        growth={_series(g): g for g in found["growth"]},
        plots=plots(rows),
        details=[detail(r) for r in rows],
        kernels=found.get("kernels", []),
        kinds=KINDS,
    )


def _digits(x: float) -> str:
    return "0" if not x else f"{x:.1e}"


# ---- growth: log-log plots ----
WIDTH, HEIGHT, LEFT, BOTTOM, RIGHT, TOP = 460, 300, 58, 34, 12, 12


class Line(NamedTuple):
    """Of one protocol, number of parties and network."""

    key: str
    label: str
    color: int  # of a palette of 8
    points: list[tuple[float, float, str]]  # x, y, what is there in words

    @property
    def path(self) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in self.points)


class Plot(NamedTuple):
    """One job of growing size; positions in the picture's units."""

    name: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    ideal: str  # what is linear in the elements, through the first line's largest size


def _series(row: Row) -> str:
    return f"{row['name']} {row['protocol']} {row['parties']} {row['network']}"


def plots(rows: Sequence[Row]) -> list[Plot]:
    """Seconds over elements for every job of a scaling suite, both axes logarithmic."""
    names = list(dict.fromkeys(r["name"] for r in rows if "elements" in r))
    return [_plot(name, [r for r in rows if r["name"] == name and "elements" in r]) for name in names]


def _plot(name: str, rows: Sequence[Row]) -> Plot:
    xs, ys = ([math.log10(r[k]) for r in rows] for k in ("elements", "seconds"))
    x_low, x_high = math.floor(min(xs)), max(math.ceil(max(xs)), math.floor(min(xs)) + 1)
    y_low, y_high = math.floor(min(ys)), max(math.ceil(max(ys)), math.floor(min(ys)) + 1)

    def x_at(decade: float) -> float:
        return LEFT + (decade - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def y_at(decade: float) -> float:
        return HEIGHT - BOTTOM - (decade - y_low) / (y_high - y_low) * (HEIGHT - BOTTOM - TOP)

    lines: dict[str, Line] = {}
    for r in sorted(rows, key=lambda r: int(r["elements"])):
        label = f"{r['protocol']}, {r['parties']}, {r['network']}"
        line = lines.setdefault(label, Line(_series(r), label, len(lines) % 8, []))
        text = f"{label}: {r['elements']:,} elements in {duration(r['seconds'])}"
        line.points.append((x_at(math.log10(r["elements"])), y_at(math.log10(r["seconds"])), text))
    last = max(rows, key=lambda r: int(r["elements"]))
    x, y = math.log10(last["elements"]), math.log10(last["seconds"])
    back = min(x - x_low, y - y_low)
    ideal = f"{x_at(x - back):.1f},{y_at(y - back):.1f} {x_at(x):.1f},{y_at(y):.1f}"
    return Plot(
        name,
        list(lines.values()),
        [(x_at(d), f"1e{d}") for d in range(x_low, x_high + 1)],
        [(y_at(d), duration(10.0**d)) for d in range(y_low, y_high + 1)],
        ideal,
    )


# ---- one row: where its time went ----
SPAN_WIDTH = 1000.0


def detail(row: Row) -> dict[str, Any]:
    """Time by operation, by source line and by party, and the timeline of a row's profiled run."""
    profile = row["profile"]
    whole = max(profile["seconds"], 1e-12)
    return {
        "row": row,
        "tables": [(title, _shares(profile[key], whole)) for title, key in (("operation", "operations"), ("line", "lines"))],
        "parties": [_party(p, whole) for p in profile["parties"]],
        "timeline": _timeline(profile),
    }


def _shares(costs: Sequence[dict[str, Any]], whole: float, most: int = 12) -> list[dict[str, Any]]:
    ranked = sorted(costs, key=lambda c: -c["seconds"] - c["dealer"])
    return [{**c, "what": c["what"] or "(no line)", "parts": [(k, 100 * c[k] / whole) for k in KINDS]} for c in ranked[:most]]


def _party(party: dict[str, Any], whole: float) -> dict[str, Any]:
    waits = {peer: s for peer, s in party["wait"].items() if s}
    parts = [("compute", "", party["compute"]), ("send", "", party["send"]), *(("wait", p, s) for p, s in waits.items())]
    texts = {"compute": "computing", "send": "sending"}
    return {
        "name": party["party"],
        "parts": [
            (kind, 100 * s / whole, f"{texts.get(kind, f'waiting for {peer}')}: {duration(s)}") for kind, peer, s in parts
        ],
    }


def _timeline(profile: dict[str, Any]) -> dict[str, Any]:
    """Spans as (kind, x, width, text) of a picture SPAN_WIDTH wide, per process, and where rounds begin."""
    spans = profile["timeline"]["spans"]
    end = max((s["start"] + s["seconds"] for of in spans for s in of), default=1e-12)
    unit = SPAN_WIDTH / end
    return {
        "seconds": end,
        "processes": [
            (
                name,
                [
                    (s["kind"], s["start"] * unit, max(s["seconds"] * unit, 0.3),
                     f"{s['op']} {s['line']}: {s['kind']} {duration(s['seconds'])}")
                    for s in of
                ],
            )
            for name, of in zip(profile["names"], spans, strict=True)
        ],
        "rounds": [t * unit for t in profile["timeline"]["rounds"] if t <= end],
    }  # fmt: skip

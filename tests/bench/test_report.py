"""The page: everything that was measured is on it, nothing is fetched, and a real browser shows and sorts it."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mpc.bench.jobs import GROWING
from mpc.bench.measure import Setting, collect, measure
from mpc.bench.report import page, plots

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "br", "link", "img", "input"}


@cache
def figures() -> dict[str, Any]:
    """A row that was measured, and the same as if it had taken steeply longer at larger sizes."""
    row = measure("relu", GROWING["relu"](3000), Setting("helper", 3, None), repeat=2)
    grown = [{**row, "elements": n, "size": f"{n:.0e}", "seconds": row["seconds"] * n**1.5} for n in (10**5, 10**6, 10**7)]
    kernel = {"tier": "avx2", "kernel": "gemm <u64>", "size": "64", "seconds": 1e-6, "rate": 9.3, "unit": "GMAC/s"}
    kernels = [{**kernel, "limit": 12.4, "by": "multiply"}, {**kernel, "limit": None, "by": None}]
    return {**collect([{**row, "name": "<b>&relu", "ratio_to_limit": 3.5}, *grown]), "kernels": kernels}


class Outline(HTMLParser):
    """Checks that elements close in order; collects what refers elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.seen: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "data", "action", "poster")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def test_the_page_is_whole_and_asks_for_nothing():
    text = page(figures())
    outline = Outline()
    outline.feed(text)
    assert not outline.open and not outline.links
    assert not re.search(r"https?:|//[\w-]+\.\w|@import|url\(", text)
    assert outline.seen["details"] == 5 and outline.seen["script"] == 1
    assert "gemm &lt;u64&gt;" in text and "75 %" in text and 'data-v="3.5"' in text
    assert "&lt;b&gt;&amp;relu" in text and "<b>&relu" not in text
    assert "time grows like n^1.5" in text
    for row in figures()["rows"]:
        assert f'data-v="{row["seconds"]}"' in text
    assert figures()["machine"]["kernels"] in text


def test_plots():
    (plot,) = plots(figures()["rows"])
    (line,) = plot.lines
    xs, ys = ([p[k] for p in line.points] for k in (0, 1))
    assert xs == sorted(xs) and ys == sorted(ys, reverse=True)
    assert (xs[1] - xs[0]) == pytest.approx(xs[2] - xs[1]) and (ys[1] - ys[0]) == pytest.approx(ys[2] - ys[1])
    assert [label for _, label in plot.x_ticks] == ["1e5", "1e6", "1e7"]


def test_a_page_of_nothing():
    text = page(collect([]))
    assert "<h2>Figures</h2>" in text and "Kernels" not in text and "limit" not in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install the Debian package chromium")
def test_in_a_browser(tmp_path: Path):
    """Sorting by time turns the rows round; nothing goes wrong on the way."""
    text = page(figures())
    watch = '<script>window.onerror = e => document.title = "ERROR " + e;</script>'
    click = '<script>const t = document.querySelectorAll("th.sorts")[4]; t.click(); t.click();</script>'
    (tmp_path / "page.html").write_text(text.replace("<head>", f"<head>{watch}").replace("</body>", f"{click}</body>"))
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    shown = subprocess.run(
        [str(CHROMIUM), *flags, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert "<title>mpc: measured" in shown
    body = shown[shown.index('id="figures"') : shown.index("</table>")]
    rows = body[body.index("<tbody>") :].split("<tr>")[1:]
    seconds = [float(re.findall(r'data-v="([\d.e+-]+)"', row)[0]) for row in rows]
    assert len(seconds) == 4 and seconds == sorted(seconds, reverse=True)

"""A run that shows where it is: the operation and source line, rounds, megabytes, and the time it will still take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import Progress as Bar
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..launch.local import Progress
from ..launch.study import Outcome, Study
from ..run.rehearse import THIS_MACHINE, Report

PLAIN_SECONDS = 5.0  # between lines where there is no terminal


def run_live(study: Study, console: Console | None = None, profile: bool = False, prepared: str | None = None) -> Outcome:
    """Runs a study on this machine with a progress bar on stderr (a line now and then if that is no terminal)."""
    with shown(study.cost, console=console) as progress:
        return study.run(progress, profile, prepared)


@contextmanager
def shown(cost: Report, me: int = 0, console: Console | None = None) -> Iterator[Progress]:
    """Shows the reports of party `me` that the yielded function is told of."""
    console = console or Console(stderr=True)
    display = Display(cost, me)
    if not console.is_terminal:
        yield lambda rounds, moved, where: _plainly(console, display, rounds, moved, where)
        return
    with Live(display, console=console, refresh_per_second=10, transient=True):
        yield display.update


def prepare_live(study: Study, folder: str, console: Console | None = None) -> list[Path]:
    """Does the dealer's work with a progress bar on stderr, if that is a terminal."""
    with Bar(*Bar.get_default_columns(), console=console or Console(stderr=True), transient=True) as bar:
        task = bar.add_task("dealing", total=study.cost.dealt_bytes)
        return study.prepare(folder, lambda steps, size: bar.update(task, completed=size))


class Display:
    """How far a run is. Rounds and bytes are known in advance, so the share that is done is, too."""

    def __init__(self, cost: Report, me: int = 0) -> None:
        self.cost = cost
        self.moves = sum(b for link, b in cost.links.items() if me in link)  # who reports
        # a round costs a fixed time, a byte another one: both count for as much as they are predicted to take
        waiting = THIS_MACHINE.seconds(cost.rounds, 0)
        self.round_share = waiting / max(cost.seconds(THIS_MACHINE), waiting, 1e-9)
        self.rounds = self.moved = 0
        self.where = "starting the parties"
        self.begun: float | None = None  # when the first report came
        self.said = time.monotonic()

    def update(self, rounds: int, moved: int, where: str) -> None:
        if self.begun is None:
            self.begun = time.monotonic()
        self.rounds, self.moved, self.where = rounds, moved, where or self.where

    @property
    def done(self) -> float:
        """Between 0 and 1."""
        by_rounds = self.rounds / max(1, self.cost.rounds)
        by_bytes = self.moved / self.moves if self.moves else by_rounds
        return min(1.0, self.round_share * by_rounds + (1 - self.round_share) * by_bytes)

    @property
    def seconds_left(self) -> float:
        """From what is measured, once a twentieth is done; before that, from the rehearsal."""
        if self.begun is None or self.done < 0.05:
            return self.cost.seconds(THIS_MACHINE) * (1 - self.done)
        return (time.monotonic() - self.begun) * (1 - self.done) / self.done

    def __str__(self) -> str:
        return (
            f"{self.done:4.0%}  round {self.rounds:,}/{self.cost.rounds:,}  {self.moved / 1e6:.1f}/{self.moves / 1e6:.1f} MB  "
            f"{_clock(self.seconds_left)} left  {self.where}"
        )

    def __rich__(self) -> Table:
        row = Table.grid(padding=(0, 1))
        row.add_column(width=24)
        for _ in range(4):
            row.add_column(no_wrap=True)
        row.add_row(
            ProgressBar(total=1.0, completed=self.done, width=24),
            Text(f"{self.done:4.0%}", style="bold"),
            Text(f"round {self.rounds:,}/{self.cost.rounds:,}  {self.moved / 1e6:.1f}/{self.moves / 1e6:.1f} MB"),
            Text(f"{_clock(self.seconds_left)} left", style="cyan"),
            Text(self.where, style="green"),
        )
        return row


def _plainly(console: Console, display: Display, rounds: int, moved: int, where: str) -> None:
    display.update(rounds, moved, where)
    if time.monotonic() - display.said > PLAIN_SECONDS:
        display.said = time.monotonic()
        console.print(Text(str(display)), soft_wrap=True)


def _clock(seconds: float) -> str:
    whole = ceil(seconds)
    return f"{whole // 60}:{whole % 60:02d}" if whole < 3600 else f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"

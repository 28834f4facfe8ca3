"""Progress of a run on stderr: a table that renews itself in a terminal, else a line every ten seconds."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from minigrok.config import usual_steps
from minigrok.display import duration
from minigrok.storage.milestones import Standing
from minigrok.storage.runs import Run
from minigrok.training.run_state import Row

from .tables import step_text, table

RATE_SECONDS = 10.0  # steps per second are an average over about this time


class Watch:
    """What is shown and when; `show` is the subclasses' own.

    Parameters
    ----------
    run : Run
    after_grok : int, optional    as given to `train`; default: that of the last sitting, or the config's
    interval : float              seconds between two shows
    """

    def __init__(self, run: Run, after_grok: int | None, interval: float) -> None:
        self.run = run
        kept = (run.load_checkpoint() or ({}, {}))[1].get("after_grok")
        self.after_grok = next(n for n in (after_grok, kept, run.config.train.after_grok) if n is not None)
        self.interval = interval
        self.steps_made = 0
        self.tasks: list[Standing] = []
        self._marks: deque[tuple[float, int]] = deque(maxlen=1 + max(1, round(RATE_SECONDS / interval)))
        self._usual = usual_steps(run.config) or 0
        self._due = 0.0
        self._stale = True

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the display."""

    def evaluated(self, _: Row) -> None:
        """Note that there is a new row of metrics."""
        self._stale = True

    def stepped(self, step: int) -> None:
        """Count a step, and show where the run stands if it is time."""
        self.steps_made += 1
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self.interval
        self._marks.append((now, step))
        if self._stale:
            self.tasks, self._stale = self.run.standings(), False
        self.show(step)

    def show(self, step: int) -> None:
        """Show where the run stands."""
        raise NotImplementedError

    @property
    def rate(self) -> float:
        """Steps per second lately; 0 if there was no time to tell."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - start) if end > start else 0.0

    @property
    def last_step(self) -> int:
        """Step at which the run ends: the budget, or sooner once every task has grokked."""
        train, groks = self.run.config.train, [task.grokked_at for task in self.tasks]
        reached = [step for step in groks if step is not None]
        if train.stop_when_grokked and reached and len(reached) == len(groks):
            return min(train.max_steps, max(reached) + self.after_grok)
        return train.max_steps

    def pace(self, step: int) -> str:
        """Steps per second and the time left at that pace."""
        if self.rate == 0:
            return ""
        words = f"at most {duration((self.last_step - step) / self.rate)} left"
        if step < self._usual < self.last_step:
            words = f"usually {duration((self._usual - step) / self.rate)}, {words}"
        return f"{self.rate:.0f} steps/s, {words}"


class Lines(Watch):
    """A line every ten seconds."""

    def __init__(self, run: Run, after_grok: int | None, console: Console) -> None:
        super().__init__(run, after_grok, interval=RATE_SECONDS)
        self._console = console

    def show(self, step: int) -> None:
        """Print one line."""
        tasks = "".join(
            f" | {t.task}: train {t.train_accuracy:.3f} ({t.train_loss:.1e}), "
            f"test {t.test_accuracy:.3f} ({t.test_loss:.1e})"
            for t in self.tasks
        )
        line = f"step {step:,} of {self.last_step:,}{tasks} | {self.pace(step)}"
        self._console.print(line.removesuffix(" | "), soft_wrap=True, markup=False)


class Screen(Watch):
    """A bar and a table, renewed twice a second by the training thread itself: nothing runs beside it."""

    def __init__(self, run: Run, after_grok: int | None, console: Console) -> None:
        super().__init__(run, after_grok, interval=0.5)
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def __exit__(self, *_: object) -> None:
        """Remove the table."""
        self._live.stop()

    def show(self, step: int) -> None:
        """Renew the table."""
        self._live.start()  # the first time; a run with nothing left to do shows none
        self._live.update(Group(self._bar(step), self._table()), refresh=True)

    def _bar(self, step: int) -> Table:
        bar = Table.grid(padding=(0, 2))
        progress = ProgressBar(total=self.last_step, completed=step, width=30)
        bar.add_row(f"step {step:,} of {self.last_step:,}", progress, self.pace(step))
        return bar

    def _table(self) -> Table:
        columns = ("task", ">train loss", ">accuracy", ">test loss", ">accuracy", "")
        rows = [
            (
                t.task,
                f"{t.train_loss:.1e}",
                f"{t.train_accuracy:.3f}",
                f"{t.test_loss:.1e}",
                f"{t.test_accuracy:.3f}",
                _reached(t),
            )
            for t in self.tasks
        ]
        return table("", columns, rows)


def watch(run: Run, after_grok: int | None) -> Watch:
    """Return the display that suits stderr."""
    console = Console(stderr=True, highlight=False)
    kind = Screen if console.is_terminal and not console.is_dumb_terminal else Lines
    return kind(run, after_grok, console)


def _reached(task: Standing) -> str:
    if task.grokked_at is not None:
        return f"grokked at {step_text(task.grokked_at)}"
    return "" if task.memorised_at is None else f"memorised at {step_text(task.memorised_at)}"

"""How far is it, and how much longer? A bar per run, and the pace of a plan."""

import time

from tqdm.auto import tqdm

from kcd_teach.training import Distillation


class Bar:
    """A :data:`~kcd_teach.benchmark.finishing.Watch` that shows the epochs of the current run and the time they need.

    Args:
        position: line on the screen, below the overall bar.
        disable: show nothing.
    """

    def __init__(self, position: int = 1, disable: bool = False) -> None:
        self._position, self._disable = position, disable
        self._bar: tqdm[None] | None = None
        self._title = ""

    def __call__(self, title: str, run: Distillation) -> None:
        """Show that a run has begun, or has finished an epoch."""
        if self._bar is None or self._title != title:
            self.close()
            self._title = title
            self._bar = tqdm(
                total=run.recipe.epochs, initial=run.epoch, desc=title, unit="epoch", position=self._position,
                leave=False, disable=self._disable,
            )  # fmt: skip
        self._bar.update(run.epoch - self._bar.n)
        if run.reports:
            self._bar.set_postfix_str(f"{100 * run.reports[-1].test_accuracy:.1f} %")
        if len(run) == 0:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Pace:
    """A :data:`~kcd_teach.benchmark.finishing.Watch` that knows how much longer it takes, from what it has seen."""

    def __init__(self) -> None:
        self._began = 0.0
        self._first: dict[str, tuple[float, int]] = {}
        self._finished = 0

    def __call__(self, title: str, run: Distillation) -> None:
        """Note that a run has begun, or has finished an epoch."""
        now = time.monotonic()  # a clock that nobody sets
        self._first.setdefault(title, (now, run.epoch))
        if not title.startswith("teacher "):
            self._began = self._began or now
            self._finished += len(run) == 0

    def of_run(self, title: str, run: Distillation) -> float | None:
        """Seconds that a run still needs; None before its first epoch here."""
        since, epoch = self._first[title]
        return None if run.epoch == epoch else (time.monotonic() - since) / (run.epoch - epoch) * len(run)

    def of_plan(self, runs: int) -> float | None:
        """Seconds that a plan still needs of which so many runs were missing; None before the first of them is done."""
        if not self._finished:
            return None
        return (time.monotonic() - self._began) / self._finished * (runs - self._finished)


def spoken(seconds: float) -> str:
    """A length of time as one says it.

    >>> spoken(44), spoken(200), spoken(9000)
    ('44 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

"""A panel that carries out a plan while the notebook stays free: start, stop and continue, with curves that grow."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from kcd_teach.benchmark import Outcome, Plan, Prepared, Store, run_plan
from kcd_teach.benchmark.curves import epoch_curves, stage_ends, states, under_way
from kcd_teach.benchmark.runner import Pace, spoken
from kcd_teach.benchmark.runs import Root
from kcd_teach.figures import run_curves
from kcd_teach.training import Distillation
from kcd_teach.widgets.training import Curves, TrainingView


class RunPanel(TrainingView):
    """Carry out a plan in a thread of its own, under two buttons, with a grid of what is done.

    Stopping keeps everything: finished runs are stored, and the run at work is saved between two batches. So does a
    killed kernel, but for the epoch at work. Starting again, here or with ``kcd-teach bench`` in a terminal, goes on.

    Args:
        plan: what is wanted.
        folder: of results, teachers and checkpoints.
        root: folder of the data set.
        device: where to compute; the first GPU if there is one.
        checkpoints: network -> file, teachers that are published checkpoints; all others are trained.

    Attributes:
        busy: true while it is at work.
    """

    SHARE = 0.1
    """Largest share of the time that is spent on pictures: a small network trains faster than its curves are read."""

    def __init__(
        self,
        plan: Plan,
        folder: str | Path,
        *,
        root: Root = None,
        device: torch.device | str | None = None,
        checkpoints: Mapping[str, str | Path] | None = None,
    ) -> None:
        self.plan, self._store = plan, Store(folder)
        self._settings: dict[str, Any] = {"root": root, "device": device, "checkpoints": checkpoints}
        # Not the thread itself is asked: an interrupted join() of Python 3.11 takes it for ended.
        self._idle = threading.Event()
        self._idle.set()
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._at_work: Distillation | None = None
        self._stopping = threading.Event()
        self._pace, self._next_picture = Pace(), 0.0
        self._missing: int | None = None
        self._begun = False
        super().__init__()
        self.on_msg(self._on_button)
        self._draw(plan.pairs[0].name, "not started")

    def _on_button(self, _: object, message: dict[str, Any], buffers: object) -> None:
        {"start": self.start, "stop": self.stop}[message["press"]]()

    @property
    def busy(self) -> bool:
        """True while it is at work."""
        return not self._idle.is_set()

    def start(self) -> None:
        """Begin, or go on; does nothing while it is at work."""
        if self.busy:
            return
        self._begun = True
        self._stopping.clear()
        self._outcome = self._error = None
        self._pace, self._missing = Pace(), None
        self._idle.clear()
        self._say("getting ready")
        threading.Thread(target=self._work, daemon=True).start()

    def stop(self) -> None:
        """Stop after the current batch; :meth:`start` goes on from there. Does nothing if it is not at work."""
        if self.busy:
            self._stopping.set()
            if self._at_work is not None:
                self._at_work.stop()
            self._say("stopping after the current batch")

    def wait(self) -> Outcome | None:
        """Wait until all runs are stored, or until it is stopped; an interrupt of the waiting cell stops it too.

        Returns:
            The outcome; None if it was stopped.

        Raises:
            Whatever ended the work.
        """
        try:
            self._idle.wait()
        except KeyboardInterrupt:
            self.stop()
            self._idle.wait()
            raise
        if self._error is not None:
            raise self._error
        return self._outcome

    def _work(self) -> None:
        """Carry out the plan in the thread. An error would be lost there, so it is shown, and raised by :meth:`wait`."""
        try:
            self._outcome = run_plan(
                self.plan, self._store.folder, watch=self._on_epoch, quiet=True, announce=self._say, **self._settings
            )
            self._show_end(_summary(self._outcome, self._store))
        except KeyboardInterrupt:
            self._show_end("stopped, nothing is lost; it goes on from here")
        except BaseException as error:
            self._error = error
            self._say(f"{type(error).__name__}: {error}")
        finally:
            self._at_work = None
            self._say(self.text, busy=False)
            self._idle.set()

    def _show_end(self, text: str) -> None:
        self._draw(self.plan.pairs[-1].name, text)

    def _on_epoch(self, title: str, run: Distillation) -> None:
        """Show how far the run is, and stop it if that was asked; a :data:`~kcd_teach.benchmark.runs.Watch`."""
        self._at_work = run
        self._pace(title, run)
        text = self._progress(title, run)
        if time.monotonic() > self._next_picture:
            self._draw(title.split(" ")[0], text)
        else:
            self._say(text)
        if self._stopping.is_set():
            raise KeyboardInterrupt("stopped between epochs")

    def _progress(self, title: str, run: Distillation) -> str:
        """How far the run is, and the time that it and the plan still need, where that can be estimated."""
        said = f", test accuracy {100 * run.reports[-1].test_accuracy:.1f} %" if run.reports else ""
        texts = [f"{title}: epoch {run.epoch} of {run.recipe.epochs}{said}"]
        if self._missing is None and not title.startswith("teacher "):
            self._missing = _missing(Prepared.load(self._store), self._store)
        of_run, of_plan = self._pace.of_run(title, run), self._pace.of_plan(self._missing or 0)
        if of_run:
            texts.append(f"about {spoken(of_run)} left in this run")
        if of_plan:
            texts.append(f"about {spoken(of_plan)} left in all")
        return "; ".join(texts)

    def _draw(self, pair: str, text: str) -> None:
        """Curves of a pair, finished and growing, and what is done; the first pair while a teacher is trained."""
        began, names = time.monotonic(), [of_plan.name for of_plan in self.plan.pairs]
        pair = pair if pair in names else names[0]
        prepared = self._prepared()
        curves: Curves = {row.name: {} for row in self.plan.rows}
        running: Curves = {}
        if prepared:
            curves = epoch_curves(prepared, self._store, pair)
            running = under_way(prepared, self._store, pair)
        self._drawn = (f"{pair}: accuracy while it runs", curves, running)
        self.show(curves, running, self.plan.scale.epochs, text, cells=self._cells(prepared), buttons=self._buttons())
        ended = time.monotonic()
        self._next_picture = ended + (ended - began) / self.SHARE

    def _cells(self, prepared: Prepared | None) -> dict[str, Any]:
        """The state of every run, a row of cells for each way to train."""
        pairs = [pair.name for pair in self.plan.pairs]
        if prepared is None:
            found = {
                row.name: {pair: dict.fromkeys(self.plan.seeds_of(row), "missing") for pair in pairs}
                for row in self.plan.rows
            }
        else:
            found = states(prepared, self._store)
        return {
            "pairs": pairs,
            "rows": [[row, *(list(cells[pair].values()) for pair in pairs)] for row, cells in found.items()],
        }

    def _buttons(self, busy: bool | None = None) -> dict[str, Any]:
        """The word on the first button, and whether there is something to stop."""
        return {"start": "continue" if self._begun else "start", "busy": self.busy if busy is None else busy}

    def still(self) -> Figure:
        """The curves of the pair that was drawn last."""
        title, curves, running = self._drawn
        prepared = self._prepared()
        ends = stage_ends(prepared) if prepared else None
        return run_curves(curves, title, epochs=self.plan.scale.epochs, ends=ends, running=running).figure

    def _prepared(self) -> Prepared | None:
        """The plan as its folder has it; None before it was started, or if that was last used for another plan."""
        try:
            found = Prepared.load(self._store)
        except (FileNotFoundError, ValueError):  # a damaged one is written anew when the plan starts
            return None
        return found if found.plan == self.plan else None

    def _say(self, text: str, busy: bool | None = None) -> None:
        """Show a line of text, and what the buttons can do, without looking into the folder."""
        self._state = {**self._state, "text": text, "buttons": self._buttons(busy)}
        self._answer()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle, metadata = super()._repr_mimebundle_(**kwargs)
        if self.busy:  # the text changes with the clock, so a stored page says only this
            bundle["text/plain"] = f"{type(self).__name__}: at work"
        return bundle, metadata


def _missing(prepared: Prepared, store: Store) -> int:
    """Runs of a plan that are not stored."""
    stored = store.records()
    return sum(unit.key not in stored for unit in prepared.units())


def _summary(outcome: Outcome, store: Store) -> str:
    runs = len(outcome.prepared.units())
    stored = runs - _missing(outcome.prepared, store)
    diverged = "".join(f"; {name}: {error}" for name, error in outcome.diverged.items())
    return f"done: {stored} of {runs} runs are stored{diverged}"

"""The view of training: the accuracy after every epoch while runs are at work, and the time that they still need."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure

from kcd_teach.benchmark.runner import Pace, spoken
from kcd_teach.figures import run_curves
from kcd_teach.figures.benchmark import role_of
from kcd_teach.training import Distillation, EpochReport
from kcd_teach.widgets.instrument import Instrument

Curves = Mapping[str, Mapping[int, Sequence[float]]]
"""Name of a row -> seed -> test accuracy after every epoch, percent."""


class TrainingView(Instrument):
    """Curves that grow while runs are at work, with a line of text below them.

    Example:
        >>> view = TrainingView()
        >>> for report in view.watch(run, "KD"):  # doctest: +SKIP
        ...     pass
    """

    drawing, alt = "training", "Test accuracy after every epoch, one line per run."

    def __init__(self) -> None:
        self._finished: dict[str, dict[int, list[float]]] = {}
        self._shown: DisplayHandle | None = None
        self._state: dict[str, Any] = {"rows": [], "epochs": 1, "text": "not started"}
        super().__init__([])

    def reply(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """The curves as they are now."""
        return self._state

    def show(self, curves: Curves, running: Curves, epochs: int, text: str, **more: Any) -> None:
        """Draw curves of finished runs and of those at work, up to a number of epochs, above a line of text."""
        rows = [
            {
                "name": name,
                "role": role_of(name),
                "done": list(map(_rounded, curves.get(name, {}).values())),
                "running": list(map(_rounded, running.get(name, {}).values())),
            }
            for name in dict.fromkeys([*curves, *running])
        ]
        self._state = {"rows": rows, "epochs": epochs, "text": text, **more}
        self._answer()

    def watch(self, run: Distillation, name: str) -> Iterator[EpochReport]:
        """Go through the epochs of a run while its curve grows; shows the picture at the first call, and when a run goes on.

        Interrupting the kernel stops the run between two batches; watching the same run again goes on.
        """
        again = self._finished.get(name, {}).get(run.seed)
        if self._shown is None or again:  # the cell runs again, without its picture
            self._shown = display(self, display_id=True)
        pace = Pace()
        pace(name, run)
        line = self._finished.setdefault(name, {}).setdefault(run.seed, [])
        try:
            for report in run:
                line.append(100 * report.test_accuracy)
                pace(name, run)
                rest = pace.of_run(name, run)
                left = f", about {spoken(rest)} left" if rest else ""
                self._show(
                    run, f"{name}: epoch {run.epoch} of {run.recipe.epochs}, test accuracy {line[-1]:.1f} %{left}."
                )
                yield report
        except KeyboardInterrupt:
            self._show(run, f"{name}: stopped in epoch {run.epoch + 1}; run the cell again, and it goes on from there.")
            raise
        finally:
            if self._shown is not None:
                self._shown.update(self)  # what the notebook stores is the picture as it is now

    def _show(self, run: Distillation, text: str) -> None:
        self.show(self._finished, {}, run.recipe.epochs, text)

    def still(self) -> Figure:
        """The curves as a figure."""
        return run_curves(self._finished, "Accuracy while it trains", epochs=self._state["epochs"]).figure


def _rounded(line: Sequence[float]) -> list[float]:
    return [round(float(value), 2) for value in line]

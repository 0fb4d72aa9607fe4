"""How far is it? A bar per run."""

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

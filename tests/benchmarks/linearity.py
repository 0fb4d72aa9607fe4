"""Does the cost of a run grow in proportion, with twice the samples and with twice the epochs?"""

from collections.abc import Callable
from dataclasses import replace

from kcd_teach import Condenser, Recipe, distill
from kcd_teach.datasets import Dataset
from tests.benchmarks.material import Figures, in_turn, pair_of, ratio


def linearity(dataset: Dataset, repeats: int, precision: str = "float32") -> dict[str, Figures]:
    """Seconds of KC-KD with twice the samples, and with twice the epochs, over those of two single runs; 1 is linear.

    One of the two is timed before and one behind the double, so that a machine which slows down or speeds up meanwhile
    does so for both. The test set, which is not doubled, is cut to one batch; the store is off, because it is there to
    make later epochs cheaper.
    """
    student, teacher = pair_of("bundled", dataset)
    test = {"test_images": dataset.test_images[:64], "test_labels": dataset.test_labels[:64]}
    full = replace(dataset, **test)
    half = replace(full, train_images=dataset.train_images[::2], train_labels=dataset.train_labels[::2])

    def whole(shown: Dataset, epochs: int) -> Callable[[], None]:
        def work() -> None:
            condenser = Condenser(len(shown.train_images), 0.7, 6, epochs)
            recipe = Recipe(epochs=epochs, precision=precision)
            for _ in distill(student, shown, teacher, recipe=recipe, condenser=condenser):
                pass

        return work

    once = whole(half, 6)
    once()
    works = {"once": once, "samples": whole(full, 6), "again": once, "epochs": whole(half, 12), "at last": once}
    seconds = in_turn(works, repeats, dataset.train_images.device)

    def over_two(double: str, *singles: str) -> Figures:
        return ratio(seconds[double], [a + b for a, b in zip(*(seconds[name] for name in singles), strict=True)])

    return {"samples": over_two("samples", "once", "again"), "epochs": over_two("epochs", "again", "at last")}

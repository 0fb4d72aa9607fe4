"""What the cells of a table mean, spelt out: runs written directly, and the arithmetic on them by hand."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kcd_teach import Condenser, Recipe, create_distiller, create_model, distill
from kcd_teach.benchmark import Prepared, Scale, Store, Teacher, make_plan, make_table, run_plan
from tests.loop_oracle import Loop, RandomCondenser
from tests.oracles import PlainCondenser

RATES = {"mini_resnet8x3": 0.05, "mini_convnet": 0.05, "MobileNetV2": 0.01, "ShuffleV1": 0.01, "ShuffleV2": 0.01}
"""Of the benchmark: 0.05, and 0.01 for MobileNetV2 and the ShuffleNets, who learn or who are trained to teach."""

T_OF_95 = {2: 12.706205, 3: 4.302653, 4: 3.182446}
"""The 97.5 % point of Student's t by number of runs, from a printed table."""


@dataclass(frozen=True)
class Runs:
    """A plan in plain words.

    Attributes:
        pairs: ``"TEACHER>STUDENT"``.
        rows, seeds: of every pair.
        scale: images and epochs.
    """

    pairs: tuple[str, ...]
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    scale: Scale


SCALE = Scale(
    "oracle", "fashion-mnist-mini", epochs=6, batch_size=9, per_class=7, test_per_class=6, classes=5, side=12,
    teacher_epochs=4,
)  # fmt: skip
"""35 images of five classes; nine in a batch leave no last one of a single image, in whatever stage."""
RUNS = Runs(
    ("mini_resnet8x3>mini_convnet",),
    ("Student", "KD", "KC-KD", "KC-KD@random", "KC-KD@no-mixing", "KC-KD@released", "KD@short", "KC-CRD"),
    (0, 3), SCALE,
)  # fmt: skip
MOBILE = Runs(
    ("ShuffleV1>MobileNetV2", "mini_resnet8x3>ShuffleV1", "mini_resnet8x3>ShuffleV2"), ("Student", "KC-KD"), (1,),
    dataclasses.replace(SCALE.but(epochs=2, per_class=3), teacher_epochs=None),
)  # fmt: skip
WHOLE = Runs(
    ("mini_resnet8x3>mini_convnet",), ("KC-KD", "KC-KD@random"), (3,), SCALE.but(epochs=8, batch_size=11, per_class=5)
)
"""Eight epochs, so that the rate falls between two epochs, as the loop's oracle wants it."""


def finished(runs: Runs, folder: Path) -> Prepared:
    """Let the benchmark carry it out."""
    plan = make_plan(runs.pairs, runs.rows, runs.seeds, runs.scale)
    return run_plan(plan, folder, device="cpu", quiet=True, announce=lambda text: None).prepared


def record_of(folder: Path, pair: str, row: str, seed: int) -> dict[str, Any]:
    """The one record of a cell and seed."""
    records = Store(folder).records().values()
    (found,) = [r for r in records if (r["pair"], r["row"], r["seed"]) == (pair, row, seed)]
    return found


@contextlib.contextmanager
def on_one_thread() -> Iterator[None]:
    """As the benchmark computes; with more of them sums are rounded in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def teacher_by_hand(network: str, scale: Scale) -> tuple[nn.Module, float]:
    """A teacher, the network of seed 0 trained on labels with the benchmark's rate for it, and how good it is."""
    teacher = create_model(network, 5, 1, seed=0)
    epochs = scale.teacher_epochs or scale.epochs
    recipe = Recipe(epochs=epochs, batch_size=scale.batch_size, learning_rate=RATES[network])
    with on_one_thread():
        reports = list(distill(teacher, scale.images(), recipe=recipe, seed=0))
    return teacher, reports[-1].test_accuracy


def condenser_by_hand(row: str, num_samples: int, epochs: int, seed: int) -> Condenser | None:
    """Of a row: 70 % of the samples at the end of six stages, fewer in a shorter run."""
    changes = {
        "KC-KD": {}, "KC-CRD": {}, "KC-KD@random": {"selection": "random", "mixing": False},
        "KC-KD@no-mixing": {"mixing": False}, "KC-KD@released": {"preset": "released"},
    }  # fmt: skip
    if row not in changes:
        return None
    return Condenser(num_samples, 0.7, min(6, epochs), epochs, seed=seed, **changes[row])


@cache
def by_hand(runs: Runs, pair: str, row: str, seed: int) -> dict[str, Any]:
    """What the record of a cell and seed must say, from a run that is written directly."""
    network, name = pair.split(">")
    scale, dataset = runs.scale, runs.scale.images()
    epochs = round(0.85 * scale.epochs) if row == "KD@short" else scale.epochs
    recipe = Recipe(epochs=epochs, batch_size=scale.batch_size, learning_rate=RATES[name])
    student, taught = create_model(name, 5, 1, seed=seed), {}
    if row != "Student":
        teacher, _ = teacher_by_hand(network, scale)
        taught = {"teacher": teacher, "condenser": condenser_by_hand(row, len(dataset.train_images), epochs, seed)}
    if row == "KC-CRD":  # 16,384 negatives for 50,000 images, as many of ours
        settings = {"negatives": round(16_384 * len(dataset.train_images) / 50_000), "image_shape": (1, 12, 12)}
        taught["distiller"] = create_distiller("crd", student, teacher, seed=seed, **settings)
    with on_one_thread():
        reports = list(distill(student, dataset, recipe=recipe, seed=seed, **taught))
    return {
        "pair": pair, "row": row, "seed": seed, "scale": scale.name,
        "test_accuracy": [report.test_accuracy for report in reports],
        "train_loss": [report.train_loss for report in reports],
        "active": [report.active for report in reports],
        "presentations": sum(report.active for report in reports),
    }  # fmt: skip


@cache
def by_the_loop(runs: Runs, pair: str, row: str, seed: int) -> dict[str, Any]:
    """The same of KC-KD, from the loop that is written out sample by sample."""
    network, name = pair.split(">")
    scale, dataset = runs.scale, runs.scale.images()
    recipe = Recipe(epochs=scale.epochs, batch_size=scale.batch_size, learning_rate=RATES[name])
    condenser = PlainCondenser(len(dataset.train_images), "0.7", 6, scale.epochs)
    if row == "KC-KD@random":
        condenser = RandomCondenser(len(dataset.train_images), "0.7", 6, scale.epochs, mixing=False, seed=seed)
    student, (teacher, _) = create_model(name, 5, 1, seed=seed), teacher_by_hand(network, scale)
    reports = Loop(student, teacher, dataset, recipe, condenser=condenser, seed=seed).run().reports
    _, _, active, presentations, _, losses, accuracies = zip(*reports, strict=True)
    return {
        "pair": pair, "row": row, "seed": seed, "scale": scale.name, "test_accuracy": accuracies, "train_loss": losses,
        "active": list(active), "presentations": presentations[-1],
    }  # fmt: skip


def unlike(record: dict[str, Any], expected: dict[str, Any], tolerance: float = 2e-6) -> list[str]:
    """In what a record and the expected one differ beyond rounding to six decimals."""
    found = [
        f"{name}: {record[name]}, not {expected[name]}"
        for name in ("pair", "row", "seed", "scale", "active", "presentations")
        if record[name] != expected[name]
    ]
    for name in ("test_accuracy", "train_loss"):
        ours, theirs = record[name], expected[name]
        if len(ours) != len(theirs) or any(
            abs(a - b) > tolerance * max(1, abs(b)) for a, b in zip(ours, theirs, strict=True)
        ):
            found.append(f"{name}: {ours}, not {theirs}")
    return found


MADE_UP = {
    "KD": {0: (0.2, 0.9, 0.5), 1: (0.3, 0.6, 0.56), 4: (0.8, 0.7, 0.53)},
    "KC-KD": {0: (0.7, 0.5, 0.6), 1: (0.1, 0.8, 0.57), 4: (0.9, 0.2, 0.61)},
    "KC-KD@random": {1: (0.4, 0.3, 0.58), 4: (0.6, 0.5, 0.5)},
}
"""Row -> seed -> accuracies after every epoch; best in an epoch that is not the last, and one seed is missing."""


def made_up(folder: Path) -> Prepared:
    """Store the records of made-up runs, and nothing else."""
    plan = make_plan(RUNS.pairs, MADE_UP, (0, 1, 4), RUNS.scale)
    prepared = Prepared(plan, "11", 35, {"mini_resnet8x3": Teacher("mini_resnet8x3", "00", 0.625, "a test")})
    for row in plan.rows:
        for seed, accuracies in MADE_UP[row.name].items():
            unit = prepared.unit(plan.pairs[0], row, seed)
            losses, shown = [1.0] * len(accuracies), 100 + seed
            Store(folder).append({
                "key": unit.key, "config": unit.config, "pair": unit.pair.name, "row": row.name, "seed": seed,
                "test_accuracy": accuracies, "train_loss": losses, "presentations": shown, "places": ["here"],
            })  # fmt: skip
    return prepared


def interval_by_hand(values: list[float]) -> tuple[float, float | None]:
    """Mean, and half of its 95 % interval; none of a single value."""
    n, mean = len(values), sum(values) / len(values)
    if n == 1:
        return mean, None
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, T_OF_95[n] * deviation / math.sqrt(n)


def table_by_hand(records: list[dict[str, Any]], pair: str, row: str, wanted: int) -> dict[str, Any]:
    """What a cell must show: the last epoch of every run in percent, and condensed minus plain seed by seed."""
    runs = {r["seed"]: r for r in records if (r["pair"], r["row"]) == (pair, row)}
    plain = {r["seed"]: r for r in records if r["pair"] == pair and f"KC-{r['row']}" == row.partition("@")[0]}
    mean, half = interval_by_hand([100 * r["test_accuracy"][-1] for r in runs.values()])
    gains = [100 * (runs[s]["test_accuracy"][-1] - plain[s]["test_accuracy"][-1]) for s in runs if s in plain]
    gain, gain_half = interval_by_hand(gains) if gains else (None, None)
    return {
        "row": row, "pair": pair, "ours": mean, "ours_half_width": half, "n": len(runs), "wanted": wanted, "gain": gain,
        "gain_half_width": gain_half, "gain_n": len(gains),
        "presentations": sum(r["presentations"] for r in runs.values()) / len(runs),
    }  # fmt: skip


def wrong_cells(prepared: Prepared, store: Store) -> list[str]:
    """Cells of the table that are not what comes out by hand; four decimals are kept."""
    records, found = list(store.records().values()), []
    for cell in make_table(prepared, store).rows():
        expected = table_by_hand(records, cell["pair"], cell["row"], len(prepared.plan.seeds))
        for name, value in expected.items():
            same = abs(cell[name] - value) < 1e-3 if isinstance(value, float) and cell[name] is not None else False
            if not same and cell[name] != value:
                found.append(f"{cell['row']}, {name}: {cell[name]}, not {value}")
    return found

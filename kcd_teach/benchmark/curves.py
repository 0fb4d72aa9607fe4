"""What do the stored runs say, as plain numbers? Curves, costs, differences: what figures and tables are made of."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kcd_teach._checks import check_choice
from kcd_teach.benchmark.plan import Prepared
from kcd_teach.benchmark.runs import Unit, unpack_ids
from kcd_teach.benchmark.settings import VARIANTS, Pair, Row, with_arrow
from kcd_teach.benchmark.store import Record, Store
from kcd_teach.condensation.schedule import event_epochs

Runs = dict[int, float]
"""Seed -> accuracy in percent, or a difference in percentage points."""

Curves = dict[str, dict[int, list[float]]]
"""Row -> seed -> a number per epoch; a row without a run is there, and empty."""

QUANTITIES = {"test_accuracy": 100, "train_loss": 1}
"""What is recorded of every epoch, and the factor to the unit it is shown in: percent, nats."""


def find_pair_of(prepared: Prepared, name: str | None = None) -> Pair:
    """A pair of the plan by its name, by default the first; raises ValueError for one that is not in the plan."""
    pairs = prepared.plan.pairs
    if name is None:
        return pairs[0]
    name = with_arrow(name)
    known = {text.casefold(): pair for pair in pairs for text in (pair.name, f"{pair.teacher}>{pair.student}")}
    if name.casefold() not in known:
        check_choice("pair", name, [pair.name for pair in pairs])
    return known[name.casefold()]


def runs_of(prepared: Prepared, pair: Pair, row: Row, records: Mapping[str, Record]) -> dict[int, Record]:
    """Stored runs of a cell by seed; those of another configuration are left alone, without its teacher there are none."""
    if not prepared.can_name(pair, row):
        return {}
    keys = {seed: prepared.unit(pair, row, seed).key for seed in prepared.plan.seeds_of(row)}
    return {seed: records[key] for seed, key in keys.items() if key in records}


def last_accuracies(runs: Mapping[int, Record]) -> Runs:
    """Accuracy of the last epoch in percent by seed."""
    return {seed: 100 * record["test_accuracy"][-1] for seed, record in runs.items()}


def accuracies(prepared: Prepared, store: Store, pair: str | None = None) -> dict[str, Runs]:
    """Row -> seed -> accuracy of the last epoch in percent, in the plan's order; empty where nothing was run.

    Of a pair of the plan, by default its first.
    """
    return {row: last_accuracies(runs) for row, runs in _by_row(prepared, store, pair).items()}


def class_accuracies(prepared: Prepared, store: Store, pair: str | None = None) -> dict[str, dict[int, list[float]]]:
    """Row -> seed -> accuracy of every class after the last epoch, percent, NaN for a class without test images.

    Runs that were stored before this was recorded are left out.
    """
    return {
        row: {
            seed: [float("nan") if value is None else 100 * value for value in record["class_accuracy"]]
            for seed, record in runs.items()
            if "class_accuracy" in record
        }
        for row, runs in _by_row(prepared, store, pair).items()
    }


def kept_ids(prepared: Prepared, store: Store, pair: str | None = None) -> dict[str, dict[int, list[Tensor]]]:
    """Row -> seed -> ids of the samples kept at every event, ascending; of the rows that choose by value.

    Runs that were stored before this was recorded are left out.
    """
    found = {
        row: {
            seed: [unpack_ids(text, prepared.num_samples) for text in record["kept"]]
            for seed, record in runs.items()
            if "kept" in record
        }
        for row, runs in _by_row(prepared, store, pair).items()
    }
    return {row: runs for row, runs in found.items() if runs}


def epoch_curves(prepared: Prepared, store: Store, pair: str, quantity: str = "test_accuracy") -> Curves:
    """What the finished runs of a pair recorded after every epoch.

    Args:
        prepared, store: the plan, and the folder that holds its runs.
        pair: name of one of its pairs.
        quantity: ``"test_accuracy"``, in percent, or ``"train_loss"``, in nats.

    Raises:
        ValueError: a pair that is not in the plan; an unknown quantity.
    """
    check_choice("quantity", quantity, QUANTITIES)
    factor = QUANTITIES[quantity]
    return {
        row: {seed: [factor * value for value in record[quantity]] for seed, record in runs.items()}
        for row, runs in _by_row(prepared, store, pair).items()
    }


def stage_ends(prepared: Prepared) -> dict[str, list[int]]:
    """Condensed row -> epochs, counted from 1, after which its set of samples changes."""
    found = {}
    for row in prepared.plan.rows:
        epochs = row.epochs(prepared.plan.scale.epochs)
        settings = row.condenser_settings(epochs, seed=0)
        if row.condensed:
            found[row.name] = event_epochs(epochs, settings["stages"])
    return found


def costs(prepared: Prepared) -> dict[str, float]:
    """Row -> samples shown to the student, relative to a plain row: all of them in every epoch.

    Known before anything is run. SSKD's four rotations of a sample are one showing; preparations are not counted.
    """
    epochs, count = prepared.plan.scale.epochs, prepared.num_samples
    return {row.name: sum(row.shown(count, epochs)) / (count * epochs) for row in prepared.plan.rows}


def accuracy_by_cost(prepared: Prepared, store: Store, pair: str | None = None) -> dict[str, dict[float, Runs]]:
    """KD of several lengths, KC-KD and a random subset of several ratios: family -> cost relative to KD -> accuracies.

    What was not run is left out.
    """
    looks: dict[str, tuple[bool, dict[str, Any]]] = {
        "KD": (False, {}),
        "KC-KD": (True, {}),
        "random subset": (True, VARIANTS["random"]),
    }
    families: dict[str, dict[float, Runs]] = {family: {} for family in looks}
    cost, reached = costs(prepared), accuracies(prepared, store, pair)
    for row in prepared.plan.rows:
        rest = {name: value for name, value in row.settings if name not in ("ratio", "epochs", "length")}
        for family, (condensed, fixed) in looks.items():
            if reached[row.name] and (row.method, row.condensed, rest) == ("kd", condensed, fixed):
                families[family].setdefault(round(cost[row.name], 3), {}).update(reached[row.name])
    return {family: points for family, points in families.items() if points}


def ablations(prepared: Prepared, store: Store, pair: str, reference: str = "KC-KD") -> dict[str, Runs]:
    """What one row is ahead of every other row of its method, seed by seed: what its parts are worth.

    Args:
        prepared, store: the plan, and the folder that holds its runs.
        pair: name of one of its pairs.
        reference: the row that the others are taken from.

    Returns:
        Other row, as ``"KD"``, ``"KD@short"``, ``"KC-KD@random"`` -> seed -> reference minus other, percentage points,
        for every seed that both have; in the plan's order.

    Raises:
        ValueError: a pair or a row that is not in the plan.
    """
    rows = {row.name: row for row in prepared.plan.rows}
    check_choice("reference", reference, rows)
    table = accuracies(prepared, store, pair)
    ours, others = table.pop(reference), [name for name in table if rows[name].method == rows[reference].method]
    return {name: {seed: ours[seed] - table[name][seed] for seed in table[name] if seed in ours} for name in others}


def meanings(prepared: Prepared) -> dict[str, str]:
    """Row -> how it is trained, in a few words."""
    return {row.name: row.meaning for row in prepared.plan.rows}


def under_way(prepared: Prepared, store: Store, pair: str, quantity: str = "test_accuracy") -> Curves:
    """What the unfinished runs of a pair have recorded so far, in whatever process; teachers are in every pair.

    Args:
        prepared, store, pair, quantity: as for :func:`epoch_curves`.
    """
    check_choice("quantity", quantity, QUANTITIES)
    of_plan = {unit.key for unit in _nameable(prepared)}
    teachers = {f"teacher {network}" for network in prepared.plan.teachers}
    found: Curves = {}
    for key, epochs in store.under_way().items():
        row, seed = _row_and_seed(epochs[0]["title"], pair)
        if row and (key in of_plan or row in teachers):
            found.setdefault(row, {})[seed] = [QUANTITIES[quantity] * float(epoch[quantity]) for epoch in epochs]
    return found


def states(prepared: Prepared, store: Store) -> dict[str, dict[str, dict[int, str]]]:
    """Row -> pair -> seed -> ``"done"``, ``"running"`` (some process works on it) or ``"missing"``."""
    records, plan = store.records(), prepared.plan

    def state(pair: Pair, row: Row, seed: int) -> str:
        if not prepared.can_name(pair, row):
            return "missing"
        run = prepared.unit(pair, row, seed)
        key = run.key
        return "done" if key in records else "running" if store.is_claimed(key) else "missing"

    return {
        row.name: {pair.name: {seed: state(pair, row, seed) for seed in plan.seeds_of(row)} for pair in plan.pairs}
        for row in plan.rows
    }


def _nameable(prepared: Prepared) -> list[Unit]:
    """The runs of a plan whose teachers are trained."""
    plan = prepared.plan
    return [
        prepared.unit(pair, row, seed)
        for pair in plan.pairs
        for row in plan.rows
        if prepared.can_name(pair, row)
        for seed in plan.seeds_of(row)
    ]


def _row_and_seed(title: str, pair: str) -> tuple[str, int]:
    """Row and seed of a run from its title, as ``"V13>V8 KD seed 0"`` or ``"teacher vgg13"``; no row for another pair."""
    if title.startswith("teacher "):
        return title, 0
    name, _, seed = title.rpartition(" seed ")
    of, _, row = name.partition(" ")
    return (row, int(seed)) if of == pair else ("", 0)


def _by_row(prepared: Prepared, store: Store, pair: str | None) -> dict[str, dict[int, Record]]:
    """Row -> seed -> stored run of a pair, in the plan's order."""
    records, found = store.records(), find_pair_of(prepared, pair)
    return {row.name: runs_of(prepared, found, row, records) for row in prepared.plan.rows}

"""Pictures of a plan's runs, finished or not, by name, for the notebook and ``kcd-teach plot``."""

from kcd_teach._checks import check_choice
from kcd_teach.benchmark.curves import (
    ablations,
    accuracies,
    accuracy_by_cost,
    costs,
    epoch_curves,
    find_pair_of,
    meanings,
    stage_ends,
    under_way,
)
from kcd_teach.benchmark.plan import Prepared
from kcd_teach.benchmark.store import Store
from kcd_teach.benchmark.table import make_table
from kcd_teach.figures import (
    ablation_differences,
    accuracy_against_cost,
    cost_accuracy,
    published_beside_ours,
    run_curves,
)
from kcd_teach.figures.picture import Picture

PICTURES = ("curves", "cost", "ratios", "ablations", "table")
"""Accuracy after every epoch; accuracy against cost, of every row or of KD, KC-KD and chance alone; what a method's parts are
worth; published beside ours."""


def picture(prepared: Prepared, store: Store, what: str, pair: str | None = None, reference: str = "KC-KD") -> Picture:
    """A picture of what a folder holds.

    Args:
        prepared, store: the plan, and the folder that holds its runs.
        what: one of :data:`PICTURES`.
        pair: name of one of the plan's pairs, by default its first; ``"table"`` shows all of them by default.
        reference: the row that ablations are taken from.

    Raises:
        ValueError: an unknown picture; a pair or a reference that is not in the plan.
    """
    check_choice("what", what, PICTURES)
    if what == "table":
        return _table(prepared, store, pair)
    name = find_pair_of(prepared, pair).name
    if what == "curves":
        return run_curves(
            epoch_curves(prepared, store, name),
            f"{name}: every epoch of every run",
            epochs=prepared.plan.scale.epochs,
            ends=stage_ends(prepared),
            running=under_way(prepared, store, name),
        )
    families = accuracy_by_cost(prepared, store, name) if what == "ratios" else {}
    if families:
        return accuracy_against_cost(families, "What do you pay, what do you get?")
    if what in ("cost", "ratios"):
        title = f"{name}: what do you pay, what do you get?"
        return cost_accuracy(accuracies(prepared, store, name), costs(prepared), title)
    return ablation_differences(
        ablations(prepared, store, name, reference),
        reference,
        f"{name}: what is each part of {reference} worth?",
        meanings=meanings(prepared),
    )


def _table(prepared: Prepared, store: Store, pair: str | None) -> Picture:
    table = make_table(prepared, store)
    cells = table.beside()
    if pair is not None:
        name = find_pair_of(prepared, pair).name
        cells = {name: cells[name]}
    title = "Ours alone" if table.apart else "Published, and ours"
    return published_beside_ours(cells, title, apart=table.apart, unlike=table.unlike())

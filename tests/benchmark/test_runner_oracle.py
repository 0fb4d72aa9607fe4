"""A record is what a directly written run comes to, and a table is arithmetic on records.

What a cell means is spelt out in :mod:`tests.benchmark.runner_oracle` once more: which network starts from which weights,
at which rate, for how long, with which constants, shown which samples. Some records are also compared with the loop that
is written out sample by sample, so that one chain reaches from the first batch to the record.
"""

import itertools

import pytest

from kcd_teach.benchmark import Store, make_table
from tests.benchmark.runner_oracle import (
    MADE_UP,
    MOBILE,
    RUNS,
    WHOLE,
    by_hand,
    by_the_loop,
    finished,
    made_up,
    record_of,
    teacher_by_hand,
    unlike,
    wrong_cells,
)
from tests.tiny import same


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The runs of small networks, read only: the folder, and the plan with its teacher."""
    folder = tmp_path_factory.mktemp("usual")
    return folder, finished(RUNS, folder)


@pytest.fixture(scope="module")
def mobile(tmp_path_factory):
    """The runs of networks with the lower rate, read only."""
    folder = tmp_path_factory.mktemp("mobile")
    return folder, finished(MOBILE, folder)


@pytest.mark.parametrize(("row", "seed"), list(itertools.product(RUNS.rows, RUNS.seeds)))
def test_a_record_is_that_of_a_run_written_directly(usual, row, seed):
    (pair,) = RUNS.pairs
    assert unlike(record_of(usual[0], pair, row, seed), by_hand(RUNS, pair, row, seed)) == []


@pytest.mark.parametrize(("pair", "row"), list(itertools.product(MOBILE.pairs, MOBILE.rows)))
def test_mobile_and_shuffle_students_learn_at_their_own_rate(mobile, pair, row):
    record = record_of(mobile[0], pair, row, 1)
    assert unlike(record, by_hand(MOBILE, pair, row, 1)) == []
    assert record["config"]["recipe"]["learning_rate"] == 0.01


@pytest.mark.parametrize(
    ("where", "runs", "network"), [("usual", RUNS, "mini_resnet8x3"), ("mobile", MOBILE, "ShuffleV1")]
)
def test_a_teacher_is_the_network_of_seed_0_trained_on_labels_at_its_own_rate(where, runs, network, request):
    folder, prepared = request.getfixturevalue(where)
    teacher, accuracy = teacher_by_hand(network, runs.scale)
    found = prepared.teachers[network]
    assert same(found.load(Store(folder), runs.scale.images()).state_dict(), teacher.state_dict())
    assert found.accuracy == accuracy
    assert f"{100 * accuracy:.2f}" in make_table(prepared, Store(folder)).markdown().splitlines()[2]


@pytest.mark.parametrize("row", WHOLE.rows)
def test_a_record_is_that_of_the_loop_written_out_sample_by_sample(tmp_path, row):
    (pair,), (seed,) = WHOLE.pairs, WHOLE.seeds
    finished(WHOLE, tmp_path)
    # Measured: 7e-7 from sums in another order, 2e-5 from pixels of mixtures that land half-way between two levels.
    assert unlike(record_of(tmp_path, pair, row, seed), by_the_loop(WHOLE, pair, row, seed), tolerance=1e-4) == []


def test_seeds_and_rows_that_differ_have_different_records(usual):
    curves = [tuple(record["train_loss"]) for record in Store(usual[0]).records().values()]
    assert len(set(curves)) == len(curves) == len(RUNS.rows) * len(RUNS.seeds)


def test_a_cell_shows_the_last_epoch_and_not_the_best(tmp_path):
    cells = make_table(made_up(tmp_path), Store(tmp_path)).cells
    for row, runs in MADE_UP.items():
        last = [100 * accuracies[-1] for accuracies in runs.values()]
        best = [100 * max(accuracies) for accuracies in runs.values()]
        (pair,) = RUNS.pairs
        assert cells[row][pair].ours.mean == pytest.approx(sum(last) / len(last))
        assert cells[row][pair].ours.mean < sum(best) / len(best) - 1


def test_a_table_is_what_comes_out_by_hand(tmp_path, usual):
    assert wrong_cells(made_up(tmp_path), Store(tmp_path)) == []
    folder, prepared = usual
    assert wrong_cells(prepared, Store(folder)) == []

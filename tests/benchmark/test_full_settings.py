"""The check of all cells at full settings, on tiny ones: it passes where it should, and notices what it should."""

from kcd_teach.benchmark import Store
from kcd_teach.checkpoints import read_state, write_state
from tests.benchmark import full_settings
from tests.benchmark.full_settings import check_all, check_cell, prepare, summary_of
from tests.benchmark.tiny import tiny_plan

SMALL_BATCHES = {"batch_size": 3}


def test_cells_are_killed_go_on_and_land_in_the_table(tmp_path):
    store = Store(tmp_path)
    prepared = prepare(tiny_plan(("Student", "KC-CRD", "SSKD"), **SMALL_BATCHES), store, None)
    cells = check_all(prepared, store)
    assert [cell["row"] for cell in cells] == ["Student", "KC-CRD", "SSKD"]
    summary = summary_of(cells)
    assert (summary["cells"], summary["resumed equal"], summary["in the table"]) == (3, 3, 3)
    records = Store(tmp_path).records().values()
    assert [record["presentations"] for record in records] == [9, 9, 9]  # three batches of three
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_run_that_goes_on_from_another_state_is_noticed(tmp_path, monkeypatch):
    """The killed process leaves a file; here one number of it is changed before the next process reads it."""
    real, store = full_settings._in_new_process, Store(tmp_path)
    unit = prepare(tiny_plan(("KD",), **SMALL_BATCHES), store, None).units()[0]

    def tampering(*arguments, **settings):
        said = real(*arguments, **settings)
        if settings.get("dies"):
            path = store.checkpoint(unit.key)
            state = read_state(path)
            next(iter(state["student"].values())).view(-1)[0] += 1e-6
            write_state(path, state)
        return said

    monkeypatch.setattr(full_settings, "_in_new_process", tampering)
    assert not check_cell(unit, tmp_path)["resumed equal"]


def test_a_process_that_fails_is_one_failed_cell(tmp_path, capfd):
    store = Store(tmp_path)
    prepared = prepare(tiny_plan(("Student", "KD"), **SMALL_BATCHES), store, None)
    prepared.teachers["mini_resnet8x3"].file(store).unlink()
    student, kd = check_all(prepared, store)
    assert student["resumed equal"]
    assert student["in the table"]
    assert (kd["resumed equal"], kd["in the table"], kd["error"]) == (False, False, "the process ended with 1")
    assert "mini_resnet8x3" in capfd.readouterr().err


def test_only_whole_digests_are_equal():
    digest = full_settings.digest_of
    assert digest({"a": [1, 2.0]}) == digest({"a": [1, 2.0]})
    assert len({digest(state) for state in ({"a": [1, 2]}, {"a": [1], "b": 2}, {"a": [1, 2.0]}, {"b": [1, 2]})}) == 4


def test_full_settings_are_those_of_the_recipe():
    recipe = full_settings.settings_of(full_settings.SCALE)
    assert (recipe["epochs ahead"], recipe["batch size"], recipe["precision"]) == (240, 64, "float32")
    assert full_settings.SCALE.per_class is None

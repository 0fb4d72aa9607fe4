import json
from dataclasses import replace

import pytest

from kcd_teach import studies
from kcd_teach.conditions import PER_CLASS, STUDIES, run_of
from kcd_teach.datasets import load_dataset
from kcd_teach.knowledge import Knowledge, accuracy
from kcd_teach.models import count_parameters, load_teacher


@pytest.mark.parametrize("name", STUDIES)
def test_stored_study_is_complete(name):
    """Every condition has all of its seeds once, so that no run was left out for its result."""
    records = studies.load_results(name)
    expected = [(condition.name, seed) for condition in STUDIES[name].conditions for seed in range(condition.seeds)]
    assert [(record["condition"], record["seed"]) for record in records] == expected


@pytest.mark.parametrize("name", STUDIES)
def test_stored_configuration_is_that_of_the_condition(name):
    conditions = {condition.name: condition for condition in STUDIES[name].conditions}
    for record in studies.load_results(name):
        condition, config = conditions[record["condition"]], record["config"]
        assert config["recipe"]["epochs"] == condition.epochs == len(record["test_accuracy"])
        assert all(config["condenser"][key] == value for key, value in condition.condenser.items())
        assert sum(record["active"]) == record["presentations"]
        assert ("temperature" in config["distiller"]) == (condition.temperature > 0)


def test_the_engine_was_compared_in_what_the_conditions_name():
    conditions = {condition.name: condition for condition in STUDIES["engine"].conditions}
    for record in studies.load_results("engine"):
        condition = conditions[record["condition"]]
        assert (record["config"]["recipe"]["precision"], record["store"]) == (condition.precision, condition.store)
        assert condition.precision in condition.name
        assert condition.name.endswith(f"store {condition.store}")


def test_a_run_is_measured_in_the_precision_and_with_the_store_of_its_condition():
    (condition,) = (c for c in STUDIES["engine"].conditions if c.name == "KD, bfloat16, store off")
    record = studies._measure(replace(condition, epochs=1), seed=0, per_class=1)
    assert (record["config"]["recipe"]["precision"], record["store"]) == ("bfloat16", "off")
    assert studies._bundled(1, "off", "bfloat16")[1].engine.precision == "bfloat16"


def test_the_teacher_is_as_good_as_its_record_says():
    dataset = load_dataset("fashion-mnist-mini")
    record = json.loads(studies.find_data_file("results/teacher.jsonl").read_text())
    teacher = load_teacher(dataset)
    assert accuracy(teacher, dataset) == pytest.approx(record["test_accuracy"][-1], abs=0.002)
    assert count_parameters(teacher) == record["config"]["parameters"]


def first_epoch(condition: str, seed: int):
    """A run of the study "students" begun again, and its stored record."""
    stored = next(r for r in studies.load_results("students") if (r["condition"], r["seed"]) == (condition, seed))
    dataset = load_dataset("fashion-mnist-mini").first(PER_CLASS)
    knowledge = Knowledge(load_teacher(dataset), dataset, store="memory")
    run = run_of(next(c for c in STUDIES["students"].conditions if c.name == condition), seed, dataset, knowledge)
    return next(run), run, stored


def test_a_stored_run_can_be_repeated():
    """The first epoch comes out again; other seeds differ by 0.0026 of it and more. Later epochs drift apart."""
    report, _, stored = first_epoch("labels alone", 0)
    assert report.train_loss == pytest.approx(stored["train_loss"][0], rel=1.5e-3)


def test_a_stored_condensed_run_can_be_repeated():
    """Softened logits make the first steps so touchy that weights changed by 1e-6 move the first epoch's loss by 1 %."""
    report, run, stored = first_epoch("KC-KD 70%", 0)
    assert report.train_loss == pytest.approx(stored["train_loss"][0], rel=0.04)
    assert report.active == stored["active"][0]
    assert run.config["condenser"] == stored["config"]["condenser"]


def test_missing_runs_go_seed_by_seed_and_skip_what_is_stored(tmp_path):
    path = tmp_path / "students.jsonl"
    path.write_text(json.dumps({"condition": "KD", "seed": 0}) + "\n")
    study = STUDIES["students"]
    missing = [(condition.name, seed) for condition, seed in studies._missing(path, study)]
    assert ("KD", 0) not in missing
    assert len(missing) == sum(condition.seeds for condition in study.conditions) - 1
    assert [seed for _, seed in missing] == sorted(seed for _, seed in missing)


def test_cost_is_relative_to_plain_kd():
    table = studies.accuracy_by_cost(studies.load_results("students"))
    assert list(table) == ["KD", "KC-KD", "random subset"]
    assert sorted(table["KC-KD"]) == [0.65, 0.75, 0.85, 0.95]
    assert sorted(table["KD"]) == [round(20 / 24, 3), 1.0]

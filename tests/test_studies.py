import json

import pytest

from kcd_teach import studies
from kcd_teach.datasets import load_dataset
from kcd_teach.knowledge import Knowledge, accuracy
from kcd_teach.models import count_parameters, load_teacher


@pytest.mark.parametrize("name", ["students", "students-10k"])
def test_stored_study_is_complete(name):
    """Every condition has all of its seeds once, so that no run was left out for its result."""
    records = studies.load_results(name)
    small = name == "students"
    expected = [(c.name, seed) for c in studies.CONDITIONS for seed in range(studies.SEEDS if small else c.seeds)]
    assert [(record["condition"], record["seed"]) for record in records] == expected


@pytest.mark.parametrize("name", ["students", "students-10k"])
def test_stored_configuration_is_that_of_the_condition(name):
    conditions = {condition.name: condition for condition in studies.CONDITIONS}
    for record in studies.load_results(name):
        condition, config = conditions[record["condition"]], record["config"]
        assert config["recipe"]["epochs"] == condition.epochs == len(record["test_accuracy"])
        assert all(config["condenser"][key] == value for key, value in condition.condenser.items())
        assert sum(record["active"]) == record["presentations"]
        assert ("temperature" in config["distiller"]) == (condition.temperature > 0)


def test_the_teacher_is_as_good_as_its_record_says():
    dataset = load_dataset("fashion-mnist-mini")
    record = json.loads(studies.find_data_file("results/teacher.jsonl").read_text())
    teacher = load_teacher(dataset)
    assert accuracy(teacher, dataset) == pytest.approx(record["test_accuracy"][-1], abs=0.002)
    assert count_parameters(teacher) == record["config"]["parameters"]


def test_a_stored_run_can_be_repeated():
    """The first epochs of a stored run come out again; later ones drift apart between processors."""
    stored = next(r for r in studies.load_results("students") if (r["condition"], r["seed"]) == ("KC-KD 70%", 0))
    dataset = load_dataset("fashion-mnist-mini").first(studies.PER_CLASS)
    knowledge = Knowledge(load_teacher(dataset), dataset, remember=True)
    condition = next(c for c in studies.CONDITIONS if c.name == "KC-KD 70%")
    run = studies.run_of(condition, 0, dataset, knowledge)
    report = next(run)
    assert report.train_loss == pytest.approx(stored["train_loss"][0], rel=1e-3)
    assert report.active == stored["active"][0]
    assert run.config["condenser"] == stored["config"]["condenser"]


def test_missing_runs_go_seed_by_seed_and_skip_what_is_stored(tmp_path):
    path = tmp_path / "students.jsonl"
    path.write_text(json.dumps({"condition": "KD", "seed": 0}) + "\n")
    missing = [(condition.name, seed) for condition, seed in studies._missing(path, studies.PER_CLASS)]
    assert ("KD", 0) not in missing
    assert len(missing) == len(studies.CONDITIONS) * studies.SEEDS - 1
    assert [seed for _, seed in missing] == sorted(seed for _, seed in missing)


def test_cost_is_relative_to_plain_kd():
    table = studies.accuracy_by_cost(studies.load_results("students"))
    assert list(table) == ["KD", "KC-KD", "random subset"]
    assert sorted(table["KC-KD"]) == [0.65, 0.75, 0.85, 0.95]
    assert sorted(table["KD"]) == [round(20 / 24, 3), 1.0]

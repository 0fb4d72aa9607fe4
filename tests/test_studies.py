"""Stored studies are whole, hold what was measured, and can be repeated."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from kcd_teach import Condenser, Knowledge, Recipe, create_distiller, create_model, distill, load_dataset
from kcd_teach.benchmark import Scale, Store, curves, find_plan, find_row, make_plan, open_study, run_plan, runs
from kcd_teach.datasets import find_data_file
from kcd_teach.distillers import KD
from kcd_teach.fingerprints import hash_of
from kcd_teach.knowledge import accuracy
from kcd_teach.lessons import measurements
from kcd_teach.models import count_parameters, load_checkpoint, load_teacher
from tests.benchmark.runner_oracle import on_one_thread
from tests.tiny import same

CONVERTED = {
    "students": "a45851e4e7b06aa7", "students-10k": "42c2bdc86f5e90d2", "methods": "371c4ba3a402961c",
    "engine": "bfc6d02072c36680",
}  # fmt: skip
"""What was measured before there was a runner: a hash of its numbers, made before they were written in its format."""
KEPT = ("row", "seed", "test_accuracy", "train_loss", "active", "presentations", "seconds", "versions")


@pytest.mark.parametrize("name", CONVERTED)
def test_converted_numbers_are_those_that_were_measured(name):
    _, store = open_study(name)
    rows = sorted([record[what] for what in KEPT] for record in store.records().values())
    assert hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16] == CONVERTED[name]


@pytest.mark.parametrize("name", CONVERTED)
def test_stored_study_is_complete(name):
    """Every row has all of its seeds once, so that no run was left out for its result."""
    prepared, store = open_study(name)
    assert {unit.key for unit in prepared.units()} == store.records().keys()
    found = [(record["row"], record["seed"]) for record in store.records().values()]
    assert sorted(found) == sorted(
        (row.name, seed) for row in prepared.plan.rows for seed in prepared.plan.seeds_of(row)
    )


@pytest.mark.parametrize(("name", "number"), [("slice", 30), ("full", 2)])
def test_runs_of_the_benchmark_are_found_by_their_plan(name, number):
    prepared, store = open_study(name)
    assert len(store.records()) == number
    assert {unit.key for unit in prepared.units()} >= store.records().keys()


@pytest.mark.parametrize("name", CONVERTED)
def test_a_stored_configuration_is_that_of_the_run(name):
    """What the row asks for, and what the run noted of itself: condenser, temperature, recipe."""
    prepared, store = open_study(name)
    for record in store.records().values():
        config, run = record["config"], record["run"]
        plain = {"num_samples": prepared.num_samples, "preset": "none"}
        settings = config["condenser"]
        assert run["condenser"] == (Condenser(prepared.num_samples, **settings).config if settings else plain)
        assert all(config["recipe"].get(key, value) == value for key, value in run["recipe"].items())
        assert ("temperature" in run["distiller"]) == bool(config["method"])
        if "temperature" in config["method_settings"]:
            assert f"temperature={config['method_settings']['temperature']}" in run["distiller"]
        assert config["recipe"]["epochs"] == len(record["test_accuracy"])
        assert sum(record["active"]) == record["presentations"]
        assert record["command"].endswith(name)
        assert "code" not in config


def test_the_engine_was_compared_in_what_the_rows_name():
    for record in open_study("engine")[1].records().values():
        _, precision, store = record["row"].split(", ")
        assert record["run"]["recipe"]["precision"] == record["config"]["recipe"]["precision"] == precision
        assert store == f"store {record['config']['store']}"


def test_the_teacher_is_as_good_as_its_record_says():
    dataset = load_dataset("fashion-mnist-mini")
    record = json.loads(find_data_file("results/teacher.jsonl").read_text())
    teacher = load_teacher(dataset)
    assert accuracy(teacher, dataset) == pytest.approx(record["accuracy"], abs=0.002)
    assert record["accuracy"] == record["test_accuracy"][-1]
    assert count_parameters(teacher) == record["run"]["parameters"]
    assert record["weights"] == open_study("students")[0].teachers["mini_resnet8x3"].weights


def first_epoch(row: str, seed: int):
    """A run of the study "students" begun again, and its stored record."""
    prepared, store = open_study("students")
    (found,) = [other for other in prepared.plan.rows if other.name == row]
    unit = prepared.unit(prepared.plan.pairs[0], found, seed)
    dataset = unit.scale.images()
    run = runs.start(unit, dataset, load_teacher(dataset) if found.method else None, "cpu", None)
    return next(run), run, store.records()[unit.key]


def test_a_stored_run_can_be_repeated():
    """The first epoch comes out again; other seeds differ by 0.0026 of it and more. Later epochs drift apart."""
    report, _, stored = first_epoch("labels alone", 0)
    assert report.train_loss == pytest.approx(stored["train_loss"][0], rel=1.5e-3)


def test_a_stored_condensed_run_can_be_repeated():
    """Softened logits make the first steps so touchy that weights changed by 1e-6 move the first epoch's loss by 1 %."""
    report, run, stored = first_epoch("KC-KD 70%", 0)
    assert report.train_loss == pytest.approx(stored["train_loss"][0], rel=0.04)
    assert report.active == stored["active"][0]
    assert run.config["condenser"] == stored["run"]["condenser"]


TINY = Scale(
    "tiny", "fashion-mnist-mini", epochs=6, batch_size=8, per_class=3, test_per_class=2, store="memory",
    teachers="bundled",
)  # fmt: skip


def distilled(epochs=6, store="memory", precision="float32", temperature=4.0, method="kd", condenser=None):
    """A student of TINY, trained as the studies were before the benchmark's runner ran them."""
    dataset, seed = TINY.images(), 3
    student = create_model("mini_resnet8", 10, 1, seed=seed)
    distiller = KD(temperature)
    if method == "crd":
        distiller = create_distiller(
            method, student, load_teacher(dataset), image_shape=(1, 28, 28), seed=seed, negatives=10
        )
    if condenser is not None:
        condenser = Condenser(30, **{"stages": 6, "epochs": epochs, "seed": seed, **condenser})
    with on_one_thread():
        knowledge = Knowledge(load_teacher(dataset), dataset, store, precision=precision)
        recipe = Recipe(epochs=epochs, batch_size=8, precision=precision)
        for _ in distill(
            student, dataset, knowledge, recipe=recipe, distiller=distiller, condenser=condenser, seed=seed
        ):
            pass
    return student


@pytest.mark.filterwarnings("ignore:.*no instructions for bfloat16")
@pytest.mark.parametrize(
    ("row", "settings"),
    [
        ("KD", {}),
        ("KD, T = 2: KD@temperature=2", {"temperature": 2.0}),
        ("short: KD@epochs=5", {"epochs": 5}),
        ("KC-KD", {"condenser": {"ratio": 0.7}}),
        ("KC-KD@released", {"condenser": {"ratio": 0.7, "preset": "released"}}),
        ("KC-KD@ratio=0.5,random", {"condenser": {"ratio": 0.5, "selection": "random", "mixing": False}}),
        ("KC-KD@alpha=0,pool=active", {"condenser": {"ratio": 0.7, "alpha": 0.0, "pool": "active"}}),
        ("KC-CRD", {"method": "crd", "condenser": {"ratio": 0.7}}),
        ("KD@precision=bfloat16,store=off", {"precision": "bfloat16", "store": "off"}),
    ],
)
def test_a_row_is_the_run_that_was_written_directly(row, settings, tmp_path, monkeypatch):
    """Bit for bit, its weights and all."""
    monkeypatch.setattr(runs, "_REMEMBERED", {})
    plan = make_plan(["mini_resnet8x3>mini_resnet8"], [row], [3], TINY)
    run_plan(plan, tmp_path, device="cpu", quiet=True, announce=lambda text: None)
    (weights,) = Store(tmp_path).students().values()
    student = load_checkpoint(create_model("mini_resnet8", 10, 1, seed=0), weights)
    assert same(student.state_dict(), distilled(**settings).state_dict())


def test_runs_of_a_process_share_what_is_kept_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_REMEMBERED", {})
    plan = make_plan(["mini_resnet8x3>mini_resnet8"], ["KD", "KC-KD"], 1, dataclasses.replace(TINY, epochs=1))
    run_plan(plan, tmp_path, device="cpu", quiet=True, announce=lambda text: None)
    assert len(runs._REMEMBERED) == 1


def test_teacher_and_recordings_are_made_by_their_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "SCALE", dataclasses.replace(TINY, teacher_epochs=1))
    (tmp_path / "results").mkdir()
    measurements.make_teacher(tmp_path, tmp_path / "runs")
    record = json.loads((tmp_path / "results" / "teacher.jsonl").read_text())
    assert record.keys() >= json.loads(find_data_file("results/teacher.jsonl").read_text()).keys() - {"command"}
    made = load_checkpoint(create_model("mini_resnet8x3", 10, 1, seed=0), tmp_path / "mini_resnet8x3.npz")
    assert hash_of(made) == record["weights"]
    measurements.record_traces(tmp_path / "results")
    monkeypatch.setenv("KCD_DATA", str(tmp_path))
    trace = measurements.load_trace("mini_convnet")
    assert trace.said.shape == trace.entropy.shape == (6, 30)
    assert trace.said.max() < 10
    assert np.array_equal(trace.correct, trace.said == TINY.images().train_labels.numpy())
    assert measurements.load_trace("mini_resnet8_2k").said.shape == (6, 30)
    with pytest.raises(ValueError, match="was not recorded"):
        _ = measurements.load_trace("condensed").correct
    assert (~np.isnan(measurements.load_trace("condensed").entropy)).sum(axis=1).tolist() == [30, 28, 26, 25, 23, 21]


def test_cost_is_relative_to_plain_kd():
    table = curves.accuracy_by_cost(*open_study("students"))
    assert list(table) == ["KD", "KC-KD", "random subset"]
    assert sorted(table["KC-KD"]) == [0.65, 0.75, 0.85, 0.95]
    assert sorted(table["KD"]) == [round(20 / 24, 3), 1.0]


def test_a_plan_comes_from_a_stored_study_or_from_a_file(tmp_path):
    plan = find_plan("students-10k")
    assert (plan.num_runs, plan.scale.per_class) == (78, 1_000)
    assert plan.seeds_of(find_row("KD")) == (0, 1, 2, 3, 4)
    assert plan.seeds_of(find_row("KC-KD 30%: KC-KD@ratio=0.3")) == (0, 1, 2)
    content = {
        "pairs": ["mini_resnet8x3>mini_resnet8"], "rows": ["KD", "half: KC-KD@ratio=0.5"], "seeds": 20,
        "only": {"half": 10}, "scale": "course",
    }  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(content))
    assert find_plan(str(path)).num_runs == 30
    path.write_text("{}")
    with pytest.raises(ValueError, match="is damaged or not a plan"):
        find_plan(str(path))
    with pytest.raises(ValueError, match="study='student' is unknown; did you mean 'students'"):
        find_plan("student")
    with pytest.raises(ValueError, match="row with fewer seeds='hald' is unknown"):
        make_plan(content["pairs"], content["rows"], 20, "course", {"hald": 3})

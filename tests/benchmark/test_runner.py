"""Whatever happens to a plan on the way, its records end as those of an undisturbed run."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from kcd_teach.benchmark import Store, load_published, make_plan, make_table, run_plan, runner, runs
from kcd_teach.benchmark.doctor import room_of
from kcd_teach.benchmark.runner import Serial
from kcd_teach.benchmark.runs import unpack_ids
from kcd_teach.benchmark.store import key_of
from kcd_teach.fingerprints import hash_of
from kcd_teach.knowledge import accuracy
from kcd_teach.models import create_model, load_checkpoint, save_weights
from tests.benchmark.tiny import PAIR, ROOT, ROWS, SCALE, leftovers, run, stop_at, timeless, tiny_plan
from tests.tiny import same

RUNS = 2 * len(ROWS)


def start(folder: Path, kill_at: int = 0) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.benchmark.tiny", str(folder), str(kill_at)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_records_hold_what_a_reader_needs(finished):
    records = Store(finished).records()
    assert len(records) == RUNS
    record = next(record for record in records.values() if record["row"] == "KC-KD")
    assert (record["pair"], record["seed"], record["scale"], record["active"]) == (PAIR, 0, "tiny", [10, 9, 7])
    assert record["presentations"] == sum(record["active"])
    assert record["seconds"] > 0
    assert {"test_accuracy", "train_loss", "config", "run", "versions", "device", "finished"} <= record.keys()
    assert len(record["test_accuracy"]) == 3
    assert record["config"]["condenser"]["ratio"] == 0.7
    assert next(r for r in records.values() if r["row"] == "KC-CRD")["config"]["method_settings"] == {"negatives": 3}
    assert record["threads"] == 1
    kept = [unpack_ids(text, 10) for text in record["kept"]]
    assert [len(ids) for ids in kept] == record["active"][1:]
    assert all(int(ids.min()) >= 0 and int(ids.max()) < 10 for ids in kept)
    by_class = record["class_accuracy"]
    assert len(by_class) == 5
    assert sum(by_class) / 5 == pytest.approx(record["test_accuracy"][-1])  # as many test images in every class
    assert all("kept" not in other for other in records.values() if not other["config"]["condenser"])
    assert leftovers(finished) == []


def test_every_record_has_the_weights_of_its_student_beside_it(finished):
    dataset = SCALE.images()
    for key, record in Store(finished).records().items():
        path = finished / record["weights_file"]
        network = create_model("mini_convnet", 5, 1)
        assert hash_of(load_checkpoint(network, path)) == record["weights"]
        assert accuracy(network, dataset) == pytest.approx(record["test_accuracy"][-1], abs=1e-6)
        with safe_open(path, framework="pt") as opened:
            about = opened.metadata()
        assert (about["network"], about["num_classes"], about["in_channels"]) == ("mini_convnet", "5", "1")
        assert (about["key"], key_of(json.loads(about["config"]))) == (key, key)
    assert len(list((finished / "students").iterdir())) == RUNS


def test_room_is_counted_for_the_students_that_are_kept():
    dataset = SCALE.images()
    one, three = (
        room_of(make_plan(["V13>V8"], ["Student", "KD"], seeds, SCALE), dataset, workers=1).disk for seeds in (1, 3)
    )
    weights = sum(value.nbytes for value in create_model("vgg8", 5, 1).state_dict().values())
    assert three - one == pytest.approx(4 * weights, rel=0.01)


def test_weights_are_written_before_their_record(tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "append", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run_plan(tiny_plan(("Student",)), tmp_path, quiet=True, announce=lambda text: None)
    (before,) = (load_file(path) for path in (tmp_path / "students").iterdir())
    monkeypatch.undo()
    run_plan(tiny_plan(("Student",)), tmp_path, quiet=True, announce=lambda text: None)
    (after,) = (load_file(path) for path in (tmp_path / "students").iterdir())
    assert same(after, before)
    assert len(Store(tmp_path).records()) == 1


def press_ctrl_c(*arguments):
    raise KeyboardInterrupt


def test_folders_from_before_weights_were_kept_go_on(tmp_path, finished):
    shutil.copytree(finished, tmp_path / "copy")
    store = Store(tmp_path / "copy")
    shutil.rmtree(store.folder / "students")
    (weights,) = (store.folder / "teachers").glob("*.safetensors")
    teacher = load_checkpoint(create_model("mini_resnet8x3", 5, 1), weights)
    save_weights(teacher, weights.with_suffix(".npz"))
    weights.unlink()
    old = [
        {name: value for name, value in record.items() if not name.startswith("weights")}
        for record in store.records().values()
    ]
    store.results.write_text("".join(json.dumps(record) + "\n" for record in old))
    outcome = run(store.folder, watch=stop_at(1))  # nothing is left to do
    assert make_table(outcome.prepared, store).runs == RUNS
    assert store.students() == {}
    assert not weights.exists()


def test_what_is_stored_is_not_run_again(finished):
    before = (finished / "results.jsonl").read_bytes()
    run(finished, watch=stop_at(1))
    assert (finished / "results.jsonl").read_bytes() == before


def test_killed_twice_and_finished(tmp_path, finished):
    for kill_at in (6, 8):
        killed = start(tmp_path, kill_at)
        _, said = killed.communicate(timeout=600)
        assert killed.returncode == -signal.SIGKILL, said
    assert 0 < len(Store(tmp_path).records()) < RUNS
    run(tmp_path)
    assert timeless(tmp_path) == timeless(finished)
    assert leftovers(tmp_path) == []


def test_two_runners_share_the_work(tmp_path, finished):
    both = [start(tmp_path), start(tmp_path)]
    begun = []
    for runner_ in both:
        said, errors = runner_.communicate(timeout=600)
        assert runner_.returncode == 0, errors
        begun += said.split("\n")[:-1]
    assert len(begun) == len(set(begun)) == RUNS + 1  # the teacher
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == RUNS
    assert timeless(tmp_path) == timeless(finished)


def test_several_processes_give_the_results_of_one(tmp_path, finished):
    run(tmp_path, workers=2)
    assert timeless(tmp_path) == timeless(finished)


def test_interrupted_anywhere_in_an_epoch_boundary(tmp_path, finished):
    stops = 0
    for look in (1, 2, 5, 3, 7, 4):
        try:
            run(tmp_path, watch=stop_at(look))
        except KeyboardInterrupt:
            stops += 1
    run(tmp_path)
    assert stops == 6
    assert timeless(tmp_path) == timeless(finished)


def test_results_of_another_configuration_or_code_are_never_used(tmp_path, monkeypatch):
    def count(**changes) -> int:
        settings = {"quiet": True, "announce": lambda text: None}
        run_plan(tiny_plan(("Student", "KD"), **changes), tmp_path, **settings)
        return len(Store(tmp_path).records())

    assert [count(), count(), count(epochs=2), count(per_class=3), count(batch_size=5)] == [2, 2, 4, 6, 8]
    monkeypatch.setattr(runs, "RESULTS_FORMAT", runs.RESULTS_FORMAT + 1)
    assert count() == 10


def test_a_published_checkpoint_teaches(tmp_path):
    import torch

    published = create_model("mini_resnet8x3", 5, 1, seed=3)
    torch.save({"model": published.state_dict()}, tmp_path / "ckpt_epoch_240.pth")
    said = []
    settings = {"checkpoints": {"mini_resnet8x3": tmp_path / "ckpt_epoch_240.pth"}, "announce": said.append}
    run_plan(tiny_plan(("KD",)), tmp_path / "runs", quiet=True, **settings)
    (record,) = Store(tmp_path / "runs").records().values()
    again = load_published("mini_resnet8x3", tmp_path / "ckpt_epoch_240.pth", SCALE, Store(tmp_path / "runs"))
    assert record["config"]["teacher"] == {"network": "mini_resnet8x3", "weights": again.weights}
    assert said == [f"teacher {again}"]
    assert "from the checkpoint ckpt_epoch_240.pth" in said[0]
    with pytest.raises(ValueError, match="teacher with a checkpoint='resnet56' is unknown"):
        run_plan(tiny_plan(("KD",)), tmp_path / "runs", checkpoints={"resnet56": "x"})


def test_a_run_that_diverges_is_named_and_the_others_go_on():
    def diverges(watch):
        raise FloatingPointError("the loss is nan")

    done = []
    jobs = {"bad": diverges, "good": lambda watch: done.append(1) is None}
    assert runner.run_jobs(jobs, Serial(quiet=True), "runs", quiet=True) == {"bad": "the loss is nan"}
    assert done == [1]

"""A full disk, a damaged file, a killed worker, no room: each is named, and no finished run is lost."""

import dataclasses
import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings

import pytest
import torch

from kcd_teach import _files
from kcd_teach.benchmark import Prepared, Store, execute, make_plan, make_table, run_plan, runner, runs, train_teacher
from kcd_teach.benchmark.curves import epoch_curves
from kcd_teach.benchmark.store import key_of
from kcd_teach.models import create_model
from tests.benchmark.tiny import PAIR, ROOT, SCALE, leftovers, run, stop_at, timeless, tiny_plan

KILLED_WHILE_SAVING = """
import os, signal, sys
import torch
from tests.benchmark import tiny

torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])  # loads torch's compiler: once, not in every process

def child():
    real, calls = os.fsync, 0
    def fsync(descriptor):
        nonlocal calls
        calls += 1
        if calls == 5:  # the first two may be the plan's, and the next one a student's
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)
    os.fsync = fsync
    tiny.main(sys.argv[1], 0, 1, ("Student", "KC-KD"))
    os._exit(0)

for deaths in range(200):
    pid = os.fork()
    if pid == 0:
        child()
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        print("deaths", deaths)
        sys.exit(os.WEXITSTATUS(status))
"""


def test_killed_in_the_middle_of_saving_again_and_again(tmp_path, finished):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split("deaths")[1]) > 3
    ours, theirs = timeless(tmp_path), timeless(finished)
    assert len(ours) == 2
    assert leftovers(tmp_path) == []
    assert ours == {key: theirs[key] for key in ours}


@pytest.mark.parametrize(("damaged", "message"), [(1, "it goes on from the previous one"), (2, "it starts again")])
def test_damaged_checkpoints(tmp_path, finished, damaged, message):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watch=stop_at(7))  # four looks at the teacher, then two epochs of the first student
    files = sorted((tmp_path / "checkpoints").iterdir(), key=lambda path: "previous" in path.name)
    assert len(files) == 2
    for file in files[:damaged]:
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"checkpoint of run \w+ is lost: .* is damaged") as warned:
        run(tmp_path)
    said = [str(warning.message) for warning in warned if "is lost" in str(warning.message)]
    assert len(said) == damaged
    assert all(text.endswith(f"; {message}") for text in said)
    assert timeless(tmp_path) == timeless(finished)


@pytest.mark.parametrize("at", [2, 4, 9, 15])
def test_full_disk(tmp_path, finished, monkeypatch, at):
    real, calls = os.fsync, iter(range(1, 10_000))

    def fsync(descriptor):
        if next(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(_files.os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left on device"):
        run(tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    run(tmp_path)
    assert timeless(tmp_path) == timeless(finished)


def test_teachers_weights_that_were_exchanged_are_noticed(tmp_path):
    teacher = train_teacher("mini_resnet8x3", SCALE, Store(tmp_path))
    other = train_teacher("mini_resnet8x3", SCALE, Store(tmp_path), seed=1)
    assert teacher.weights != other.weights
    other.file(Store(tmp_path)).replace(teacher.file(Store(tmp_path)))
    with pytest.warns(UserWarning, match="a teacher is lost: .* holds other weights than .*; it is trained again"):
        assert train_teacher("mini_resnet8x3", SCALE, Store(tmp_path)) == teacher
    with pytest.warns(UserWarning, match="a teacher is lost: there is no file"):
        assert train_teacher("mini_resnet8x3", SCALE, Store(tmp_path), seed=1) == other
    outcome = run_plan(tiny_plan(("KD",)), tmp_path, quiet=True, announce=lambda text: None)
    other.file(Store(tmp_path)).replace(teacher.file(Store(tmp_path)))
    with pytest.raises(ValueError, match="holds other weights than the plan was made with"):
        execute(dataclasses.replace(outcome.prepared.units()[0], seed=1), tmp_path)


@pytest.mark.parametrize("harm", ["weights deleted", "weights cut off", "record damaged", "record deleted"])
def test_a_lost_teacher_is_trained_again_and_is_the_same(tmp_path, finished, harm):
    shutil.copytree(finished, tmp_path / "copy")
    (record,), (weights,) = ((tmp_path / "copy" / "teachers").glob(f"*.{ending}") for ending in ("json", "safetensors"))
    path = weights if "weights" in harm else record
    if "deleted" in harm:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "copy" / "results.jsonl").unlink()
    if harm == "record deleted":
        run(tmp_path / "copy")
    else:
        with pytest.warns(UserWarning, match="a teacher is lost: .*; it is trained again"):
            run(tmp_path / "copy")
    assert timeless(tmp_path / "copy") == timeless(finished)


@pytest.mark.parametrize(
    "content",
    [{"a": 1}, [1, 2], {"config": {}, "origin": {}, "reports": []}],
    ids=["keys", "list", "few"],
)
def test_a_readable_file_that_is_no_checkpoint_is_replaced_by_the_previous_one(tmp_path, finished, content):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watch=stop_at(7))
    (file,) = (path for path in (tmp_path / "checkpoints").iterdir() if "previous" not in path.name)
    torch.save(content, file)
    with pytest.warns(UserWarning, match=r"checkpoint of run \w+ is lost: .* not (the|a) checkpoint"):
        run(tmp_path)
    assert timeless(tmp_path) == timeless(finished)


def test_runs_that_diverge_do_not_keep_the_others_from_running(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "create_model", spoiled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy, of accuracies of NaN
        outcome = run_plan(
            tiny_plan(("Student", "KD", "KC-KD", "SP")), tmp_path, quiet=True, announce=lambda text: None
        )
    assert outcome.diverged.keys() == {f"{PAIR} {row} seed 0" for row in ("Student", "KD", "KC-KD", "SP")}
    assert all("diverged" in said for said in outcome.diverged.values())


def spoiled(name, *arguments, **settings):
    """A network whose training diverges if it is the student."""
    network = create_model(name, *arguments, **settings)
    if name == PAIR.split(">")[1]:
        torch.nn.init.constant_(next(network.parameters()), float("inf"))
    return network


def test_results_of_other_code_are_left_alone(tmp_path):
    said = []
    run_plan(tiny_plan(("Student",)), tmp_path, quiet=True, announce=said.append)
    assert not any("other code" in text for text in said)
    store = Store(tmp_path)
    (record,) = store.records().values()
    config = {**record["config"], "code": "other"}
    store.results.write_text(json.dumps({**record, "config": config, "key": key_of(config)}) + "\n")
    run_plan(tiny_plan(("Student",)), tmp_path, quiet=True, announce=said.append)
    assert f"1 finished runs in {tmp_path} are of other code, and are not used" in said
    (unit,) = Prepared.load(store).units()
    assert len(store.records()) == 2
    assert store.records()[unit.key]["test_accuracy"] == record["test_accuracy"]
    with pytest.raises(ValueError, match="the code here differs from that of the plan"):
        execute(dataclasses.replace(unit, code="other", seed=5), tmp_path)


def test_finished_runs_stay_in_the_table_while_other_teachers_are_trained(tmp_path, finished, monkeypatch):
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.setattr(runner, "_train_teachers", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "copy")
    prepared, store = Prepared.load(Store(tmp_path / "copy")), Store(tmp_path / "copy")
    assert make_table(prepared, store).runs == len(store.records()) == 8


def press_ctrl_c(*arguments):
    raise KeyboardInterrupt


def test_a_table_can_be_asked_for_while_teachers_are_trained(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watch=stop_at(2))
    prepared, store = Prepared.load(Store(tmp_path)), Store(tmp_path)
    assert prepared.teachers == {}
    assert make_table(prepared, store).runs == 0
    assert epoch_curves(prepared, store, PAIR) == {row.name: {} for row in prepared.plan.rows}
    with pytest.raises(ValueError, match="teachers are not trained yet: mini_resnet8x3"):
        prepared.units()


def test_a_worker_that_is_killed_is_reported(tmp_path):
    plan = make_plan([PAIR], ["Student"], 1, SCALE)
    with pytest.raises(RuntimeError, match=r"worker processes was killed.*start again to go on"):
        run_plan(plan, tmp_path, engine=_killing_pool(), quiet=True)


UNGUARDED = """
import sys
from kcd_teach.benchmark import run_plan
from tests.benchmark.tiny import tiny_plan
run_plan(tiny_plan(("Student",), seeds=2), sys.argv[1], workers=2, quiet=True)
"""


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_a_script_without_a_guard_is_told_what_to_do(tmp_path, way):
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, tmp_path / "script.py" if way == "file" else "-", tmp_path / "runs"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, input=UNGUARDED, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("RuntimeError: the 2 worker processes could not start: ")
    assert "under `if __name__ == '__main__':` only" in last
    assert "want of memory" not in done.stderr
    if way == "file":
        assert done.stderr.count("Traceback") == 2  # of the process that the user started, and its cause


def _killing_pool():
    from kcd_teach.benchmark.runner import Pool

    class Killing(Pool):
        def run(self, jobs):
            yield from super().run(dict.fromkeys(jobs, _dies))

    return Killing(1, quiet=True)


def _dies(watch):
    os.kill(os.getpid(), signal.SIGKILL)


def test_no_room_is_said_before_anything_is_run(tmp_path, monkeypatch):
    from kcd_teach.benchmark import doctor

    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"the plan takes up to .* GB in .*, where 0.00 GB are free"):
        run(tmp_path, watch=stop_at(1))
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "total_memory", lambda: 1e6)
    with pytest.raises(MemoryError, match=r"1 workers would take about .* GB of memory, and this machine has 0.0 GB"):
        run(tmp_path, watch=stop_at(1))


def test_a_clock_that_is_set_back_again_and_again_changes_nothing(tmp_path, monkeypatch):
    run_plan(tiny_plan(), tmp_path / "calm", announce=lambda text: None)
    clock = itertools.count(2e9, -3600)
    for name in ("time.time", "tqdm.std.time"):
        monkeypatch.setattr(name, lambda: next(clock))
    run_plan(tiny_plan(), tmp_path / "set back", announce=lambda text: None)
    assert next(clock) < 2e9 - 3600, "the bars look at that clock"
    assert timeless(tmp_path / "set back") == timeless(tmp_path / "calm")
    assert all(record["seconds"] > 0 for record in Store(tmp_path / "set back").records().values())

"""Whatever happens to a plan on the way, its records end as those of an undisturbed run."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kcd_teach import _files
from kcd_teach.benchmark import Outcome, Store, finishing, load_published, make_plan, run_plan, runner, train_teacher
from kcd_teach.benchmark.engines import Serial
from kcd_teach.models import create_model
from tests.benchmark.tiny import PAIR, ROWS, SCALE, timeless, tiny_plan

ROOT = Path(__file__).resolve().parents[2]
RUNS = 2 * len(ROWS)


def run(folder: Path, **settings) -> Outcome:
    return run_plan(tiny_plan(seeds=2), folder, quiet=True, **{"announce": lambda text: None, **settings})


def start(folder: Path, kill_at: int = 0) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.benchmark.tiny", str(folder), str(kill_at)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stop_at(look: int):
    """A watch that presses Ctrl-C at the given look."""
    looks = iter(range(1, 10_000))

    def watch(title, training):
        if next(looks) == look:
            raise KeyboardInterrupt

    return watch


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in (folder / "checkpoints").iterdir()] + [path.name for path in folder.rglob("*.part")]


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
    assert leftovers(finished) == []


def test_what_is_stored_is_not_run_again(finished):
    before = (finished / "results.jsonl").read_bytes()
    run(finished, watch=stop_at(1))
    assert (finished / "results.jsonl").read_bytes() == before


def test_killed_twice_and_finished(tmp_path, finished):
    for kill_at in (6, 8):
        killed = start(tmp_path, kill_at)
        _, said = killed.communicate(timeout=120)
        assert killed.returncode == -signal.SIGKILL, said
    assert 0 < len(Store(tmp_path).records()) < RUNS
    run(tmp_path)
    assert timeless(tmp_path) == timeless(finished)
    assert leftovers(tmp_path) == []


KILLED_WHILE_SAVING = """
import os, signal, sys
from tests.benchmark import tiny
from kcd_teach import _files

def child():
    real, calls = os.fsync, 0
    def fsync(descriptor):
        nonlocal calls
        calls += 1
        if calls == 4:  # the first one may be the plan's
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
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split("deaths")[1]) > 3
    ours, theirs = timeless(tmp_path), timeless(finished)
    assert len(ours) == 2
    assert ours == {key: theirs[key] for key in ours}


def test_two_runners_share_the_work(tmp_path, finished):
    both = [start(tmp_path), start(tmp_path)]
    begun = []
    for runner_ in both:
        said, errors = runner_.communicate(timeout=120)
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


@pytest.mark.parametrize(("damaged", "message"), [(1, "it goes on from the previous one"), (2, "it starts again")])
def test_damaged_checkpoints(tmp_path, finished, damaged, message):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watch=stop_at(7))  # four looks at the teacher, then two epochs of the first student
    files = sorted((tmp_path / "checkpoints").iterdir(), key=lambda path: "previous" in path.name)
    assert len(files) == 2
    for file in files[:damaged]:
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=rf"checkpoint of run \w+ is lost: .* is damaged .*; {message}"):
        run(tmp_path)
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


def test_results_of_another_configuration_or_code_are_never_used(tmp_path, monkeypatch):
    def count(**changes) -> int:
        settings = {"quiet": True, "announce": lambda text: None}
        run_plan(tiny_plan(("Student", "KD"), **changes), tmp_path, **settings)
        return len(Store(tmp_path).records())

    assert [count(), count(), count(epochs=2), count(per_class=3), count(batch_size=5)] == [2, 2, 4, 6, 8]
    monkeypatch.setattr(finishing, "RESULTS_FORMAT", finishing.RESULTS_FORMAT + 1)
    assert count() == 10


def test_teachers_weights_that_were_exchanged_are_noticed(tmp_path):
    teacher = train_teacher("mini_resnet8x3", SCALE, Store(tmp_path))
    other = train_teacher("mini_resnet8x3", SCALE, Store(tmp_path), seed=1)
    assert teacher.weights != other.weights
    other.file(Store(tmp_path)).replace(teacher.file(Store(tmp_path)))
    with pytest.raises(ValueError, match="holds other weights than the plan was made with"):
        run(tmp_path)


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


def test_a_worker_that_is_killed_is_reported(tmp_path):
    plan = make_plan([PAIR], ["Student"], 1, SCALE)
    with pytest.raises(RuntimeError, match=r"worker processes was killed.*start again to go on"):
        run_plan(plan, tmp_path, engine=_killing_pool(), quiet=True)


def _killing_pool():
    from kcd_teach.benchmark.engines import Pool

    class Killing(Pool):
        def run(self, jobs):
            yield from super().run(dict.fromkeys(jobs, _dies))

    return Killing(1, quiet=True)


def _dies(watch):
    os.kill(os.getpid(), signal.SIGKILL)


def test_no_room_is_said_before_anything_is_run(tmp_path, monkeypatch):
    from kcd_teach.benchmark import sizes

    usage = sizes.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(sizes.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"the plan takes up to .* GB in .*, where 0.00 GB are free"):
        run(tmp_path, watch=stop_at(1))
    monkeypatch.undo()
    monkeypatch.setattr(sizes, "total_memory", lambda: 1e6)
    with pytest.raises(MemoryError, match=r"1 workers would take about .* GB of memory, and this machine has 0.0 GB"):
        run(tmp_path, watch=stop_at(1))

"""A plan on a Ray of two processors ends as a serial one, though a worker is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kcd_teach.benchmark import Ray, Store, ray_engine, run_plan, runner
from kcd_teach.checkpoints import stop_between_batches
from kcd_teach.cli import app
from tests.benchmark.tiny import PAIR, ROWS, timeless, tiny_plan

VICTIM = f"{PAIR} KC-KD seed 1"


class WithPretendedGpu(Ray):
    """Ray counts GPUs without looking at them; two processors and one GPU are there for the tests."""

    def _begin(self, trouble, attempts, **settings):
        super()._begin(trouble, attempts, num_gpus=1, **settings)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A Ray that every engine of this module finds."""
    before = signal.getsignal(signal.SIGTERM)
    with WithPretendedGpu(workers=2) as engine:
        yield engine._ray
    assert not engine._ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def engine(tmp_path):
    with Ray(retries=0) as engine:
        Store(tmp_path)
        engine.place("cpu", tmp_path)
        yield engine


class Noting(Ray):
    """Ray, with every look at a run noted in a file, and the victim's worker killed after its first epoch."""

    def __init__(self, notes: Path):
        super().__init__()
        self.notes = notes

    def run(self, jobs):
        yield from super().run({name: partial(noting, job, self.notes) for name, job in jobs.items()})


def noting(job, notes: Path, watch):
    def look(title, run):
        with notes.open("a") as file:
            file.write(json.dumps([title, run.epoch, os.getpid()]) + "\n")
        killed = notes.with_suffix(".killed")
        if title == VICTIM and run.epoch == 1 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return job(watch=look)


def test_a_killed_worker_costs_nothing_but_time(tmp_path, finished):
    notes = tmp_path / "notes"
    settings = {"quiet": True, "announce": lambda text: None}
    run_plan(tiny_plan(seeds=2), tmp_path / "runs", engine=Noting(notes), device="cpu", **settings)
    assert len(timeless(tmp_path / "runs")) == 2 * len(ROWS) == 8
    assert timeless(tmp_path / "runs") == timeless(finished)
    assert not [path for name in ("checkpoints", "locks") for path in (tmp_path / "runs" / name).glob("*[!k]")]
    looks = {}
    for title, epoch, process in map(json.loads, notes.read_text().splitlines()):
        looks.setdefault(title, []).append((epoch, process))
    assert len(looks) == 9  # the teacher
    first, second = looks[VICTIM][0][1], looks[VICTIM][-1][1]
    assert first != second
    assert looks.pop(VICTIM) == [(0, first), (1, first), (1, second), (2, second), (3, second)]
    assert all([epoch for epoch, _ in seen] == [0, 1, 2, 3] for seen in looks.values())
    assert len({process for seen in looks.values() for _, process in seen}) > 1


def test_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["--pair", PAIR, "--row", "Student", "--epochs", "1", "--per-class", "2", "--classes", "3"]
    done = CliRunner().invoke(app, ["bench", *small, "--engine", "ray", "--device", "cpu", "--folder", "runs"])
    assert done.exit_code == 0, done.output
    assert "1 of 1 runs" in done.output
    assert len(Store(tmp_path / "runs").records()) == 1


def diverges(watch):
    raise FloatingPointError("the loss is nan")


def refuses(watch):
    raise ValueError("images differ")


def dies(watch):
    os.kill(os.getpid(), signal.SIGKILL)


def works(watch):
    return True


def test_what_a_job_says_comes_back(engine):
    assert runner.run_jobs({"bad": diverges, "good": works}, engine, "runs", quiet=True) == {"bad": "the loss is nan"}
    with pytest.raises(ValueError, match=r"^images differ$"):
        list(engine.run({"refused": refuses}))
    with pytest.raises(RuntimeError, match=r"one lost its worker more than 0 times.*start again to go on"):
        list(engine.run({"one": dies}))


def test_workers_that_do_not_belong_to_the_plan_refuse(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "__version__", "0.0.1")
    with pytest.raises(RuntimeError, match=r"has kcd_teach .*, the plan 0\.0\.1; install the same one"):
        list(engine.run({"one": works}))
    monkeypatch.undo()
    for mark in (tmp_path / "locks").iterdir():
        mark.unlink()
    with pytest.raises(RuntimeError, match=rf"does not see {tmp_path} as the plan does; choose a folder that all"):
        list(engine.run({"one": works}))


def runs_until_it_is_stopped(folder: Path, watch):
    asked = threading.Event()
    with stop_between_batches(asked):
        (folder / "began").touch()
        while not asked.is_set():
            time.sleep(0.01)
    (folder / "stopped").touch()
    raise KeyboardInterrupt("stopped between batches")


def waits_for(folder: Path, watch):
    while not (folder / "began").exists():
        time.sleep(0.01)
    return True


def begins_too_late(folder: Path, watch):
    (folder / f"{uuid.uuid4().hex}.late").touch()
    while True:
        time.sleep(0.01)


def test_what_did_not_hear_that_it_should_stop_is_asked_again(tmp_path, monkeypatch, cluster):
    monkeypatch.setattr(ray_engine, "PATIENCE", 1.0)
    asked = []

    def deaf(reference, real=cluster.cancel):
        asked.append(reference)
        if len(asked) > 1:
            real(reference)

    monkeypatch.setattr(cluster, "cancel", deaf)
    with pytest.raises(KeyboardInterrupt, match="pressed"), Ray() as engine:  # noqa: PT012
        engine.place("cpu", tmp_path)
        for _ in engine.run({"0": partial(begins_too_late, tmp_path), "1": works}):
            while not list(tmp_path.glob("*.late")):
                time.sleep(0.01)
            raise KeyboardInterrupt("pressed")
    assert len(asked) == 2


def test_a_worker_that_was_started_deaf_to_interrupts_hears_them(tmp_path):
    mark, before = tmp_path / "mark", signal.signal(signal.SIGINT, signal.SIG_IGN)
    mark.touch()
    try:
        assert ray_engine._in_worker(works, mark, ray_engine.__version__)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_stops_what_runs_and_drops_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "PATIENCE", 5.0)
    jobs = (runs_until_it_is_stopped, waits_for, *[begins_too_late] * 4)
    Store(tmp_path)
    with pytest.raises(KeyboardInterrupt, match="pressed"), Ray() as engine:  # noqa: PT012
        engine.place("cpu", tmp_path)
        for _ in engine.run({f"{number}": partial(job, tmp_path) for number, job in enumerate(jobs)}):
            raise KeyboardInterrupt("pressed")
    assert (tmp_path / "stopped").exists()
    assert len(list(tmp_path.glob("*.late"))) <= 1  # on the processor that was free
    assert not list((tmp_path / "locks").iterdir())


def ends_the_plan(process: int, watch):
    os.kill(process, signal.SIGTERM)
    while True:
        time.sleep(0.01)


def test_a_request_to_end_is_heard_as_ctrl_c_and_dumps_no_stack(engine, capfd):
    with pytest.raises(KeyboardInterrupt):
        list(engine.run({"one": partial(ends_the_plan, os.getpid())}))
    assert "SIGTERM received" not in "".join(capfd.readouterr())


def test_whoever_has_not_its_token_is_refused(cluster):
    code = "import ray, sys; ray.init(sys.argv[1], logging_level='error'); print('joined')"
    address = cluster.get_runtime_context().gcs_address
    for token, said in ((os.environ["RAY_AUTH_TOKEN"], "joined"), ("0" * 64, "Failed to connect")):
        environment = {**os.environ, "RAY_AUTH_TOKEN": token, "RAY_NUM_REDIS_GET_RETRIES": "1"}
        done = subprocess.run([sys.executable, "-c", code, address], env=environment, capture_output=True, text=True)
        assert said in done.stdout + done.stderr


def share_of(folder: Path, watch):
    import ray

    share = ray.get_runtime_context().get_assigned_resources()
    (folder / f"{os.getpid()}.share").write_text(json.dumps(share))
    return True


@pytest.mark.parametrize(("device", "per_gpu", "expected"), [(None, 6, 0.1666), ("cpu", 6, 0)])
def test_runs_share_a_gpu(tmp_path, device, per_gpu, expected):
    Store(tmp_path)
    with Ray(per_gpu=per_gpu) as engine:
        assert engine.place(device, tmp_path) == (device or "cuda")
        assert list(engine.run({"one": partial(share_of, tmp_path)})) == [("one", True)]
    (file,) = tmp_path.glob("*.share")
    share = json.loads(file.read_text())
    assert (share["CPU"], share.get("GPU", 0)) == (1, expected)


def test_which_gpu_is_left_to_ray(tmp_path, cluster, monkeypatch):
    with Ray() as engine:
        with pytest.raises(ValueError, match=r"device='cuda:1' is unknown; did you mean 'cuda'\?"):
            engine.place("cuda:1", tmp_path)
        monkeypatch.setattr(cluster, "cluster_resources", lambda: {"CPU": 2.0})
        with pytest.raises(ValueError, match="device='cuda' needs a GPU, and no machine of this Ray has one"):
            engine.place("cuda", tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": "10.0.0.1"}, r"address must be 'auto' or HOST:PORT, as 10\.0\.0\.1:6379, got '10\.0\.0\.1'"),
        ({"address": "ray://here:10001"}, "address must be 'auto' or HOST:PORT"),
        ({"address": "auto", "workers": 2}, "workers=2 is for a Ray started here; address='auto' has its own number"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"per_gpu": 0}, "per_gpu must be at least 1, got 0"),
        ({"retries": -1}, "retries must be at least 0, got -1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Ray(**settings)


def test_no_ray_is_said_plainly(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"the engine ray needs Ray: pip install 'kcd_teach\[cluster\]'"):
        Ray()


def test_a_ray_that_does_not_start_is_said_plainly(monkeypatch):
    engine = Ray("10.0.0.1:6379")
    attempts = []

    def init(**settings):
        attempts.append(settings["address"])
        raise Exception("nobody there")

    monkeypatch.setattr(engine._ray, "is_initialized", lambda: False)
    monkeypatch.setattr(engine._ray, "init", init)
    with pytest.raises(RuntimeError, match=r"no Ray can be joined at address='10\.0\.0\.1:6379': nobody there"):
        engine.__enter__()
    with pytest.raises(RuntimeError, match="Ray cannot be started on this machine: nobody there"):
        Ray().__enter__()
    assert attempts == ["10.0.0.1:6379", "local", "local", "local"]

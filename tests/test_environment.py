"""The library works from an empty folder, without a home or a user, without a network, and in any encoding."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kcd_teach import datasets
from kcd_teach.datasets import cache_folder, load_dataset
from kcd_teach.knowledge import DiskAnswers, check_room_of_answers
from tests.tiny import tiny_dataset, tiny_networks

ROOT = Path(__file__).parent.parent
STRANGER = 54_321
"""A user that no list of users has."""

SCRIPT = """
import socket, warnings

class Refused(socket.socket):
    def __init__(self, *arguments, **settings):
        raise AssertionError("a socket was opened")

socket.socket = Refused

import kcd_teach

warnings.simplefilter("error")
dataset = kcd_teach.load_dataset("fashion-mnist-mini").first(8)
student = kcd_teach.create_model("mini_convnet", num_classes=10, in_channels=1, seed=0)
condenser = kcd_teach.Condenser(80, ratio=0.5, stages=2, epochs=2)
run = kcd_teach.distill(student, dataset, kcd_teach.load_teacher(dataset), recipe=kcd_teach.Recipe(epochs=2), condenser=condenser)
print([report.active for report in run])
"""


def test_works_anywhere_offline_and_without_warnings(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key not in ("KCD_DATA", "XDG_CACHE_HOME")}
    environment["HOME"] = str(tmp_path / "no such home")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[80, 40]\n"
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def place():
    """A folder that all users can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def as_stranger(command, folder, code=0, **environment):
    """Run a command as a user without a name, who may read what root may (the interpreter, perhaps) and write to ``folder``."""
    if shutil.which("setpriv") is None or getattr(os, "geteuid", int)() != 0:
        pytest.skip("needs setpriv and root")
    capability = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    become = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", *capability]
    if subprocess.run([*become, sys.executable, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root become someone else")
    for path in (folder, folder / "tmp"):
        path.mkdir(exist_ok=True)
        os.chown(path, STRANGER, STRANGER)
    clean = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*become, sys.executable, *command], cwd=folder, env={**clean, "TMPDIR": str(folder / "tmp"), **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


SMALL = ["--pair", "mini_resnet8x3>mini_convnet", "--row", "KD", "--epochs", "1", "--per-class", "2", "--classes", "5"]


@pytest.mark.parametrize("environment", [{}, {"HOME": "/"}], ids=str)
def test_a_user_without_a_home_distils_with_answers_on_disk(place, environment):
    kept = place / "me" / "tmp" / f"kcd_teach-{STRANGER}" / "answers"
    said = as_stranger(["-m", "kcd_teach.cli", "doctor", *SMALL, "--store", "disk"], place / "me", **environment)
    assert all(line.startswith("ok") for line in said.splitlines())
    assert f"in {kept} for kept answers" in said
    assert not kept.exists()
    said = as_stranger(["-m", "kcd_teach.cli", "distill", *SMALL, "--store", "disk"], place / "me", **environment)
    assert "1 of 1 runs" in said
    assert len(list(kept.glob("*.npy"))) == 2
    assert "wrote" in as_stranger(
        ["-c", f"{PLOT.format(folder='runs')}"],
        place / "me",
        MPLCONFIGDIR=str(place / "me" / "tmp"),
        **environment,
    )


PLOT = """
from kcd_teach.benchmark import Store, Prepared, find_scale, make_plan
from kcd_teach.cli import app
changed = find_scale("small").but(epochs=1, per_class=2, classes=5)
Prepared(make_plan(["mini_resnet8x3>mini_convnet"], ["KD"], 1, changed), "", 10, {{}}).save(Store("{folder}"))
app(["plot", "--folder", "{folder}"])
"""


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("file", "is not a folder"), ("below a file", "is not a folder"), ("closed", "cannot be written to"),
     ("closed inside", "cannot be written to")],
)  # fmt: skip
def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_trained(place, kind, reason):
    folder = closed = place / "closed"
    if "file" in kind:
        closed.touch()
        folder = closed / "runs" if kind == "below a file" else closed
    else:
        closed = closed / "checkpoints" if kind == "closed inside" else closed
        closed.mkdir(parents=True)
        os.chown(place / "closed", *([STRANGER] * 2 if kind == "closed inside" else [0, 0]))
        closed.chmod(0o555)
    choice = ["--folder", str(folder)]
    said = as_stranger(["-m", "kcd_teach.cli", "doctor", *SMALL, *choice, "--no-time"], place / "me", code=2)
    assert f"NO  room: {closed} {reason}; choose another folder" in said
    for command in ("bench", "distill", "train-teacher"):
        arguments = [command, *(SMALL if command != "train-teacher" else ["mini_resnet8x3", *SMALL[4:]]), *choice]
        (line,) = as_stranger(["-m", "kcd_teach.cli", *arguments], place / "me", code=2).splitlines()
        assert line == f"error: folder={str(folder)!r} cannot be used: {closed} {reason}; choose another folder"


@pytest.mark.parametrize("way", ["--data", "KCD_DATA"])
def test_a_folder_of_data_that_is_none_is_named(place, way):
    def said(data):
        option, variable = (["--data", str(data)], {}) if way == "--data" else ([], {"KCD_DATA": str(data)})
        command = ["-m", "kcd_teach.cli", "doctor", *SMALL, "--no-time", *option]
        return as_stranger(command, place / "me", code=2, **variable)

    name = "root" if way == "--data" else "KCD_DATA"
    (place / "file").touch()
    assert f"NO  data: {name}='{place / 'file'}' must be a folder, and is a file" in said(place / "file")
    (place / "closed").mkdir(mode=0o700)
    assert f"NO  data: {name}='{place / 'closed'}' must be a folder that this user can read" in said(place / "closed")
    assert f"NO  data: {name}='~/data' begins with ~, and this user has no home" in said("~/data")


def test_without_a_home_there_is_a_cache_among_the_temporary_files(tmp_path, monkeypatch):
    def homeless(name):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(datasets, "user_cache_path", homeless)
    monkeypatch.setattr(datasets.tempfile, "tempdir", str(tmp_path))
    mine = tmp_path / f"kcd_teach-{os.getuid()}"
    assert cache_folder() == mine
    assert len(load_dataset("fashion-mnist-mini").classes) == 10
    monkeypatch.setattr(os, "getuid", lambda: STRANGER)
    (tmp_path / f"kcd_teach-{STRANGER}").mkdir()  # someone else was there first
    with pytest.raises(OSError, match="neither a home nor temporary files; name a folder in the variable KCD_DATA"):
        cache_folder()


def test_answers_that_cannot_be_kept_are_refused_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    said = f"the teacher's answers cannot be kept in {tmp_path / 'file' / 'x'}: {tmp_path / 'file'} is not a folder; choose"
    with pytest.raises(OSError, match=said):
        check_room_of_answers(1, tmp_path / "file" / "x")
    with pytest.raises(OSError, match=said):
        DiskAnswers(tiny_networks()[1], tiny_dataset(), "float32", tmp_path / "file" / "x")


def test_every_command_prints_in_an_encoding_without_its_signs(tmp_path):
    encoding = "cp1252"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    folder = ["--folder", "läufe ₂"]

    def said(*arguments, code=0):
        command = [sys.executable, "-m", "kcd_teach.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return (done.stdout + done.stderr).decode(encoding)

    assert "no folder l" in said("table", *folder, code=2)
    assert "1 of 1 runs" in said("distill", *SMALL, *folder, "--store", "disk")
    table = said("bench", *SMALL, "--seeds", "2", "--workers", "2", "--row", "Student", *folder)
    assert "diff ours minus published" in table
    assert " ± 95 % interval" in table
    assert said("table", *folder) in table
    for arguments in (["table", "--as", "csv"], ["plot"], ["plot", "--what", "table"], ["doctor", "--no-time"]):
        assert said(*arguments, *folder)
    assert "--folder" in said("bench", "--help")
    assert "No such option" in said("bench", "--nope", code=2)

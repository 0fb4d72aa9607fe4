"""The library works from an empty folder, without a home or a user, without a network, and in any encoding."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kcd_teach import datasets
from kcd_teach.datasets import cache_folder, load_dataset
from kcd_teach.knowledge import DiskCache, check_room_of_answers
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
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
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


SERVER = """
import importlib, json, os, runpy, sys, tempfile
import kcd_teach.benchmark, kcd_teach.cli, torch

torch.optim.SGD([torch.zeros(1)])  # the first one imports half of torch
for module in sys.argv[1:]:
    importlib.import_module(module)

for line in sys.stdin:
    command, folder, environment = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.environ.update(environment)
        tempfile.tempdir = None
        os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        sys.argv = ["kcd-teach", *command]
        del sys.modules["kcd_teach.cli"]
        runpy.run_module("kcd_teach.cli", run_name="__main__", alter_sys=True)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Commands:
    """Runs ``kcd-teach`` with any arguments, each time in a process of its own.

    It is forked from one that has imported the library, which takes longer than all else that most commands do, and what
    else is ``needed``.
    """

    def __init__(self, become=(), needed=(), **environment):
        command, pipe = [*become, sys.executable, "-c", SERVER, *needed], subprocess.PIPE
        self.server = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        self.encoding = environment.get("PYTHONIOENCODING", "utf-8")

    def __call__(self, *arguments, folder, code=0, **environment):
        """What a command prints in a folder; it must end with this code."""
        self.server.stdin.write(json.dumps([arguments, str(folder), environment]) + "\n")
        self.server.stdin.flush()
        ended = self.server.stdout.readline().strip()
        said = (folder / "said").read_bytes().decode(self.encoding)
        assert ended == str(code), said
        return said

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()


PLAIN = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def become():
    """What turns a command into one of a user without a name, who may read what root may (the interpreter, perhaps)."""
    if shutil.which("setpriv") is None or getattr(os, "geteuid", int)() != 0:
        pytest.skip("needs setpriv and root")
    capability = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    command = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", *capability]
    if subprocess.run([*command, sys.executable, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root become someone else")
    return command


@pytest.fixture
def mine(place):
    """A folder of the stranger, with one for temporary files in it."""
    for path in (place / "me", place / "me" / "tmp"):
        path.mkdir()
        os.chown(path, STRANGER, STRANGER)
    return place / "me"


@pytest.fixture(scope="module")
def stranger(become):
    """Runs commands as that user."""
    with Commands(become, **PLAIN) as commands:
        yield commands


SMALL = ["--pair", "mini_resnet8x3>mini_convnet", "--row", "KD", "--epochs", "1", "--per-class", "2", "--classes", "5"]


@pytest.mark.parametrize("environment", [{}, {"HOME": "/"}], ids=str)
def test_a_user_without_a_home_distils_with_answers_on_disk(mine, become, environment):
    kept = mine / "tmp" / f"kcd_teach-{STRANGER}" / "answers"
    choice = [*SMALL, "--store", "disk"]
    with Commands(become, **PLAIN, **environment, TMPDIR=str(mine / "tmp")) as run:
        said = run("doctor", *choice, folder=mine)
        assert all(line.startswith("ok") for line in said.splitlines())
        assert f"in {kept} for cached predictions" in said
        assert not kept.exists()
        assert "1 of 1 runs" in run("distill", *choice, folder=mine)
        assert len(list(kept.glob("*.npy"))) == 2
        assert "KD" in run("bench", *choice, folder=mine)
        assert "wrote" in run("plot", folder=mine, MPLCONFIGDIR=str(mine / "tmp"))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("file", "is not a folder"), ("below a file", "is not a folder"), ("closed", "cannot be written to"),
     ("closed inside", "cannot be written to")],
)  # fmt: skip
def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_trained(place, mine, stranger, kind, reason):
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
    said = stranger("doctor", *SMALL, *choice, "--no-time", folder=mine, code=2)
    assert f"NO  room: {closed} {reason}; choose another folder" in said
    for command in ("bench", "distill", "train-teacher"):
        arguments = [command, *(SMALL if command != "train-teacher" else ["mini_resnet8x3", *SMALL[4:]]), *choice]
        (line,) = stranger(*arguments, folder=mine, code=2).splitlines()
        assert line == f"error: folder={str(folder)!r} cannot be used: {closed} {reason}; choose another folder"


@pytest.mark.parametrize("way", ["--data", "KCD_DATA"])
def test_a_folder_of_data_that_is_none_is_named(place, mine, stranger, way):
    def said(data):
        option, variable = (["--data", str(data)], {}) if way == "--data" else ([], {"KCD_DATA": str(data)})
        return stranger("doctor", *SMALL, "--no-time", *option, folder=mine, code=2, **variable)

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
        DiskCache(tiny_networks()[1], tiny_dataset(), "float32", tmp_path / "file" / "x")


def test_every_command_prints_in_an_encoding_without_its_signs(tmp_path):
    folder = ["--folder", "läufe ₂"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(ROOT)}
    with Commands(needed=["kcd_teach.figures"], **environment) as run:

        def said(*arguments, code=0):
            return run(*arguments, folder=tmp_path, code=code)

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

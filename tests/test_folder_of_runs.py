"""A folder of runs says what is done, running and missing, from any process; tables fit the terminal; the course is copied."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kcd_teach import __version__, figures
from kcd_teach._checks import check_choice
from kcd_teach.benchmark import Prepared, Store, find_pair, make_plan, make_table, run_plan
from kcd_teach.cli import app
from kcd_teach.models import list_models
from kcd_teach.notebooks import copy_course
from tests.benchmark.test_table import filled
from tests.benchmark.tiny import PAIR as TINY_PAIR
from tests.benchmark.tiny import tiny_plan

ROOT = Path(__file__).parent.parent


def call(*arguments, code=0):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    return done.output


def test_status_of_a_folder_at_work(tmp_path):
    seen = []

    def watch(title, run):
        if "KD seed 1" in title and run.epoch == 2:
            seen.append(call("status", tmp_path))
            seen.append(call("plot", "--folder", tmp_path, "--out", tmp_path / "curves.png"))
            raise KeyboardInterrupt

    plan = tiny_plan(("Student", "KD"), seeds=2)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, tmp_path, watch=watch, quiet=True, announce=lambda text: None)
    during, drawn, after = *seen, call("status", tmp_path)
    for said, cell in ((during, "#>"), (after, r"#\.")):
        assert re.search(rf"^ *KD +{cell} *$", said, flags=re.M), said
        assert re.search(r"^ *Student +## *$", said, flags=re.M), said
        assert "1 of 1 teachers are ready" in said
    assert "4 runs: 3 done, 1 running, 0 missing" in during
    assert "4 runs: 3 done, 0 running, 1 missing" in after
    assert re.search(rf"{TINY_PAIR} KD seed 1: epoch 2 of 3, [\d.]+ %; about [\d.]+ s more", during)
    assert "stopped; kcd-teach bench --folder goes on with it" in after
    assert re.search("Under way: KD seed 1, epoch 2 of 3", drawn)
    call("bench", "--folder", tmp_path)  # the folder alone says what is to be done
    said = call("status", tmp_path)
    assert "4 runs: 4 done, 0 running, 0 missing" in said
    assert "seed" not in said.splitlines()[-1]


def test_status_needs_a_plan(tmp_path):
    assert "there is no folder" in call("status", tmp_path / "none", code=2)
    assert "there is no plan" in call("status", tmp_path, code=2)


@pytest.mark.parametrize("width", [60, 100, 240])
def test_a_plain_table_fits_the_terminal(tmp_path, width):
    prepared, store = filled(tmp_path)
    prepared.save(store)
    table = make_table(prepared, store)
    text = table.plain(width)
    assert max(map(len, text.splitlines())) <= width
    names = [pair.name for pair in table.prepared.plan.pairs]
    assert all(name in text for name in names)
    for row in table.cells:
        assert len(re.findall(rf"^ *{re.escape(row)}\b(?!@|-)", text, flags=re.M)) >= 1
    call("table", "--as", "plain", "--folder", tmp_path)
    assert call("table", "--folder", tmp_path).startswith("| Method |")  # no terminal


def test_version():
    assert call("--version").startswith(f"kcd_teach {__version__}, torch ")


def test_the_course_is_copied_and_nothing_overwritten(tmp_path):
    known = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    said = call("lab", "--to", tmp_path / "mine", "--only-copy")
    assert f"{len(known)} notebooks were copied" in said
    assert sorted(path.name for path in (tmp_path / "mine").glob("*.ipynb")) == known
    (tmp_path / "mine" / known[0]).write_text("mine")
    (tmp_path / "mine" / known[1]).unlink()
    assert copy_course(tmp_path / "mine") == (1, len(known) - 1)
    assert (tmp_path / "mine" / known[0]).read_text() == "mine"
    with pytest.raises(NotADirectoryError, match="to must be a folder, new or not, got the file"):
        copy_course(tmp_path / "mine" / known[0])


def test_the_wheel_brings_the_notebooks(tmp_path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    shutil.rmtree(tmp_path / "site" / "kcd_teach" / "data" / "results")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import kcd_teach.notebooks as n, pathlib; "
    code += "print(n.__file__, n.copy_course(pathlib.Path('copy')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout
    assert (tmp_path / "copy" / "00_tour.ipynb").is_file()


# Small things.


def test_the_nearest_name_is_the_one_in_other_letters():
    with pytest.raises(ValueError, match="did you mean 'resnet20'"):
        check_choice("name", "ResNet20", list_models())
    assert find_pair("V13:MN2").name == "V13>MN2"


def test_two_seeds_do_not_stretch_the_axis():
    runs = {"KD": {0: 70.0, 1: 75.0}, "KC-KD": {0: 71.0, 1: 72.0}}
    wide = figures.cost_accuracy({"KD": {0: 30.0, 1: 100.0}}, {"KD": 1.0}, "title")
    assert wide.figure.axes[0].get_ylim() == (0, 105)
    for picture in (
        figures.cost_accuracy(runs, {"KD": 1.0, "KC-KD": 0.85}, "title"),
        figures.accuracy_against_cost({"KD": {1.0: runs["KD"]}, "KC-KD": {0.85: runs["KC-KD"]}}, "title"),
    ):
        low, high = picture.figure.axes[0].get_ylim()
        assert 60 < low < 70
        assert 75 < high < 85
        assert "cuts them off" in picture.numbers


def test_a_long_title_is_inside_the_picture():
    rows = {"KC-KD@pool=active,partners=complement": {0: 1.0, 1: 2.0}}
    for picture in (
        figures.ablation_differences(rows, "KC-KD", "W40-2>W16-2: what is each part of KC-KD worth?"),
        figures.cost_accuracy(
            {"KD": {0: 1.0}}, {"KD": 1.0}, "my.nets:teacher>my.nets:student: what do you pay, what do you get?"
        ),
    ):
        picture.figure.canvas.draw()
        box = picture.figure._suptitle.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= picture.figure.bbox.width


def test_notes_come_with_their_cells_only():
    plan = make_plan(["V13>V8"], ["Student", "KD", "KC-KD"], scale="full")
    assert make_table(Prepared(plan, "images", 50_000, {}), Store("none")).letters == ("e",)


def test_progress_is_a_line_for_each_epoch(tmp_path):
    lines = []

    def watch(title, run):
        lines.append(
            [json.loads(line) for path in (tmp_path / "progress").glob("*") for line in path.read_text().splitlines()]
        )

    run_plan(tiny_plan(("Student",)), tmp_path, watch=watch, quiet=True, announce=lambda text: None)
    assert [len(found) for found in lines] == [0, 1, 2, 3]
    assert lines[-1][-1].keys() >= {"title", "epochs", "epoch", "test_accuracy", "train_loss", "active", "seconds"}


def test_tensorboard_shows_finished_runs_and_those_at_work(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def watch(title, run):
        if "KD" in title and run.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(tiny_plan(("Student", "KD")), tmp_path, watch=watch, quiet=True, announce=lambda text: None)
    for _ in range(2):
        assert "wrote 2 runs" in call("tensorboard", tmp_path)
    for row, epochs in (("Student", 3), ("KD", 2)):
        events = EventAccumulator(str(tmp_path / "tensorboard" / f"{TINY_PAIR} {row} seed 0"))
        events.Reload()
        assert {"test_accuracy", "train_loss"} <= set(events.Tags()["scalars"])
        assert [event.step for event in events.Scalars("test_accuracy")] == list(range(1, epochs + 1))

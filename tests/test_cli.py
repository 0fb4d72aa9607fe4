"""The command line does what the library does, and says in one line what is wrong."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from kcd_teach.cli import app

SMALL = ["--epochs", "2", "--per-class", "2", "--classes", "5"]
PAIR = ["--pair", "mini_resnet8x3>mini_convnet"]


def call(*arguments, code=0):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    return done.output


def test_from_nothing_to_the_table(tmp_path):
    folder = ["--folder", tmp_path / "runs"]
    assert "mini_resnet8x3" in call("train-teacher", "mini_resnet8x3", *SMALL, *folder)
    teachers = list((tmp_path / "runs" / "teachers").glob("*.npz"))
    shown = call("bench", *PAIR, "--row", "Student", "--row", "KD", "--row", "KC-KD", "--seeds", 2, *SMALL, *folder)
    assert list((tmp_path / "runs" / "teachers").glob("*.npz")) == teachers
    assert "6 of 6 runs" in shown
    assert "gain" in shown
    call("distill", *PAIR, "--row", "KC-KD@random", *SMALL, *folder)
    assert "KC-KD@random" not in call("table", *folder)  # the plan is still that of bench
    rows = list(csv.DictReader(io.StringIO(call("table", "--as", "csv", *folder))))
    assert [(row["row"], row["n"], row["published"]) for row in rows] == [
        (name, "2", "") for name in ("Student", "KD", "KC-KD")
    ]
    assert "wrote" in call("table", "--out", tmp_path / "table.md", *folder)
    assert (tmp_path / "table.md").read_text().startswith("| Method |")
    assert len((tmp_path / "runs" / "results.jsonl").read_text().splitlines()) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "--pair", "V13>V9"], "error: pair='V13>V9' is unknown; did you mean 'V13>V8'?"),
        (["bench", "--row", "KDD"], "error: row='KDD' is unknown"),
        (["bench", "--scale", "ful"], "error: scale='ful' is unknown; did you mean 'full'?"),
        (["bench", "--seeds", "0"], "error: seeds must hold at least one entry"),
        (["bench", "--checkpoint", "resnet56"], "error: checkpoint must be NETWORK=FILE"),
        (["bench", *PAIR, "--row", "KD", "--checkpoint", "mini_resnet8x3=nowhere.pth", *SMALL], "nowhere.pth"),
        (["train-teacher", "resnet5"], "error: teacher='resnet5' is unknown"),
        (["table", "--folder", "nowhere"], "error: there is no folder nowhere; start a plan with kcd-teach bench"),
        (["table", "--as", "xml"], "error: as='xml' is unknown"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    said = call(*arguments, code=2)
    assert message in said
    assert len(said.splitlines()) == 1


def test_doctor_says_what_a_plan_takes(tmp_path):
    folder = tmp_path / "runs"
    said = call("doctor", *PAIR, "--row", "KD", *SMALL, "--folder", folder, "--price", 2)
    topics = [line.split()[1].rstrip(":") for line in said.splitlines()]
    assert topics == ["versions", "device", "data", "room", "teacher", "time"]
    assert all(line.startswith("ok") for line in said.splitlines())
    assert "will be trained first" in said
    assert "at 2 an hour" in said
    assert not folder.exists()


def test_doctor_finds_what_is_wrong(tmp_path):
    (tmp_path / "cifar100.npz").write_text("not a data set")
    said = call("doctor", *PAIR, "--scale", "full", "--data", tmp_path, "--no-time", code=2)
    assert "NO  data" in said
    said = call("doctor", *PAIR, "--row", "RKD", *SMALL, "--per-class", 21, "--classes", 3, "--no-time", code=0)
    assert "ok  room" in said


@pytest.mark.parametrize("command", ["doctor", "train-teacher", "bench", "distill", "table"])
def test_help_explains_every_option(command):
    said = call(command, "--help")
    assert "--folder" in said


def test_results_are_plain_json_lines(tmp_path):
    call("distill", *PAIR, "--row", "Student", *SMALL, "--folder", tmp_path)
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == "Student"

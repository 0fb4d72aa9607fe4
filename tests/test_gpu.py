"""``make gpu`` on a processor, with small networks: all parts, killed on the way, gone on with, and carried elsewhere."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from kcd_teach.benchmark import Store, make_plan, run_plan
from kcd_teach.benchmark.settings import find_scale
from tests.benchmarks import gpu, graphed_runs

PAIR = "resnet20>resnet8"


@pytest.fixture
def command(tmp_path):
    """The command with these arguments, as a process; its campaign is two rows, in the folder ``ours``."""
    scale = find_scale("small").but(epochs=6, per_class=3, classes=3)
    plan = {"pairs": [PAIR], "rows": ["Student", "KC-KD"], "seeds": [1], "scale": dataclasses.asdict(scale)}
    (tmp_path / "plan.json").write_text(json.dumps(plan))

    def start(*given):
        return subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.gpu", *map(str, given), "--device", "cpu", "--plan",
             str(tmp_path / "plan.json"), "--out", str(tmp_path / "out"), "--save-every", "1"],
            cwd=gpu.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return start


def lines(tmp_path):
    path = tmp_path / "out" / "gpu.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1] if line] if path.exists() else []


def undisturbed(folder):
    scale = find_scale("small").but(epochs=6, per_class=3, classes=3)
    run_plan(make_plan([PAIR], ["Student", "KC-KD"], [1], scale), folder, device="cpu", quiet=True)
    return Store(folder).records()


def killed_in_the_campaign(process, tmp_path, epoch):
    """Kill the command once a run of KC-KD has come so far."""
    while not any("KC-KD" in line.get("run", "") and line["epoch"] >= epoch for line in lines(tmp_path)):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_all_parts_go_on_where_they_were_killed_and_elsewhere(tmp_path, command):
    steps = ("--pairs", PAIR, "--images", 256, "--few", 100, "--step-seconds", 1)
    process = command("campaign", "steps", "tests", "--folder", tmp_path / "ours", *steps)
    killed_in_the_campaign(process, tmp_path, 2)
    # What a kill may leave: half a line.
    with (tmp_path / "out" / "gpu.jsonl").open("a") as file:
        file.write('{"part": "campai')
    said, _ = command("campaign", "steps", "tests", "--folder", tmp_path / "ours", *steps).communicate()
    found = lines_of(said)
    ended = {line["part"]: line["exit"] for line in found if "ended" in line}
    assert ended == {"campaign": 0, "steps": 0, "tests": 0}, said
    assert any(line["part"] == f"{PAIR} KD, plain" and line["ms"] > 0 for line in found if "ms" in line)
    assert not [line for line in found if line.get("failed")]
    ours, theirs = Store(tmp_path / "ours").records(), undisturbed(tmp_path / "theirs")
    gpu.unpack(tmp_path / "out", tmp_path / "anew")
    (tmp_path / "out" / "pack.json").unlink()
    gpu.unpack(tmp_path / "out", tmp_path / "from the lines")
    assert Store(tmp_path / "anew").records() == Store(tmp_path / "from the lines").records() == ours
    assert ours.keys() == theirs.keys()
    for key, record in theirs.items():
        assert {name: ours[key][name] for name in ("test_accuracy", "train_loss", "active")} == {
            name: record[name] for name in ("test_accuracy", "train_loss", "active")
        }


def lines_of(said):
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_a_campaign_that_was_packed_goes_on_elsewhere(tmp_path, command):
    process = command("campaign", "--folder", tmp_path / "ours")
    killed_in_the_campaign(process, tmp_path, 3)
    out = tmp_path / "packed"
    assert "checkpoints" not in str(gpu.pack(tmp_path / "ours", out, most=5000))  # there is no room for one
    assert "checkpoints" in str(gpu.pack(tmp_path / "ours", out))
    teachers = tmp_path / "there" / "teachers"
    teachers.mkdir(parents=True)
    for path in (tmp_path / "ours" / "teachers").iterdir():  # they are carried by the repository
        (teachers / path.name).write_bytes(path.read_bytes())
    command("campaign", "--folder", tmp_path / "there", "--carried", out).communicate()
    log = [line for line in lines(tmp_path) if "run" in line and "KC-KD" in line["run"]]
    assert [line["epoch"] for line in log].count(1) == 1  # it did not begin again
    ours, theirs = Store(tmp_path / "there").records(), undisturbed(tmp_path / "theirs")
    assert {key: record["train_loss"] for key, record in ours.items()} == {
        key: record["train_loss"] for key, record in theirs.items()
    }


def test_what_is_carried_is_whole_or_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "PART_BYTES", 500)
    gpu.begin_as_stored(tmp_path / "full")
    names = gpu.pack(tmp_path / "full", tmp_path / "packed")
    assert names == ["plan.json", "sample.json", "results.jsonl"]
    assert max(path.stat().st_size for path in (tmp_path / "packed").glob("pack.[0-9]*")) == 500
    gpu.unpack(tmp_path / "packed", tmp_path / "there")
    gpu.unpack(tmp_path / "packed", tmp_path / "there")  # adds nothing
    assert Store(tmp_path / "there").records() == Store(tmp_path / "full").records() != {}
    part = tmp_path / "packed" / "pack.1"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="were not written together, or are damaged"):
        gpu.unpack(tmp_path / "packed", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    gpu.unpack(tmp_path, tmp_path / "nowhere")  # nothing was carried


def test_the_campaign_goes_on_from_what_is_stored_seed_by_seed(tmp_path):
    gpu.begin_as_stored(tmp_path)
    given = ["--folder", str(tmp_path), "--log", str(tmp_path / "log"), "--seeds", "4", "--device", "cpu"]
    campaign = graphed_runs.Campaign(graphed_runs.parser().parse_args(given))
    jobs = [(row.name, seed) for _, row, seed in campaign.jobs()]
    assert jobs[:5] == [(name, 0) for name in ("KD", "KC-KD", "KC-KD@no-mixing", "KC-KD@random", "KC-KD@released")]
    assert [jobs[place] for place in (5, 10, -1)] == [("KD", 1), ("Student", 2), ("KC-KD@released", 3)]
    assert campaign.prepared.teachers["vgg13"].file(campaign.store).exists()


def test_a_missing_package_is_named_before_anything_begins(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "NEEDED", ("torch", "no_such_package"))
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "missing in this Python: no_such_package" in capsys.readouterr().err

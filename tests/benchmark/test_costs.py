"""What runs cost: steps that were measured and estimated, on paper, and how many runs fit on a GPU."""

import json

import pytest
import torch

from kcd_teach.benchmark import costs, doctor, examine, find_pair, make_plan
from kcd_teach.benchmark.costs import Speed, Steps, costs_by_pair, runs_that_fit
from tests.benchmarks import floors
from tests.benchmarks.gpu import ROOT
from tests.tiny import tiny_dataset


def test_steps_are_those_of_the_first_card_and_estimated_where_none_was_measured(tmp_path, monkeypatch):
    lines = [
        {"card": "A", "torch": "2"}, {"part": "V13>V8 KD, plain", "ms": 9.0}, {"part": "V13>V8 KC-KD, plain", "ms": 1.0},
        {"part": "vgg8 labels, plain", "ms": 5.0}, {"part": "V13>V8 KD, graph", "ms": 2.0}, {"part": "R56>R20 KD, plain"},
        {"card": "B", "torch": "2"}, {"part": "V13>V8 KD, plain", "ms": 3.0}, {"part": "R56>R20 KD, plain", "ms": 7.0},
        {"card": "A", "torch": "3"}, {"part": "R56>R20 KD, plain", "ms": 14.0},
    ]  # fmt: skip
    path = tmp_path / "steps.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(costs, "find_data_file", lambda name: path)
    steps = Steps()
    assert steps.card == "A"
    assert steps.measured == {("vgg13", "vgg8"): 9.0, ("", "vgg8"): 5.0, ("resnet56", "resnet20"): 14.0}
    assert steps.graphs == {("vgg13", "vgg8"): 2.0}
    assert steps.of("vgg13", "vgg8") == 9.0 != steps.estimate("vgg13", "vgg8")
    assert steps.of("wrn_40_2", "wrn_16_2") == steps.estimate("wrn_40_2", "wrn_16_2")


def test_hours_of_a_plan_are_those_of_its_teacher_and_of_every_run():
    steps = Steps()
    plan = make_plan(["V13>V8"], ["Student", "KC-KD"], 3, "full")
    (of,) = costs_by_pair(plan, plan.pairs, steps)
    updates = 240 * 782
    shown = sum(plan.rows[1].shown(50_000, 240)) / (50_000 * 240)
    ms = steps.of("", "vgg13") + 3 * steps.of("", "vgg8") + 3 * shown * steps.of("vgg13", "vgg8")
    assert of.hours == pytest.approx(updates * ms / 3.6e6)
    assert (of.known, of.run) == ("measured", pytest.approx(updates * of.step / 3.6e6))
    assert costs_by_pair(plan, [find_pair("V13>MN2")], steps)[0].known == "estimated"


def test_doctor_says_hours_and_price_of_the_full_recipe_also_where_its_images_are_missing(tmp_path):
    said = [str(one) for one in examine(make_plan(["V13>V8"], ["KD"], 1, "full"), tmp_path, root=tmp_path, price=2.0)]
    (hours,) = (line for line in said if "hours: " in line)
    assert "on one NVIDIA H200" in hours
    assert "V13>V8 1 hours, which cost 1.65 at 2 an hour (step of KD measured, 8.9 ms)" in hours


def test_runs_fit_on_a_gpu_by_the_memory_of_their_largest_pair(monkeypatch):
    plan, dataset = make_plan(["V13>V8", "R56>R20"], ["KD"], 1, "full"), tiny_dataset()
    speeds = {
        "vgg13": Speed(1, 1, 3e8),
        "vgg8": Speed(1, 1, 1e8),
        "resnet56": Speed(1, 1, 1e8),
        "resnet20": Speed(1, 1, 0),
    }
    assert runs_that_fit(plan, dataset, speeds, 4e9) == 3  # 600 MB of a process, 400 of the pair, and the images
    monkeypatch.setattr(doctor, "time_networks", lambda *_: speeds)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4e9, 5e9))
    found = list(doctor._time(plan, dataset, 1, "cuda", None))
    assert str(found[0]) == "ok  side by side: about 3 runs fit on the GPU at once, each in its own process"
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1e8, 5e9))
    assert not next(doctor._time(plan, dataset, 1, "cuda", None)).fine


def test_operations_on_paper_are_those_of_the_formula():
    counted = floors.count(find_pair("V13>V8"))
    sides, widths = (32, 16, 8, 4, 4), (3, 64, 128, 256, 512, 512)
    one = [2 * 9 * a * b * side**2 for a, b, side in zip(widths, widths[1:], sides, strict=False)]
    two = [2 * 9 * b * b * side**2 for b, side in zip(widths[1:], sides, strict=True)]
    student = 3 * sum(one) - one[0]  # forward, and both gradients, but none of the images
    assert counted["GFLOP"] == pytest.approx(64 * (student + sum(one) + sum(two)) / 1e9, rel=0.01)


def test_the_page_on_speed_has_the_floors_of_today():
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    table = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in page.splitlines() if "|" in line]
    assert tuple(table[0]) == floors.HEAD
    assert [row[0] for row in table[2:]] == [pair.name for pair in floors.PAIRS]
    assert table[2:5] == floors.rows(floors.PAIRS[:3])

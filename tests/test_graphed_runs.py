"""Runs for graphs are the library's runs: without a GPU, where their steps are run plainly, they end bit for bit alike."""

import json

import pytest

from kcd_teach import training
from kcd_teach.benchmark import Store, make_plan, run_plan
from kcd_teach.benchmark.settings import find_scale
from tests.benchmarks.graphed_runs import Graphed, main
from tests.tiny import outcome, same, tiny_run


@pytest.mark.parametrize("preset", [None, "paper", "released"])
def test_a_run_ends_as_the_library_ends_it_also_when_it_was_stopped(tmp_path, monkeypatch, preset):
    plain = tiny_run(preset)
    list(plain)
    monkeypatch.setattr(training, "Distillation", Graphed)
    whole = tiny_run(preset)
    list(whole)
    first = tiny_run(preset, checkpoint=tmp_path / "run.pt")
    step = first._train_on

    def stopping(count):
        step(count)
        if first.progress.presentations == 48 + 10:
            first.stop()

    first._train_on = stopping
    with pytest.raises(KeyboardInterrupt):
        list(first)
    again = tiny_run(preset, checkpoint=tmp_path / "run.pt")
    assert again.progress.batches == 2
    list(again)
    assert isinstance(whole, Graphed)
    assert same(outcome(whole), outcome(plain))
    assert same(outcome(again), outcome(plain))


def test_a_campaign_stores_what_the_benchmark_stores(tmp_path):
    jobs, small = ["teacher", "Student:1", "KC-KD:1"], ["--epochs", "2", "--per-class", "3", "--classes", "3"]
    main([*jobs, "--pair", "resnet20>resnet8", "--scale", "small", *small, "--folder", str(tmp_path / "ours"), "--device",
          "cpu", "--side", "2", "--log", str(tmp_path / "log")])  # fmt: skip
    log = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert not [line for line in log if "failed" in line]
    scale = find_scale("small").but(epochs=2, per_class=3, classes=3)
    plan = make_plan(["resnet20>resnet8"], ["Student", "KC-KD"], [1], scale)
    run_plan(plan, tmp_path / "theirs", device="cpu", quiet=True)
    ours, theirs = (Store(tmp_path / name).records() for name in ("ours", "theirs"))
    assert ours.keys() == theirs.keys()
    for key, record in theirs.items():
        for name in ("test_accuracy", "train_loss", "active", "run"):
            assert ours[key][name] == record[name]
        assert "graphed_runs" in ours[key]["made_by"]

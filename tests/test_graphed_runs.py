"""Runs for graphs are the library's runs: without a GPU, where their steps are run plainly, they end bit for bit alike."""

import json

import pytest

from kcd_teach import training
from kcd_teach.benchmark import Prepared, Store, make_plan, open_study, run_plan
from kcd_teach.benchmark.settings import find_scale
from kcd_teach.fingerprints import code_fingerprint
from tests.benchmarks import graphed_runs
from tests.benchmarks.graphed_runs import Graphed, check_sample, main
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
    for run in (whole, again):
        ours, theirs = outcome(run), outcome(plain)
        if preset != "released":  # a checkpoint leaves out mixtures that the next epoch makes again
            assert not len(ours["images"].pop("ids"))
            del ours["images"], theirs["images"]
        assert same(ours, theirs)


@pytest.fixture
def begun(tmp_path):
    """Arguments of a campaign of two rows, a file with its plan among them; and what the benchmark makes of that plan."""
    scale = find_scale("small").but(epochs=3, per_class=3, classes=3)
    plan = make_plan(["resnet20>resnet8"], ["Student", "KC-KD"], [1], scale)
    run_plan(plan, tmp_path / "theirs", device="cpu", quiet=True)
    content = json.loads((tmp_path / "theirs" / "plan.json").read_text())
    chosen = {name: content[name] for name in ("pairs", "rows", "seeds", "scale")}
    (tmp_path / "plan.json").write_text(json.dumps(chosen))
    given = ["--plan", str(tmp_path / "plan.json"), "--folder", str(tmp_path / "ours"), "--device", "cpu",
             "--log", str(tmp_path / "log")]  # fmt: skip
    return given, Store(tmp_path / "theirs").records()


def ended_alike(folder, theirs):
    ours = Store(folder).records()
    assert ours.keys() == theirs.keys()
    for key, record in theirs.items():
        for name in ("test_accuracy", "train_loss", "active", "run"):
            assert ours[key][name] == record[name]
    return ours


def test_a_campaign_stores_what_the_benchmark_stores(tmp_path, begun):
    given, theirs = begun
    main([*given, "--side", "2"])
    log = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert not [line for line in log if "failed" in line]
    assert log[-1]["missing"] == 0
    for record in ended_alike(tmp_path / "ours", theirs).values():
        assert "graphed_runs" in record["made_by"]
        assert record["finished_by_code"] == record["config"]["code"] == code_fingerprint()


def test_a_campaign_goes_on_under_another_version_only_if_tiny_runs_end_as_before(tmp_path, begun, monkeypatch):
    given, theirs = begun
    main([*given, "--seconds", "0"])  # begun and stopped at once
    code = code_fingerprint()
    monkeypatch.setattr(graphed_runs, "code_fingerprint", lambda: "another version")
    monkeypatch.setattr(graphed_runs.runs, "code_fingerprint", lambda: "another version")
    main(given)
    for record in ended_alike(tmp_path / "ours", theirs).values():
        assert (record["config"]["code"], record["finished_by_code"]) == (code, "another version")
    path = tmp_path / "ours" / "sample.json"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(ValueError, match="a tiny run of Student ends otherwise"):
        main(given)


def test_the_stored_campaign_can_go_on_under_this_version():
    """If this fails, a change of arithmetic has ended the campaign in data/results/full: begin another folder."""
    prepared, store = open_study("full")
    check_sample(prepared, store.folder)
    assert isinstance(prepared, Prepared)
    assert prepared.code != "", "a campaign knows the version that began it"

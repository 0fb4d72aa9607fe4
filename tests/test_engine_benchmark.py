"""The benchmark of the engine measures in the precision that was asked for, and bfloat16 beside float32 where it exists."""

import json

import pytest

from kcd_teach import load_dataset
from tests.benchmarks import engine
from tests.benchmarks.epoch_profile import profiled_run

MEASUREMENTS = (
    "throughput_over_bare_step", "bfloat16_over_float32", "speedup_over_public_code", "condensed_over_plain", "linearity",
    "condensation_over_epoch", "plan_time", "peak_memory", "profile",
)  # fmt: skip


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("options", [[], ["--precision", "bfloat16"]], ids=["default", "bfloat16"])
def test_precision_is_an_option_and_bfloat16_is_timed_where_it_exists(monkeypatch, tmp_path, native, options):
    (tmp_path / "data" / "results").mkdir(parents=True)
    called = {}

    def stub(name):
        one = {"median": 1.0, "least": 1.0, "most": 1.0}
        several = name in ("speedup_over_public_code", "condensed_over_plain", "linearity")
        nothing = {} if name == "profile" else {"of it": one} if several else one
        return lambda *arguments: called.setdefault(name, arguments) and nothing

    for name in MEASUREMENTS:
        monkeypatch.setattr(engine, name, stub(name))
    monkeypatch.setattr(engine, "has_bfloat16", lambda device: native)
    monkeypatch.setattr(engine, "images_for", lambda arguments: load_dataset("fashion-mnist-mini").first(2))
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["engine", *options])
    engine.main()
    stored = json.loads((tmp_path / "data" / "results" / "engine.json").read_text())
    precision = options[-1] if options else "float32"
    assert (stored["setting"]["precision"], stored["setting"]["instructions for bfloat16"]) == (precision, native)
    compared = [name for name in stored["measured"] if "bfloat16 over float32" in name]
    assert len(compared) == (4 if native else 0)
    timed = set(MEASUREMENTS) - {"bfloat16_over_float32", "plan_time", "peak_memory"}
    assert {name for name, arguments in called.items() if precision in arguments} == timed


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_profiled_run_has_the_precision_asked_for(precision):
    run = profiled_run("bundled", load_dataset("fashion-mnist-mini").first(2), "warm store", precision)
    assert run.engine.precision == run.knowledge.engine.precision == precision

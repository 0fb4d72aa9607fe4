"""The same runs on a GPU, where there is one."""

import pytest
import torch

from kcd_teach import training
from kcd_teach.benchmark.runs import repeatably
from kcd_teach.condensation import Condenser
from kcd_teach.distillers import create_distiller, list_distillers
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import create_model
from kcd_teach.training import Recipe, distill
from tests.benchmarks.graphed_runs import Graphed
from tests.benchmarks.material import train_on
from tests.tiny import outcome, same, tiny_dataset, tiny_networks, tiny_run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("store", ["off", "memory"], ids=["asked", "remembered"])
@pytest.mark.parametrize("preset", [None, "paper", "released"])
def test_a_run_on_a_gpu_makes_the_plans_of_its_own_values_and_resumes(tmp_path, preset, store):
    def run(checkpoint=None):
        dataset = tiny_dataset().to("cuda")
        knowledge = Knowledge(tiny_networks()[1], dataset, store)
        return tiny_run(preset, knowledge, dataset=dataset, checkpoint=checkpoint)

    whole, first = run(), run(tmp_path / "run.pt")
    reports = list(whole)
    assert [report.active for report in reports] == ([48] * 4 if preset is None else [48, 48, 29, 29])
    assert next(whole.student.parameters()).device.type == "cuda"
    next(first), next(first), next(first)
    again = run(tmp_path / "run.pt")
    list(again)
    for ours, theirs in zip(again.student.state_dict().values(), whole.student.state_dict().values(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)  # sums on a GPU have no fixed order
    assert whole.condenser.active.device.type == "cpu"


PRECISIONS = pytest.mark.parametrize("precision", ["float32", "bfloat16"])
METHODS = pytest.mark.parametrize("method", list_distillers())
SETTINGS = {"crd": {"negatives": 6}, "wcord": {"negatives": 6}}


def run_of(method, precision, store="off", checkpoint=None):
    """Four epochs of a small network, condensed in the third one."""
    dataset = tiny_dataset().to("cuda")
    student, teacher = create_model("mini_resnet8", 3, 1, seed=0), tiny_networks()[1]
    knowledge = Knowledge(teacher, dataset, store, precision=precision)
    distiller = create_distiller(
        method, student.cuda(), knowledge.teacher, image_shape=(1, 8, 8), seed=0, **SETTINGS.get(method, {})
    )
    recipe = Recipe(epochs=4, batch_size=12, learning_rate=0.005, precision=precision)
    settings = {"distiller": distiller, "condenser": Condenser(48, 0.6, 2, 4), "checkpoint": checkpoint}
    return distill(student, dataset, knowledge, recipe=recipe, **settings)


@PRECISIONS
@pytest.mark.parametrize("store", ["off", "memory"])
@METHODS
def test_nothing_waits_for_the_gpu_inside_an_epoch(method, store, precision):
    run = run_of(method, precision, store)
    next(run)
    batches = list(run._shuffled(run.condenser.active, run.epoch))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            train_on(run, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@PRECISIONS
@METHODS
def test_every_method_resumes_bit_for_bit_where_it_repeats_itself(tmp_path, method, precision):
    with repeatably():
        whole, twin, first = (run_of(method, precision, checkpoint=tmp_path / name) for name in ("1", "2", "3"))
        list(whole), list(twin), next(first), next(first), next(first)
        again = run_of(method, precision, checkpoint=tmp_path / "3")
        list(again)
    if same(outcome(twin), outcome(whole)):
        assert same(outcome(again), outcome(whole))
    else:  # some sums on a GPU have no fixed order, whatever is asked for
        for ours, theirs in zip(again.student.parameters(), whole.student.parameters(), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-2)


def test_knowledge_of_another_device_is_refused():
    knowledge = Knowledge(tiny_networks()[1], tiny_dataset())
    with pytest.raises(ValueError, match=r"teacher's knowledge is on cpu, the run on cuda:0"):
        tiny_run(None, knowledge, device="cuda")


@PRECISIONS
def test_a_run_on_a_gpu_that_adds_in_one_order_resumes_bit_for_bit(tmp_path, precision):
    def run(checkpoint=None):
        return tiny_run(
            "paper", dataset=tiny_dataset().to("cuda"), checkpoint=checkpoint, recipe={"precision": precision}
        )

    with repeatably():
        whole, first = run(), run(tmp_path / "run.pt")
        list(whole), next(first), next(first), next(first)
        again = run(tmp_path / "run.pt")
        list(again)
    assert same(outcome(again), outcome(whole))


@PRECISIONS
@pytest.mark.parametrize("preset", [None, "paper", "released"])
def test_steps_replayed_as_a_graph_end_where_plain_ones_end(monkeypatch, preset, precision):
    def run():
        made = tiny_run(preset, dataset=tiny_dataset().to("cuda"), recipe={"precision": precision})
        list(made)
        return made

    with repeatably():
        plain = run()
        monkeypatch.setattr(training, "Distillation", Graphed)
        with torch.cuda.stream(torch.cuda.Stream()):
            graphed = run()
    assert graphed._replayed > 0
    assert [report.active for report in graphed.reports] == [report.active for report in plain.reports]
    assert same(outcome(graphed)["student"], outcome(plain)["student"])

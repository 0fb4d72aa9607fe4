import warnings

import pytest
import torch
from torch import nn

from kcd_teach.benchmark.settings import SCALES
from kcd_teach.distillers import create_distiller, list_distillers
from kcd_teach.knowledge import Knowledge
from kcd_teach.models import create_model
from kcd_teach.recipe import Engine, Recipe
from kcd_teach.training import distill
from tests.tiny import tiny_dataset, tiny_networks, tiny_run

EMULATED = "has no instructions for bfloat16 and emulates it, which is slower than float32"


def test_float32_is_the_default_everywhere():
    dataset, (_, teacher) = tiny_dataset(), tiny_networks()
    assert Engine("cpu").precision == Recipe().precision == Knowledge(teacher, dataset).engine.precision == "float32"
    assert {scale.precision for scale in SCALES.values()} == {"float32"}


@pytest.mark.parametrize(
    ("capabilities", "limit", "native"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "", True),
        ({"avx512_bf16": False, "amx_bf16": True}, "DEFAULT", True),
        ({"avx512_bf16": False, "amx_bf16": False}, "", False),
        ({"avx512_bf16": True, "amx_bf16": True}, "avx2", False),
        ({"avx512_bf16": True, "amx_bf16": True}, "AVX512_CORE", False),
        ({"avx512_bf16": True, "amx_bf16": True}, "AVX512_CORE_BF16", True),
        ({}, "", True),  # a processor that torch does not describe
    ],
)
def test_bfloat16_is_warned_about_where_it_is_emulated(monkeypatch, capabilities, limit, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Engine("cpu", "float32")
        Engine("cpu", "bfloat16")
    assert [str(one.message) for one in said] == ([] if native else [f"{Engine('cpu').name} {EMULATED}"])


def test_networks_are_laid_out_channels_last_and_say_the_same():
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        before = network(images)
        prepared = Engine("cpu", "float32").prepare(network)
        assert prepared[0].weight.is_contiguous(memory_format=torch.channels_last)
        assert torch.allclose(prepared(images), before, atol=1e-5)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"precision='float16' is unknown; did you mean 'bfloat16'\?"):
        Recipe(precision="float16")


@pytest.mark.parametrize("preset", [None, "paper"])
def test_bfloat16_learns_and_keeps_weights_and_values_in_full_precision(preset):
    run = tiny_run(preset, recipe={"precision": "bfloat16"})
    reports = list(run)
    exact = list(tiny_run(preset))
    assert {value.dtype for value in run.student.state_dict().values()} == {torch.float32, torch.int64}
    assert [report.active for report in reports] == [report.active for report in exact]
    for ours, theirs in zip(reports, exact, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=0.1)
    assert run.config["recipe"]["precision"] == "bfloat16"


def test_a_checkpoint_of_another_precision_is_refused(tmp_path):
    next(tiny_run(recipe={"precision": "bfloat16"}, checkpoint=tmp_path / "run.pt"))
    with pytest.raises(ValueError, match=r"its recipe is .*'bfloat16'.*, here it is .*'float32'"):
        tiny_run(checkpoint=tmp_path / "run.pt")


def test_an_engine_says_what_it_is():
    assert repr(Engine("cpu", "float32")) == repr(Engine(torch.device("cpu"), "float32")) == "Engine(cpu, float32)"


@pytest.mark.parametrize("method", list_distillers())
def test_every_method_runs_in_bfloat16_and_stays_close_to_float32(method):
    losses = {}
    for precision in ("bfloat16", "float32"):
        dataset = tiny_dataset()
        teacher = tiny_networks()[1]
        student = create_model("mini_resnet8", 3, 1, seed=0)
        settings = {"negatives": 8} if method in ("crd", "wcord") else {}
        distiller = create_distiller(method, student, teacher, image_shape=(1, 8, 8), seed=0, **settings)
        recipe = Recipe(epochs=1, batch_size=12, precision=precision, learning_rate=0.001)
        losses[precision] = next(distill(student, dataset, teacher, recipe=recipe, distiller=distiller)).train_loss
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)


def test_a_place_says_what_changes_the_last_bit(monkeypatch):
    before = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert Engine("cpu").place == f"{Engine('cpu').name}, {count} thread{'s' if count > 1 else ''}"
    finally:
        torch.set_num_threads(before)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    with torch.backends.cudnn.flags(True, benchmark=False, deterministic=True, allow_tf32=True):
        assert Engine("cuda").place == "a card, convolutions in TF32"
    with torch.backends.cudnn.flags(True, benchmark=True, deterministic=False, allow_tf32=False):
        assert Engine("cuda").place == "a card, convolutions in float32, algorithms timed, in any order"

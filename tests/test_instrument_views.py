"""The instruments that show recorded numbers: driven from Python, and their form for pages without a kernel."""

import base64
import gzip
import json
import re

import numpy as np
import pytest
import torch

from kcd_teach.distillers import kd_loss
from kcd_teach.widgets import TemperatureBench
from kcd_teach.widgets.instrument import Instrument


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(n: int, channels: int = 1, side: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.randint(0, 256, (n, channels, side, side), generator=generator).to(torch.uint8)


def unpacked(array: dict) -> np.ndarray:
    """An array as the browser gets it, from a running notebook or from a page."""
    raw = array["bytes"] if isinstance(array["bytes"], bytes) else base64.b64decode(array["bytes"])
    return np.frombuffer(raw, array["type"]).reshape(array["shape"])


def stored(instrument: Instrument) -> dict:
    """What a page without a kernel holds."""
    (content,) = re.findall(r'standalone\("[^"]+", .*, "([^"]+)"\);', instrument.standalone())
    return json.loads(gzip.decompress(base64.b64decode(content)))


def bench(channels: int = 1, side: int = 8, classes: int = 4) -> TemperatureBench:
    labels = torch.tensor([0, 1, 2, 0, 1])
    names = [f"class {c}" for c in range(classes)]
    return TemperatureBench(
        images(5, channels, side), numbers(1, 5, classes), numbers(2, 5, classes), labels, names, temperature=2
    )


def test_gradient_of_the_bench_is_that_of_the_loss():
    shown, student = bench(), numbers(2, 5, 4)
    for temperature in shown.TEMPERATURES:
        z = student.clone().requires_grad_()
        sum(kd_loss(z[i : i + 1], numbers(1, 5, 4)[i : i + 1], temperature) for i in range(5)).backward()
        assert torch.allclose(shown.gradient(temperature), z.grad, atol=1e-12)
        shown.set(picture=3, temperature=temperature)
        assert np.allclose(shown.answer["gradient"], z.grad[3], atol=1e-5)


def test_bench_softens_both_networks():
    shown = bench()
    shown.set(picture=4, temperature=7)
    for name, seed in (("teacher", 1), ("student", 2)):
        p = (numbers(seed, 5, 4)[4] / 7).softmax(dim=0)
        assert np.allclose(shown.answer[name], p, atol=1e-5)
        assert shown.answer["entropy"][name] == pytest.approx(float(-(p * p.log()).sum()), abs=1e-4)
    assert "class 1, T = 7" in shown.text
    shown.reset()
    assert "class 0, T = 2" in shown.text
    with pytest.raises(ValueError, match="'temperature' must be one of"):
        shown.set(temperature=21)


def test_bench_says_nothing_of_a_gradient_that_is_not_there():
    same = numbers(1, 2, 3)
    shown = TemperatureBench(images(2), same, same, torch.tensor([0, 2]), ["a", "b", "c"])
    assert shown.text.endswith("the gradient has length 0.00.")


def test_bench_takes_only_what_belongs_together():
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"student_logits must be \[images, classes\] = \[2, 3\], got \[2, 4\]"):
        TemperatureBench(images(2), numbers(1, 2, 3), numbers(1, 2, 4), labels, ["a", "b", "c"])
    with pytest.raises(ValueError, match="2 images and 1 labels"):
        TemperatureBench(images(2), numbers(1, 2, 3), numbers(1, 2, 3), labels[:1], ["a", "b", "c"])


SHOWN = {"bench": bench, "bench of 3 classes in colour": lambda: bench(3, 32, 3)}


@pytest.mark.parametrize("name", SHOWN)
def test_stored_form_is_a_picture_and_one_line_and_all_answers(name):
    shown = SHOWN[name]()
    bundle, _ = shown._repr_mimebundle_()
    assert bundle["text/plain"] == f"{type(shown).__name__}: {shown.text}"
    assert '<img alt="' in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    page = stored(shown)
    assert "answers" not in page["data"]
    assert page["sprites"]["ids"]
    # In a running notebook and on a page the browser holds the same answers, those that Python gives.
    assert page["answers"] == json.loads(json.dumps(shown.data["answers"]))
    for control in page["data"]["controls"]:
        value = control["options"][-1]
        shown.set(**{control["name"]: value})
        key = json.dumps(list(shown.setting.values()), separators=(",", ":"))
        assert shown.answer == shown.data["answers"][key]
        assert shown.text

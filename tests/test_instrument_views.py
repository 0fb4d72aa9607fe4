"""The instruments that show recorded numbers: driven from Python, and their form for pages without a kernel."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from kcd_teach import Condenser
from kcd_teach.condensation import DROPPED
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import kd_loss
from kcd_teach.lessons.measurements import Trace
from kcd_teach.widgets import KnowledgeMap, LoopPlayer, TemperatureBench
from kcd_teach.widgets.instrument import Instrument
from kcd_teach.widgets.knowledge_map import ways_of_learning
from tests.pages import content_of


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
    return content_of(instrument.standalone())["state"]


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


def dataset(n: int = 90, channels: int = 1, side: int = 8, classes: int = 3) -> Dataset:
    labels = torch.arange(n) % classes
    few = images(6, channels, side)
    names = tuple(f"class {c}" for c in range(classes))
    return Dataset(
        "made up", images(n, channels, side), labels, few, labels[:6], names, (0.5,) * channels, (0.5,) * channels, 0
    )


def entropies(epochs: int, n: int) -> np.ndarray:
    """Of a student that becomes certain, of some samples sooner."""
    random = np.random.default_rng(0).random((epochs, n)) * np.linspace(0.2, 1, n)
    return (random / np.arange(1, epochs + 1)[:, None]).astype(np.float32)


def player(n: int = 90, channels: int = 1, side: int = 8, epochs: int = 12, stages: int = 6) -> LoopPlayer:
    return LoopPlayer(dataset(n, channels, side), entropies(epochs, n), ratio=0.5, stages=stages)


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_player_shows_what_a_condenser_does(preset):
    shown, recorded = player(), torch.from_numpy(entropies(12, 90))
    condenser = Condenser(90, ratio=0.5, stages=6, epochs=12, preset=preset)
    path = shown.data["presets"][preset]
    role, height = unpacked(path["role"]), unpacked(path["height"])
    event, out = None, torch.zeros(90, dtype=torch.bool)
    for epoch in range(1, 13):
        shown.set(epoch=epoch)
        numbers = shown.answer["numbers"][preset]
        active, stage = condenser.active, condenser.stage
        assert numbers["shown"] == len(active)
        assert numbers["entropy"] == pytest.approx(float(recorded[epoch - 1, active].mean()), abs=1e-4)
        condenser.record(active, recorded[epoch - 1, active])
        score = condenser.score[shown._dots]
        condenser.end_epoch()
        assert np.allclose(height[epoch - 1] / 65535, shown.height(score.numpy()), atol=1e-4)
        assert (np.diff(height[epoch - 1][torch.argsort(score).numpy()].astype(int)) >= 0).all()
        assert np.array_equal(role[epoch - 1], condenser.roles[shown._dots])
        if condenser.stage > stage:
            now = condenser.roles == DROPPED
            event = (epoch, int((now & ~out).sum()), int((out & ~now).sum()), len(condenser.mixture))
            out = now
            assert f"event: {event[1]} leave, {event[2]} return, {event[3]} are blended" in shown.text
        assert (numbers["event"] is None) == (event is None)
        if event:
            assert tuple(numbers["event"][name] for name in ("epoch", "left", "returned", "blended")) == event


def test_player_moves_places_only_at_events():
    place = unpacked(player().data["presets"]["paper"]["place"])
    moved = [epoch for epoch in range(2, 13) if (place[epoch - 1] != place[epoch - 2]).any()]
    assert moved == [2, 4, 6, 8, 10]


def test_player_wants_every_sample_recorded():
    holes = entropies(4, 90)
    holes[2, 5] = np.nan
    with pytest.raises(ValueError, match="an entropy is missing"):
        LoopPlayer(dataset(), holes, stages=2)
    with pytest.raises(ValueError, match="recording holds 80 samples"):
        LoopPlayer(dataset(), entropies(4, 80), stages=2)
    with pytest.raises(ValueError, match="must divide epochs=4"):
        LoopPlayer(dataset(), entropies(4, 90), stages=3)


def trace(epochs: int = 6, n: int = 90, classes: int = 3) -> Trace:
    said = np.random.default_rng(1).integers(0, classes, (epochs, n)).astype(np.uint8)
    said[-1, ::2] = (np.arange(n) % classes)[::2]
    return Trace(entropies(epochs, n), said, (np.arange(n) % classes).astype(np.uint8))


def a_map(n: int = 90, channels: int = 1, side: int = 8, epochs: int = 6, classes: int = 3) -> KnowledgeMap:
    p = numbers(3, n, classes).softmax(dim=1)
    return KnowledgeMap(
        dataset(n, channels, side, classes), np.linspace(0.2, 1.9, n), trace(epochs, n, classes), p, on_page=30
    )


def test_map_places_samples_by_amount_and_value():
    shown, recorded = a_map(), trace()
    data, top = shown.data, shown.data["top"]
    assert np.allclose(unpacked(data["across"]) / 65535, np.linspace(0, 1, 90), atol=1e-4)
    assert np.allclose(unpacked(data["now"]) / 65535 * top, recorded.entropy, atol=1e-4)
    means = [recorded.entropy[: epoch + 1].mean(axis=0) for epoch in range(6)]
    assert np.allclose(unpacked(data["mean"]) / 65535 * top, means, atol=1e-4)
    assert np.array_equal(unpacked(data["said"]), recorded.said)
    p = numbers(3, 90, 3).softmax(dim=1)
    assert np.array_equal(unpacked(data["best"])[:, 0], p.argmax(dim=1))
    assert np.allclose(unpacked(data["share"])[:, 0] / 65535, p.amax(dim=1), atol=1e-4)
    shown.set(epoch=2, value="this epoch")
    assert f"have a mean of {recorded.entropy[1].mean():.2f} nats" in shown.text
    assert f"right on {100 * recorded.correct[1].mean():.0f} % of them" in shown.text


def test_map_colours_by_what_a_condenser_and_the_run_did():
    shown, recorded = a_map(), trace()
    condenser = Condenser(90, ratio=0.7, stages=6, epochs=6)
    for row in torch.from_numpy(recorded.entropy):
        condenser.record(condenser.active, row[condenser.active])
        condenser.end_epoch()
    assert np.array_equal(unpacked(shown.data["kind1"]), condenser.roles)
    groups = ways_of_learning(recorded.correct)
    assert np.array_equal(sum(groups.values()), np.ones(90))
    assert np.array_equal(np.stack(list(groups.values())).argmax(axis=0), unpacked(shown.data["kind2"]))
    assert np.array_equal(groups["never learned"], ~recorded.correct.any(axis=0))
    assert np.array_equal(groups["learned early"], recorded.correct[3:].all(axis=0))
    shown.set(colour="how it was learned")
    assert f"never learned {groups['never learned'].sum()}." in shown.text


def test_map_of_a_page_holds_equally_many_samples_of_every_class():
    shown = a_map()
    page = stored(shown)
    ids = unpacked(page["data"]["ids"]).astype(int)
    assert np.bincount(ids % 3).tolist() == [10, 10, 10]
    assert page["sprites"]["ids"] == ids.tolist()
    assert np.array_equal(unpacked(page["data"]["said"]), trace().said[:, ids])
    assert np.abs(unpacked(page["data"]["now"]) / 65535 - unpacked(shown.data["now"])[:, ids] / 65535).max() < 1 / 500
    assert "30 of the 90 samples" in page["data"]["note"]
    assert not shown.data["note"]


def test_map_sends_the_pictures_that_the_browser_asks_for(monkeypatch):
    shown, sent = a_map(), []
    monkeypatch.setattr(shown, "send", lambda content, buffers: sent.append((content, buffers)))
    shown._handle_custom_msg({"pictures": [80, 5, 999]}, [])
    ((content, (file,)),) = sent
    assert content["ids"] == [80, 5]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(file)))[:8, 8:16], images(90)[5, 0])


def test_map_keeps_a_sample_that_was_not_shown_where_it_was():
    recorded = trace()
    recorded.entropy[3, 7] = np.nan
    shown = KnowledgeMap(dataset(), np.linspace(0, 1, 90), recorded, numbers(3, 90, 3).softmax(dim=1))
    now = unpacked(shown.data["now"])
    assert now[3, 7] == now[2, 7]


def test_map_takes_only_what_belongs_together():
    p = numbers(3, 90, 3).softmax(dim=1)
    with pytest.raises(ValueError, match="amount holds 89 samples, and the recording 90"):
        KnowledgeMap(dataset(), np.zeros(89), trace(), p)
    with pytest.raises(ValueError, match="was not recorded"):
        KnowledgeMap(dataset(), np.zeros(90), Trace(entropies(6, 90)), p)


SHOWN = {
    "bench": bench,
    "bench of 3 classes in colour": lambda: bench(3, 32, 3),
    "player": player,
    "player in colour": lambda: player(60, 3, 32),
    "player of one epoch": lambda: player(epochs=1, stages=1),
    "map": a_map,
    "map in colour": lambda: a_map(60, 3, 32),
    "map of one epoch and two classes": lambda: a_map(epochs=1, classes=2),
}


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

"""The frame of the instruments, and the condensation explorer: what the browser is given to draw."""

import html
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from kcd_teach.condensation import DROPPED, MIXED
from kcd_teach.widgets import CondensationExplorer, TrainingView
from kcd_teach.widgets.condensation import FEWEST, Source
from kcd_teach.widgets.instrument import packed, sprites
from tests.pages import content_of
from tests.tiny import tiny_dataset, tiny_run

EPOCHS = 24
MEASURED = {
    "KC-KD": {0.85: dict.fromkeys(range(FEWEST), 80.0) | {0: 81.0}, 0.65: {0: 70.0, 1: 71.0}},
    "random subset": {0.85: {seed: 78.0 + seed for seed in range(FEWEST)}},
}


def entropies(samples: int, seed: int = 0) -> np.ndarray:
    """Random doubts that fall from epoch to epoch, float32 [E, N]."""
    start = np.random.default_rng(seed).random((EPOCHS, samples), dtype=np.float32)
    return start * np.linspace(2, 0.2, EPOCHS, dtype=np.float32)[:, None]


def an_explorer(num_train: int = 120) -> CondensationExplorer:
    few, more = tiny_dataset(num_train // 2), tiny_dataset(num_train)
    return CondensationExplorer(
        {"few": Source(few, entropies(num_train // 2, 1), MEASURED), "more": Source(more, entropies(num_train), {})}
    )


MOVES = {"images": "more", "preset": "released", "ratio": 35, "stages": 3, "exponent": 1.0, "mixing": 80}


@pytest.mark.parametrize("control", MOVES)
def test_every_control_changes_the_picture_and_reset_brings_it_back(control):
    explorer = an_explorer()
    before = explorer.answer
    explorer.set(**{control: MOVES[control]})
    assert explorer.answer["setting"][control] == MOVES[control]
    changed = {name: value for name, value in explorer.answer.items() if name not in ("setting", "sprites")}
    assert changed != {name: before[name] for name in changed}
    explorer.reset()
    assert explorer.answer == before


def plan_by_hand(given: np.ndarray, ratio: float, alpha: float) -> list[tuple[list[int], list[int]]]:
    """Ranking and kept ids of each of five events, from a loop over samples that knows nothing of the condenser."""
    epochs, samples = given.shape
    active, seen = set(range(samples)), {i: [] for i in range(samples)}
    events = []
    for epoch in range(epochs):
        for i in active:
            seen[i].append(float(given[epoch, i]))
        if (epoch + 1) % 4 == 0 and epoch + 1 < epochs:
            stage = (epoch + 1) // 4
            score = {i: sum(h) / len(h) * len(h) ** alpha for i, h in seen.items()}
            ranking = sorted(score, key=lambda i: (-score[i], i))
            count = int(samples * (1 - (1 - ratio) * stage / 5) + 0.5)
            active = set(ranking[:count])
            events.append((ranking, ranking[:count]))
    return events


@pytest.mark.parametrize(("ratio", "exponent"), [(70, 0.03), (30, 0.0), (45, 1.0)])
def test_what_is_drawn_is_what_a_loop_by_hand_decides(ratio, exponent):
    explorer = an_explorer()
    explorer.set(ratio=ratio, exponent=exponent)
    labels, given = tiny_dataset(60).train_labels, entropies(60, 1)
    by_hand = plan_by_hand(given, ratio / 100, exponent)
    out: set[int] = set()
    for (ranking, kept), drawn in zip(by_hand, explorer.answer["events"], strict=True):
        cut = len(kept)
        assert drawn["above"] == ranking[max(cut - explorer.TILES, 0) : cut]
        assert drawn["below"] == ranking[cut : cut + explorer.TILES]
        assert drawn["kept"] + drawn["mixed"] == pytest.approx(100 * cut / 60)
        assert drawn["returned"] == len(out & set(kept))
        out = set(ranking[cut:])
        for c in range(3):
            of_class = [i for i in kept if labels[i] == c]
            assert drawn["classes"][0][c] + drawn["classes"][1][c] == pytest.approx(100 * len(of_class) / 20, abs=0.11)
    assert explorer.answer["counts"] == [60, *(len(kept) for _, kept in by_hand)]


def test_pairs_are_those_that_the_condenser_blends():
    explorer = an_explorer()
    _, events = explorer.replayed(explorer.setting)
    mixture, shown = events[-1].mixture, explorer.answer["events"][-1]["pairs"]
    blended = dict(zip(mixture.boundary.tolist(), mixture.partners.tolist(), strict=True))
    assert len(shown) == min(explorer.PAIRS, len(mixture))
    assert all(blended[one] == partner for one, partner, _ in shown)
    assert shown[-1][2] == pytest.approx(0.3, abs=1e-4)
    assert all(events[-1].roles[pair[0]] == MIXED and events[-1].roles[pair[1]] == DROPPED for pair in shown)


def test_only_what_has_enough_seeds_is_shown_as_measured():
    measured = an_explorer().data["measured"]
    assert measured["more"] == {}
    assert [row[0] for row in measured["few"]["KC-KD"]] == [85.0]
    ((cost, mean, half, seeds),) = measured["few"]["random subset"]
    assert (cost, mean, seeds) == (85.0, 80.0, FEWEST)
    assert half == pytest.approx(2.776445 * np.std([78, 79, 80, 81, 82], ddof=1) / 5**0.5, abs=1e-5)


@pytest.mark.parametrize("ratio", [5, 50, 100])
@pytest.mark.parametrize("stages", [1, 2, 12])
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_the_explorer_survives_every_corner(ratio, stages, preset):
    explorer = an_explorer()
    explorer.set(ratio=ratio, stages=stages, preset=preset, mixing=100)
    assert explorer.text.startswith(f"{ratio} % in {stages} stage")
    assert len(explorer.answer["events"]) == stages - 1
    explorer.still()


def test_a_control_that_is_not_there_or_a_value_that_it_does_not_offer_is_refused():
    explorer = an_explorer()
    with pytest.raises(ValueError, match="there is no control 'ration'; known: images, preset, ratio"):
        explorer.set(ration=30)
    with pytest.raises(ValueError, match=r"value of 'stages' must be one of \[1, 2, 3, 4, 6, 8, 12\], got 5"):
        explorer.set(stages=5)
    assert explorer.setting["stages"] == 6


def test_an_error_in_a_callback_is_shown_and_raised():
    explorer = an_explorer()
    explorer._sources = {}
    with pytest.raises(KeyError):
        explorer.set(ratio=30)
    assert explorer.text.startswith("KeyError")


def test_a_page_without_a_kernel_holds_the_answers_that_the_kernel_gives():
    explorer = an_explorer()
    bundle, _ = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == f"CondensationExplorer: {explorer.text}"
    assert "application/vnd.jupyter.widget-view+json" in bundle
    page = bundle["text/html"]
    assert f'<img alt="{html.escape(explorer.alt)}"' in page
    content = content_of(page)["state"]
    assert len(content["answers"]) == 2 * len(explorer.RATIOS)
    for ratio, preset in ((70, "paper"), (10, "released")):
        key = json.dumps(["few", preset, ratio, 6, 0.03, 30], separators=(",", ":"))
        explorer.set(ratio=ratio, preset=preset)
        given = {name: value for name, value in explorer.answer.items() if name != "sprites"}
        assert content["answers"][key] == given
    needed = {i for answer in content["answers"].values() for e in answer["events"] for i in e["above"] + e["below"]}
    assert needed <= set(content["sprites"]["ids"])
    assert bundle["text/html"] == an_explorer().standalone(), "a page is the same whenever it is made"


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32)])
def test_a_sheet_of_pictures_holds_each_image_in_its_place(channels, side):
    images = torch.randint(0, 256, (70, channels, side, side + 2), generator=torch.Generator().manual_seed(0))
    sheet = sprites(images.to(torch.uint8), [69, 3, 3, *range(40)])
    assert len(sheet["ids"]) == 41
    picture = np.asarray(Image.open(io.BytesIO(sheet["file"])).convert("RGB"))
    for at, i in enumerate(sheet["ids"]):
        top, left = at // sheet["columns"] * side, at % sheet["columns"] * (side + 2)
        tile = picture[top : top + side, left : left + side + 2].transpose(2, 0, 1)
        assert np.array_equal(tile, images[i].expand(3, -1, -1).numpy())


def test_an_array_is_packed_with_its_type_and_shape_and_others_are_refused():
    array = np.arange(6, dtype=np.uint16).reshape(2, 3)
    assert packed(array.T) == {"type": "uint16", "shape": [3, 2], "bytes": array.T.tobytes()}
    with pytest.raises(TypeError, match="uint8, uint16 or float32, got float64"):
        packed(np.zeros(3))


def test_the_view_of_training_grows_with_the_run_and_goes_on_after_an_interrupt():
    view, run = TrainingView(), tiny_run()
    expected = [100 * report.test_accuracy for report in tiny_run()]
    assert view.text == "not started"
    watched = view.watch(run, "KC-KD")
    next(watched)
    assert view.text.startswith("KC-KD: epoch 1 of 4, ")
    with pytest.raises(KeyboardInterrupt):
        watched.throw(KeyboardInterrupt())
    assert view.text == "KC-KD: stopped in epoch 2; run the cell again, and it goes on from there."
    assert len(list(view.watch(run, "KC-KD"))) == 3
    (row,) = view.answer["rows"]
    assert (row["name"], row["role"], view.answer["epochs"]) == ("KC-KD", "kept", 4)
    assert row["done"] == [pytest.approx(expected, abs=0.01)]
    assert view.text == f"KC-KD: epoch 4 of 4, test accuracy {expected[-1]:.1f} %."
    assert content_of(view.standalone())["state"]["answers"]["[]"] == {
        n: v for n, v in view.answer.items() if n != "sprites"
    }

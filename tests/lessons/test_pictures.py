"""The pictures of the lessons: an image, its alternative text, and a reading that follows the data."""

import inspect
from typing import get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from kcd_teach.datasets import load_dataset
from kcd_teach.figures import Picture
from kcd_teach.lessons import (
    any_distiller,
    em_feedback,
    knowledge_amount,
    learning_value,
    plain_kd,
    speed,
    summary_condensation,
    tour,
)
from kcd_teach.models import load_teacher
from tests.test_figures import IMAGES, TABLE, VALUES, look_at

STAGES = np.array([[0, 0, 0, 0], [0, 1, 2, 0], [0, 0, 1, 2]], dtype=np.int8)

ZOO = {
    "A": (TABLE["one"], {0: 81.0, 1: 82.1, 2: 82.9}),
    "B": (TABLE["one"], {0: 79.0, 1: 83.0, 2: 82.0}),
}

PARTS = ("augment", "teacher", "student forward", "loss and backward", "optimiser", "bookkeeping")


def of_setting(*milliseconds: float) -> dict:
    return {"milliseconds per image": {p: {"median": ms} for p, ms in zip(PARTS, milliseconds, strict=True)}}


def spread(median: float) -> dict[str, float]:
    return {"median": median, "least": median - 0.1, "most": median + 0.1}


PROFILE = {"R56>R20, store off": of_setting(1, 50, 20, 27, 1, 1), "R56>R20, warm store": of_setting(1, 0, 20, 27, 1, 1)}

SPEED = {
    "R56>R20: throughput of an epoch over bare steps": spread(0.97),
    "R56>R20: images per second, cold store over torchdistill": spread(2.5),
    "R56>R20: images per second, warm store over torchdistill": spread(4.5),
    "bundled: time of KC-KD 70% over KD, store off": spread(0.86),
    "bundled: time of KC-KD 70% over KD, warm store": spread(0.93),
    "something else": spread(7.0),
}


def own_picture(path=None) -> Picture:
    dataset = load_dataset("fashion-mnist-mini")
    return plain_kd.own_picture(path, load_teacher(dataset), dataset)


PICTURES = {
    "stairs": lambda: tour.stairs([10, 10, 8, 8, 6, 6], "title"),
    "own_picture": own_picture,
    "resemblance": lambda: plain_kd.resemblance(np.array([[0.9, 0.1], [0.3, 0.7]]), ["a", "b"], "title"),
    "gradient_sizes": lambda: plain_kd.gradient_sizes(
        [1, 2, 5], {"with": [1, 0.9, 0.8], "without": [1, 0.2, 0.03]}, "title"
    ),
    "per_class": lambda: knowledge_amount.per_class(VALUES, np.arange(300) % 2, ["a", "b"], "value (nats)", "title"),
    "lower_bound": lambda: em_feedback.lower_bound(
        np.linspace(0.01, 0.99, 99), -2 - (np.linspace(0.01, 0.99, 99) - 0.7) ** 2, -2.0, 0.7, "title"
    ),
    "moving_cut": lambda: em_feedback.moving_cut(
        {"one": (VALUES[:8].reshape(2, 4), STAGES), "two": (VALUES[8:16].reshape(2, 4), STAGES)}, "title"
    ),
    "accuracy_by_condition": lambda: plain_kd.accuracy_by_condition(TABLE, "two", "title"),
    "soft_labels": lambda: plain_kd.soft_labels(IMAGES[0], ["a", "b"], 0, {1.0: [0.9, 0.1], 4.0: [0.6, 0.4]}, "title"),
    "mixtures": lambda: summary_condensation.mixtures(IMAGES[:2], IMAGES[2:4], IMAGES[4:6], [0.1, 0.3], "title"),
    "ordered_curves": lambda: knowledge_amount.ordered_curves({"a": VALUES}, "title"),
    "ordered_curves of two": lambda: knowledge_amount.ordered_curves({"a": VALUES, "b": VALUES**2}, "title"),
    "trajectories": lambda: learning_value.trajectories({"a": VALUES[:20].reshape(5, 4)}, 1.0, "title"),
    "trajectories of two": lambda: learning_value.trajectories(
        {"a": VALUES[:20].reshape(5, 4), "b": VALUES[20:40].reshape(5, 4)}, 1.0, "title", bands=False
    ),
    "shares": lambda: learning_value.shares({"a": 70.0, "b": 30.0}, "title"),
    "ranking": lambda: summary_condensation.ranking(VALUES, (VALUES < 0.5).astype(np.int8) * 2, "title"),
    "schedule": lambda: summary_condensation.schedule([10, 8, 6], 0.8),
    "kept_through_stages": lambda: em_feedback.kept_through_stages(STAGES, "title"),
    "tap_map": lambda: any_distiller.tap_map(
        IMAGES[0],
        {side: [IMAGES[0, 0], IMAGES[1, 0], VALUES[:6], VALUES[:3]] for side in ("teacher", "student")},
        {side: ["1 × 8 × 8", "1 × 8 × 8", "6", "3"] for side in ("teacher", "student")},
        {"one": {"A": (["logits"], False)}, "self-made": {"B": (["f0", "f1"], False), "C": (["f1", "pooled"], True)}},
        "title",
    ),
    "predictions_beside": lambda: any_distiller.predictions_beside(
        IMAGES[0], ["a", "b"], 0, {"teacher": VALUES[:2], "student": VALUES[2:4]}, "title"
    ),
    "attention_maps": lambda: any_distiller.attention_maps(
        IMAGES[:2], {"teacher": [IMAGES[:2, 0]] * 2, "student": [IMAGES[2:4, 0]] * 2}, "they differ", "title"
    ),
    "relations": lambda: any_distiller.relations(
        {"A": {"teacher": np.eye(4), "student": np.ones((4, 4)) / 4}}, ["a", "b"], "one is sharper", "title"
    ),
    "contrast_scores": lambda: any_distiller.contrast_scores(
        {"before": (VALUES[:9], VALUES.reshape(-1, 6)[:9]), "after": (VALUES[:9] + 1, VALUES.reshape(-1, 6)[:9])},
        "title",
    ),
    "rotated_views": lambda: any_distiller.rotated_views(
        np.resize(IMAGES, (6, 4, *IMAGES.shape[1:])), VALUES[:108].reshape(18, 6), "title"
    ),
    "method_zoo": lambda: any_distiller.method_zoo(ZOO, {"first": ["A"], "second": ["B"]}, 0.85, "title", "* a note"),
    "epoch_profile": lambda: speed.epoch_profile(PROFILE, "title"),
    "precision_ratios": lambda: speed.precision_ratios({"small": 0.9, "large": 0.4}, True, "title"),
    "precision_ratios where it is emulated": lambda: speed.precision_ratios({"small": 12.5}, False, "title"),
    "speed_ratios": lambda: speed.speed_ratios(SPEED, 5, "title"),
    "all_views": lambda: speed.all_views(np.resize(IMAGES, (3, 3, 2, 8, 8)), "title"),
    "known_answers": lambda: speed.known_answers({"one": [0.0, 0.5], "two": [0.75]}, 2, 4, "title"),
    "asked_in_stages": lambda: speed.asked_in_stages([10, 8, 6], [0, 2, 2], 10, "title"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture_has_image_alternative_text_and_reading(name, tmp_path):
    look_at(PICTURES[name](), tmp_path)


def test_every_picture_of_a_lesson_is_tried():
    lessons = (
        any_distiller,
        em_feedback,
        knowledge_amount,
        learning_value,
        plain_kd,
        speed,
        summary_condensation,
        tour,
    )
    drawn = {name for lesson in lessons for name, thing in vars(lesson).items() if returns_a_picture(lesson, thing)}
    assert drawn <= PICTURES.keys()


def returns_a_picture(lesson, thing) -> bool:
    return (
        inspect.isfunction(thing) and thing.__module__ == lesson.__name__ and get_type_hints(thing)["return"] is Picture
    )


def test_the_zoo_counts_what_is_clear_and_what_chance_would_give():
    picture = PICTURES["method_zoo"]()
    assert picture.reading == (
        "A is ahead when condensed; for 1 of 2 methods these runs cannot tell the condensed version from the plain one."
    )
    assert "points: A (+1.00 ± 0.25); 1 of 2." in picture.numbers
    assert "Without any true difference it would be 0.10 on average, and 10 % of such tables" in picture.numbers
    assert "The mean of all differs by +0.67 ± 1.98." in picture.numbers
    assert "A condensed run shows 85 % of the samples." in picture.numbers


def test_the_pooled_score_of_a_contrast_is_a_share_of_pairs_won():
    own, others = np.array([0.5, 0.9]), np.array([[0.1, 0.6], [0.2, 0.3]])
    picture = any_distiller.contrast_scores({"now": (own, others)}, "title")
    assert picture.reading.endswith("Now it beats 75 %.")


def test_stairs_say_what_is_shown():
    assert "shows 60 % of the samples, but the whole run costs 80 %" in PICTURES["stairs"]().reading


def test_softened_shares_are_those_of_the_first_and_second_thought():
    softened = {1.0: [0.7, 0.1, 0.2], 8.0: [0.4, 0.3, 0.3]}
    picture = plain_kd.soft_labels(IMAGES[0], ["a", "b", "c"], 0, softened, "title")
    assert picture.reading.startswith("At T = 1 the teacher gives 70 % to a, and at T = 8 only 40 %")
    assert picture.numbers == "T = 1: a 70 %, c 20 %; T = 8: a 40 %, c 30 %."


@pytest.mark.parametrize(("ground", "ink"), [("white", "navy"), ("black", "silver"), ((0, 0, 0, 0), "maroon")])
def test_the_teacher_knows_a_drawn_pair_of_trousers(ground, ink, tmp_path):
    page = Image.new("RGBA", (300, 200), ground)
    outline = [(110, 20), (190, 20), (200, 180), (160, 180), (150, 70), (140, 180), (100, 180)]
    ImageDraw.Draw(page).polygon(outline, fill=ink)
    page.save(path := tmp_path / "mine.png")
    image = plain_kd.read_picture(path)
    assert image.shape == (1, 28, 28)
    assert image.dtype == torch.uint8
    assert image[0, 0].max() > 200  # from edge to edge, bright on black
    assert image[0, :, 0].max() < 64
    assert own_picture(path).reading.startswith("The teacher takes it for Trouser,")


def test_an_empty_page_is_still_an_image(tmp_path):
    Image.new("L", (50, 40), 255).save(path := tmp_path / "empty.png")
    assert plain_kd.read_picture(path).tolist() == np.zeros((1, 28, 28), dtype=int).tolist()


def test_the_profile_says_what_is_saved():
    picture = PICTURES["epoch_profile"]()
    assert "takes 50 % of an epoch; where its answers are looked up, at most 0.0 % is left" in picture.reading
    reading = picture.numbers
    assert "R56 → R20 50 % when asked and 0.0 % when looked up, which leaves 50 % of the time" in reading
    assert "Augmenting, updating and bookkeeping together take 3.0 to 6.0 %." in reading


def test_precision_is_timed_on_the_device_at_hand():
    with_it, without = (PICTURES[f"precision_ratios{which}"]() for which in ("", " where it is emulated"))
    assert (
        with_it.reading
        == "This processor has instructions for bfloat16, and a step in it is shorter for 2 of 2 networks."
    )
    assert with_it.numbers.endswith("if one in float32 takes 1: 0.90 (small), 0.40 (large).")
    assert "has no instructions for bfloat16 and emulates it, and a step in it is shorter for 0 of 1" in without.reading


def test_the_ratios_are_sorted_by_what_they_are_beside():
    picture = PICTURES["speed_ratios"]()
    assert "shows 4.50 times the images per second of public code, and condensing then takes 0.93" in picture.reading
    assert "An epoch keeps 0.97 of the pace of its bare arithmetic" in picture.numbers
    assert "2.50 times the images per second of public code with the teacher asked and 4.50" in picture.numbers
    assert "KC-KD takes 0.86 of KD's time when the teacher is asked, 0.93" in picture.numbers


def test_views_that_look_alike_are_counted_once():
    views = np.arange(18, dtype=np.uint8).reshape(3, 3, 2, 1, 1).repeat(4, axis=-1)
    assert "Of 18 views of this image, 18 are different" in speed.all_views(views, "title").reading
    assert "Of 18 views of this image, 9 are different" in speed.all_views(views // 2, "title").reading


def test_known_answers_are_held_against_theory():
    assert "in the last epoch of the two, 75 % of its answers are known" in PICTURES["known_answers"]().reading
    assert "no epoch is further than 0.0 points" in PICTURES["known_answers"]().numbers
    off = speed.known_answers({"one": [0.0, 0.25], "two": [0.75]}, 2, 4, "title").numbers
    assert "one 12 %, two 75 %; no epoch is further than 25.0 points" in off


def test_mixtures_are_counted_over_all_stages():
    picture = PICTURES["asked_in_stages"]()
    assert "the teacher is still asked about 13.3 % of the samples" in picture.reading
    assert "Of 10 samples, 80.0 % are shown on average" in picture.numbers


def test_comes_back_is_dropped_first_and_in_later():
    assert em_feedback.comes_back(STAGES).tolist() == [False, False, True, False]


def test_samples_are_printed_a_row_each(capsys):
    columns = torch.tensor([[2.0, 1.0], [0.5, 1.25], [0.51, 1.25], [2.0, 1.0], [0.0, 0.5]])
    em_feedback.print_samples(*columns, torch.tensor([False, True]))
    assert capsys.readouterr().out.splitlines() == [
        "  id   F      V  score   R  1-R/N  Y",
        "   0   2  0.500   0.51   2   0.0   0",
        "   1   1  1.250   1.25   1   0.5   1",
    ]

"""A plan is checked at the door, and its runs are named by all that they depend on."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from kcd_teach.benchmark import PAIRS, ROWS, Plan, Prepared, Scale, Teacher, find_row, find_scale, make_plan, runs
from kcd_teach.benchmark.settings import check_cifar100
from kcd_teach.datasets import Dataset, find_data_file, read_npz, write_npz
from kcd_teach.fingerprints import fingerprint_of
from tests.benchmark.tiny import SCALE, tiny_plan
from tests.tiny import tiny_dataset


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": ["V13>V9"]}, r"pair='V13>V9' is unknown; did you mean 'V13>V8'\? Known: W40-2>W16-2, "),
        ({"pairs": ["resnet20>resnet9"]}, r"pair's student='resnet9' is unknown; did you mean 'resnet"),
        ({"rows": ["KC-KDD"]}, r"row='KC-KDD' is unknown; did you mean 'KC-KD'\?"),
        ({"rows": ["KC-KD@relased"]}, r"variant='relased' is unknown; did you mean 'released'\?"),
        ({"rows": ["KD@released"]}, "the variant 'released' belongs to KC-KD@released"),
        ({"rows": ["KC-KD@short"]}, "the variant 'short' belongs to KD@short"),
        ({"rows": ["Student@short"]}, "the student alone has no variants"),
        ({"rows": ["KC-KD@ratoi=0.5"]}, r"setting='ratoi' is unknown; did you mean 'ratio'\?"),
        ({"rows": ["KD@ratio=0.5"]}, "the setting 'ratio' belongs to KC-KD@ratio=0.5"),
        ({"rows": ["KD@temperature=hot"]}, "temperature must be a number, got 'hot'"),
        ({"rows": ["KC-KD@mixing=no"]}, r"mixing='no' is unknown"),
        ({"rows": ["KC-KD@random,mixing=false"]}, "sets mixing twice"),
        ({"rows": ["KD@epochs=0"]}, "epochs must be at least 1, got 0"),
        ({"rows": ["KD@short,epochs=3"]}, "sets epochs and length"),
        ({"rows": ["KD@length=0"]}, "length must be"),
        ({"rows": ["KD@method_weight=2"]}, "setting='method_weight' is unknown"),
        ({"rows": ["KD: KC-KD@ratio=0.5"]}, "has a label that is, or looks like, another row"),
        ({"rows": ["x: KD", "x: KC-KD"]}, "rows must not repeat an entry"),
        ({"rows": ["KD@precision=float16"]}, "precision='float16' is unknown"),
        ({"scale": "ful"}, r"scale='ful' is unknown; did you mean 'full'\? Known: full, slice, small, course"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"seeds": [-1]}, "seed must be at least 0, got -1"),
        ({"rows": []}, "rows must hold at least one entry, got none"),
        ({"rows": ["KD", "kd"]}, "rows must not repeat an entry, got KD, KD"),
    ],
)
def test_refused_at_the_door(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_plan(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"dataset": "cifar1000"}, r"dataset='cifar1000' is unknown; did you mean 'cifar100'\?"),
        ({"precision": "auto"}, "precision='auto' is unknown"),
    ],
)
def test_scales_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        SCALE.but(**changes)


def test_batches_too_small_for_a_method_are_refused_before_the_first_run():
    with pytest.raises(ValueError, match=r"row='RKD' needs batches of at least 2 .* leaves a last one of 1 of 10"):
        tiny_plan(("RKD",), batch_size=3).check_batches(tiny_dataset(10))


def test_full_is_the_published_recipe():
    scale = find_scale("full")
    recipe = scale.recipe(0.05)
    assert scale.is_published
    assert (recipe.epochs, recipe.batch_size, recipe.momentum, recipe.weight_decay) == (240, 64, 0.9, 5e-4)
    assert [recipe.rate(epoch) for epoch in (150, 151, 181, 211)] == pytest.approx([0.05, 0.005, 5e-4, 5e-5])
    assert not find_scale("small").is_published
    assert not scale.but(epochs=239).is_published


def test_presentations_of_the_full_recipe():
    rows = {name: sum(find_row(name).shown(50_000, 240)) for name in ("KD", "KC-KD", "KC-KD@released", "KD@short")}
    assert rows == {"KD": 12_000_000, "KC-KD": 10_200_000, "KC-KD@released": 10_500_000, "KD@short": 10_200_000}


def test_a_fixed_subset_costs_what_it_says_and_is_part_of_the_name_of_a_run():
    row = find_row("kd@subset=0.850")
    assert str(row) == "KD@subset=0.85"
    assert row.shown(1_000, 24) == [850] * 24
    assert row.method_settings == {}
    subset = row.condenser(1_000, 24, seed=2)
    assert len(subset.active) == 850
    plan = tiny_plan(("KD", "KD@subset=0.85", "KD@subset=0.65"))
    units = prepared(plan).units()
    assert [unit.config["condenser"] for unit in units] == [{}, {"share": 0.85, "seed": 0}, {"share": 0.65, "seed": 0}]
    assert not find_row("KC-KD").is_condensed_of(row)
    with pytest.raises(ValueError, match=re.escape("subset must be in (0, 1], got 1.5")):
        find_row("KD@subset=1.5")
    with pytest.raises(ValueError, match="subset"):
        find_row("KC-KD@subset=0.5")


def prepared(plan: Plan, weights: str = "00", images: str = "11") -> Prepared:
    return Prepared(plan, images, 50_000, {name: Teacher(name, weights, 0.5, "a test") for name in plan.teachers})


def test_whole_table_has_a_run_per_cell_and_pairs_share_students_alone():
    units = prepared(make_plan(scale="full")).units()
    assert len(units) == len(PAIRS) * len(ROWS) - 3  # three students are in two pairs each
    assert len({unit.title for unit in units}) == len(units)
    assert units[0].presentations == 12_000_000


def test_a_run_is_named_by_all_that_it_depends_on(monkeypatch):
    plan = tiny_plan(("KC-CRD",))
    (unit,) = prepared(plan).units()
    others = [
        dataclasses.replace(unit, seed=1),
        dataclasses.replace(unit, images="22"),
        dataclasses.replace(unit, scale=SCALE.but(epochs=4)),
        dataclasses.replace(unit, scale=SCALE.but(precision="bfloat16")),
        dataclasses.replace(unit, row=find_row("KC-KD")),
        dataclasses.replace(unit, row=find_row("KC-CRD@no-mixing")),
        dataclasses.replace(unit, code="other"),
        *prepared(plan, weights="33").units(),
        *prepared(make_plan(["resnet20>mini_convnet"], ["KC-CRD"], 1, SCALE)).units(),
    ]
    keys = {other.key for other in others}
    assert unit.key not in keys
    assert len(keys) == len(others)
    monkeypatch.setattr(runs, "RESULTS_FORMAT", runs.RESULTS_FORMAT + 1)
    assert dataclasses.replace(unit).key != unit.key


def test_name_of_the_scale_and_accuracy_of_the_teacher_change_nothing():
    (unit,) = prepared(tiny_plan(("KD",))).units()
    teacher = dataclasses.replace(unit.teacher, accuracy=0.9, origin="elsewhere")
    assert dataclasses.replace(unit, scale=dataclasses.replace(SCALE, name="x"), teacher=teacher).key == unit.key


def cifar_like(train: int = 500, test: int = 100, classes: int = 100) -> Dataset:
    labels = [torch.arange(classes).repeat_interleave(count) for count in (train, test)]
    images = [torch.zeros(len(part), 3, 1, 1, dtype=torch.uint8) for part in labels]
    names = tuple(map(str, range(classes)))
    return Dataset("cifar100", images[0], labels[0], images[1], labels[1], names, (0.5,) * 3, (0.5,) * 3, 4)


def test_data_that_is_not_cifar100_is_refused():
    with pytest.raises(ValueError, match="the numbers of images are right, their pixels or labels are not"):
        check_cifar100(cifar_like())
    with pytest.raises(ValueError, match="not CIFAR-100: it has 10 classes, not 100"):
        check_cifar100(cifar_like(classes=10))
    with pytest.raises(ValueError, match="100 classes have another number of test images than 100, first '0' with 99"):
        check_cifar100(cifar_like(test=99))


def test_slices_and_smaller_images():
    dataset = Scale("x", "fashion-mnist-mini", per_class=3, test_per_class=2, classes=4, side=14).images()
    assert dataset.train_images.shape == (12, 1, 14, 14)
    assert dataset.test_images.shape == (8, 1, 14, 14)
    assert (len(dataset.classes), dataset.padding) == (4, 1)


def test_fingerprint_sees_every_change():
    first = SCALE.images()
    changed = first.test_labels.clone()
    changed[0] = (changed[0] + 1) % 5
    others = [dataclasses.replace(first, test_labels=changed), dataclasses.replace(first, padding=first.padding + 1)]
    assert len({fingerprint_of(dataset) for dataset in (first, *others)}) == 3


def test_images_are_read_again_where_their_file_has_changed(tmp_path, monkeypatch):
    scale = find_scale("small").but(per_class=3)
    arrays = read_npz(find_data_file("fashion-mnist-mini.npz"))
    before = fingerprint_of(scale.images())
    prints = []
    for first in (0, 1):
        write_npz(
            tmp_path / "fashion-mnist-mini.npz", {**arrays, "train_images": arrays["train_images"] + np.uint8(first)}
        )
        prints += [fingerprint_of(scale.images(tmp_path)), fingerprint_of(scale.images(tmp_path))]
    monkeypatch.setenv("KCD_DATA", str(tmp_path))
    assert prints == [before, before, fingerprint_of(scale.images()), fingerprint_of(scale.images())]
    assert prints[0] != prints[2]

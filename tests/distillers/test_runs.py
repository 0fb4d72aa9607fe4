"""Runs of methods that learn or remember: doors, teachers, seeds, and interrupts that must leave no trace."""

import copy
import os
import signal
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.distillers import LabelsOnly, create_distiller
from kcd_teach.models.convnet import ConvNet
from kcd_teach.training import Distillation, Recipe, distill
from tests.distillers.material import METHODS
from tests.tiny import outcome, replaced_weights, same, tiny_dataset, tiny_networks, tiny_run

SETTINGS = {"crd": {"negatives": 6, "size": 4}, "wcord": {"negatives": 6, "size": 4}}
MILD = {"learning_rate": 0.005}
with_memory = pytest.mark.parametrize("method", ["crd", "wcord", "sskd", "reviewkd"])
every_method = pytest.mark.parametrize("method", list(METHODS))


class Watched(nn.Module):
    """A teacher like the tiny student, only wider. It notes in which mode and how it is asked about a batch, and
    presses Ctrl-C at given calls."""

    def __init__(self, *at: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.network = ConvNet((4, 5, 6), num_classes=3, in_channels=1)
        self.at, self.calls, self.asked = at, 0, []

    def __deepcopy__(self, memo: dict) -> nn.Module:
        return copy.deepcopy(self.network, memo)  # the rehearsal before the first batch is not meant

    def forward(self, images: torch.Tensor, **wanted: bool):
        if len(images) > 1:  # not the black image that shows the shapes of the features
            self.calls += 1
            self.asked.append((self.training, len(images), wanted))
            if self.calls in self.at:
                os.kill(os.getpid(), signal.SIGINT)
        return self.network(images, **wanted)


def method_of(name: str, teacher: nn.Module, seed: int = 0, **settings):
    settings = {**SETTINGS.get(name, {}), **settings}
    return create_distiller(name, tiny_networks()[0], teacher, image_shape=(1, 8, 8), seed=seed, **settings)


def run_of(method: str, preset: str | None = "paper", teacher: Watched | None = None, seed=0, **settings):
    """Four epochs of 5 + 5 + 3 + 3 batches; sskd has five more before."""
    teacher = teacher or Watched()
    recipe = {**MILD, **settings.pop("recipe", {})}
    return tiny_run(preset, teacher, distiller=method_of(method, teacher, seed), recipe=recipe, seed=seed, **settings)


@cache
def undisturbed(method: str, preset: str | None) -> dict:
    run = run_of(method, preset)
    list(run)
    return outcome(run)


@every_method
def test_trains_the_student_and_its_own_parts_and_leaves_the_teacher_alone(method):
    teacher = Watched()
    run = run_of(method, teacher=teacher)
    before = copy.deepcopy(teacher.state_dict())
    start = [p.detach().clone() for p in run.distiller.parameters()]
    reports = list(run)
    assert [report.active for report in reports] == [48, 48, 29, 29]
    assert same(teacher.state_dict(), before)
    assert all(p.grad is None for p in teacher.parameters())
    # All weights of maps and convolutions: the student's, and those of the preparation.
    changed = [not torch.equal(a, b) for a, b in zip(start, run.distiller.parameters(), strict=True)]
    assert all(changed) or method == "wcord"  # of a normalised map the constant direction gets no gradient
    assert any(changed) == bool(changed)


@every_method
def test_teacher_answers_in_eval_mode_even_after_train(method):
    teacher = Watched()
    run = run_of(method, teacher=teacher)
    needs = run.distiller.needs
    for _ in range(2):
        teacher.train(), run.student.train(), run.distiller.train()
        next(run)
    wanted = {"return_features": True} if needs.features else {}
    wanted |= {"preact": True} if needs.teacher_preact else {}
    batches = [10, 10, 10, 10, 8]
    epochs = 3 if method == "sskd" else 2
    assert teacher.asked == [(False, count * needs.views, wanted) for count in batches * epochs]


@pytest.mark.parametrize("method", ["fitnet", "wcord", "reviewkd"])
def test_parts_that_are_learned_train_in_train_mode(method):
    run = run_of(method)
    run.distiller.eval()
    next(run)
    assert run.distiller.training


@every_method
@pytest.mark.parametrize("prefix", ["", "kc-"])
def test_by_name(method, prefix):
    teacher, (student, _) = Watched(), tiny_networks()
    recipe = Recipe(epochs=2, batch_size=12, **MILD)
    run = distill(student, tiny_dataset(), teacher, recipe=recipe, distiller=prefix + method, seed=4)
    assert type(run.distiller) is METHODS[method]
    assert type(run.condenser) is (Condenser if prefix else KeepAll)
    if method not in SETTINGS:  # the benchmark's number of negatives takes a while
        active = [report.active for report in run]
        assert active == ([48, 34] if prefix else [48, 48])


def test_kc_pkt_condenses_by_its_name_in_the_default_stages_and_an_own_condenser_goes_first():
    teacher, (student, _) = Watched(), tiny_networks()
    run = distill(student, tiny_dataset(), teacher, recipe=Recipe(epochs=12, batch_size=10, **MILD), distiller="kc-pkt")
    assert run.condenser.counts == (48, 45, 42, 39, 36, 34)
    chosen = Condenser(48, 0.5, 2, 12)
    run = distill(student, tiny_dataset(), teacher, recipe=Recipe(epochs=12), distiller="kc-pkt", condenser=chosen)
    assert run.condenser is chosen


def test_seed_of_the_run_decides_weights_by_name_and_banks():
    def built(seed: int, state: int) -> Distillation:
        torch.manual_seed(state)
        return distill(tiny_networks()[0], tiny_dataset(), Watched(), distiller="crd", recipe=Recipe(4), seed=seed)

    first, again, other = built(0, 1), built(0, 2), built(1, 1)
    assert same(first.distiller.state_dict(), again.distiller.state_dict())
    for name in ("memory.student_bank", "memory.student_embed.weight"):
        assert not torch.equal(first.distiller.state_dict()[name], other.distiller.state_dict()[name])
    assert first.distiller.memory.student_bank.shape == (48, 128)


@every_method
def test_the_global_random_state_is_neither_used_nor_changed(method):
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        run = run_of(method)
        list(run)
        assert torch.equal(torch.get_rng_state(), before)
        results.append(outcome(run))
    assert same(*results)


@pytest.mark.parametrize("batch", [1, 5, 6, 10, 12, 16])
@pytest.mark.parametrize("preset", [None, "paper"])
@with_memory
def test_interrupted_and_continued(method, preset, batch):
    run = run_of(method, preset, Watched(batch))
    with pytest.raises(KeyboardInterrupt, match="iterate to go on"):
        list(run)
    list(run)
    assert same(outcome(run), undisturbed(method, preset))


@pytest.mark.parametrize("batch", [1, 3, 5, 6, 10, 12, 16])
@with_memory
def test_continued_from_a_checkpoint_in_another_process(tmp_path, method, batch):
    teacher, file = Watched(batch), tmp_path / "run.pt"
    run = run_of(method, teacher=teacher, checkpoint=file)
    with pytest.raises(KeyboardInterrupt):
        list(run)
    del run
    # Weights of student and method come from the file, whatever they start from here.
    anew = method_of(method, Watched(), seed=9)
    with replaced_weights():
        again = tiny_run("paper", Watched(), distiller=anew, recipe=MILD, checkpoint=file, student_seed=7)
    list(again)
    assert same(outcome(again), undisturbed(method, "paper"))


@pytest.mark.parametrize("epochs", [0, 1, 2, 3])
@with_memory
def test_continued_from_a_checkpoint_between_epochs(tmp_path, method, epochs):
    run = run_of(method, checkpoint=tmp_path / "run.pt")
    for _ in range(epochs):
        next(run)
    with replaced_weights():
        again = run_of(method, checkpoint=tmp_path / "run.pt", student_seed=7)
    assert again.epoch == epochs
    list(again)
    assert same(outcome(again), undisturbed(method, "paper"))


@pytest.mark.parametrize("batch", [1, 4, 5])
def test_stopped_inside_the_preparation(tmp_path, batch):
    run = run_of("sskd", teacher=Watched(batch), checkpoint=tmp_path / "run.pt")
    student = copy.deepcopy(run.student.state_dict())
    with pytest.raises(KeyboardInterrupt):
        next(run)
    assert run.epoch == run.preparation.epoch == 0
    assert same(run.student.state_dict(), student)  # nothing has been learned of it yet
    with replaced_weights():
        again = run_of("sskd", checkpoint=tmp_path / "run.pt", student_seed=7)
    next(again)
    assert again.preparation.done
    list(again)
    assert same(outcome(again), undisturbed("sskd", "paper"))


def test_preparation_looks_at_all_samples_and_leaves_student_and_condenser_alone():
    teacher = Watched()
    run = run_of("sskd", teacher=teacher)
    head = copy.deepcopy(list(run.distiller.teacher_head.parameters()))
    next(run)
    assert [count for _, count, _ in teacher.asked[:5]] == [40, 40, 40, 40, 32]
    assert run.reports[0].presentations == 48  # those of the preparation are not counted
    assert run.condenser.frequency.tolist() == [1] * 48
    prepared = copy.deepcopy(list(run.distiller.teacher_head.parameters()))
    assert not any(torch.equal(a, b) for a, b in zip(head, prepared, strict=True))
    next(run)
    assert same(list(run.distiller.teacher_head.parameters()), prepared)  # frozen from then on


def test_another_method_does_not_go_on_from_a_checkpoint(tmp_path):
    next(run_of("pkt", checkpoint=tmp_path / "run.pt"))
    with pytest.raises(ValueError, match="the checkpoint belongs to another run: its distiller is"):
        run_of("rkd", checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize(
    ("method", "settings"),
    [("crd", {"negatives": 5}), ("crd", {"contrast_temperature": 0.1}), ("crd", {"momentum": 0.9}),
     ("wcord", {"variant": "dual"}), ("wcord", {"regularisation": 0.2}), ("rkd", {"angle_weight": 1.0}),
     ("sskd", {"similarity_ratio": 0.5}), ("sskd", {"temperature": 3.0}), ("pkt", {"method_weight": 1.0})],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)  # fmt: skip
def test_other_constants_do_not_go_on_from_a_checkpoint(tmp_path, method, settings):
    next(run_of(method, checkpoint=tmp_path / "run.pt"))
    teacher = Watched()
    with pytest.raises(ValueError, match="the checkpoint belongs to another run: its distiller is"):
        tiny_run(
            "paper", teacher, distiller=method_of(method, teacher, **settings), recipe=MILD,
            checkpoint=Path(tmp_path / "run.pt"),
        )  # fmt: skip


@pytest.mark.parametrize("method", ["rkd", "reviewkd"])
def test_a_last_batch_that_is_too_small_is_refused_before_training(method):
    with pytest.raises(
        ValueError, match=r"needs batches of at least 2 samples, but batch_size=47 leaves a last one of 1 of 48"
    ):
        run_of(method, None, recipe={"batch_size": 47})
    with pytest.raises(
        ValueError, match=r"batch_size=7 leaves a last one of 1 of 29; use drop_last=True, another batch_size"
    ):
        run_of(method, recipe={"batch_size": 7})  # after the condensation
    run_of(method, None, recipe={"batch_size": 7})
    next(run_of(method, None, recipe={"batch_size": 47, "drop_last": True}))
    with pytest.raises(ValueError, match="batch_size=1 leaves a last one of 1"):
        run_of(method, None, recipe={"batch_size": 1})


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("rkd", "reviewkd")])
def test_a_last_batch_of_one_is_no_obstacle_elsewhere(method):
    # On larger images: BatchNorm itself refuses one value per channel.
    report = next(run_of(method, None, dataset=tiny_dataset(side=16), recipe={"batch_size": 47}))
    assert report.active == 48


@every_method
def test_a_network_without_features_is_refused_before_training(method):
    teacher, plain = Watched(), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    distiller = method_of(method, teacher)
    recipe = Recipe(epochs=2, batch_size=10)
    if method == "kd":
        assert next(distill(plain, tiny_dataset(), teacher, distiller=distiller, recipe=recipe)).active == 48
        return
    with pytest.raises(ValueError, match=r"this method compares features, and the student \(Sequential\) has none"):
        distill(plain, tiny_dataset(), teacher, distiller=distiller, recipe=recipe)


@pytest.mark.parametrize("source", ["active", "all"])
def test_contrasts_come_from_the_active_samples_or_from_all(monkeypatch, source):
    teacher, seen = Watched(), []
    distiller = method_of("crd", teacher, negatives_from=source)
    run = tiny_run("paper", teacher, distiller=distiller, recipe=MILD)
    next(run), next(run)
    compare = distiller.method_loss
    monkeypatch.setattr(distiller, "method_loss", lambda batch, *said: seen.append(batch) or compare(batch, *said))
    next(run)
    own = torch.cat([batch.contrasts[:, 0] for batch in seen])
    others = {id_ for batch in seen for id_ in batch.contrasts[:, 1:].flatten().tolist()}
    active = set(run.condenser.active.tolist())
    assert set(own.tolist()) == active
    assert (others <= active) == (source == "active")


def test_banks_keep_the_rows_of_dropped_samples_as_they_were():
    run = run_of("crd")
    next(run), next(run)
    before, active = run.distiller.memory.student_bank.clone(), run.condenser.active
    dropped = torch.ones(48, dtype=torch.bool)
    dropped[active] = False
    next(run)
    after = run.distiller.memory.student_bank
    assert after.shape == (48, 4)
    assert torch.equal(after[dropped], before[dropped])
    assert bool((after[active] != before[active]).any(dim=1).all())


def test_warm_up_follows_the_epochs_of_the_run():
    run, shares = run_of("reviewkd", recipe={"epochs": 4}), []
    for _ in range(4):
        next(run)
        shares.append(run.distiller.warmup)
    assert shares == [0.0, 1.0, 1.0, 1.0]


def test_labels_alone_need_no_teacher():
    run = distill(tiny_networks()[0], tiny_dataset(), recipe=Recipe(epochs=1, batch_size=10))
    assert type(run.distiller) is LabelsOnly
    assert next(run).active == 48

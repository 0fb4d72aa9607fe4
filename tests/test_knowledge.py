import pytest
import torch
from torch import nn

from kcd_teach import knowledge as module
from kcd_teach.distillers.base import Batch, Needs
from kcd_teach.knowledge import Knowledge, accuracy, predict
from kcd_teach.views import num_views
from tests.tiny import tiny_dataset, tiny_networks


class Spy(nn.Module):
    """A teacher whose logits tell the sum of the pixels, and that remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.asked: list[torch.Tensor] = []
        self.modes: list[bool] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked.append(images)
        self.modes.append(self.training)
        return images.sum(dim=(1, 2, 3))[:, None] * self.weight


IDS, VIEWS = torch.tensor([4, 9, 2]), torch.tensor([0, 17, 5])
IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
NONE, FIRST = torch.tensor([False] * 3), torch.tensor([True, False, False])


def asked(knowledge: Knowledge, ids, views, images, mixed) -> torch.Tensor:
    """What a teacher says about a batch of these images."""
    return knowledge(Batch(ids, views, torch.zeros_like(ids), mixed, images)).logits


@pytest.mark.parametrize("store", ["off", "memory"], ids=["asked every time", "remembered"])
def test_answers_are_the_teachers(store):
    teacher = Spy()
    ask = Knowledge(teacher, tiny_dataset(), store)
    for _ in range(2):
        answers = teacher(IMAGES).detach()
        assert torch.equal(asked(ask, IDS, VIEWS, IMAGES, NONE), answers if store == "off" else answers.half().float())


def test_each_view_is_asked_once_if_remembered():
    teacher = Spy()
    ask = Knowledge(teacher, tiny_dataset(), store="memory")
    asked(ask, IDS, VIEWS, IMAGES, NONE)
    asked(ask, IDS, VIEWS, IMAGES, NONE)
    assert [len(images.unique(dim=0)) for images in teacher.asked] == [3]
    asked(ask, IDS, torch.tensor([0, 3, 5]), IMAGES, NONE)  # one new view
    assert [len(images.unique(dim=0)) for images in teacher.asked] == [3, 1]
    assert torch.equal(teacher.asked[1][0], IMAGES[1])


@pytest.mark.parametrize("images", [1, 15, 16, 17, 64, 70])
def test_batches_of_a_teacher_whose_answers_are_remembered_have_one_size(images):
    teacher, dataset = Spy(), tiny_dataset()
    ids, views = torch.arange(images) % 48, torch.arange(images) // 48
    shown = torch.rand(images, 1, 8, 8)
    said = asked(Knowledge(teacher, dataset, store="memory"), ids, views, shown, torch.zeros(images, dtype=torch.bool))
    assert {len(batch) for batch in teacher.asked} == {16}
    assert torch.equal(torch.cat(teacher.asked)[:images], shown)
    assert torch.equal(said, teacher(shown).half().float())


def test_remembered_answers_are_found_by_id_and_view_whatever_the_order():
    ask = Knowledge(Spy(), tiny_dataset(), store="memory")
    first = asked(ask, IDS, VIEWS, IMAGES, NONE)
    order = torch.tensor([2, 0, 1])
    assert torch.equal(asked(ask, IDS[order], VIEWS[order], torch.zeros_like(IMAGES), NONE), first[order])


def test_changing_an_answer_does_not_change_the_memory():
    ask = Knowledge(Spy(), tiny_dataset(), store="memory")
    first = asked(ask, IDS, VIEWS, IMAGES, NONE).clone()
    asked(ask, IDS, VIEWS, IMAGES, NONE).zero_()
    assert torch.equal(asked(ask, IDS, VIEWS, IMAGES, NONE), first)


def test_mixtures_are_asked_about_themselves_and_never_stored():
    teacher = Spy()
    ask = Knowledge(teacher, tiny_dataset(), store="memory")
    mixture = IMAGES.clone()
    mixture[0] += 1
    pure = asked(ask, IDS, VIEWS, IMAGES, NONE)
    for _ in range(2):
        mixed = asked(ask, IDS, VIEWS, mixture, FIRST)
        assert torch.equal(teacher.asked[-1].unique(dim=0), mixture[:1])
        assert mixed[0, 0].item() == mixture[0].sum().half().item()
        assert torch.equal(mixed[1:], pure[1:])
    assert torch.equal(asked(ask, IDS, VIEWS, IMAGES, NONE), pure)


def test_a_mixture_seen_first_leaves_no_trace():
    teacher = Spy()
    ask = Knowledge(teacher, tiny_dataset(), store="memory")
    asked(ask, IDS, VIEWS, IMAGES + 5, torch.tensor([True] * 3))
    assert torch.equal(asked(ask, IDS, VIEWS, IMAGES, NONE), teacher(IMAGES).detach().half().float())


@pytest.mark.parametrize("store", ["off", "memory"], ids=["asked every time", "remembered"])
def test_teacher_gets_no_gradient_and_is_in_eval_mode_even_after_train(store):
    teacher = Spy().train()
    ask = Knowledge(teacher, tiny_dataset(), store)
    assert not teacher.training
    teacher.train()
    assert not asked(ask, IDS, VIEWS, IMAGES, NONE).requires_grad
    assert teacher.modes == [False]


def test_remembering_too_much_is_refused_before_it_is_allocated(monkeypatch):
    needed = 2 * 48 * num_views(1) * 3
    monkeypatch.setattr(module, "MEMORY_LIMIT", needed)
    Knowledge(Spy(), tiny_dataset(), store="memory")
    monkeypatch.setattr(module, "MEMORY_LIMIT", needed - 1)
    with pytest.raises(ValueError, match=r'store="memory" would take 0\.0 GB for tiny; use "disk" or "off"'):
        Knowledge(Spy(), tiny_dataset(), store="memory")
    Knowledge(Spy(), tiny_dataset(), store="off")


def test_predict_is_in_eval_mode_and_does_not_depend_on_the_batch_size():
    dataset, (student, _) = tiny_dataset(), tiny_networks()
    student.train()(torch.randn(30, 1, 8, 8))  # gives BatchNorm something to remember
    whole = predict(student.train(), dataset, dataset.train_images)
    assert whole.shape == (48, 3)
    assert not whole.requires_grad
    assert not student.training
    parts = predict(student, dataset, dataset.train_images, batch_size=7)
    assert torch.allclose(whole, parts, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(student(dataset.normalise(dataset.train_images)), whole, atol=1e-6)


def test_accuracy_is_the_share_of_right_answers():
    dataset = tiny_dataset(num_test=12)

    class Always(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.0, 1.0, 0.5]]).expand(len(images), -1)

    assert accuracy(Always(), dataset) == (dataset.test_labels == 1).double().mean().item() == 4 / 12


def test_features_and_rotated_views_are_asked_anew():
    dataset, (_, teacher) = tiny_dataset(), tiny_networks()
    knowledge = Knowledge(teacher, dataset, store="memory")
    batch = Batch(IDS, VIEWS, torch.zeros_like(IDS), NONE, IMAGES)
    logits = knowledge(batch).logits
    said = knowledge(batch, Needs(features=True))
    assert torch.equal(said.logits.half().float(), logits)
    assert [feature.ndim for feature in said.features] == [4, 4, 4, 4, 2]
    turned = batch._replace(images=IMAGES.repeat_interleave(4, dim=0).rot90(1, (-2, -1)))
    assert len(knowledge(turned, Needs(rotations=True)).logits) == 12
    assert torch.equal(knowledge(batch).logits, logits)


def test_features_before_their_activation():
    dataset, (_, teacher) = tiny_dataset(), tiny_networks()
    batch = Batch(IDS, VIEWS, torch.zeros_like(IDS), NONE, IMAGES)
    knowledge = Knowledge(teacher, dataset)
    after = knowledge(batch, Needs(features=True)).features
    before = knowledge(batch, Needs(features=True, teacher_preact=True)).features
    assert (before[1] < 0).any()
    assert torch.equal(before[1].relu(), after[1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("store", ["off", "memory"])
def test_answers_are_float32_whether_they_are_stored_or_not(store, precision):
    knowledge = Knowledge(tiny_networks()[1], tiny_dataset(), store, precision=precision)
    first, again = (asked(knowledge, IDS, VIEWS, IMAGES, NONE) for _ in range(2))
    assert first.dtype == again.dtype == torch.float32
    assert torch.equal(first, again)


def test_answers_of_a_teacher_in_double_precision_stay_so():
    teacher = tiny_networks()[1].double()
    assert asked(Knowledge(teacher, tiny_dataset()), IDS, VIEWS, IMAGES.double(), NONE).dtype == torch.float64

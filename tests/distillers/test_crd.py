import math

import pytest
import torch
from torch.nn import functional as F
from torchdistill.losses.mid_level import CRDLoss

from kcd_teach.distillers import kd_loss
from kcd_teach.distillers.base import Taps
from kcd_teach.distillers.contrast import ContrastMemory, exponentials, first_normalisers
from kcd_teach.distillers.crd import CRD, crd_loss, noise_contrast
from kcd_teach.models import count_parameters
from tests.distillers import oracles
from tests.distillers.material import (
    STUDENT_TAPS,
    TEACHER_TAPS,
    batch_for,
    build,
    noise,
    outputs_for,
    unit,
    waves,
)
from tests.distillers.pairs import each_pair

CONTRASTS = torch.tensor([[0, 2, 3], [1, 4, 5]])


def reference() -> tuple[torch.Tensor, ...]:
    """The first arguments of the loss, of the reference."""
    student, teacher = unit(waves(torch.sin, 2, 3)), unit(waves(torch.cos, 2, 3))
    return student, teacher, 0.1 * waves(torch.sin, 6, 3), 0.1 * waves(torch.cos, 6, 3), CONTRASTS


def bank_of_reference() -> ContrastMemory:
    memory = ContrastMemory(3, 3, size=3).double()
    memory.make_room(6)
    memory.student_bank, memory.teacher_bank = reference()[2:4]
    return memory


def sides(arguments, normalisers=None) -> list[float]:
    """l(o_S) and l(o_T)."""
    values = exponentials(*arguments, 0.07)
    z = first_normalisers(*values, 6) if normalisers is None else normalisers
    return [noise_contrast(value, z[i], 6).item() for i, value in enumerate(values)]


def test_reference_losses_and_normalisers():
    normalisers = first_normalisers(*exponentials(*reference(), 0.07), 6)
    assert normalisers.tolist() == pytest.approx([6.928434396259670, 7.130317465480534], abs=1e-13)
    assert sides(reference()) == pytest.approx([2.060790342315374, 2.0901149523778066], abs=1e-13)
    assert crd_loss(*reference()).item() == pytest.approx(2.060790342315374 + 2.0901149523778066, abs=1e-13)
    assert crd_loss(*reference(), normalisers).item() == crd_loss(*reference()).item()


def test_reference_gradients():
    student, teacher, *others = reference()
    student.requires_grad_(), teacher.requires_grad_()
    crd_loss(student, teacher, *others).backward()
    assert student.grad.norm().item() == pytest.approx(0.5979032357, abs=1e-9)
    assert teacher.grad.norm().item() == pytest.approx(1.2766078842, abs=1e-9)


def test_reference_refreshment_and_the_second_call_with_the_first_normalisers():
    memory, (student, teacher, *_) = bank_of_reference(), reference()
    normalisers = first_normalisers(*exponentials(*reference(), 0.07), 6)
    memory.refresh(torch.tensor([0, 1]), student, teacher)
    assert memory.student_bank[0].tolist() == pytest.approx([0.6748394626, 0.7292346355, 0.1131748475], abs=1e-9)
    assert memory.teacher_bank[1].tolist() == pytest.approx([-0.5466728426, 0.2372400011, 0.8030354818], abs=1e-9)
    assert torch.equal(memory.student_bank[2:], reference()[2][2:])
    again = (student, teacher, memory.student_bank, memory.teacher_bank, CONTRASTS)
    assert sides(again, normalisers) == pytest.approx([2.4066343591, 2.4364899777], abs=1e-9)


def random_case(count=3, size=4, num_samples=9, negatives=3, seed=0) -> tuple[torch.Tensor, ...]:
    student, teacher = (unit(noise(count, size, seed=seed + i)) for i in range(2))
    banks = [0.3 * noise(num_samples, size, seed=seed + i) for i in (2, 3)]
    generator = torch.Generator().manual_seed(seed)
    rows = [[i, *(i + 1 + torch.randperm(num_samples - 1, generator=generator)).tolist()] for i in range(count)]
    return student, teacher, *banks, torch.tensor(rows)[:, : negatives + 1].contiguous() % num_samples


@pytest.mark.parametrize("sizes", [(1, 2, 2, 1), (3, 4, 9, 3), (5, 8, 20, 19)], ids=str)
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_equals_the_plain_sum(sizes, temperature):
    arguments = random_case(*sizes)
    student, teacher, student_bank, teacher_bank, contrasts = (part.tolist() for part in arguments)
    expected = oracles.crd_side(student, teacher_bank, contrasts, temperature=temperature)
    expected += oracles.crd_side(teacher, student_bank, contrasts, temperature=temperature)
    assert crd_loss(*arguments, temperature=temperature).item() == pytest.approx(expected, rel=1e-10)
    given = oracles.crd_side(student, teacher_bank, contrasts, 3.0, temperature)
    given += oracles.crd_side(teacher, student_bank, contrasts, 5.0, temperature)
    normalisers = torch.tensor([3.0, 5.0], dtype=torch.float64)
    assert crd_loss(*arguments, normalisers, temperature).item() == pytest.approx(given, rel=1e-10)


def theirs(num_samples=9, negatives=3, size=4) -> CRDLoss:
    """torchdistill's; it is given the contrasts, because its own sampler has a misspelt attribute."""
    return CRDLoss("at", "ids", "at", size, num_samples, negatives, num_samples).double()


def test_equals_torchdistill_over_two_batches():
    loss, (student, teacher, student_bank, teacher_bank, contrasts) = theirs(), random_case(seed=7)
    loss.memory_v1, loss.memory_v2 = student_bank.clone(), teacher_bank.clone()
    memory = ContrastMemory(4, 4, size=4).double()
    memory.make_room(9)
    memory.student_bank, memory.teacher_bank = student_bank, teacher_bank
    normalisers = None
    for _ in range(2):
        ids = {"ids": {"input": {"pos_idx": contrasts[:, 0], "contrast_idx": contrasts}}}
        expected = loss({"at": {"output": student}, **ids}, {"at": {"output": teacher}})
        arguments = (student, teacher, memory.student_bank, memory.teacher_bank, contrasts)
        temperature = loss.params[1].item()  # 0.07, but rounded to float32
        if normalisers is None:
            normalisers = first_normalisers(*exponentials(*arguments, temperature), 9)
        assert crd_loss(*arguments, normalisers, temperature).item() == pytest.approx(expected.item(), rel=1e-10)
        memory.refresh(contrasts[:, 0], student, teacher)
        assert torch.allclose(memory.student_bank, loss.memory_v1, atol=1e-12)
        assert torch.allclose(memory.teacher_bank, loss.memory_v2, atol=1e-12)


def test_torchdistills_own_sampler_fails_and_so_negatives_are_drawn_with_the_batches():
    student, teacher, *_, contrasts = random_case()
    ids = {"ids": {"input": {"pos_idx": contrasts[:, 0]}}}
    with pytest.raises(AttributeError, match="has no attribute 'prob'"):
        theirs()({"at": {"output": student}, **ids}, {"at": {"output": teacher}})


def test_does_not_depend_on_how_many_rows_the_banks_have():
    """N cancels, up to 1e-7: rows that nobody asks for change nothing."""
    student, teacher, *banks, contrasts = random_case()
    longer = [torch.cat([bank, noise(500, 4, seed=50)]) for bank in banks]
    few, many = crd_loss(student, teacher, *banks, contrasts), crd_loss(student, teacher, *longer, contrasts)
    assert many.item() == pytest.approx(few.item(), rel=1e-4)


def test_better_told_embeddings_cost_less():
    _, teacher, student_bank, _, contrasts = random_case(num_samples=9, seed=3)
    teacher_bank = unit(noise(9, 4, seed=4))
    normalisers = torch.tensor([9.0, 9.0], dtype=torch.float64)
    own, other = teacher_bank[contrasts[:, 0]], teacher_bank[contrasts[:, 1]]
    rest = (teacher, student_bank, teacher_bank, contrasts, normalisers)
    assert crd_loss(own, *rest).item() < crd_loss(other, *rest).item()


def test_banks_get_no_gradient_and_both_embeddings_do():
    arguments = [part.requires_grad_() if part.is_floating_point() else part for part in random_case()]
    crd_loss(*arguments).backward()
    assert [part.grad is not None for part in arguments] == [True, True, False, False, False]


def test_fresh_banks_are_uniform_and_not_of_unit_length():
    memory = ContrastMemory(6, 9)
    memory.make_room(2_000)
    bound = 1 / math.sqrt(128 / 3)
    assert bound == pytest.approx(0.153093, abs=1e-6)
    for bank in (memory.student_bank, memory.teacher_bank):
        assert bank.shape == (2_000, 128)
        assert 0.999 * bound < bank.abs().max().item() <= bound
        assert bank.mean().item() == pytest.approx(0.0, abs=1e-3)
        assert bank.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
        assert bank.norm(dim=1).std() > 0.01
    assert not torch.equal(memory.student_bank, memory.teacher_bank)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
def test_rows_of_a_batch_are_refreshed_and_no_others(momentum):
    memory = ContrastMemory(3, 3, size=3, momentum=momentum).double()
    memory.make_room(6)
    memory.student_bank, memory.teacher_bank = reference()[2:4]
    student, teacher = unit(noise(2, 3, seed=1)), unit(noise(2, 3, seed=2))
    memory.refresh(torch.tensor([4, 1]), student, teacher)
    for bank, before, new in (
        (memory.student_bank, reference()[2], student),
        (memory.teacher_bank, reference()[3], teacher),
    ):
        assert bank[4].tolist() == pytest.approx(oracles.refreshed(before[4].tolist(), new[0].tolist(), momentum))
        assert bank[1].tolist() == pytest.approx(oracles.refreshed(before[1].tolist(), new[1].tolist(), momentum))
        assert torch.equal(bank[[0, 2, 3, 5]], before[[0, 2, 3, 5]])


def test_module_adds_labels_kd_and_the_contrast_with_the_banks_as_they_were():
    distiller = build("crd")
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    memory, banks = distiller.memory, (distiller.memory.student_bank, distiller.memory.teacher_bank)
    with torch.no_grad():
        embedded = [
            F.normalize(memory.student_embed(student.features[4]), dim=1),
            F.normalize(memory.teacher_embed(teacher.features[4]), dim=1),
        ]
        contrast = crd_loss(*embedded, *banks, batch.contrasts)
        expected = F.cross_entropy(student.logits, batch.labels) + kd_loss(student.logits, teacher.logits)
    loss = distiller(batch, student, teacher)
    assert loss.item() == pytest.approx((expected + 0.8 * contrast).item(), rel=1e-5)
    assert torch.allclose(memory.student_bank[:4].norm(dim=1), torch.ones(4))
    assert torch.equal(memory.student_bank[4:], banks[0][4:])
    loss.backward()  # the old rows are still there for the gradient
    assert [feature.grad is not None for feature in student.features] == [False] * 4 + [True]


def test_temperature_reaches_the_loss():
    distiller = build("crd", contrast_temperature=0.5)
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    memory = distiller.memory
    with torch.no_grad():
        embedded = [
            F.normalize(memory.student_embed(student.features[4]), dim=1),
            F.normalize(memory.teacher_embed(teacher.features[4]), dim=1),
        ]
        expected = crd_loss(*embedded, memory.student_bank, memory.teacher_bank, batch.contrasts, temperature=0.5)
    assert distiller.method_loss(batch, student, teacher).item() == pytest.approx(expected.item(), rel=1e-5)


def test_normalisers_are_those_of_the_first_batch_for_the_whole_run():
    distiller = build("crd")
    assert distiller.memory.normalisers.tolist() == [0.0, 0.0]
    seen = []
    for seed in range(3):
        outputs = [outputs_for(distiller, role, seed=seed) for role in ("student", "teacher")]
        distiller(batch_for(distiller), *outputs)
        seen.append(distiller.memory.normalisers.clone())
    assert bool((seen[0] > 0).all())
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    distiller.begin(12)  # another run
    assert distiller.memory.normalisers.tolist() == [0.0, 0.0]


def test_normalisers_that_were_loaded_stay():
    distiller, fresh = build("crd"), build("crd", seed=1)
    outputs = [outputs_for(distiller, role) for role in ("student", "teacher")]
    distiller(batch_for(distiller), *outputs)
    fresh.load_state_dict(distiller.state_dict())
    fresh(batch_for(fresh), *outputs)
    assert torch.equal(fresh.memory.normalisers, distiller.memory.normalisers)


def test_both_linear_maps_are_trained():
    distiller = build("crd")
    assert count_parameters(distiller) == (6 + 1) * 4 + (9 + 1) * 4
    distiller(batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))).backward()
    assert len(distiller.student_parameters()) == 4
    assert all(parameter.grad.abs().sum() > 0 for parameter in distiller.student_parameters())


@each_pair
def test_embeddings_have_the_benchmarks_parameters(pair):
    assert count_parameters(CRD(pair.taps)) == pair.embeddings


def test_defaults_are_the_benchmarks():
    distiller = CRD(Taps(STUDENT_TAPS, TEACHER_TAPS))
    assert (distiller.label_weight, distiller.teacher_weight, distiller.method_weight) == (1.0, 1.0, 0.8)
    assert (distiller.needs.negatives, distiller.needs.negatives_from) == (16384, "active")
    memory = distiller.memory
    assert (memory.size, memory.momentum, memory.temperature) == (128, 0.5, 0.07)


def test_a_module_that_was_not_begun_says_so():
    distiller = CRD(Taps(STUDENT_TAPS, TEACHER_TAPS), negatives=3)
    outputs = [outputs_for(distiller, role) for role in ("student", "teacher")]
    with pytest.raises(RuntimeError, match=r"the banks are empty; call begin\(num_samples\)"):
        distiller(batch_for(distiller), *outputs)
    with pytest.raises(RuntimeError, match="contrasts is None"):
        build("crd")(batch_for(distiller)._replace(contrasts=None), *outputs)


@pytest.mark.parametrize(
    ("place", "wrong", "message"),
    [
        (0, torch.zeros(3, 4), "student and teacher must see the same batch, got 3 and 2 samples"),
        (2, torch.zeros(6, 4), r"student_bank must be \[N, 3\] like the embeddings, got \[6, 4\]"),
        (3, torch.zeros(6), r"teacher_bank must be \[N, 3\] like the embeddings, got \[6\]"),
        (4, torch.zeros(2, 3), r"contrasts must be int64 \[2, 1 \+ K\] with K at least 1, got torch.float32 \[2, 3\]"),
        (4, torch.zeros(2, 1).long(), r"contrasts must be int64 .* got torch.int64 \[2, 1\]"),
        (4, torch.zeros(3, 3).long(), r"contrasts must be int64 .* got torch.int64 \[3, 3\]"),
    ],
    ids=["batch", "width", "one axis", "floats", "no negatives", "rows"],
)
def test_arguments_that_do_not_fit_are_refused(place, wrong, message):
    arguments = list(reference())
    arguments[place] = wrong
    with pytest.raises(ValueError, match=message):
        crd_loss(*arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"negatives": 0}, "negatives must be at least 1, got 0"),
        ({"negatives_from": "some"}, "negatives_from='some' is unknown.* Known: active, all"),
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"momentum": 1.5}, r"momentum must be in \[0, 1\], got 1.5"),
        ({"contrast_temperature": 0.0}, r"temperature must be in \(0, inf\), got 0.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CRD(Taps(STUDENT_TAPS, TEACHER_TAPS), **settings)

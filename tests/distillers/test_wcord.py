import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F

from kcd_teach.distillers import kd_loss, wcord
from kcd_teach.distillers.base import Taps
from kcd_teach.distillers.crd import crd_loss
from kcd_teach.distillers.wcord import WCoRD, dual_loss, transport_loss, transport_plan, wcord_loss
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
from tests.distillers.test_crd import random_case, reference

# Of the reference: the rows are the teacher's embeddings, the columns the student's.
ROWS, COLUMNS = unit(waves(torch.sin, 4, 3)), unit(waves(torch.cos, 4, 3))
UNREGULARISED, IDENTITY = 0.7218963460, 1.0223484158


def cost() -> torch.Tensor:
    return 1 - ROWS @ COLUMNS.T


def test_reference_value_of_the_dual_form():
    assert dual_loss(*reference()).item() == pytest.approx(0.0063218509, abs=1e-10)
    student, teacher, student_bank, teacher_bank, contrasts = (part.tolist() for part in reference())
    assert oracles.dual_side(student, teacher_bank, contrasts) == pytest.approx(0.0029174335, abs=1e-10)
    assert oracles.dual_side(teacher, student_bank, contrasts) == pytest.approx(0.0034044174, abs=1e-10)


@pytest.mark.parametrize(
    ("regularisation", "iterations", "expected"),
    [(0.1, 50, 0.7546122035), (0.1, 500, 0.7546121877), (0.05, 50, 0.7244412257)],
)
def test_reference_values_of_the_transport(regularisation, iterations, expected):
    assert transport_loss(COLUMNS, ROWS, regularisation, iterations).item() == pytest.approx(expected, abs=1e-10)


def test_less_regularisation_comes_down_to_the_cheapest_assignment():
    chosen = linear_sum_assignment(cost().numpy())
    assert cost().numpy()[chosen].mean() == pytest.approx(UNREGULARISED, abs=1e-9)
    assert cost().diagonal().mean().item() == pytest.approx(IDENTITY, abs=1e-9)
    costs = [transport_loss(COLUMNS, ROWS, beta, 3000).item() for beta in (1.0, 0.3, 0.1, 0.05, 0.02, 0.01)]
    assert costs == sorted(costs, reverse=True)
    assert all(value + 1e-9 >= UNREGULARISED for value in costs)
    assert costs[-1] == pytest.approx(UNREGULARISED, abs=1e-5)
    assert costs[2] < IDENTITY


@pytest.mark.parametrize("sizes", [(1, 2, 2, 1), (3, 4, 9, 3), (5, 8, 20, 19)], ids=str)
def test_dual_equals_the_plain_sum(sizes):
    arguments = random_case(*sizes)
    student, teacher, student_bank, teacher_bank, contrasts = (part.tolist() for part in arguments)
    expected = oracles.dual_side(student, teacher_bank, contrasts) + oracles.dual_side(teacher, student_bank, contrasts)
    assert dual_loss(*arguments).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(("regularisation", "iterations"), [(0.1, 50), (0.5, 3), (2.0, 1)])
def test_transport_equals_the_plain_iteration(count, regularisation, iterations):
    student, teacher = unit(noise(count, 3, seed=1)), unit(noise(count, 3, seed=2))
    expected = oracles.transport(student.tolist(), teacher.tolist(), regularisation, iterations)
    loss = transport_loss(student, teacher, regularisation, iterations)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_plan_moves_everything_and_is_a_constant_for_the_gradient():
    plan = transport_plan(cost().requires_grad_(), iterations=500)
    assert not plan.requires_grad
    assert bool((plan > 0).all())
    assert torch.allclose(plan.sum(dim=0), torch.full((4,), 0.25, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(plan.sum(dim=1), torch.full((4,), 0.25, dtype=torch.float64), atol=1e-9)
    student = COLUMNS.clone().requires_grad_()
    transport_loss(student, ROWS, iterations=500).backward()
    assert torch.allclose(student.grad, -plan.T @ ROWS, atol=1e-12)


def test_transport_of_a_plan_between_other_numbers_of_rows():
    plan = transport_plan(cost()[:3], iterations=500)
    assert torch.allclose(plan.sum(dim=0), torch.full((4,), 1 / 4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(plan.sum(dim=1), torch.full((3,), 1 / 3, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("regularisation", [1e-4, 1e-2, 10.0])
def test_transport_is_finite_in_single_precision_at_any_regularisation(regularisation):
    loss = transport_loss(COLUMNS.float(), ROWS.float(), regularisation)
    assert 0 <= loss.item() <= 2


def test_transport_ignores_which_rows_belong_together():
    student, teacher = unit(noise(6, 3, seed=3)), unit(noise(6, 3, seed=4))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    assert transport_loss(student[order], teacher).item() == pytest.approx(
        transport_loss(student, teacher).item(), abs=1e-9
    )


def test_identical_well_separated_sets_cost_nothing():
    corners = torch.eye(4, dtype=torch.float64)
    assert transport_loss(corners, corners, regularisation=0.02).item() == pytest.approx(0.0, abs=1e-9)


def test_a_shift_of_the_critic_changes_nothing():
    """The expectation over the negatives is a mean: with a constant added to every score the loss stays."""
    student, teacher, student_bank, teacher_bank, contrasts = random_case(seed=2)
    extra = torch.ones(len(student), 1, dtype=torch.float64)
    longer = [torch.cat([part, extra], dim=1) for part in (student, teacher)]
    banks = [
        torch.cat([bank, 5 * torch.ones(9, 1, dtype=torch.float64)], dim=1) for bank in (student_bank, teacher_bank)
    ]
    expected = dual_loss(student, teacher, student_bank, teacher_bank, contrasts).item()
    assert dual_loss(*longer, *banks, contrasts).item() == pytest.approx(expected, abs=1e-12)


def test_loss_weighs_the_global_and_the_local_part():
    arguments = random_case(seed=5)
    local, nce, dual = transport_loss(*arguments[:2]), crd_loss(*arguments), dual_loss(*arguments)
    assert wcord_loss(*arguments).item() == pytest.approx((0.8 * nce + 0.05 * local).item(), rel=1e-12)
    assert wcord_loss(*arguments, variant="dual").item() == pytest.approx((0.8 * dual + 0.05 * local).item(), rel=1e-12)
    weighted = wcord_loss(*arguments, global_weight=2.0, local_weight=3.0)
    assert weighted.item() == pytest.approx((2 * nce + 3 * local).item(), rel=1e-12)


SETTINGS = [
    {"variant": "nce"},
    {"variant": "dual"},
    {"global_weight": 2.0, "local_weight": 3.0, "regularisation": 0.5, "iterations": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: ", ".join(map(str, settings.values())))
def test_module_adds_labels_kd_and_its_loss(settings):
    distiller = build("wcord", **settings).eval()  # no power iteration between the two computations
    batch, student, teacher = batch_for(distiller), *(outputs_for(distiller, role) for role in ("student", "teacher"))
    memory, banks = distiller.memory, (distiller.memory.student_bank, distiller.memory.teacher_bank)
    with torch.no_grad():
        embedded = [
            F.normalize(memory.student_embed(student.features[4]), dim=1),
            F.normalize(memory.teacher_embed(teacher.features[4]), dim=1),
        ]
        method = wcord_loss(*embedded, *banks, batch.contrasts, **settings)
        expected = F.cross_entropy(student.logits, batch.labels) + kd_loss(student.logits, teacher.logits) + method
    loss = distiller(batch, student, teacher)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert [feature.grad is not None for feature in student.features] == [False] * 4 + [True]
    assert not torch.equal(memory.teacher_bank[:4], banks[1][:4])
    assert torch.equal(memory.teacher_bank[4:], banks[1][4:])


def test_maps_have_a_largest_singular_value_of_one_after_some_steps():
    distiller = build("wcord")
    memory = distiller.memory
    optimizer = torch.optim.SGD(distiller.student_parameters(), 0.05)
    assert len(distiller.student_parameters()) == 4
    for seed in range(40):
        outputs = [outputs_for(distiller, role, seed=seed) for role in ("student", "teacher")]
        optimizer.zero_grad()
        distiller(batch_for(distiller), *outputs).backward()
        optimizer.step()
    for linear in (memory.student_embed.eval(), memory.teacher_embed.eval()):
        assert torch.linalg.matrix_norm(linear.weight, 2).item() == pytest.approx(1.0, abs=0.05)
        assert torch.linalg.matrix_norm(linear.parametrizations.weight.original, 2).item() != pytest.approx(
            1.0, abs=0.1
        )


def test_one_power_iteration_per_training_step_and_none_in_eval_mode():
    distiller = build("wcord")
    vector = distiller.memory.student_embed.parametrizations.weight[0]
    outputs = [outputs_for(distiller, role) for role in ("student", "teacher")]

    def after(training: bool) -> torch.Tensor:
        distiller.train(training)
        distiller(batch_for(distiller), *outputs)
        return vector._u.clone()

    first = vector._u.clone()
    assert torch.equal(after(False), first)
    assert not torch.equal(after(True), first)


def test_says_that_its_constants_are_ours():
    assert "constants here are ours" in wcord.__doc__
    assert "recalled" in wcord.__doc__
    for documented in (WCoRD, wcord_loss):
        assert "form recalled, constants ours" in documented.__doc__


def test_defaults_are_the_documented_choice():
    distiller = WCoRD(Taps(STUDENT_TAPS, TEACHER_TAPS))
    assert (distiller.label_weight, distiller.teacher_weight, distiller.method_weight) == (1.0, 1.0, 1.0)
    assert (distiller.variant, distiller.global_weight, distiller.local_weight) == ("nce", 0.8, 0.05)
    assert (distiller.regularisation, distiller.iterations, distiller.needs.negatives) == (0.1, 50, 16384)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "primal"}, "variant='primal' is unknown.* Known: nce, dual"),
        ({"regularisation": 0.0}, r"regularisation must be in \(0, inf\), got 0.0"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"global_weight": -1.0}, r"global_weight must be in \[0, inf\), got -1.0"),
        ({"local_weight": -1.0}, r"local_weight must be in \[0, inf\), got -1.0"),
        ({"negatives": 0}, "negatives must be at least 1, got 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        WCoRD(Taps(STUDENT_TAPS, TEACHER_TAPS), **settings)


def test_an_unknown_variant_of_the_loss_is_refused():
    with pytest.raises(ValueError, match="variant='primal' is unknown"):
        wcord_loss(*reference(), variant="primal")

"""What holds for the pure losses of all methods alike."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kcd_teach.distillers import kd_loss
from kcd_teach.distillers.at import at_loss
from kcd_teach.distillers.crd import crd_loss
from kcd_teach.distillers.fitnet import fitnet_loss
from kcd_teach.distillers.pkt import pkt_loss
from kcd_teach.distillers.reviewkd import reviewkd_loss
from kcd_teach.distillers.rkd import rkd_loss
from kcd_teach.distillers.sp import sp_loss
from kcd_teach.distillers.sskd import head_loss, similarity_loss, transformed_loss
from kcd_teach.distillers.vid import vid_loss
from kcd_teach.distillers.wcord import dual_loss, transport_loss, transport_plan, wcord_loss
from tests.distillers.material import noise, unit

VARIANCE = torch.tensor([0.3, 1.0, 2.0, 5.0], dtype=torch.float64)  # its logarithms sum to ln 3
BANKS = tuple(0.3 * noise(9, 5, seed=seed) for seed in (90, 91))
CONTRASTS = torch.tensor([[i, (i + 1) % 9, (i + 3) % 9, (i + 4) % 9] for i in range(9)])
NORMALISERS = torch.tensor([9.0, 11.0], dtype=torch.float64)


@dataclass(frozen=True)
class Case:
    """A loss of two sides and the ids of the samples, with all else fixed.

    ``student`` and ``teacher`` are the shapes of one sample; of losses on rotated views, [4, D].
    """

    name: str
    loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    student: tuple[int, ...]
    teacher: tuple[int, ...]
    smallest: int = 1
    unit: bool = False  # both sides are vectors of unit length
    teacher_learns: bool = False
    least: float | None = 0.0  # value where both sides are identical

    def sides(self, count: int = 3, seed: int = 0, same: bool = False) -> tuple[Tensor, Tensor]:
        student = noise(count, *self.student, seed=seed)
        teacher = student.clone() if same else noise(count, *self.teacher, seed=seed + 1)
        return (unit(student), unit(teacher)) if self.unit else (student, teacher)

    def __call__(self, student: Tensor, teacher: Tensor, ids: Tensor | None = None) -> Tensor:
        return self.loss(student, teacher, torch.arange(len(student)) if ids is None else ids)


def with_banks(loss: Callable[..., Tensor], *more: Tensor, **settings) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def of_ids(student: Tensor, teacher: Tensor, ids: Tensor) -> Tensor:
        banks = (bank.to(student.dtype) for bank in BANKS)
        return loss(student, teacher, *banks, CONTRASTS[ids], *(part.to(student.dtype) for part in more), **settings)

    return of_ids


MAP, SMALL = (4, 4, 4), (3, 2, 2)
CASES = [
    Case("kd", lambda s, t, i: kd_loss(s, t), (5,), (5,)),
    Case("fitnet", lambda s, t, i: fitnet_loss(s, t), MAP, MAP),
    Case("at", lambda s, t, i: at_loss(s, t), MAP, SMALL),
    Case("sp", lambda s, t, i: sp_loss(s, t), MAP, SMALL),
    Case("vid", lambda s, t, i: vid_loss(s, t, VARIANCE.to(s.dtype)), MAP, MAP, least=math.log(3) / 8),
    Case("rkd", lambda s, t, i: rkd_loss(s, t), (3,), (5,), smallest=2),
    Case("pkt", lambda s, t, i: pkt_loss(s, t), (3,), (5,)),
    Case("reviewkd", lambda s, t, i: reviewkd_loss([s, s[:, :2]], [t, t[:, 1:3]]), MAP, MAP, least=None),
    Case("crd", with_banks(crd_loss, NORMALISERS), (5,), (5,), unit=True, teacher_learns=True, least=None),
    Case("dual", with_banks(dual_loss), (5,), (5,), unit=True, teacher_learns=True, least=None),
    Case("wcord", with_banks(wcord_loss, NORMALISERS), (5,), (5,), unit=True, teacher_learns=True, least=None),
    Case("transport", lambda s, t, i: transport_loss(s, t), (5,), (5,), unit=True, teacher_learns=True, least=None),
    Case(
        "transformed", lambda s, t, i: transformed_loss(s.flatten(0, 1), t.flatten(0, 1), i % 5),
        (4, 5), (4, 5),
    ),
    # All rows: which of several rows of one rank are kept depends on the order of the batch.
    Case("similarity", lambda s, t, i: similarity_loss(s.flatten(0, 1), t.flatten(0, 1), 1.0), (4, 3), (4, 6)),
    Case("head", lambda s, t, i: head_loss(s.flatten(0, 1)), (4, 3), (4, 3), least=None),
]  # fmt: skip

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in ("wcord", "transport")], ids=lambda case: case.name
)
def test_gradient_is_the_derivative(case):
    student, teacher = case.sides(count=3)
    assert torch.autograd.gradcheck(lambda s: case(s, teacher), student.requires_grad_())
    if case.teacher_learns:
        assert torch.autograd.gradcheck(lambda t: case(student.detach(), t), teacher.requires_grad_())


def test_gradient_of_the_transport_is_that_of_the_cost_at_a_constant_plan():
    student, teacher = unit(noise(3, 5, seed=1)).requires_grad_(), unit(noise(3, 5, seed=2)).requires_grad_()
    plan = transport_plan(1 - teacher.detach() @ student.detach().T)
    transport_loss(student, teacher).backward()
    assert torch.allclose(student.grad, -plan.T @ teacher, atol=1e-12)
    assert torch.allclose(teacher.grad, -plan @ student, atol=1e-12)


def test_gradient_of_wcord_is_the_weighted_sum_of_its_parts():
    crd, wcord, transport = (
        next(case for case in CASES if case.name == name) for name in ("crd", "wcord", "transport")
    )
    student, teacher = crd.sides()
    student.requires_grad_()
    of_crd, of_wcord, of_transport = (
        torch.autograd.grad(case(student, teacher), student)[0] for case in (crd, wcord, transport)
    )
    assert torch.allclose(of_wcord, 0.8 * of_crd + 0.05 * of_transport, atol=1e-12)


@each_case
def test_no_gradient_reaches_the_teacher_unless_its_embedding_is_learned(case):
    student, teacher = (side.requires_grad_() for side in case.sides())
    case(student, teacher).backward()
    assert student.grad.abs().max() > 0
    assert (teacher.grad is not None) == case.teacher_learns


@each_case
def test_order_of_the_batch_does_not_matter(case):
    student, teacher = case.sides(count=5)
    order = torch.tensor([3, 0, 4, 2, 1])
    assert case(student[order], teacher[order], order).item() == pytest.approx(case(student, teacher).item(), rel=1e-9)
    if case.name not in ("head", "transport"):
        assert case(student[order], teacher).item() != pytest.approx(case(student, teacher).item(), rel=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if case.least is not None], ids=lambda case: case.name)
@pytest.mark.parametrize("count", [3, 5])
def test_identical_sides_give_the_least_value_and_no_pull(case, count):
    student, teacher = case.sides(count, same=True)
    student.requires_grad_()
    loss = case(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(case.least, abs=1e-12)
    assert student.grad.abs().max().item() == pytest.approx(0.0, abs=1e-6)
    for seed in range(20):
        other = noise(count, *case.student, seed=200 + seed)
        assert case(other, teacher).item() > case.least + 1e-9


@pytest.mark.parametrize("count", [1, 2])
@each_case
def test_smallest_batches(case, count):
    student, teacher = case.sides(count)
    student.requires_grad_()
    if count < case.smallest:
        with pytest.raises(ValueError, match=f"needs at least {case.smallest}, got {count}"):
            case(student, teacher)
        return
    loss = case(student, teacher)
    loss.backward()
    assert loss.shape == ()
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(student.grad).all())


EXTREMES = {
    "large": lambda side: 1e4 * side,
    "small": lambda side: 1e-4 * side,
    "zero": torch.zeros_like,
    "constant": lambda side: torch.full_like(side, 3.0),
    "alike": lambda side: side[:1].expand_as(side).clone(),
}


@pytest.mark.parametrize("student_is", [*EXTREMES, "usual"])
@pytest.mark.parametrize("teacher_is", [*EXTREMES, "usual"])
@each_case
def test_finite_at_extreme_inputs(case, student_is, teacher_is):
    student, teacher = (side.float() for side in case.sides(4))
    if case.unit:  # large vectors of unit length there are none
        normal = F.normalize
        student, teacher = (
            side if kind == "usual" else normal(EXTREMES[kind](side), dim=1)
            for side, kind in ((student, student_is), (teacher, teacher_is))
        )
    else:
        student, teacher = (
            side if kind == "usual" else EXTREMES[kind](side)
            for side, kind in ((student, student_is), (teacher, teacher_is))
        )
    student.requires_grad_()
    loss = case(student, teacher)
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(student.grad).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@each_case
def test_half_precision_is_computed_in_single_precision(case, dtype):
    student, teacher = (side.to(dtype) for side in case.sides(4))
    halved = case(student, teacher)
    assert halved.dtype == torch.float32
    assert halved.item() == pytest.approx(case(student.float(), teacher.float()).item(), rel=1e-2, abs=1e-3)


@each_case
def test_autocast_changes_nothing(case):
    student, teacher = (side.float() for side in case.sides(4))
    with torch.autocast("cpu", torch.bfloat16):
        inside = case(student, teacher)
    assert inside.dtype == torch.float32
    assert inside.item() == case(student, teacher).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@each_case
def test_precision_of_the_arguments_is_kept(case, dtype):
    assert case(*(side.to(dtype) for side in case.sides(3))).dtype == dtype


@pytest.mark.parametrize(
    ("name", "axes"),
    [("fitnet", "B C H W"), ("at", "B C H W"), ("vid", "B C H W"), ("rkd", "B D"), ("pkt", "B D"), ("crd", "B D"),
     ("dual", "B D"), ("transport", "B D"), ("reviewkd", "B C H W")],
)  # fmt: skip
def test_features_of_a_wrong_kind_are_refused_by_name(name, axes):
    case = replace(next(case for case in CASES if case.name == name), loss=_bare(name))
    student, teacher = case.sides(3)
    with pytest.raises(ValueError, match=rf"the student's feature must be a floating-point tensor \[{axes}\], got"):
        case(student.unsqueeze(-1), teacher)
    with pytest.raises(ValueError, match=rf"the teacher's feature must be .* \[{axes}\], got torch.int64"):
        case(student, teacher.long())
    with pytest.raises(ValueError, match=r"the teacher's feature must be .* got NoneType"):
        case(student, None)
    with pytest.raises(ValueError, match="student and teacher must see the same batch, got 3 and 2 samples"):
        case(student, teacher[:2])


def _bare(name: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The loss itself; the case of reviewkd slices its arguments first."""
    if name == "reviewkd":
        return lambda s, t, i: reviewkd_loss([s], [t])
    return next(case for case in CASES if case.name == name).loss


def test_similarities_of_other_batches_are_refused():
    with pytest.raises(ValueError, match="student and teacher must see the same batch, got 3 and 2 samples"):
        sp_loss(noise(3, 2, 2), noise(2, 2, 2))


@pytest.mark.parametrize("name", ["kd", "transformed"])
def test_logits_that_are_not_finite_are_refused(name):
    case = next(case for case in CASES if case.name == name)
    student, teacher = case.sides(3)
    student.flatten()[0], teacher.flatten()[-1] = math.nan, math.inf
    with pytest.raises(ValueError, match=r"student_logits must be finite, but 1 of \d+ rows hold NaN or infinity"):
        case(student, case.sides(3)[1])
    with pytest.raises(ValueError, match=r"teacher_logits must be finite, but 1 of \d+ rows hold NaN or infinity"):
        case(case.sides(3)[0], teacher)


@pytest.mark.parametrize(
    "call",
    [
        lambda: transformed_loss(noise(8, 3), noise(8, 1), torch.tensor([0, 0])),
        lambda: transformed_loss(noise(8, 3), noise(4, 3), torch.tensor([0, 1])),
        lambda: transformed_loss(noise(8, 3), noise(8, 3), torch.tensor([0])),
        lambda: transport_loss(noise(3, 5), noise(3, 4)),
        lambda: dual_loss(noise(3, 5), noise(3, 4), *BANKS, CONTRASTS[:3]),
        lambda: crd_loss(noise(3, 5), noise(3, 4), *BANKS, CONTRASTS[:3]),
        lambda: crd_loss(noise(3, 5), noise(3, 5), BANKS[0][:4], BANKS[1], CONTRASTS[:3]),
        lambda: reviewkd_loss([], []),
        lambda: sp_loss(noise(2, 3), None),
    ],
    ids=[
        "TF: a single class", "TF: views", "TF: labels", "transport: widths", "dual: widths", "crd: widths",
        "crd: banks of other lengths", "reviewkd: no levels", "sp: no teacher",
    ],
)  # fmt: skip
def test_sides_that_do_not_fit_each_other_are_refused_and_never_broadcast(call):
    with pytest.raises(ValueError, match=r"must|needs?"):
        call()

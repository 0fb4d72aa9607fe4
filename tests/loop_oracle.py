"""One run of distillation once more, from images, seed and weights to the reports, in plain loops over samples.

The losses and the condenser have oracles of their own; this is one for what joins them. It shares with the library only

- the networks: their forward pass, in train mode for a batch of the student, in eval mode for the teacher and for tests;
- the random draws, all of which stand in :class:`Draws` and in :class:`RandomCondenser`;
- the loss functions of CRD and SSKD, which :mod:`tests.distillers.oracles` checks number by number.

Views, mixtures, normalisation, cross-entropy, KD, entropies, SGD, rates, banks, evaluation are written out here, or in
:mod:`tests.oracles`, where the rules of the condenser are.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

import numpy as np
import torch
from torch import Tensor, nn

from kcd_teach import Dataset, Recipe
from kcd_teach.distillers import Distiller
from kcd_teach.distillers.crd import crd_loss
from kcd_teach.distillers.sskd import head_loss, sskd_loss
from tests.oracles import PlainCondenser, entropy, released_mixtures, view_of

Image = np.ndarray
"""uint8 [C, H, W]."""


@dataclass
class Outcome:
    """What a run ends with, in plain numbers."""

    reports: list[tuple] = field(default_factory=list)  # epoch, stage, shown, presentations, rate, loss, accuracy
    student: dict[str, Tensor] = field(default_factory=dict)
    parts: dict[str, Tensor] = field(default_factory=dict)  # what the method has learned or remembers
    value: list[float] = field(default_factory=list)
    frequency: list[int] = field(default_factory=list)
    active: list[int] = field(default_factory=list)
    mixture: list[tuple[int, int, float]] = field(default_factory=list)  # boundary, partner, its share


class Draws:
    """The random numbers of a run, in the order in which they are drawn; all are from generators of their own.

    Epoch e, counted from 0, of a run with seed s: seed 100,003 s + e; those of the preparation go on from e = 50,000.
    First the order of the ids, which are put in ascending order before; then a view for each place in that order, four
    where images are rotated. The contrasts of batch b, counted from 0, of the epoch with seed t: seed 1,000,003 t + b;
    one draw per sample of the batch, of positions among the ids of other classes, ordered by class and then by id.
    """

    def __init__(self, seed: int, epoch: int) -> None:
        self.seed = 100_003 * seed + epoch
        self.generator = torch.Generator().manual_seed(self.seed)

    def order(self, ids: list[int]) -> list[int]:
        places = torch.randperm(len(ids), generator=self.generator).tolist()
        return [sorted(ids)[place] for place in places]

    def views(self, count: int, padding: int) -> list[tuple[int, int, int]]:
        """Row and column of the crop's corner inside the padded image, and whether it is flipped."""
        side = 2 * padding + 1
        drawn = torch.randint(2 * side**2, (count,), generator=self.generator).tolist()
        return [(number // 2 // side, number // 2 % side, number % 2) for number in drawn]

    def contrasts(self, batch: int, ids: list[int], negatives: int, others: list[int], labels: list[int]) -> Tensor:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + batch)
        rows = []
        for own in ids:
            choice = [i for i in sorted(others, key=lambda i: (labels[i], i)) if labels[i] != labels[own]]
            if len(choice) >= negatives:
                places = torch.randperm(len(choice), generator=generator)[:negatives].tolist()
            else:
                places = torch.randint(len(choice), (negatives,), generator=generator).tolist()
            rows.append([own, *(choice[place] for place in places)])
        return torch.tensor(rows)


class RandomCondenser(PlainCondenser):
    """Keeps samples at random: a number for each of them, drawn at event t with the seed 1,000 s + t."""

    def __init__(self, *arguments, seed: int, **settings) -> None:
        super().__init__(*arguments, **settings)
        self.seed = seed

    def key(self, sample: int) -> float:
        generator = torch.Generator().manual_seed(1_000 * self.seed + self.stage)
        return torch.rand(self.num_samples, generator=generator, dtype=torch.float64).tolist()[sample]


def normalised(image: Image, dataset: Dataset) -> Tensor:
    """Channel by channel, with every operation rounded to float32 as the library's contract has it."""
    channels = [
        (image[c].astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)
        for c, (mean, std) in enumerate(zip(dataset.mean, dataset.std, strict=True))
    ]
    return torch.from_numpy(np.stack(channels))


def rotated_views(image: Image, views: list[tuple[int, int, int]], padding: int) -> list[Image]:
    """Flip as the first view says, turn a quarter counter-clockwise three times, crop each by its own view."""
    shown, size = [], image.shape[1]
    turned = image[:, :, ::-1] if views[0][2] else image
    for row, column, _ in views:
        shown.append(view_of(turned, row, column, 0, padding))
        quarter = np.empty_like(turned)
        for y in range(size):
            for x in range(size):
                quarter[:, y, x] = turned[:, x, size - 1 - y]
        turned = quarter
    return shown


def paper_mixture(image: Image, partner: Image, share: Fraction) -> Image:
    """Exact fractions of a level, rounded to the nearest; pixels that are multiples of 8 never come to a half here."""
    mixed = [
        floor((1 - share) * int(a) + share * int(b) + Fraction(1, 2))
        for a, b in zip(image.flat, partner.flat, strict=True)
    ]
    return np.array(mixed, dtype=np.uint8).reshape(image.shape)


class Gallery:
    """The images as they are now: a plain list, in which mixtures take the place of what was there."""

    def __init__(self, images: Tensor, preset: str) -> None:
        self.originals = [image.numpy() for image in images]
        self.now = list(self.originals)
        self.released = preset == "released"

    def mix(self, pairs: list[tuple[int, int, float]]) -> None:
        if self.released:  # mixes what is there, and keeps it for good
            if pairs:
                before = list(self.now)
                ones, others = (np.stack([before[pair[side]] for pair in pairs]) for side in (0, 1))
                for (boundary, _, _), image in zip(pairs, released_mixtures(ones, others), strict=True):
                    self.now[boundary] = image
            return
        self.now = list(self.originals)
        for j, (boundary, partner, _) in enumerate(pairs):
            share = Fraction("0.3") * Fraction(j + 1, len(pairs))
            self.now[boundary] = paper_mixture(self.originals[boundary], self.originals[partner], share)


def log_softmax(row: Tensor, temperature: float = 1.0) -> list[Tensor]:
    """Of one sample, number by number."""
    softened = [z / temperature for z in row]
    top = max(float(z.detach()) for z in softened)
    total = torch.stack([(z - top).exp() for z in softened]).sum().log() + top
    return [z - total for z in softened]


def cross_entropy(logits: Tensor, labels: list[int]) -> Tensor:
    return sum(-log_softmax(row)[label] for row, label in zip(logits, labels, strict=True)) / len(labels)


def kd(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    total = torch.zeros((), dtype=student.dtype)
    for ours, theirs in zip(student, teacher, strict=True):
        for log_q, log_p in zip(log_softmax(ours, temperature), log_softmax(theirs, temperature), strict=True):
            total = total + log_p.exp() * (log_p - log_q)
    return temperature**2 * total / len(student)


class Descent:
    """SGD as it is written in textbooks: a velocity for every parameter, weight decay as part of the gradient."""

    def __init__(self, parameters: list[nn.Parameter], recipe: Recipe) -> None:
        self.parameters, self.momentum, self.decay = parameters, recipe.momentum, recipe.weight_decay
        self.velocities: list[Tensor | None] = [None] * len(parameters)

    def step(self, loss: Tensor, rate: float) -> None:
        gradients = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            for i, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
                force, velocity = gradient + self.decay * parameter, self.velocities[i]
                self.velocities[i] = force if velocity is None else self.momentum * velocity + force
                parameter.copy_(parameter - rate * self.velocities[i])


def rate_of_epoch(first: float, epoch: int, epochs: int, milestones: tuple[float, ...], decay: float) -> float:
    """The rate of an epoch, counted from 1; a milestone passes when its share of all epochs lies behind.

    Only for milestones that fall between two epochs, so that there is no doubt which epoch is the first behind them.
    """
    rate = first
    for milestone in milestones:
        behind = round(milestone * epochs)
        assert abs(behind - milestone * epochs) < 1e-9
        if epoch - 1 >= behind:
            rate = rate * decay
    return rate


def unit(rows: Tensor) -> Tensor:
    return torch.stack([row / row.square().sum().sqrt() for row in rows])


class Contrasts:
    """CRD's memory: a row per sample and network; what is shown moves its rows half of the way, and back to length 1."""

    def __init__(self, distiller: Distiller, num_samples: int, seed: int) -> None:
        memory = copy.deepcopy(distiller.memory)
        self.of_student, self.of_teacher = memory.student_embed, memory.teacher_embed
        bound = (3 / memory.size) ** 0.5
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            banks = [torch.empty(num_samples, memory.size).uniform_(-bound, bound) for _ in range(2)]
        self.student_bank, self.teacher_bank = (bank.double() for bank in banks)
        self.normalisers: Tensor | None = None

    def loss(self, ids: list[int], student: Tensor, teacher: Tensor, contrasts: Tensor) -> Tensor:
        ours, theirs = unit(self.of_student(student)), unit(self.of_teacher(teacher))
        if self.normalisers is None:  # of the first batch, for the whole run
            with torch.no_grad():
                sides = ((ours, self.teacher_bank), (theirs, self.student_bank))
                self.normalisers = torch.stack([self.normaliser(rows, bank, contrasts) for rows, bank in sides])
        banks = self.student_bank.clone(), self.teacher_bank.clone()  # the gradient needs them as they are
        loss = crd_loss(ours, theirs, *banks, contrasts, self.normalisers, 0.07)
        for bank, rows in ((self.student_bank, ours), (self.teacher_bank, theirs)):
            for i, row in zip(ids, rows.detach(), strict=True):
                bank[i] = unit((0.5 * bank[i] + 0.5 * row)[None])[0]
        return loss

    @staticmethod
    def normaliser(rows: Tensor, bank: Tensor, contrasts: Tensor) -> Tensor:
        terms = [(bank[k] @ row / 0.07).exp() for row, ks in zip(rows, contrasts, strict=True) for k in ks]
        return len(bank) * torch.stack(terms).mean()

    def parts(self) -> dict[str, Tensor]:
        kept = {"student_bank": self.student_bank, "teacher_bank": self.teacher_bank, "normalisers": self.normalisers}
        for name, linear in (("student_embed", self.of_student), ("teacher_embed", self.of_teacher)):
            kept |= {f"{name}.{key}": value for key, value in linear.state_dict().items()}
        return {f"memory.{name}": value.detach() for name, value in kept.items()}


@dataclass
class Batch:
    """Samples with what is shown of them: one image each, or four of them one after another."""

    number: int
    ids: list[int]
    images: Tensor


class Loop:
    """One run.

    Args:
        student: network with its initial weights; trained in place.
        teacher: network; None to learn from labels alone.
        dataset, recipe: read field by field.
        condenser: which samples are shown; None shows all.
        method: ``"kd"``, ``"growing"`` (KD's weight grows from 0 epoch by epoch), ``"crd"`` or ``"sskd"``; ``"kd"`` without
            a teacher.
        distiller: of the methods other than KD, for the initial weights of what they learn; left as it is.
        seed: of the run.
        remembered: teacher's answers as a store has them, in half precision.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module | None, dataset: Dataset, recipe: Recipe, *,
        condenser: PlainCondenser | None = None, method: str = "kd", distiller: Distiller | None = None, seed: int = 0,
        remembered: bool = False,
    ) -> None:  # fmt: skip
        self.student, self.teacher, self.dataset, self.recipe = student, teacher, dataset, recipe
        self.condenser, self.method, self.seed, self.remembered = condenser, method, seed, remembered
        self.labels = dataset.train_labels.tolist()
        self.everyone = list(range(len(self.labels)))
        self.gallery = Gallery(dataset.train_images, "" if condenser is None else condenser.preset)
        parameters = list(student.parameters())
        if method == "crd":
            self.contrasts, self.needs = Contrasts(distiller, len(self.labels), seed), distiller.needs
            parameters += [*self.contrasts.of_student.parameters(), *self.contrasts.of_teacher.parameters()]
        if method == "sskd":
            self.student_head, self.teacher_head = (
                copy.deepcopy(head) for head in (distiller.student_head, distiller.teacher_head)
            )
            parameters += list(self.student_head.parameters())
        self.descent = Descent(parameters, recipe)

    def run(self) -> Outcome:
        outcome, presentations = Outcome(), 0
        if self.method == "sskd":
            self.prepare_heads()
        for epoch in range(1, self.recipe.epochs + 1):
            rate = self.rate(self.recipe.learning_rate, epoch, self.recipe.epochs, self.recipe.milestones)
            stage = self.condenser.stage if self.condenser else 0
            active = self.condenser.active if self.condenser else self.everyone
            shown, losses = 0, 0.0
            draws, self.epoch = Draws(self.seed, epoch - 1), epoch
            for batch in self.batches(draws, active):
                loss = self.train_on(batch, rate, draws, active)
                shown += len(batch.ids)
                losses += loss * len(batch.ids)
            presentations += shown
            if self.condenser:
                self.condenser.end_epoch()
                if self.condenser.stage > stage:
                    self.gallery.mix(self.condenser.pairs)
            report = (epoch, stage, shown, presentations, rate, losses / shown, self.accuracy())
            outcome.reports.append(report)
        return self.finished(outcome)

    def rate(self, first: float, epoch: int, epochs: int, milestones: tuple[float, ...]) -> float:
        return rate_of_epoch(first, epoch, epochs, milestones, self.recipe.decay)

    def batches(self, draws: Draws, active: list[int]) -> Iterator[Batch]:
        """Ids in their order, sample by sample into batches, each image as it is seen."""
        recipe, padding = self.recipe, self.dataset.padding
        per_sample = 4 if self.method == "sskd" else 1
        order = draws.order(active)
        views = draws.views(per_sample * len(order), padding)
        if not recipe.augment:
            views = [(padding, padding, 0)] * len(views)
        for start in range(0, len(order), recipe.batch_size):
            ids = order[start : start + recipe.batch_size]
            if recipe.drop_last and len(ids) < recipe.batch_size:
                return
            images: list[Image] = []
            for place, i in enumerate(ids, start):
                seen = views[per_sample * place : per_sample * (place + 1)]
                if self.method == "sskd":
                    images += rotated_views(self.gallery.now[i], seen, padding)
                else:
                    images.append(view_of(self.gallery.now[i], *seen[0], padding))
            shown = torch.stack([normalised(image, self.dataset) for image in images])
            yield Batch(start // recipe.batch_size, ids, shown)

    def train_on(self, batch: Batch, rate: float, draws: Draws, active: list[int]) -> float:
        self.student.train()
        labels = [self.labels[i] for i in batch.ids]
        logits, feature = self.answers_of(self.student, batch.images)
        plain = logits[::4] if self.method == "sskd" else logits
        if self.teacher is None:
            loss = cross_entropy(plain, labels)
        else:
            loss = self.distillation(batch, labels, logits, feature, plain, draws, active)
        for i, row in zip(batch.ids, plain.tolist(), strict=True):  # before the step
            if self.condenser:
                self.condenser.record(i, entropy(row))
        self.descent.step(loss, rate)
        return float(loss.detach())

    def distillation(
        self, batch: Batch, labels: list[int], logits: Tensor, feature: Tensor | None, plain: Tensor, draws: Draws,
        active: list[int],
    ) -> Tensor:  # fmt: skip
        taught, tapped = self.asked(batch.images)
        of_plain = taught[::4] if self.method == "sskd" else taught
        if self.method == "crd":
            others = self.everyone if self.needs.negatives_from == "all" else active
            contrasts = draws.contrasts(batch.number, batch.ids, self.needs.negatives, others, self.labels)
            contrast = self.contrasts.loss(batch.ids, feature, tapped, contrasts)
            return cross_entropy(plain, labels) + kd(plain, of_plain) + 0.8 * contrast
        if self.method == "growing":
            return cross_entropy(plain, labels) + (self.epoch - 1) / self.recipe.epochs * kd(plain, of_plain)
        loss = 0.1 * cross_entropy(plain, labels) + 0.9 * kd(plain, of_plain)
        if self.method == "sskd":
            with torch.no_grad():
                theirs = self.teacher_head(tapped)
            loss = loss + sskd_loss(logits, taught, self.student_head(feature), theirs, torch.tensor(labels))
        return loss

    def answers_of(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits, and the pooled feature where the method wants it."""
        if self.method in ("kd", "growing"):
            return network(images), None
        logits, features = network(images, return_features=True)
        return logits, features[-1]

    @torch.no_grad()
    def asked(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        logits, feature = self.answers_of(self.teacher.eval(), images)
        return logits.half().to(logits.dtype) if self.remembered else logits, feature

    def prepare_heads(self) -> None:
        """SSKD's first stage: the teacher's head, on all samples, for a quarter of the epochs, with rates of its own."""
        epochs = self.recipe.epochs // 4
        descent = Descent(list(self.teacher_head.parameters()), self.recipe)
        for epoch in range(1, epochs + 1):
            rate = self.rate(0.05, epoch, epochs, (0.5, 0.75))
            for batch in self.batches(Draws(self.seed, 50_000 + epoch - 1), self.everyone):
                descent.step(head_loss(self.teacher_head(self.asked(batch.images)[1])), rate)

    @torch.no_grad()
    def accuracy(self) -> float:
        """Test images one after another, as they are."""
        self.student.eval()
        right = 0
        for image, label in zip(self.dataset.test_images, self.dataset.test_labels.tolist(), strict=True):
            said = self.student(normalised(image.numpy(), self.dataset)[None])[0].tolist()
            right += said.index(max(said)) == label
        return right / len(self.dataset.test_labels)

    def finished(self, outcome: Outcome) -> Outcome:
        outcome.student = copy.deepcopy(self.student.state_dict())
        if self.method == "crd":
            outcome.parts = self.contrasts.parts()
        if self.method == "sskd":
            for name in ("student_head", "teacher_head"):
                outcome.parts |= {f"{name}.{key}": value for key, value in getattr(self, name).state_dict().items()}
        if self.condenser:
            seen = self.condenser.seen
            outcome.value = [sum(seen[i]) / max(len(seen[i]), 1) for i in self.everyone]
            outcome.frequency = [len(seen[i]) for i in self.everyone]
            outcome.active, outcome.mixture = list(self.condenser.active), list(self.condenser.pairs)
        return outcome


def differences(ours: Outcome, theirs: Outcome, tolerance: float) -> list[str]:
    """What two outcomes do not agree about, in words; weights are compared with the largest of their tensor."""
    found: list[str] = []

    def compare(what: str, mine: list[float], other: list[float], close: Callable[[float, float, float], bool]) -> None:
        scale = max((abs(x) for x in other), default=0.0)
        if len(mine) != len(other):
            found.append(f"{what}: {len(mine)} numbers, not {len(other)}")
        elif wrong := [(a, b) for a, b in zip(mine, other, strict=True) if not close(a, b, scale)]:
            found.append(f"{what}: {wrong[0][0]}, not {wrong[0][1]}")

    def exactly(a: float, b: float, scale: float) -> bool:
        return a == b

    def nearly(a: float, b: float, scale: float) -> bool:
        return abs(a - b) <= tolerance * max(scale, 1e-3)

    def in_single_precision(a: float, b: float, scale: float) -> bool:
        return abs(a - b) < 1e-6  # the authors' code rounds its shares so

    columns = ("epoch", "stage", "active", "presentations", "learning rate", "train loss", "test accuracy")
    if len(ours.reports) != len(theirs.reports):
        found.append(f"epochs: {len(ours.reports)}, not {len(theirs.reports)}")
    for number, name in enumerate(columns):
        rounded = name in ("learning rate", "train loss", "test accuracy")
        mine, other = ([report[number] for report in outcome.reports] for outcome in (ours, theirs))
        compare(name, mine, other, nearly if rounded else exactly)
    compare("value", ours.value, theirs.value, nearly)
    for name in ("frequency", "active"):
        compare(name, getattr(ours, name), getattr(theirs, name), exactly)
    for place, name in enumerate(("boundary", "partners", "coefficients")):
        mine, other = ([pair[place] for pair in outcome.mixture] for outcome in (ours, theirs))
        compare(name, mine, other, in_single_precision if name == "coefficients" else exactly)
    for group in ("student", "parts"):
        mine, other = getattr(ours, group), getattr(theirs, group)
        if mine.keys() != other.keys():
            found.append(f"{group}: {sorted(mine)}, not {sorted(other)}")
            continue
        for name, tensor in other.items():
            compare(name, mine[name].double().flatten().tolist(), tensor.double().flatten().tolist(), nearly)
    return found

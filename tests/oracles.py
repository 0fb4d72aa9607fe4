"""The method once more, written from the equations in the slowest and plainest way, to compare the library with.

Lists, dicts and loops over single samples and pixels; nothing of torch, nothing of the library.
"""

import math
from fractions import Fraction

import numpy as np

INFINITY = float("inf")


def schedule(preset: str, num_samples: int, ratio: str, stages: int, divisor: int = 6) -> list[int]:
    """n_0, n_1, ..; the ratio is given as text, so that it is the decimal number that was meant."""
    if preset == "paper":
        counts = []
        for t in range(stages):
            share = Fraction(1) - (Fraction(1) - Fraction(ratio)) * Fraction(t, max(stages - 1, 1))
            counts.append(int(num_samples * share + Fraction(1, 2)))  # all are positive: int() is the floor
        return counts
    step = int(num_samples * (1 - float(ratio)) / divisor)
    lower = int(float(ratio) * num_samples)
    counts = [num_samples]
    while len(counts) < stages + 1:
        counts.append(lower if counts[-1] - step < lower else counts[-1] - step)
    return counts


class PlainCondenser:
    """Every rule of the condenser on lists and dicts; keeps the whole history and recomputes everything from it."""

    def __init__(
        self, num_samples, ratio, stages, epochs, preset="paper", alpha=0.03, mixing=True, mixing_strength=0.3,
        value="mean", pool="all", partners="slice", selection="value",
    ):  # fmt: skip
        self.num_samples, self.preset, self.alpha, self.mixing = num_samples, preset, alpha, mixing
        self.strength, self.value, self.pool, self.partners = mixing_strength, value, pool, partners
        self.lowest = selection == "lowest"
        self.counts = schedule(preset, num_samples, ratio, stages)
        self.events = [epochs * t // stages for t in range(1, stages)] + ([epochs] if preset == "released" else [])
        self.seen: dict[int, list[float]] = {i: [] for i in range(num_samples)}
        self.active = list(range(num_samples))
        self.pairs: list[tuple[int, int, float]] = []  # (boundary id, partner id, share of the partner)
        self.epoch = self.stage = 0

    def record(self, sample: int, entropy: float) -> None:
        self.seen[sample].append(entropy)

    def score(self, sample: int) -> float:
        seen = self.seen[sample]
        if not seen:
            return 0.0
        total = math.fsum(seen)
        return (total if self.value == "sum" else total / len(seen)) * len(seen) ** self.alpha

    def key(self, sample: int) -> float:
        if sample not in self.active and (self.pool == "active" or not self.seen[sample]):
            return -INFINITY
        if not self.seen[sample]:
            return INFINITY
        return -self.score(sample) if self.lowest else self.score(sample)

    def ranking(self) -> list[int]:
        return sorted(range(self.num_samples), key=lambda sample: (-self.key(sample), sample))

    def end_epoch(self) -> None:
        self.epoch += 1
        if self.epoch not in self.events:
            return
        self.stage += 1
        ranking = self.ranking()
        before, now = self.counts[self.stage - 1], self.counts[self.stage]
        length = min(before - now, now)
        if self.partners == "complement":
            length = min(self.num_samples - now, now)
        self.active = ranking[:now]
        self.pairs = []
        for j in range(length if self.mixing else 0):
            share = self.strength * (j if self.preset == "released" else j + 1) / length
            self.pairs.append((ranking[now - length + j], ranking[now + j], share))


def entropy(logits: list[float]) -> float:
    top = max(logits)
    weights = [math.exp(z - top) for z in logits]
    return -sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights if w > 0)


def kd(student: list[list[float]], teacher: list[list[float]], temperature: float) -> float:
    """T^2 / B sum_b sum_c p (ln p - ln q), one number after another."""
    total = 0.0
    for z_s, z_t in zip(student, teacher, strict=True):
        log_q = [z / temperature - _log_sum(z_s, temperature) for z in z_s]
        log_p = [z / temperature - _log_sum(z_t, temperature) for z in z_t]
        total += sum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))
    return temperature**2 * total / len(student)


def _log_sum(logits: list[float], temperature: float) -> float:
    top = max(logits) / temperature
    return top + math.log(sum(math.exp(z / temperature - top) for z in logits))


def view_of(image: np.ndarray, row: int, column: int, flip: int, padding: int) -> np.ndarray:
    """One crop of one image [C, H, W] out of its black frame, pixel by pixel."""
    channels, height, width = image.shape
    shown = np.zeros_like(image)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                source_y = y + row - padding
                source_x = (width - 1 - x if flip else x) + column - padding
                if 0 <= source_y < height and 0 <= source_x < width:
                    shown[c, y, x] = image[c, source_y, source_x]
    return shown


def released_mixtures(boundary: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """The authors' mixtures of two stacks [L, ..] of uint8 images: every operation rounded to float32, then cut off."""
    length = len(boundary)
    mixed = np.empty_like(boundary)
    for j in range(length):
        keep = np.float32(0.3) * (np.float32(length - j) / np.float32(length)) + np.float32(0.7)
        rest = np.float32(1) - keep
        mixed[j] = (keep * boundary[j].astype(np.float32) + rest * partners[j].astype(np.float32)).astype(np.uint8)
    return mixed

"""Lesson 04, EM feedback: its questions, its exercises, then its pictures of who is kept, of the cut and of the bound."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from kcd_teach.condensation import DROPPED, ROLES, ValueRecord, cost_aware_score, rank
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES as LOOKS
from kcd_teach.figures.style import colour, headline, new_figure, styled
from kcd_teach.lessons.exercise import Exercise, Judgement
from kcd_teach.lessons.predictions import Question

QUESTIONS = {
    "return": Question(
        "Samples 1 and 4 are dropped after epoch 2, and nothing new is recorded of them. Can they be back after epoch 4?",
        ("no, dropped is dropped", "yes, if others fall below them", "yes, every dropped sample gets a second try"),
    ),
    "often": Question(
        "In this run 3,000 of 10,000 samples are out at the end. How many were dropped and came back before that?",
        ("none", "some hundreds", "more than a thousand"),
    ),
    "alpha": Question(
        "A larger alpha gives the frequency F more weight. What happens to the number of samples that come back?",
        ("it grows", "it stays the same", "it falls"),
    ),
}


def _ranking(value: Tensor, frequency: Tensor, alpha: float) -> Tensor:
    return rank(cost_aware_score(value, frequency, alpha))


keep = Exercise(
    name="keep",
    task=(
        "Return the ids of the `count` samples with the highest score V * F ** alpha, best first; of equal scores the "
        "lower id comes first."
    ),
    minutes=6,
    hints=(
        "Compute one score per sample, then sort the scores and keep the order, not the scores.",
        "torch.sort returns values and indices; the indices are the ids.",
        "torch.sort(score, descending=True, stable=True) leaves equal scores in the order of their ids.",
    ),
    reference=lambda value, frequency, alpha, count: _ranking(value, frequency, alpha)[:count],
    cases=(
        (
            torch.tensor([1.16, 1.15, 0.40, 1.15, 2.45], dtype=torch.float64),
            torch.tensor([2, 4, 2, 4, 4]),
            0.03,
            2,
        ),
        (
            torch.tensor([0.9, 1.5, 1.0, 2.0, 0.2], dtype=torch.float64),
            torch.tensor([9, 4, 1, 1, 1]),
            0.5,
            3,
        ),
    ),
    mistakes={
        "The lowest scores were kept. They belong to what the student is sure of already, and where it has the "
        "least to learn.": lambda v, f, alpha, n: _ranking(-v, f, alpha)[:n],
        "The frequency was ignored. Of two samples with nearly equal entropy, the one that was shown more often has "
        "resisted more training.": lambda v, f, alpha, n: rank(v)[:n],
        "Equal scores come in reverse order of id, as when an ascending order is turned round. Without one rule for "
        "ties a repeated run need not keep "
        "the same samples.": lambda v, f, alpha, n: _ranking(-v, f, alpha).flip(0)[:n],
        "These are places in the ranking, not ids: argsort was applied twice. As ids they would "
        "name other samples.": lambda v, f, alpha, n: _ranking(v, f, alpha).argsort()[:n],
        "The right samples, but in order of id. The order of rank is needed later: the last ones kept are those "
        "that get mixed.": lambda v, f, alpha, n: _ranking(v, f, alpha)[:n].sort().values,
        "alpha was used as a factor and not as an exponent. The frequency then "
        "outweighs the value.": lambda v, f, alpha, n: rank(v * f * alpha)[:n],
    },
    solution="""
        import torch

        def keep(value, frequency, alpha, count):
            score = value * frequency.double() ** alpha
            return torch.sort(score, descending=True, stable=True).indices[:count]
    """,
)


def _update(value: Tensor, frequency: Tensor, ids: Tensor, entropies: Tensor) -> tuple[Tensor, Tensor]:
    record = ValueRecord(len(value))
    record.mean, record.frequency = value.double().clone(), frequency.clone()
    record.add(ids, entropies)
    return record.mean, record.frequency


def _others_lost(value: Tensor, frequency: Tensor, ids: Tensor, entropies: Tensor) -> tuple[Tensor, Tensor]:
    new_value, new_frequency = _update(value, frequency, ids, entropies)
    lost = torch.zeros_like(new_value)
    lost[ids] = new_value[ids]
    return lost, new_frequency


def _old_frequency(value: Tensor, frequency: Tensor, ids: Tensor, entropies: Tensor) -> tuple[Tensor, Tensor]:
    _, new_frequency = _update(value, frequency, ids, entropies)
    new_value = value.clone()
    new_value[ids] += (entropies - value[ids]) / frequency[ids]
    return new_value, new_frequency


def _newest_only(value: Tensor, frequency: Tensor, ids: Tensor, entropies: Tensor) -> tuple[Tensor, Tensor]:
    _, new_frequency = _update(value, frequency, ids, entropies)
    return value.index_copy(0, ids, entropies), new_frequency


update = Exercise(
    name="update",
    task=(
        "Record one batch: for the samples `ids` raise the frequency F by 1 and update the running mean, "
        "V <- V + (h - V) / F with the new F; return new (value, frequency) and leave the old ones untouched."
    ),
    minutes=8,
    hints=(
        "Only the samples in `ids` change; entropies[j] belongs to sample ids[j].",
        "Start from value.clone() and frequency.clone(), so that the caller keeps what it handed you.",
        "After new_frequency[ids] += 1: new_value[ids] += (entropies - value[ids]) / new_frequency[ids].",
    ),
    reference=_update,
    parts=("value", "frequency"),
    cases=(
        (
            torch.tensor([1.0, 2.0, 0.5, 0.0], dtype=torch.float64),
            torch.tensor([1, 2, 1, 0]),
            torch.tensor([1, 3]),
            torch.tensor([0.5, 1.2], dtype=torch.float64),
        ),
        (
            torch.tensor([1.8, 0.9, 0.6], dtype=torch.float64),
            torch.tensor([3, 2, 1]),
            torch.tensor([2, 0]),
            torch.tensor([0.2, 1.0], dtype=torch.float64),
        ),
    ),
    mistakes={
        "The values of samples that were not shown were overwritten. Their record is all that is known of them; "
        "without it a dropped sample cannot come back.": _others_lost,
        "The difference was divided by the old frequency. Raise F first: a sample shown for the first time would be "
        "divided by 0.": _old_frequency,
        "Places in the batch were used as ids: the first samples of the data set were updated, not those that were "
        "shown. entropies[j] belongs to sample ids[j].": lambda v, f, ids, h: _update(v, f, torch.arange(len(ids)), h),
        "The newest entropy replaced the mean. All earlier epochs count as well.": _newest_only,
        "The frequency was not raised in what is returned. The next update would weigh its "
        "entropy too much.": lambda v, f, ids, h: (_update(v, f, ids, h)[0], f),
    },
    solution="""
        def update(value, frequency, ids, entropies):
            new_value, new_frequency = value.clone(), frequency.clone()
            new_frequency[ids] += 1
            new_value[ids] += (entropies - value[ids]) / new_frequency[ids]
            return new_value, new_frequency
    """,
)

why_return = Judgement(
    name="why_return",
    task=(
        "On 2,000 images some samples are dropped at the first event and are back at the third. A friend says: the student "
        "forgot them, so its entropy rose again, and that brought them back. Which observations speak against this?"
    ),
    minutes=3,
    options={
        "while a sample is dropped, its score does not change": (
            "Nothing is recorded of a sample that is not shown. Whatever the student forgets, the ranking cannot know it."
        ),
        "on 10,000 images no sample came back": (
            "That is another run. It would also fit a student that simply forgets less when it sees more images."
        ),
        "the cut was lower at the third event than at the first": (
            "A score that stands still is kept again as soon as the cut has fallen below it, and here the cut fell."
        ),
        "the samples that came back were close to the cut when they were dropped": (
            "That fits both stories, because close to the cut a little forgetting would be enough as well."
        ),
        "the test accuracy rose in the meantime": (
            "Accuracy is a mean over all test images. A few training images could be forgotten while it rises."
        ),
    },
    right="ac",
    hints=(
        "For each observation, ask whether your friend's story could still be true if you had seen it.",
        "The friend needs an entropy that rises while the sample is out. Who would have recorded it?",
        "Two of the five say how the two sides of the comparison moved: the score of the sample, and the cut.",
    ),
)


@styled
def lower_bound(belief: np.ndarray, bound: np.ndarray, log_likelihood: float, posterior: float, title: str) -> Picture:
    """Jensen's bound (nats, [n]) as a function of Q(y = 1) ([n], 0 .. 1), below the log-likelihood it touches once."""
    figure, (axes,) = new_figure(7.2, 3.6)
    axes.axhline(log_likelihood, color=colour("teacher"), linewidth=1.5)
    axes.annotate("log-likelihood", (0.01, log_likelihood), xytext=(0, 4), textcoords="offset points", fontsize=9.5)
    axes.fill_between(belief, bound, log_likelihood, color=colour("dropped"), alpha=0.2)
    axes.plot(belief, bound, color=colour("kept"))
    low = int(np.abs(belief - 0.15).argmin())
    axes.annotate(
        "lower bound",
        (belief[low], bound[low]),
        xytext=(8, -8),
        textcoords="offset points",
        color=colour("kept"),
        va="top",
        fontsize=9.5,
    )
    axes.annotate(
        "gap: KL(Q || posterior)", (0.17, 0.45 * bound[low] + 0.55 * log_likelihood), ha="center", fontsize=9.5
    )
    axes.plot(posterior, log_likelihood, "o", color=colour("student"), markersize=10, zorder=5)
    axes.annotate(
        "Q = posterior",
        (posterior, log_likelihood),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        color=colour("student"),
        fontsize=9.5,
    )
    axes.set(title=title, xlabel="Q(y = 1): belief that the sample is worth something", ylabel="nats", xlim=(0, 1))
    axes.set_ylim(bound.min() - 0.05, log_likelihood + 0.16 * (log_likelihood - bound.min()))
    best = int(bound.argmax())
    alt = "A hill-shaped lower bound under a horizontal line; it touches the line at one point only, the posterior."
    return Picture(
        figure,
        alt,
        "The bound touches the log-likelihood for one belief only, the posterior, and lies below it for every other.",
        f"The log-likelihood of {log_likelihood:.2f} nats is reached at Q(y = 1) = {belief[best]:.2f}; "
        f"at Q(y = 1) = {belief[low]:.2f} the bound lies {log_likelihood - bound[low]:.2f} nats below.",
    )


@styled
def kept_through_stages(role_by_stage: np.ndarray, title: str) -> Picture:
    """One column per stage, one line per sample (int8 [S, N]), samples sorted by how long they stay."""
    stayed = (role_by_stage != DROPPED).sum(axis=0)
    order = np.lexsort((*role_by_stage, -stayed))  # of those that stay equally long, the ones mixed last lie lowest
    returned = comes_back(role_by_stage)
    figure, (axes,) = new_figure(7.2, 4.2)
    tint = np.array([[int(colour(name)[i : i + 2], 16) for i in (1, 3, 5)] for name in ROLES], dtype=np.uint8)
    axes.imshow(tint[role_by_stage[:, order].T], aspect="auto", interpolation="nearest")
    axes.set(title=title, xlabel="stage", ylabel="samples, the ones that stay longest on top")
    axes.set_xticks(range(len(role_by_stage)))
    for boundary in range(1, len(role_by_stage)):
        axes.axvline(boundary - 0.5, color="white", linewidth=2)
    for name in ROLES:
        axes.plot([], [], LOOKS[name].marker, color=colour(name), markersize=8, label=name)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt = "One line per sample and one column per stage, coloured by kept, mixed or dropped."
    never = float((stayed == len(role_by_stage)).mean())
    back = f"{int(returned.sum()):,} of {len(returned):,} samples are dropped and come back later."
    reading = back if returned.any() else "Whoever is dropped stays out: no sample comes back in a later stage."
    return Picture(figure, alt, reading, f"Never dropped: {100 * never:.0f} % of the samples.")


def print_samples(
    frequency: Tensor, value: Tensor, score: Tensor, rank: Tensor, likelihood: Tensor, keep: Tensor
) -> None:
    """Print how every sample comes to be kept (Y = 1) or not, a row per sample, all arguments [N]."""
    print("  id   F      V  score   R  1-R/N  Y")
    for sample, of_sample in enumerate(zip(frequency, value, score, rank, likelihood, keep, strict=True)):
        numbers = (number.item() for number in of_sample)
        print("  {:2} {:3.0f} {:6.3f}  {:5.2f}  {:2.0f}   {:.1f}   {:d}".format(sample, *numbers))


def comes_back(role_by_stage: np.ndarray) -> np.ndarray:
    """True for samples that are dropped in one stage and kept or mixed in a later one; bool [N]."""
    out = role_by_stage == DROPPED
    returned: np.ndarray = (out[:-1] & ~out[1:]).any(axis=0)
    return returned


@styled
def moving_cut(runs: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str, followed: int = 9) -> Picture:
    """The score of the last kept sample, event by event, and samples dropped at the first event.

    Args:
        runs: name -> (scores at the S - 1 events, float64 [S - 1, N], nats; roles in the S stages, int8 [S, N]).
        title: of the figure.
        followed: samples whose scores are drawn, evenly spread over those dropped at the first event.
    """
    figure, panels = new_figure(8.4, 3.9, 1, len(runs), sharey=True)
    headline(figure, title)
    texts: list[str] = []
    highest = 0.0
    for (name, (scores, role_by_stage)), axes in zip(runs.items(), panels, strict=True):
        out = role_by_stage[1:] == DROPPED
        events = np.arange(1, len(scores) + 1)
        cut = np.where(out, np.inf, scores).min(axis=1)
        first = np.flatnonzero(out[0])[np.argsort(scores[0, out[0]])]
        for sample in first[np.linspace(0, len(first) - 1, followed).astype(int)]:
            axes.plot(events, scores[:, sample], color=colour("dropped"), linewidth=0.8)
            for role, here in (("dropped", out[:, sample]), ("kept", ~out[:, sample])):
                axes.plot(events[here], scores[here, sample], LOOKS[role].marker, color=colour(role), markersize=6)
        axes.plot(events, cut, color=colour("teacher"), linewidth=2.5, label="cut: score of the last one kept")
        for role, label in (("dropped", "dropped at event 1"), ("kept", "kept again")):
            axes.plot([], [], LOOKS[role].marker, color=colour(role), label=label)
        axes.set(title=name, xlabel="event", xticks=events)
        highest = max(highest, float(cut.max()))
        back = (out[:-1] & ~out[1:]).any()
        moves = "falls" if cut[-1] < cut[0] else "rises"
        texts.append(
            f"with {name} the cut {moves} and {'dropped samples come' if back else 'no dropped sample comes'} back"
        )
    # The score of a mixture can be several times as high; the cut, which the figure is about, would look flat beside it.
    panels[0].set(ylabel="score (nats)", ylim=(0, 1.5 * highest))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    alt = (
        f"Scores of dropped samples as level lines and the cut as a thick line, event by event, for {', '.join(runs)}."
    )
    said = "; ".join(texts)
    return Picture(figure, alt, f"{said[:1].upper()}{said[1:]}.")

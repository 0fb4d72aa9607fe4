"""The exercises of the course: the reference and the solution pass, every mistake is recognised."""

import contextlib
import copy
import io
import itertools
import re
from pathlib import Path

import pytest
import torch

import kcd_teach
from kcd_teach.condensation import Condenser, prediction_entropy
from kcd_teach.lessons import (
    TODO,
    WrongAnswer,
    does_choosing_help,
    em_feedback,
    knowledge_amount,
    learning_value,
    summary_condensation,
)
from kcd_teach.lessons.exercise import changed, first_difference
from tests.lessons.course import EXERCISES, LESSONS

ALL = list(EXERCISES.values())
NAMES = [exercise.name for exercise in ALL]
MISTAKES = [
    pytest.param(exercise, text, id=f"{exercise.name}-{number}")
    for exercise in ALL
    for number, text in enumerate(exercise.mistakes)
]
each = pytest.mark.parametrize("exercise", ALL, ids=NAMES)


def refusal(exercise, answer) -> str:
    with pytest.raises(WrongAnswer) as caught:
        exercise.judge(answer)
    return " ".join(str(caught.value).split())


def answer_of(exercise):
    """The function that the solution's text defines."""
    names: dict[str, object] = {}
    exec(exercise.solution, names)
    return names[exercise.name]


def test_every_lesson_has_exercises_under_their_own_names():
    assert len(set(NAMES)) == len(ALL) == 19
    assert list(EXERCISES) == NAMES
    for lesson in LESSONS.values():
        assert any(exercise in vars(lesson).values() for exercise in ALL)


def test_only_notebooks_lean_on_a_lesson():
    package = Path(kcd_teach.__file__).parent
    others = [path for path in package.rglob("*.py") if package / "lessons" not in path.parents]
    leaning = {
        path.name: lines
        for path in others
        if (lines := re.findall(r"^\s*(?:from|import) kcd_teach.lessons.*", path.read_text(), re.M))
    }
    # A command may begin with what it runs: grading and the laboratory are imported only when they are called.
    called = ["    from kcd_teach.lessons import grading", "    from kcd_teach.lessons.laboratory import serve"]
    assert leaning == {"cli.py": called}


@each
def test_reference_passes(exercise, capsys):
    answer = lambda *arguments: exercise.reference(*arguments)  # noqa: E731
    assert exercise.check(answer) is answer
    assert capsys.readouterr().out.startswith(f"right: {exercise.name} agrees with the library")


@each
def test_solution_passes(exercise):
    mine = answer_of(exercise)
    assert exercise.check(mine) is mine
    assert len(exercise.solution.splitlines()) <= 10


@each
def test_todo_hands_back_the_reference(exercise, capsys):
    assert exercise.check(TODO) is exercise.reference
    assert exercise.check(lambda *arguments: TODO) is exercise.reference
    assert exercise.check(exercise.check(TODO)) is exercise.reference  # the cell of the check, run twice
    assert capsys.readouterr().out.count("not solved yet") == 4


@pytest.mark.parametrize(("exercise", "text"), MISTAKES)
def test_mistake_gets_its_own_message(exercise, text):
    said = refusal(exercise, exercise.mistakes[text])
    assert said.endswith(f"Likely reason: {text}")
    assert sum(other in said for other in exercise.mistakes) == 1


@each
def test_mistakes_are_told_apart(exercise):
    results = {
        text: [wrong(*copy.deepcopy(case)) for case in exercise.cases] for text, wrong in exercise.mistakes.items()
    }
    assert len(results) >= 3
    for (_, ours), (_, theirs) in itertools.combinations(results.items(), 2):
        pairs = zip(ours, theirs, strict=True)
        assert any(first_difference(*pair, exercise.parts) is not None for pair in pairs)


def test_messages_are_distinct():
    texts = [text for exercise in ALL for text in exercise.mistakes]
    assert len(set(texts)) == len(texts)


@each
def test_neither_reference_nor_mistakes_nor_solution_change_their_arguments(exercise):
    for function in [exercise.reference, answer_of(exercise), *exercise.mistakes.values()]:
        for case in exercise.cases:
            arguments = copy.deepcopy(case)
            function(*arguments)
            assert not any(changed(*pair) for pair in zip(case, arguments, strict=True))


@each
def test_cases_are_small_and_texts_short(exercise):
    tensors = [part for case in exercise.cases for part in case if isinstance(part, torch.Tensor)]
    assert all(tensor.numel() <= 16 for tensor in tensors)
    assert len(exercise.hints) == 3
    assert exercise.task.endswith(".")
    assert all(hint.endswith((".", "?")) for hint in exercise.hints)


@each
def test_texts_are_the_same_every_time(exercise):
    def everything() -> str:
        fresh = copy.copy(exercise)
        fresh._hints_given = 0
        with contextlib.redirect_stdout(io.StringIO()) as out:
            for _ in range(4):
                fresh.hint()
            fresh.show_solution()
            print(repr(fresh), fresh._repr_markdown_())
            for wrong in [*fresh.mistakes.values(), lambda *arguments: object()]:
                print(refusal(fresh, wrong))
        return out.getvalue()

    first = everything()
    assert first == everything()
    assert " at 0x" not in first


def _geometric_counts(num_samples, ratio, stages):
    return [round(num_samples * ratio ** (t / (stages - 1))) for t in range(stages)]


def _length_of_the_last_streak(correct):
    return correct.flip(0).long().cumprod(0).sum(0)


def _exponential_mean(value, frequency, ids, entropies):
    value, frequency = value.clone(), frequency.clone()
    frequency[ids] += 1
    value[ids] = 0.9 * value[ids] + 0.1 * entropies
    return value, frequency


INDEPENDENT = {
    "presentations": (lambda n, e: (n[0] + n[1]) / (2 * n[0]), "The result should be 0.8, but is 0.9."),
    "kept_counts": (_geometric_counts, "case 2 of 4: .* Element 2 should be 7, but is 6 "),
    "soften": (lambda z, t: torch.softmax(z / t**2, 1), r"Element \[0, 0\] should be 0.6285, but is 0.481 "),
    "kd_loss": (lambda s, t, temperature: ((s - t) ** 2).mean(), "The result should be 0.2405, but is 0.8889."),
    "entropy": (lambda p: 1 - (p**2).sum(1), "Element 1 should be 0.6931, but is 0.5 "),
    "doubtful": (
        lambda p, y: torch.nonzero(p[torch.arange(len(y)), y] < 0.2).flatten(),
        "The result should have 2 elements, but has 1 element",
    ),
    "running_mean": (lambda h: h.nanmedian(0).values.nan_to_num(), "Element 1 should be 1, but is 0.8 "),
    "learned_epoch": (_length_of_the_last_streak, "Element 0 should be 1, but is 4 "),
    "keep": (lambda v, f, a, n: (-v / f**a).sort(stable=True).indices[:n], "Element 1 should be 1, but is 0 "),
    "update": (_exponential_mean, "Element 1 of `value` should be 1.5, but is 1.85 "),
    "pair": (
        lambda r, previous, n: (r[2 * n - previous : n], r[n + 1 : previous + 1]),
        "Element 0 of `partners` should be 5, but is 1 ",
    ),
    "blend": (
        lambda x, y, c: ((x.double() + y) / 2).to(torch.uint8),
        r"Element \[0, 0, 0\] should be 72, but is 52 ",
    ),
    "missed": (
        lambda z, y: 1 - z.sigmoid()[torch.arange(len(y)), y],
        "Element 0 should be 0.213, but is 0.1192 ",
    ),
    "paired_interval": (
        lambda ours, theirs: (sum(ours.values()) / len(ours) - sum(theirs.values()) / len(theirs), 0.5),
        "Element|`half` should be",
    ),
    "attention_map": (
        lambda f: f.pow(2).amax(1).flatten(1) / f.pow(2).amax(1).sum(),
        r"Element \[0, 0\] should be 0.09938, but is 0.025 ",
    ),
    "similarity_rows": (
        lambda f: torch.cdist(f.flatten(1), f.flatten(1)),
        r"Element \[0, 0\] should be 0.4472, but is 0 ",
    ),
    "seeds_needed": (lambda spread, gain: round((spread / gain) ** 2), "The result should be 14, but is 3."),
    "count_views": (lambda p: (2 * p + 1) * (2 * p + 2), "case 2 of 3: .* The result should be 50, but is 30."),
    "known_share": (lambda v, e: e / (v + e), "The result should be 0.02, but is 0.01961."),
}


@each
def test_an_unforeseen_mistake_gets_the_first_difference(exercise):
    answer, pattern = INDEPENDENT[exercise.name]
    with pytest.raises(WrongAnswer) as caught:
        exercise.judge(answer)
    text = " ".join(str(caught.value).split())
    assert "Likely reason" not in text
    assert re.search(pattern, text), text


def test_update_in_place_is_refused():
    def in_place(value, frequency, ids, entropies):
        frequency[ids] += 1
        value[ids] += (entropies - value[ids]) / frequency[ids]
        return value, frequency

    assert "changed its arguments `value` and `frequency` in place" in refusal(em_feedback.update, in_place)


def test_a_case_made_of_dicts_can_be_followed_by_hand():
    said = refusal(does_choosing_help.paired_interval, lambda ours, theirs: (1.0, 0.0))
    assert "ours = {0: " in said


def test_zeroing_the_gaps_in_place_is_refused():
    def in_place(history):
        shown = ~history.isnan()
        history[~shown] = 0
        return history.sum(dim=0) / shown.sum(dim=0).clamp(min=1)

    assert "changed its argument `history` in place" in refusal(learning_value.running_mean, in_place)


def test_entropy_agrees_with_that_of_logits():
    logits = torch.linspace(-3, 5, 12).reshape(3, 4)
    ours = knowledge_amount.entropy.reference(logits.softmax(dim=1))
    assert torch.allclose(ours, prediction_entropy(logits), atol=1e-6)


def test_keep_update_and_pair_together_are_the_condenser():
    condenser = Condenser(4, ratio=0.5, stages=2, epochs=2)
    ids, entropies = torch.tensor([0, 1, 2, 3]), torch.tensor([0.1, 0.9, 0.5, 0.3])
    condenser.record(ids, entropies)
    condenser.end_epoch()
    value, frequency = answer_of(em_feedback.update)(torch.zeros(4).double(), torch.zeros(4).long(), ids, entropies)
    ranking = answer_of(em_feedback.keep)(value, frequency, 0.03, 4)
    boundary, partners = answer_of(summary_condensation.pair)(ranking, 4, 2)
    assert torch.equal(ranking[:2], condenser.active)
    assert torch.equal(boundary, condenser.mixture.boundary)
    assert torch.equal(partners, condenser.mixture.partners)

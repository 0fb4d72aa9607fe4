"""How an exercise answers: the same for all of them, tried on a small one."""

import copy
import pickle

import numpy as np
import pytest
import torch

from kcd_teach.lessons import TODO, Exercise, WrongAnswer


def shares(values, scale):
    """Values as shares of their sum, times scale."""
    return scale * values / values.sum()


def make(**changes) -> Exercise:
    settings = {
        "name": "shares",
        "task": "Scale values to shares.",
        "minutes": 2,
        "hints": ("Sum first.", "Then divide."),
        "reference": shares,
        "cases": ((torch.tensor([1.0, 1.0, 2.0]), 1.0), (torch.tensor([3.0, 1.0]), 2.0)),
        "mistakes": {
            "The scale was left out.": lambda v, s: v / v.sum(),
            "Divided by the largest.": lambda v, s: s * v / v.max(),
            "It was multiplied.": lambda v, s: s * v * v.sum(),
        },
        "solution": """
            def shares(values, scale):
                return scale * values / values.sum()
        """,
    }
    return Exercise(**{**settings, **changes})


def message(answer, **changes) -> str:
    with pytest.raises(WrongAnswer) as caught:
        make(**changes).judge(answer)
    return str(caught.value)


def test_right_answer_comes_back(capsys):
    def mine(values, scale):
        return values * (scale / values.sum())

    assert make().check(mine) is mine
    assert capsys.readouterr().out == "right: shares agrees with the library in both cases tried\n"


@pytest.mark.parametrize("convert", [torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist, list])
def test_numpy_arrays_and_lists_are_welcome(convert):
    make().check(lambda values, scale: convert(shares(values, scale)))


def unfinished(values, scale):
    total = TODO
    return scale * values / total


@pytest.mark.parametrize(
    "answer",
    [TODO, lambda values, scale: TODO, lambda values, scale: (values, TODO), lambda v, s: [TODO], unfinished],
    ids=["TODO", "stub", "half done", "list", "TODO inside"],
)
def test_not_solved_yet(answer, capsys):
    exercise = make()
    assert exercise.check(answer) is exercise.reference
    assert capsys.readouterr().out == "not solved yet: shares; the notebook goes on with the library's version\n"


def test_todo_is_one():
    assert repr(TODO) == "TODO"
    assert type(TODO)() is TODO
    assert copy.deepcopy(TODO) is TODO
    assert pickle.loads(pickle.dumps(TODO)) is TODO


def test_message_of_a_wrong_answer():
    assert message(lambda v, s: v / v.sum()) == (
        "shares, case 2 of 2:\n"
        "    values = [3, 1]\n"
        "    scale = 2\n"
        "    expected  [1.5, 0.5]\n"
        "    got       [0.75, 0.25]\n"
        "Element 0 should be 1.5, but is 0.75 (counted from 0; 2 of 2 differ).\n"
        "Likely reason: The scale was left out."
    )


def test_a_reason_must_explain_every_wrong_case():
    # Right like "It was multiplied." in case 2 only.
    def mine(values, scale):
        return scale * values * values.sum() if len(values) == 2 else values

    assert "Likely reason" not in message(mine)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda v, s: None, "Is the `return` missing?"),
        (lambda v, s: "a lot", "should be floating-point numbers, but is a str"),
        (lambda v, s: object(), "got       an object"),
        (lambda v, s: {"a": 1.0}, "but is a dict"),
        (lambda v, s: [v, v[:1]], "but is a list"),
        (lambda v, s: v.sort(), "should return one result, but returned 2 together"),
        (lambda v, s: v > 0, "but is true or false"),
        (lambda v, s: v.long(), "but is whole numbers"),
        (lambda v, s: v.to(torch.uint8), "but is whole numbers from 0 to 255 (uint8)"),
        (lambda v, s: v[:1], "should have 3 elements, but has 1 element"),
        (lambda v, s: v[None], "should have 3 elements, but has shape [1, 3]"),
        (lambda v, s: 0.5, "should have 3 elements, but is a single number"),
        (lambda v, s: [], "should have 3 elements, but has 0 elements"),
        (lambda v, s: v * float("nan"), "Element 0 should be 0.25, but is NaN"),
        (lambda v, s: torch.zeros(7, 9), "got       63 numbers of shape [7, 9]"),
        (lambda v: v, "stopped with TypeError"),
        (lambda v, s: v @ torch.zeros(5), "stopped with RuntimeError"),
        (0.3, "hand over the function itself"),
        (shares(torch.ones(2), 1.0), "without calling it; got [0.5, 0.5]"),
    ],
)
def test_unusable_answers_are_explained(answer, part):
    assert part in message(answer)


def test_close_but_wrong_numbers_are_told_apart():
    assert "should be 0.25, but is 0.2501" in message(lambda v, s: shares(v, s) + 1e-4)
    assert "should be 0.25, but is 0.25004" in message(lambda v, s: shares(v, s) + 4e-5)


def test_exception_names_the_learners_line():
    def mine(values, scale):
        total = values.sum()
        return values / missing(total)  # noqa: F821

    text = message(mine)
    assert "Your function stopped with NameError: name 'missing' is not defined" in text
    assert "    in its line 3: return values / missing(total)" in text


def test_an_interrupt_is_not_an_answer():
    def mine(values, scale):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make().check(mine)


def test_a_careless_learner_cannot_spoil_the_cases(capsys):
    def careless(values, scale):
        values *= scale / values.sum()
        return values

    exercise = make()
    before = copy.deepcopy(exercise.cases)
    for _ in range(2):
        with pytest.raises(WrongAnswer, match=r"changed its argument `values` in\s+place"):
            exercise.judge(careless)
    for case, kept in zip(exercise.cases, before, strict=True):
        assert torch.equal(case[0], kept[0])
    exercise.check(shares)


def pairs(values):
    return values[:1], values[1:]


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda v: (v[:1], v[2:]), "`rest` should have 2 elements, but has 1 element"),
        (lambda v: (v[:1], v[1:] + 1), "Element 0 of `rest` should be 5, but is 6 (counted from 0; 2 of 2 differ)"),
        (lambda v: (v[:1], v), "`rest` should have 2 elements, but has 3 elements"),
        (lambda v: v, "should return 2 results, (first, rest), but returned a Tensor"),
        (lambda v: (v, v, v), "should return 2 results, (first, rest), but returned 3 results"),
        (lambda v: (v[1:], v[:1]), "got       first = [5, 6], rest = [4]"),
    ],
)
def test_several_results(answer, part):
    case = (torch.tensor([4, 5, 6]),)
    text = message(answer, reference=pairs, cases=(case,), parts=("first", "rest"), mistakes={})
    assert part in text


def test_a_list_may_stand_for_a_tuple_and_an_empty_list_for_no_ids():
    exercise = make(reference=pairs, cases=((torch.tensor([4]),),), parts=("first", "rest"), mistakes={})
    exercise.check(lambda v: [np.array([4]), []])


def test_hints_come_one_at_a_time_and_the_last_stays(capsys):
    exercise = make()
    for _ in range(3):
        exercise.hint()
    last = "hint 2 of 2: Then divide.\n(the last hint; shares.show_solution() prints a solution)\n"
    assert capsys.readouterr().out == "hint 1 of 2: Sum first.\n" + last + last


def test_solution_is_printed_without_indentation(capsys):
    make().show_solution()
    assert capsys.readouterr().out == "def shares(values, scale):\n    return scale * values / values.sum()\n"


def test_repr_and_markdown():
    assert repr(make()) == "Exercise shares (2 minutes): Scale values to shares."
    assert make(minutes=1)._repr_markdown_() == "**Exercise `shares`** (1 minute, 2 hints). Scale values to shares."


def test_a_wrong_answer_is_explained_and_the_notebook_goes_on(capsys):
    exercise = make()
    assert exercise.check(lambda values, scale: values) is exercise.reference
    shown = capsys.readouterr().out
    assert shown.startswith("not right yet: shares, case 1 of 2:\n    values = [1, 1, 2]\n")
    assert shown.endswith("The notebook goes on with the library's version.\n")
    assert exercise.check(lambda values, scale: 1 / 0) is exercise.reference
    assert "ZeroDivisionError" in capsys.readouterr().out

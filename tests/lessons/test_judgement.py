"""Judgements: every statement has its own words, right answers are recognised, and nothing stops a notebook."""

import itertools
import re

import pytest

from kcd_teach.lessons import TODO, Judgement
from tests.lessons.course import JUDGEMENTS

each = pytest.mark.parametrize("judgement", JUDGEMENTS.values(), ids=JUDGEMENTS)


def said(judgement, answer, capsys) -> str:
    judgement.check(answer)
    return " ".join(capsys.readouterr().out.split())


def letters(judgement):
    return "abcdefgh"[: len(judgement.options)]


@each
def test_has_right_and_wrong_statements_and_hints(judgement):
    assert judgement.name in JUDGEMENTS
    assert 0 < len(judgement.right) < len(judgement.options)
    assert set(judgement.right) < set(letters(judgement))
    assert judgement.task.endswith(("?", "."))
    assert len(judgement.hints) == 3
    assert len({*judgement.options.values()}) == len(judgement.options)
    assert all(text.endswith(".") for text in judgement.options.values())


@each
def test_every_choice_of_letters_is_judged(judgement, capsys):
    for count in range(1, len(judgement.options) + 1):
        for chosen in itertools.combinations(letters(judgement), count):
            text = said(judgement, "".join(chosen), capsys)
            wrong = set(chosen) - set(judgement.right)
            assert text.startswith("right:") == (set(chosen) == set(judgement.right))
            if wrong:
                statement = list(judgement.options)[letters(judgement).index(min(wrong))]
                assert f'"{statement}" does not hold' in text
            elif set(chosen) != set(judgement.right):
                assert re.search(r"what you chose holds, and (one more holds|\d more hold)$", text)


@each
def test_todo_lists_the_statements_and_the_solution_is_right(judgement, capsys):
    text = said(judgement, TODO, capsys)
    assert text.startswith(f"not solved yet: {judgement.name}")
    assert all(" ".join(statement.split()) in text for statement in judgement.options)
    names = {}
    exec(judgement.solution, names)
    assert said(judgement, names[judgement.name], capsys).startswith(f"right: {judgement.name}")


@pytest.mark.parametrize("answer", ["", "z", "ax", 3, None, ["a"], "  "])
def test_what_is_no_answer_is_explained(answer, capsys):
    judgement = Judgement("j", "Which?", 1, {"one": "It is.", "two": "It is not."}, "a", ("?",))
    assert said(judgement, answer, capsys).startswith("not right yet: answer with letters from a to b")


@pytest.mark.parametrize("answer", ["a", "A", " a ", "a,"])
def test_letters_are_read_generously(answer, capsys):
    judgement = Judgement("j", "Which?", 1, {"one": "It is.", "two": "It is not."}, "a", ("?",))
    assert said(judgement, answer, capsys).startswith("right: j")

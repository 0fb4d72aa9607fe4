"""Guesses come before results: buttons, a folded outcome, and a score that is kept from notebook to notebook."""

import json
import types

import pytest

from kcd_teach.lessons import Predictions, predictions
from kcd_teach.lessons.predictions import Question

QUESTIONS = {
    "entropy": Question("What does the entropy do?", ("rises", "falls", "stays as it is")),
    "cost": Question("What is saved?", ("a quarter", "half <of it>")),
}


@pytest.fixture(autouse=True)
def memory(monkeypatch, tmp_path):
    path = tmp_path / "home" / "guesses.json"
    monkeypatch.setattr(predictions, "memory_file", lambda: path)
    return path


def a_lesson(name: str = "kcd_teach.lessons.one") -> types.ModuleType:
    module = types.ModuleType(name)
    module.QUESTIONS = QUESTIONS
    return module


def buttons(shown) -> list:
    return [child for child in shown.box.children if hasattr(child, "click")]


def said(shown) -> str:
    return " ".join(child.value for child in shown.box.children if hasattr(child, "value"))


def test_a_question_has_a_button_for_every_answer():
    shown = Predictions(a_lesson()).ask("entropy")
    assert [button.description for button in buttons(shown)] == ["a) rises", "b) falls", "c) stays as it is"]
    assert shown.text == "What does the entropy do?\n  a) rises\n  b) falls\n  c) stays as it is"


def test_the_outcome_is_folded_until_a_guess_is_made():
    guesses = Predictions(a_lesson())
    question = guesses.ask("entropy")
    outcome = guesses.reveal("entropy", "falls", because="It has to.")
    assert [button.description for button in buttons(outcome)] == ["show the outcome"]
    assert "falls" not in said(outcome)
    buttons(question)[1].click()
    assert buttons(outcome) == []
    assert "b) falls" in said(outcome)
    assert "Your guess was right" in said(outcome)
    assert "It has to." in said(outcome)


def test_a_guess_may_come_after_run_all_and_before_the_outcome_is_seen():
    guesses = Predictions(a_lesson())
    question, outcome = guesses.ask("cost"), guesses.reveal("cost", "a", because="So.")
    buttons(question)[1].click()
    assert "Your guess was not this time" in said(outcome)
    assert all(button.disabled for button in buttons(question))


def test_the_outcome_can_be_asked_for_without_a_guess_and_no_guess_counts_then():
    guesses = Predictions(a_lesson())
    question, outcome = guesses.ask("cost"), guesses.reveal("cost", "a", because="So.")
    buttons(outcome)[0].click()
    assert "a) a quarter" in said(outcome)
    buttons(question)[0].click()
    assert "no guess" in guesses.summary().box.value


def test_a_guess_can_be_changed_until_the_outcome_is_there():
    guesses = Predictions(a_lesson())
    question = guesses.ask("cost")
    for index in (0, 1):
        buttons(question)[index].click()
    assert [button.button_style for button in buttons(question)] == ["", "info"]
    assert "Your guess was not this time" in said(guesses.reveal("cost", "a", because="So."))


def test_the_same_question_shown_twice_shows_the_same_guess():
    guesses = Predictions(a_lesson())
    first, second = guesses.ask("cost"), guesses.ask("cost")
    buttons(first)[1].click()
    assert [button.button_style for button in buttons(second)] == ["", "info"]


def test_text_and_page_hold_everything_for_readers_without_a_kernel():
    guesses = Predictions(a_lesson())
    guesses.guess("cost", "b")
    for shown in (guesses.ask("cost"), guesses.reveal("cost", "b", because="x < y.")):
        bundle = shown._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle
        assert "half &lt;of it&gt;" in bundle["text/html"]
    assert bundle["text/html"].startswith("<details>")
    assert bundle["text/plain"] == "outcome: b) half <of it>\nx < y."


def test_what_a_test_compares_does_not_depend_on_guesses():
    def texts(guess):
        guesses = Predictions(a_lesson())
        shown = [guesses.ask("cost")]
        if guess:
            guesses.guess("cost", guess)
        shown += [guesses.reveal("cost", "a", because="So."), guesses.summary()]
        return [(one.text, one.page) for one in shown]

    assert texts(None) == texts("a") == texts("b")


def test_summary_follows_the_guesses():
    guesses = Predictions(a_lesson())
    summary = guesses.summary()
    assert "no guess" in summary.box.value
    guesses.guess("entropy", "rises")
    assert "outcome not seen yet" in summary.box.value
    guesses.reveal("entropy", "rises", because="So.")
    assert "<td>right</td>" in summary.box.value


def test_the_score_covers_all_notebooks(memory):
    for name, guess in (("one", "a"), ("two", "b")):
        guesses = Predictions(a_lesson(f"kcd_teach.lessons.{name}"))
        guesses.guess("cost", guess)
        guesses.reveal("cost", "a", because="So.")
    assert "1 of 2 guesses right in all notebooks" in guesses.summary().box.value
    kept = json.loads(memory.read_text())
    assert (kept["one"], kept["two"]) == ({"cost": True}, {"cost": False})
    again = Predictions(a_lesson("kcd_teach.lessons.two"))
    again.guess("cost", "a")
    again.reveal("cost", "a", because="So.")
    assert "2 of 2 guesses right" in again.summary().box.value


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"one": 3}', "null"])
def test_a_file_that_is_not_ours_is_no_memory(memory, content):
    memory.parent.mkdir()
    memory.write_text(content)
    guesses = Predictions(a_lesson())
    guesses.guess("cost", "a")
    guesses.reveal("cost", "a", because="So.")
    assert "1 of 1 guesses right" in guesses.summary().box.value


def test_a_home_that_cannot_be_written_to_stops_nothing(memory):
    memory.parent.write_text("a file where the folder should be")
    guesses = Predictions(a_lesson())
    guesses.guess("cost", "a")
    assert "Your guess was right" in said(guesses.reveal("cost", "a", because="So."))


@pytest.mark.parametrize("choice", ["d", "rise", "", "ab", 1, True, ["a"], ...])
def test_what_is_no_answer_is_refused(choice):
    with pytest.raises(ValueError, match=r"choice must be a letter from a to c or one of .*, got"):
        Predictions(a_lesson()).guess("entropy", choice)


def test_questions_that_do_not_exist_are_refused():
    guesses = Predictions(a_lesson())
    for attempt in (guesses.ask, lambda key: guesses.reveal(key, "a", "So."), lambda key: guesses.guess(key, "a")):
        with pytest.raises(ValueError, match="key must be one of 'entropy', 'cost', got 'costs'"):
            attempt("costs")


@pytest.mark.parametrize("options", [("one",), ("x", "x"), tuple(map(str, range(27)))])
def test_options_that_cannot_be_told_apart_are_refused(options):
    with pytest.raises(ValueError, match="2 to 26 different texts"):
        Question("Which?", options)

"""Guesses come before results."""

import pytest

from kcd_teach.lessons import Predictions

OPTIONS = ["rises", "falls", "stays as it is"]


def asked(guess=None) -> Predictions:
    guesses = Predictions()
    guesses.ask("entropy", "What does the entropy do?", OPTIONS, guess)
    return guesses


def test_ask_prints_the_lettered_options(capsys):
    asked()
    assert capsys.readouterr().out == (
        "What does the entropy do?\n  a) rises\n  b) falls\n  c) stays as it is\nno guess recorded\n"
    )


@pytest.mark.parametrize("guess", ["falls", "b", "B", " Falls "])
def test_a_guess_is_an_option_or_its_letter(guess, capsys):
    asked(guess)
    assert capsys.readouterr().out.endswith("your guess: b) falls\n")


@pytest.mark.parametrize("guess", ["d", "rise", "", "ab", 1, True, ["a"], ...])
def test_any_other_guess_is_refused(guess):
    with pytest.raises(ValueError, match=r"guess must be None, a letter from a to c or one of .*, got"):
        asked(guess)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["one"], "2 to 26 different texts"),
        (["x1", "X1 "], "2 to 26 different texts"),
        ([f"option {i}" for i in range(27)], "2 to 26 different texts"),
        (["b", "other"], "must not look like the letters"),
        ([1, 2], "must be a list of texts"),
        (["yes", " "], "must be a list of texts"),
        ("yes", "must be a list of texts"),
    ],
)
def test_options_must_be_tellable_apart(options, part):
    with pytest.raises(ValueError, match=part):
        Predictions().ask("key", "Which?", options)


@pytest.mark.parametrize(
    ("guess", "first", "second"),
    [
        ("b", "your guess: b) falls", "outcome:    b) falls (right)"),
        ("a", "your guess: a) rises", "outcome:    b) falls (not this time)"),
        (None, "your guess: no guess recorded", "outcome:    b) falls"),
    ],
)
def test_reveal_puts_the_outcome_beside_the_guess(guess, first, second, capsys):
    guesses = asked(guess)
    capsys.readouterr()
    guesses.reveal("entropy", "falls", because="Training makes the student surer.")
    assert capsys.readouterr().out.splitlines() == [first, second, "Training makes the student surer."]


def test_reveal_refuses_an_outcome_that_was_not_an_option():
    guesses = asked("a")
    with pytest.raises(ValueError, match=r"answer must be a letter from a to c or one of"):
        guesses.reveal("entropy", "explodes", because="")
    guesses.ask("entropy", "What does the entropy do?", OPTIONS, "b")


def test_reveal_comes_after_ask():
    with pytest.raises(RuntimeError, match=r"'cost' must be asked before it is revealed.*\(asked: 'entropy'\)"):
        asked().reveal("cost", "a", because="")
    with pytest.raises(RuntimeError, match=r"asked: nothing"):
        Predictions().reveal("cost", "a", because="")


def test_no_guess_after_the_outcome():
    guesses = asked("a")
    guesses.reveal("entropy", "b", because="")
    with pytest.raises(RuntimeError, match="outcome of 'entropy' has been revealed"):
        guesses.ask("entropy", "What does the entropy do?", OPTIONS, "b")


def test_asking_again_before_the_outcome_replaces_the_guess(capsys):
    guesses = asked("a")
    guesses.ask("entropy", "What does the entropy do?", OPTIONS, "b")
    guesses.reveal("entropy", "b", because="")
    guesses.reveal("entropy", "b", because="")
    assert capsys.readouterr().out.count("(right)") == 2


def test_summary(capsys):
    guesses = asked("a")
    guesses.ask("cost", "What is saved?", ["a quarter", "half"], "a")
    guesses.ask("teacher", "Is a wrong teacher kept?", ["yes", "no, it is dropped because nobody trusts it"])
    guesses.ask("later", "And then?", ["yes", "no"], "no")
    guesses.reveal("entropy", "b", because="")
    guesses.reveal("cost", "a quarter", because="")
    guesses.reveal("teacher", "b", because="")
    capsys.readouterr()
    guesses.summary()
    assert capsys.readouterr().out == (
        "question  your guess    outcome\n"
        "entropy   a) rises      b) falls                        not this time\n"
        "cost      a) a quarter  a) a quarter                    right\n"
        "teacher   -             b) no, it is dropped because …  no guess recorded\n"
        "later     b) no         -                               not revealed yet\n"
        "1 of 2 guesses right\n"
    )
    assert repr(guesses) == "Predictions(4 asked, 3 revealed)"


def test_summary_of_nothing(capsys):
    Predictions().summary()
    asked().summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "no question asked yet"
    assert lines[-1] == "no guess to compare yet"

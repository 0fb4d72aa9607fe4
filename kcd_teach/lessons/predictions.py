"""Guesses that are written down before the results are seen."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

WIDTH = 100
"""Characters in a printed line."""
_COLUMN = 36
"""Most characters of an option in the summary."""


@dataclass
class _Question:
    options: tuple[str, ...]
    guess: int | None
    answer: int | None = None

    def option(self, index: int | None, missing: str) -> str:
        return missing if index is None else f"{ascii_lowercase[index]}) {self.options[index]}"

    @property
    def verdict(self) -> str:
        if self.answer is None:
            return "not revealed yet"
        if self.guess is None:
            return "no guess recorded"
        return "right" if self.guess == self.answer else "not this time"


class Predictions:
    """The guesses of one notebook: asked, then compared with the outcome, in this order.

    Example:
        >>> guesses = Predictions()
        >>> guesses.ask("ratio", "Half of the samples are dropped in the end. What is saved?",
        ...             ["a quarter", "half"], guess="b")
        Half of the samples are dropped in the end. What is saved?
          a) a quarter
          b) half
        your guess: b) half
        >>> guesses.reveal("ratio", "a quarter", because="The first stages still train on most samples.")
        your guess: b) half
        outcome:    a) a quarter (not this time)
        The first stages still train on most samples.
    """

    def __init__(self) -> None:
        self._questions: dict[str, _Question] = {}

    def ask(self, key: str, question: str, options: Sequence[str], guess: str | None = None) -> None:
        """Print a question with its options, and record a guess.

        Asking again before the outcome is known replaces the guess.

        Args:
            key: short name of the question, for :meth:`reveal` and :meth:`summary`.
            question: one sentence.
            options: two or more different texts.
            guess: one of the options, its letter, or None for no guess.

        Raises:
            ValueError: if the guess is none of these, or the options cannot be told apart.
            RuntimeError: if the outcome has been revealed already.
        """
        if key in self._questions and self._questions[key].answer is not None:
            raise RuntimeError(
                f"the outcome of {key!r} has been revealed, and guesses come first; "
                "start again with a new Predictions() to guess anew"
            )
        _check_options(options)
        chosen = None if guess is None else _index("guess", guess, options)
        entry = self._questions[key] = _Question(tuple(options), chosen)
        print(textwrap.fill(question, WIDTH))
        for index in range(len(options)):
            print(f"  {entry.option(index, '')}")
        print("no guess recorded" if chosen is None else f"your guess: {entry.option(chosen, '')}")

    def reveal(self, key: str, answer: str, because: str) -> None:
        """Print the guess beside the outcome, and the reason.

        Args:
            key: of a question that was asked before.
            answer: the option that came true, as its text or letter.
            because: why, and what makes the other options tempting.

        Raises:
            RuntimeError: if the question was not asked before.
            ValueError: if the answer is none of the options.
        """
        if key not in self._questions:
            asked = ", ".join(repr(name) for name in self._questions) or "nothing"
            raise RuntimeError(f"{key!r} must be asked before it is revealed: guesses come first (asked: {asked})")
        entry = self._questions[key]
        entry.answer = _index("answer", answer, entry.options)
        verdict = "" if entry.guess is None else f" ({entry.verdict})"
        print(f"your guess: {entry.option(entry.guess, 'no guess recorded')}")
        print(f"outcome:    {entry.option(entry.answer, '')}{verdict}")
        print(textwrap.fill(because, WIDTH))

    def summary(self) -> None:
        """Print all guesses against their outcomes, one line per question."""
        if not self._questions:
            print("no question asked yet")
            return
        rows = [("question", "your guess", "outcome", "")]
        for key, entry in self._questions.items():
            cells = [entry.option(entry.guess, "-"), entry.option(entry.answer, "-")]
            guess, outcome = (textwrap.shorten(cell, _COLUMN, placeholder=" …") for cell in cells)
            rows.append((key, guess, outcome, entry.verdict))
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        guessed = [entry for entry in self._questions.values() if entry.verdict in ("right", "not this time")]
        right = sum(entry.verdict == "right" for entry in guessed)
        print(f"{right} of {len(guessed)} guesses right" if guessed else "no guess to compare yet")

    def __repr__(self) -> str:
        revealed = sum(entry.answer is not None for entry in self._questions.values())
        return f"Predictions({len(self._questions)} asked, {revealed} revealed)"


def _check_options(options: Sequence[str]) -> None:
    if isinstance(options, str) or not all(isinstance(option, str) and option.strip() for option in options):
        raise ValueError(f"options must be a list of texts, got {options!r}")
    texts = [_plain(option) for option in options]
    if not 2 <= len(texts) <= len(ascii_lowercase) or len(set(texts)) < len(texts):
        raise ValueError(f"options must be 2 to {len(ascii_lowercase)} different texts, got {list(options)}")
    if letters := sorted(set(texts) & set(ascii_lowercase[: len(texts)])):
        raise ValueError(f"options must not look like the letters in front of them, got {letters[0]!r}")


def _plain(text: str) -> str:
    return text.strip().lower()


def _index(argument: str, choice: str, options: Sequence[str]) -> int:
    """Which option ``choice`` names, by its text or its letter; capitals and spaces around it do not matter."""
    letters = ascii_lowercase[: len(options)]
    if isinstance(choice, str):
        texts = [_plain(option) for option in options]
        if _plain(choice) in texts:
            return texts.index(_plain(choice))
        if len(_plain(choice)) == 1 and _plain(choice) in letters:
            return letters.index(_plain(choice))
    none = "None, " if argument == "guess" else ""
    raise ValueError(
        f"{argument} must be {none}a letter from a to {letters[-1]} or one of {list(options)}, got {choice!r}"
    )

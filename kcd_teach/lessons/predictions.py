"""Guesses that come before results: buttons under a question, an outcome that stays folded until one has guessed."""

import html
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_lowercase
from types import ModuleType
from typing import Any

import ipywidgets
import platformdirs

from kcd_teach._files import reading, sealed, unsealed, written_whole

WIDTH = 100
"""Characters in a line of plain text."""


def memory_file() -> Path:
    """The file in the user's own data folder that remembers guesses from one notebook to the next."""
    return Path(platformdirs.user_data_dir("kcd_teach")) / "guesses.json"


@dataclass(frozen=True)
class Question:
    """What is asked before a result is seen.

    Attributes:
        text: one sentence.
        options: two or more different answers.

    Raises:
        ValueError: options that cannot be told apart.
    """

    text: str
    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(set(self.options)) == len(self.options) <= len(ascii_lowercase):
            raise ValueError(f"options must be 2 to {len(ascii_lowercase)} different texts, got {self.options}")

    def option(self, index: int) -> str:
        """An answer with its letter."""
        return f"{ascii_lowercase[index]}) {self.options[index]}"


@dataclass
class _State:
    """What is known of one question in this kernel, and who wants to hear of a change."""

    question: Question
    guess: int | None = None
    answer: int | None = None
    because: str = ""
    opened: bool = False
    listeners: list[Callable[[], None]] = field(default_factory=list)

    def tell(self) -> None:
        """Bring all widgets of this question up to date."""
        for listener in self.listeners:
            listener()

    @property
    def verdict(self) -> str:
        """The guess against the outcome, in words."""
        if self.guess is None:
            return "no guess"
        if self.answer is None or not self.opened:
            return "outcome not seen yet"
        return "right" if self.guess == self.answer else "not this time"


class Predictions:
    """The guesses of one notebook. Every method returns something that a notebook shows as the last line of a cell.

    Args:
        lesson: module of the notebook, whose ``QUESTIONS`` are asked: a name for each -> :class:`Question`.

    Example:
        >>> import types
        >>> lesson = types.ModuleType("kcd_teach.lessons.a_lesson")
        >>> lesson.QUESTIONS = {"cost": Question("Half is dropped in the end. What is saved?", ("a quarter", "half"))}
        >>> guesses = Predictions(lesson)
        >>> guesses.ask("cost")
        Half is dropped in the end. What is saved?
          a) a quarter
          b) half
        >>> guesses.guess("cost", "b")
        >>> guesses.reveal("cost", "a quarter", because="The first stages still train on most samples.")
        outcome: a) a quarter
        The first stages still train on most samples.
    """

    def __init__(self, lesson: ModuleType) -> None:
        self.lesson = lesson.__name__.rpartition(".")[2]
        self._states = {key: _State(question) for key, question in lesson.QUESTIONS.items()}
        self._listeners: list[Callable[[], None]] = []

    def ask(self, key: str) -> "Shown":
        """The question with a button for every answer; the first guess after which the outcome was seen counts.

        Raises:
            ValueError: a question that the lesson does not have.
        """
        state = self._state(key)
        lines = [textwrap.fill(state.question.text, WIDTH)]
        lines += [f"  {state.question.option(i)}" for i in range(len(state.question.options))]
        items = "".join(f"<li>{html.escape(option)}</li>" for option in state.question.options)
        page = f'<p><b>{html.escape(state.question.text)}</b></p><ol type="a">{items}</ol>'
        return Shown(_question_box(state, lambda index: self._guess(state, index)), "\n".join(lines), page)

    def guess(self, key: str, choice: str) -> None:
        """Guess in code what the buttons guess by a click: an answer, or its letter.

        Raises:
            ValueError: a question that the lesson does not have, or none of its answers.
        """
        state = self._state(key)
        self._guess(state, _index("choice", choice, state.question.options))

    def reveal(self, key: str, answer: str, because: str) -> "Shown":
        """The outcome and its reason, folded until a guess was made or the outcome is asked for.

        Args:
            key: of a question.
            answer: the one that came true, as its text or letter.
            because: why, and what makes the other answers tempting.

        Raises:
            ValueError: a question that the lesson does not have, or none of its answers.
        """
        state = self._state(key)
        state.answer, state.because = _index("answer", answer, state.question.options), because
        outcome = state.question.option(state.answer)
        page = (
            f"<details><summary>Outcome</summary><p><b>{html.escape(outcome)}</b></p>"
            f"<p>{html.escape(because)}</p></details>"
        )
        shown = Shown(_outcome_box(state, self._open), f"outcome: {outcome}\n{textwrap.fill(because, WIDTH)}", page)
        if state.guess is not None:
            self._open(state)
        return shown

    def summary(self) -> "Shown":
        """All questions of this notebook with guess and outcome, and the score over all notebooks so far."""
        box = ipywidgets.HTML()

        def update() -> None:
            box.value = self._table()

        self._listeners.append(update)
        update()
        lines = [f"{len(self._states)} questions in this notebook"]
        lines += [
            textwrap.shorten(f"- {state.question.text}", WIDTH, placeholder=" …") for state in self._states.values()
        ]
        page = f"<p>{lines[0]}: run it to see your guesses beside the outcomes.</p>"
        return Shown(box, "\n".join(lines), page)

    def _state(self, key: str) -> _State:
        if key not in self._states:
            raise ValueError(f"key must be one of {', '.join(map(repr, self._states))}, got {key!r}")
        return self._states[key]

    def _guess(self, state: _State, index: int) -> None:
        if state.opened:  # whoever has seen the outcome does not guess any more
            return
        state.guess = index
        if state.answer is not None:
            self._open(state)
        self._tell(state)

    def _open(self, state: _State) -> None:
        state.opened = True
        if state.guess is not None:
            self._remember()
        self._tell(state)

    def _tell(self, state: _State) -> None:
        state.tell()
        for listener in self._listeners:
            listener()

    def _remember(self) -> None:
        """Add the guesses whose outcome was seen to the file for all notebooks."""
        seen = {
            key: state.guess == state.answer
            for key, state in self._states.items()
            if state.opened and state.guess is not None
        }
        known = _remembered()
        known[self.lesson] = {**known.get(self.lesson, {}), **seen}
        path = memory_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as file:
                file.write(sealed(known, indent=1).encode())
        except OSError:  # a home that cannot be written to: the score then covers this notebook only
            return

    def _table(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(state.question.text)}</td>"
            f"<td>{'–' if state.guess is None else html.escape(state.question.options[state.guess])}</td>"
            f"<td>{html.escape(state.question.options[state.answer]) if state.answer is not None and state.opened else '–'}</td>"
            f"<td>{state.verdict}</td></tr>"
            for state in self._states.values()
        )
        head = "<tr><th>question</th><th>your guess</th><th>outcome</th><th></th></tr>"
        all_guesses = [right for guesses in _remembered().values() for right in guesses.values()]
        score = f"{sum(all_guesses)} of {len(all_guesses)} guesses right in all notebooks so far" if all_guesses else ""
        return f'<table style="text-align:left">{head}{rows}</table><p>{score}</p>'


def _remembered() -> dict[str, dict[str, bool]]:
    """Lesson -> question -> was the guess right? Nothing, with a warning, if the file that should say so is damaged."""
    path = memory_file()
    try:
        with reading(path, "a file of guesses", "it is begun again"):
            content = unsealed(path.read_text(encoding="utf-8"))
            return {
                str(lesson): {str(key): right is True for key, right in guesses.items()}
                for lesson, guesses in content.items()
            }
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # none yet, or a home that cannot be read
        pass
    except (ValueError, OSError) as error:
        warnings.warn(f"earlier guesses are not counted: {error}", stacklevel=2)
    return {}


class Shown:
    """What a notebook shows: a live widget, or the page, or the text where nothing runs; a test compares the text."""

    def __init__(self, box: ipywidgets.Widget, text: str, page: str) -> None:
        self.box, self.text, self.page = box, text, page

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        view = self.box._repr_mimebundle_()
        bundle = dict(view[0] if isinstance(view, tuple) else view)
        return {**bundle, "text/plain": self.text, "text/html": self.page}

    def __repr__(self) -> str:
        return self.text


def _question_box(state: _State, guess: Callable[[int], None]) -> ipywidgets.Widget:
    """The text of a question above its buttons; the chosen one is filled."""
    text = ipywidgets.HTML(f"<b>{html.escape(state.question.text)}</b>")
    buttons = []
    for index in range(len(state.question.options)):
        button = ipywidgets.Button(
            description=state.question.option(index), layout={"width": "auto", "max_width": "100%"}
        )
        button.on_click(lambda _, index=index: guess(index))
        buttons.append(button)

    def update() -> None:
        for index, button in enumerate(buttons):
            button.button_style = "info" if index == state.guess else ""
            button.icon = "check" if index == state.guess else ""
            button.disabled = state.opened

    state.listeners.append(update)
    update()
    return ipywidgets.VBox([text, *buttons], layout={"align_items": "flex-start"})


def _outcome_box(state: _State, open_: Callable[[_State], None]) -> ipywidgets.Widget:
    """A button for the outcome and, once it was pressed or a guess was made, the outcome in its place."""
    button = ipywidgets.Button(description="show the outcome", icon="eye", layout={"width": "auto"})
    button.on_click(lambda _: open_(state))
    text, box = ipywidgets.HTML(), ipywidgets.VBox([button])

    def update() -> None:
        if state.opened and state.answer is not None:
            outcome = html.escape(state.question.option(state.answer))
            said = "" if state.guess is None else f" Your guess was {state.verdict}."
            text.value = f"<b>{outcome}.</b>{said}<br>{html.escape(state.because)}"
            box.children = [text]

    state.listeners.append(update)
    update()
    return box


def _index(argument: str, choice: str, options: tuple[str, ...]) -> int:
    """Which option ``choice`` names, by its text or its letter; capitals and spaces around it do not matter."""
    letters = ascii_lowercase[: len(options)]
    if isinstance(choice, str):
        wanted, texts = choice.strip().lower(), [option.lower() for option in options]
        if wanted in texts:
            return texts.index(wanted)
        if len(wanted) == 1 and wanted in letters:
            return letters.index(wanted)
    raise ValueError(f"{argument} must be a letter from a to {letters[-1]} or one of {list(options)}, got {choice!r}")

"""An exercise that checks itself: not tried, it hands back the library's version; wrong, it says where and why."""

import copy
import inspect
import linecache
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from kcd_teach.exercises.compare import changed, first_difference, show

Answer = Callable[..., Any]
WIDTH = 100
"""Characters in a printed line."""


class Todo:
    """Type of :data:`TODO`, its only value: stands where the learner's own answer will go."""

    _only: "Todo | None" = None

    def __new__(cls) -> "Todo":  # noqa: D102
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "TODO"

    def __reduce__(self) -> str:
        # Copies and pickles by name, so that ``is TODO`` stays true.
        return "TODO"


TODO = Todo()
"""Not answered yet. Put your own function, or your own result, in its place."""


class WrongAnswer(AssertionError):  # noqa: N818
    """An answer that is not right yet; a notebook shows its message and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return f"not right yet: {self}".splitlines()


@dataclass(eq=False)
class Exercise:
    """One function for the learner to write, and all that is needed to check it.

    Args:
        name: of the function.
        task: what it should do, in one sentence.
        minutes: it may take.
        hints: from a nudge to nearly the solution.
        reference: the right function; its parameters name the arguments in messages.
        cases: arguments of a few calls, small enough to follow by hand. They are copied for every call.
        mistakes: what went wrong and why it matters -> a function that makes this mistake.
        solution: source text of what a learner could have written.
        parts: names of the results if the function returns several.

    Example:
        >>> def twice(x):
        ...     return 2 * x
        >>> double = Exercise("double", "Double x.", 1, ("add x to x",), twice, ((3,),), {}, "def double(x): ...")
        >>> mine = double.check(lambda x: x + x)
        right: double agrees with the library in the one case tried
        >>> mine = double.check(TODO)
        not solved yet: double; the notebook goes on with the library's version
    """

    name: str
    task: str
    minutes: int
    hints: tuple[str, ...]
    reference: Answer
    cases: tuple[tuple[Any, ...], ...]
    mistakes: Mapping[str, Answer]
    solution: str
    parts: tuple[str, ...] = ()
    _hints_given: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.solution = textwrap.dedent(self.solution).strip()

    def check(self, answer: Answer | Todo) -> Answer:
        """Try the learner's function on all cases.

        Returns:
            ``answer`` if it is right, the reference if it is :data:`TODO`, returns it, or cannot run because of it.
            The reference itself is nobody's answer: it is what ``f = exercises.f.check(f)`` left behind.

        Raises:
            WrongAnswer: with the first difference, and the mistake it looks like if that is a known one.
        """
        if isinstance(answer, Todo) or answer is self.reference:
            return self._library_version()
        if not callable(answer):
            raise WrongAnswer(f"{self.name}: hand over the function itself, without calling it; got {show(answer)}")
        results: list[Any] = []
        touched: set[str] = set()
        for number, case in enumerate(self.cases):
            arguments = copy.deepcopy(case)
            result = self._try(answer, number, arguments)
            if _holds_todo(result):
                return self._library_version()
            results.append(result)
            before_after = zip(self._parameters, case, arguments, strict=False)
            touched |= {name for name, before, after in before_after if changed(before, after)}
        self._judge(results)
        self._refuse_changes(touched)
        tried = {1: "the one case", 2: "both cases"}.get(len(results), f"all {len(results)} cases")
        print(f"right: {self.name} agrees with the library in {tried} tried")
        return answer

    def hint(self) -> None:
        """Print the next hint; when there are no more, the last one again."""
        number = min(self._hints_given + 1, len(self.hints))
        self._hints_given = number
        print(textwrap.fill(f"hint {number} of {len(self.hints)}: {self.hints[number - 1]}", WIDTH))
        if number == len(self.hints):
            print(f"(the last hint; {self.name}.show_solution() prints a solution)")

    def show_solution(self) -> None:
        """Print one way to write it."""
        print(self.solution)

    def __repr__(self) -> str:
        return f"Exercise {self.name} ({self._duration}): {self.task}"

    def _repr_markdown_(self) -> str:
        plural = "" if len(self.hints) == 1 else "s"
        return f"**Exercise `{self.name}`** ({self._duration}, {len(self.hints)} hint{plural}). {self.task}"

    @property
    def _duration(self) -> str:
        return f"{self.minutes} minute{'' if self.minutes == 1 else 's'}"

    def _library_version(self) -> Answer:
        print(f"not solved yet: {self.name}; the notebook goes on with the library's version")
        return self.reference

    def _try(self, answer: Answer, number: int, arguments: tuple[Any, ...]) -> Any:
        """Result of a call, or TODO if it fails because a TODO is still in the function."""
        try:
            return answer(*arguments)
        except Exception as error:
            if _mentions_todo(answer):
                return TODO
            raise WrongAnswer(self._crash(number, answer, error)) from error

    def _judge(self, results: Sequence[Any]) -> None:
        """Raise WrongAnswer for the first result that is not the reference's."""
        expected = [self._run(self.reference, number) for number in range(len(results))]
        differences = [first_difference(*pair, self.parts) for pair in zip(expected, results, strict=True)]
        wrong = [number for number, difference in enumerate(differences) if difference is not None]
        if not wrong:
            return
        first = wrong[0]
        sides = [f"    expected  {self._result(expected[first])}", f"    got       {self._result(results[first])}"]
        lines = [self._head(first), *sides, textwrap.fill(str(differences[first]), WIDTH)]
        if mistake := self._known_mistake(results, wrong):
            lines.append(textwrap.fill(f"Likely reason: {mistake}", WIDTH))
        raise WrongAnswer("\n".join(lines))

    def _known_mistake(self, results: Sequence[Any], wrong: Sequence[int]) -> str | None:
        """The mistake that gives the same result in all ``wrong`` cases, and in most of the others."""

        def agreeing(mistake: Answer) -> set[int]:
            pairs = ((number, self._run(mistake, number), got) for number, got in enumerate(results))
            return {number for number, same, got in pairs if first_difference(same, got, self.parts) is None}

        found = {message: agreeing(mistake) for message, mistake in self.mistakes.items()}
        fitting = [message for message, cases in found.items() if cases.issuperset(wrong)]
        return max(fitting, key=lambda message: len(found[message]), default=None)

    def _refuse_changes(self, touched: set[str]) -> None:
        if touched:
            names = " and ".join(f"`{name}`" for name in self._parameters if name in touched)
            text = (
                f"{self.name}: the results are right, but your function changed its argument {names} in place. "
                "Whoever called it still needs the old values; work on a copy, as `.clone()` makes it."
            )
            raise WrongAnswer(textwrap.fill(text, WIDTH))

    def _crash(self, number: int, answer: Answer, error: Exception) -> str:
        reason = str(error).strip().splitlines()
        text = f"Your function stopped with {type(error).__name__}{': ' + reason[0] if reason else ''}"
        return "\n".join([self._head(number), textwrap.fill(text, WIDTH), *_learners_line(answer, error)])

    def _head(self, number: int) -> str:
        arguments = [f"    {name} = {show(value)}" for name, value in self._named(number).items()]
        return "\n".join([f"{self.name}, case {number + 1} of {len(self.cases)}:", *arguments])

    def _result(self, value: Any) -> str:
        if not self.parts or not isinstance(value, (tuple, list)) or len(value) != len(self.parts):
            return show(value)
        return ", ".join(f"{name} = {show(part)}" for name, part in zip(self.parts, value, strict=True))

    def _run(self, function: Answer, number: int) -> Any:
        return function(*copy.deepcopy(self.cases[number]))

    @property
    def _parameters(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.reference).parameters)

    def _named(self, number: int) -> dict[str, Any]:
        return dict(zip(self._parameters, self.cases[number], strict=False))


def _holds_todo(result: object) -> bool:
    return result is TODO or (isinstance(result, (tuple, list)) and any(part is TODO for part in result))


def _mentions_todo(answer: Answer) -> bool:
    code = getattr(answer, "__code__", None)
    return isinstance(code, CodeType) and "TODO" in code.co_names


def _learners_line(answer: Answer, error: Exception) -> list[str]:
    """Where in the learner's function it stopped, as one line, or none if that cannot be told."""
    code = getattr(answer, "__code__", None)
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code is code]
    if not isinstance(code, CodeType) or not lines:
        return []
    source = linecache.getline(code.co_filename, lines[-1]).strip()
    return [f"    in its line {lines[-1] - code.co_firstlineno + 1}: {source}"] if source else []

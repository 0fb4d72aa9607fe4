"""Exercises that check themselves, functions and judgements, and the words for the first difference between two results."""

import copy
import inspect
import linecache
import math
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from string import ascii_lowercase
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor

Answer = Callable[..., Any]
WIDTH = 100
"""Characters in a printed line."""
_MOST_SHOWN = 40
"""Numbers in the largest tensor that is written out in a message."""


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
    """An answer that is not right yet."""


class _Task:
    """What every kind of exercise has: a name, a task, the time it may take, hints and a solution."""

    name: str
    task: str
    minutes: int
    hints: tuple[str, ...]
    solution: str
    _hints_given: int

    def hint(self) -> None:
        """Print the next hint; when there are no more, the last one again."""
        number = min(self._hints_given + 1, len(self.hints))
        self._hints_given = number
        print(textwrap.fill(f"hint {number} of {len(self.hints)}: {self.hints[number - 1]}", WIDTH))
        if number == len(self.hints):
            print(f"(the last hint; {self.name}.show_solution() prints a solution)")

    def show_solution(self) -> None:
        """Print one way to solve it."""
        print(self.solution)

    def __repr__(self) -> str:
        return f"Exercise {self.name} ({self._duration}): {self.task}"

    def _repr_markdown_(self) -> str:
        plural = "" if len(self.hints) == 1 else "s"
        return f"**Exercise `{self.name}`** ({self._duration}, {len(self.hints)} hint{plural}). {self.task}"

    @property
    def _duration(self) -> str:
        return f"{self.minutes} minute{'' if self.minutes == 1 else 's'}"


@dataclass(eq=False, repr=False)
class Judgement(_Task):
    """A question that asks for a judgement: which of several statements hold? Any number of them may.

    Args:
        name: of the variable that holds the learner's answer.
        task: the question, in one or two sentences.
        minutes: it may take.
        options: statement -> what is to be said about it, right or wrong, once it was chosen or left out.
        right: letters of the statements that hold, a for the first.
        hints: from a nudge to nearly the solution.

    Example:
        >>> sky = Judgement("sky", "What colour is it?", 1, {"blue": "By day, it is.", "green": "That is grass."}, "a", ("?",))
        >>> sky.check("b")
        not right yet: "green" does not hold. That is grass.
        >>> sky.check("a")
        right: sky
          a) blue: By day, it is.
    """

    name: str
    task: str
    minutes: int
    options: Mapping[str, str]
    right: str
    hints: tuple[str, ...]
    _hints_given: int = field(default=0, init=False)

    @property
    def solution(self) -> str:  # type: ignore[override]
        """The line that answers it."""
        return f'{self.name} = "{self.right}"'

    def check(self, answer: "str | Todo") -> None:
        """Say whether the chosen letters are right and, if not, why the first one is not; never stops a notebook."""
        if isinstance(answer, Todo):
            print(f"not solved yet: {self.name}; choose from")
            for letter, text in zip(ascii_lowercase, self.options, strict=False):
                print(textwrap.fill(f"{letter}) {text}", WIDTH, initial_indent="  ", subsequent_indent="     "))
            return
        letters = ascii_lowercase[: len(self.options)]
        chosen = {letter for letter in answer.lower() if letter.isalpha()} if isinstance(answer, str) else set()
        if not chosen or chosen - set(letters):
            said = f'answer with letters from a to {letters[-1]}, as "{letters[0]}" or "{letters[:2]}", not {answer!r}'
            print(f"not right yet: {said}")
            return
        statements = dict(zip(letters, self.options.items(), strict=True))
        if wrong := sorted(chosen - set(self.right)):
            text, because = statements[wrong[0]]
            print(textwrap.fill(f'not right yet: "{text}" does not hold. {because}', WIDTH))
        elif left_out := sorted(set(self.right) - chosen):
            count = "one more holds" if len(left_out) == 1 else f"{len(left_out)} more hold"
            print(f"not right yet: what you chose holds, and {count}")
        else:
            print(f"right: {self.name}")
            for letter in self.right:
                lines = f"{letter}) {statements[letter][0]}: {statements[letter][1]}"
                print(textwrap.fill(lines, WIDTH, initial_indent="  ", subsequent_indent="     "))


@dataclass(eq=False, repr=False)
class Exercise(_Task):
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
        """Try the learner's function on all cases, and say what is wrong with it; never stops a notebook.

        Returns:
            ``answer`` if it is right, and otherwise the reference, with which the notebook goes on.
        """
        try:
            return self.judge(answer)
        except WrongAnswer as wrong:
            print(f"not right yet: {wrong}\nThe notebook goes on with the library's version.")
            return self.reference

    def judge(self, answer: Answer | Todo) -> Answer:
        """Try the learner's function on all cases.

        Returns:
            ``answer`` if it is right, the reference if it is :data:`TODO`, returns it, or cannot run because of it.
            The reference itself is nobody's answer: it is what ``f = lesson.f.check(f)`` left behind.

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
            plural = "" if len(touched) == 1 else "s"
            text = (
                f"{self.name}: the results are right, but your function changed its argument{plural} {names} in place. "
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


def to_tensor(value: object) -> Tensor | None:
    """``value`` as a tensor on the CPU; numbers, lists, numpy arrays and lists of tensors too. None if impossible."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Fraction):
        return torch.tensor(float(value))
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, Tensor) for item in value):
        tensors = [item.detach().cpu() for item in value]
        return torch.stack(tensors) if len({item.shape for item in tensors}) == 1 else None
    try:
        return torch.as_tensor(np.array(value))
    except (TypeError, ValueError, RuntimeError):
        return None


def show(value: object) -> str:
    """A tensor, list, dict or number in few characters: four significant digits, no dtype, nothing after 40 numbers."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {show(one)}' for key, one in value.items())}}}"
    tensor = to_tensor(value)
    if tensor is None:
        # The repr of an object may hold an address, which is different in every run.
        return repr(value) if isinstance(value, (str, type(None))) else _a(value)
    if tensor.numel() > _MOST_SHOWN:
        return f"{tensor.numel()} numbers of shape {list(tensor.shape)}"
    return _nested(tensor.tolist())


def first_difference(expected: object, got: object, parts: Sequence[str] = ()) -> str | None:
    """The first way in which ``got`` differs from ``expected``, in words; None if they agree.

    Kind of number, shape and every element are compared; floating-point numbers up to rounding, NaN equals NaN.

    Args:
        expected: what the reference returns: a tensor, number or list, or a tuple of one of these per part.
        got: what the learner's function returned.
        parts: names of the results if there are several.
    """
    if got is None:
        return "It should return a result, but returned None. Is the `return` missing?"
    if not parts:
        if isinstance(got, tuple) and any(isinstance(part, Tensor) and part.ndim for part in got):
            return f"It should return one result, but returned {len(got)} together. Which of them is it?"
        return _difference("The result", expected, got)
    if not isinstance(got, (tuple, list)) or len(got) != len(parts):
        count = f"{len(got)} results" if isinstance(got, (tuple, list)) else _a(got)
        return f"It should return {len(parts)} results, ({', '.join(parts)}), but returned {count}."
    assert isinstance(expected, tuple)
    differences = (_difference(f"`{name}`", *pair) for name, *pair in zip(parts, expected, got, strict=True))
    return next((text for text in differences if text is not None), None)


def changed(before: object, after: object) -> bool:
    """True if an argument is not what it was; NaN equals NaN."""
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return bool(before != after)
    if before.shape != after.shape or before.dtype != after.dtype:
        return True
    both_nan = (before != before) & (after != after)
    return not bool(((before == after) | both_nan).all())


def _difference(name: str, expected: object, got: object) -> str | None:
    want, have = to_tensor(expected), to_tensor(got)
    assert want is not None
    if have is None:
        return f"{name} should be {_kind(want)}, but is {_a(got)}."
    # An empty list has no kind of number.
    if _kind(want) != _kind(have) and have.numel():
        return f"{name} should be {_kind(want)}, but is {_kind(have)}."
    if want.shape != have.shape:
        return f"{name} should {_size(want)}, but {_size(have, 'has')}."
    if want.is_floating_point():
        wrong = ~torch.isclose(want.double(), have.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
    else:
        wrong = want.long() != have.long()
    return _element(name, want, have, wrong) if bool(wrong.any()) else None


def _element(name: str, want: Tensor, have: Tensor, wrong: Tensor) -> str:
    """The first wrong element, and how many there are."""
    index = tuple(torch.nonzero(wrong)[0].tolist())
    here, there = want[index].item(), have[index].item()
    digits = next((d for d in range(4, 12) if _number(here, d) != _number(there, d)), 12)
    verdict = f"should be {_number(here, digits)}, but is {_number(there, digits)}"
    if not index:
        return f"{name} {verdict}."
    where = index[0] if len(index) == 1 else list(index)
    owner = "" if name == "The result" else f" of {name}"
    return f"Element {where}{owner} {verdict} (counted from 0; {int(wrong.sum())} of {wrong.numel()} differ)."


def _kind(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "true or false"
    if tensor.dtype == torch.uint8:
        return "whole numbers from 0 to 255 (uint8)"
    if tensor.is_floating_point():
        return "floating-point numbers"
    return "complex numbers" if tensor.is_complex() else "whole numbers"


def _size(tensor: Tensor, have: str = "have") -> str:
    if tensor.ndim == 0:
        return f"{'be' if have == 'have' else 'is'} a single number"
    if tensor.ndim == 1:
        return f"{have} {len(tensor)} element{'' if len(tensor) == 1 else 's'}"
    return f"{have} shape {list(tensor.shape)}"


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _nested(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_nested(item) for item in value)}]"
    return _number(value)


def _number(value: object, digits: int = 4) -> str:
    if not isinstance(value, float):
        return str(value)
    # Adding 0.0 turns -0.0 into 0.0.
    return "NaN" if math.isnan(value) else f"{value + 0.0:.{digits}g}"

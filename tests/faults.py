"""Deliberate faults: a piece of the library's text is replaced by another, in the functions as they are in memory.

The module that holds the text is compiled once more with the fault in it, and every function that came out differently
gets its new code, wherever it has been imported to; so a fault takes no new process, and knows no module by its name.
"""

import importlib
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

PACKAGE = Path(__file__).parent.parent / "kcd_teach"
IS_FUNCTION = 0x0003  # CO_OPTIMIZED | CO_NEWLOCALS; the code of a module or of a class has neither


def plant(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str, file: str = "*.py") -> None:
    """Replace a text that occurs once in the library, inside of a function, until the end of the test.

    ``file`` is the name of the file where it is, if it is in others, too.
    """
    found = [path for path in sorted(PACKAGE.rglob(file)) if right in path.read_text(encoding="utf-8")]
    assert len(found) == 1, f"{right!r} is in {len(found)} files of the library: bring the fault up to date"
    source = found[0].read_text(encoding="utf-8")
    assert source.count(right) == 1, f"{right!r} is {source.count(right)} times in {found[0].name}: say more of it"
    module = importlib.import_module(".".join(found[0].relative_to(PACKAGE.parent).with_suffix("").parts))
    replace(monkeypatch, module, source, source.replace(right, wrong))


def replace(monkeypatch: pytest.MonkeyPatch, module: ModuleType, before: str, after: str) -> None:
    """Give the functions of a module, compiled from one text, the code of another."""
    ours, theirs = (
        functions(compile(text, str(module.__file__), "exec", dont_inherit=True)) for text in (before, after)
    )
    changed = [path for path in ours if ours[path] != theirs[path]]
    assert changed, "the fault changes no function"
    for path in changed:
        monkeypatch.setattr(resolved(module, path), "__code__", theirs[path])


def functions(code: CodeType, inside: tuple[str, ...] = ()) -> dict[tuple[str, ...], CodeType]:
    """Code of all functions of a module and of its classes, by name of class and function."""
    found = {}
    for part in code.co_consts:
        if not isinstance(part, CodeType) or part.co_name.startswith(("<", "__annotate")):
            continue
        path = (*inside, part.co_name)
        if part.co_flags & IS_FUNCTION == IS_FUNCTION:
            found[path] = part
        else:
            found |= functions(part, path)
    return found


def resolved(module: ModuleType, path: tuple[str, ...]) -> FunctionType:
    """The function of that name, out of its decorators."""
    part: Any = module
    for name in path:
        part = vars(part)[name]
    for wrapper in ("__func__", "fget", "func"):  # static and class methods, properties, cached ones
        part = getattr(part, wrapper, part)
    while hasattr(part, "__wrapped__"):
        part = part.__wrapped__
    assert isinstance(part, FunctionType), f"{'.'.join(path)} is no function"
    return part

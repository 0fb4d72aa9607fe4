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


def plant(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    """Replace a text that occurs once in the library, inside of a function, until the end of the test."""
    found = [path for path in sorted(PACKAGE.rglob("*.py")) if right in path.read_text(encoding="utf-8")]
    assert len(found) == 1, f"{right!r} must be in one file of the library, and is in {len(found)}; see its fault"
    source = found[0].read_text(encoding="utf-8")
    assert source.count(right) == 1, f"{right!r} is {source.count(right)} times in {found[0].name}; see its fault"
    before, after = (functions(compile(text, str(found[0]), "exec", dont_inherit=True))
                     for text in (source, source.replace(right, wrong)))  # fmt: skip
    changed = [path for path in before if before[path] != after[path]]
    assert changed, f"{wrong!r} changes no function"
    relative = found[0].relative_to(PACKAGE.parent).with_suffix("")
    parts = relative.parent.parts if relative.name == "__init__" else relative.parts
    module = importlib.import_module(".".join(parts))
    for path in changed:
        monkeypatch.setattr(resolved(module, path), "__code__", after[path])


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

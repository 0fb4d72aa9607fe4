"""Registries of names: what this package has under a name, and what a user's own file adds to it.

Methods, value measures, networks and data sets each have one :class:`Registry`. What is added from outside is known with
the file that added it: processes that work on the same runs load it too (:func:`load_origins`), and the code of the file
is part of what a run depends on (:func:`kcd_teach.fingerprints.own_code`).
"""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast, overload

from kcd_teach._checks import check_choice

Thing = TypeVar("Thing")
Given = TypeVar("Given")

REGISTRIES: dict[str, "Registry[Any]"] = {}
"""Kind -> registry, of all kinds that are imported."""


@dataclass(frozen=True, eq=False)
class Entry(Generic[Thing]):
    """A registered thing, with its origin.

    Attributes:
        thing: a class, a function that makes something, or an object.
        title: how tables call it; empty if they call it by its name.
        settings: arguments that it is made with, if no others are given.
        module, file: where it was added; ``file`` is empty in a notebook, and both are for what the package has.
        texts: source of the files that its code is in, read when it was added.
        parts: classes and functions that are in no file, such as those of a notebook.
    """

    thing: Thing
    title: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""
    file: str = ""
    texts: tuple[str, ...] = ()
    parts: tuple[type | FunctionType, ...] = ()


class Registry(Generic[Thing]):
    """Things of one kind by their names, in the order in which they came.

    Args:
        kind: ``"distiller"``, ``"value"``, ``"model"`` or ``"dataset"``.
        known: those of this package.
    """

    def __init__(self, kind: str, known: Mapping[str, Thing]) -> None:
        self.kind = kind
        self.known = tuple(known)
        self._entries = {name: Entry(thing) for name, thing in known.items()}
        REGISTRIES[kind] = self

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry[Thing]:
        """Raises ValueError, with the nearest name, for an unknown one; ``package.module:function`` is imported."""
        if isinstance(name, str) and ":" in name and name not in self._entries:
            self._import(name)
        check_choice("name", name, self._entries)
        return self._entries[name]

    @property
    def added(self) -> dict[str, Entry[Thing]]:
        """Entries that were added from outside the package."""
        return {name: entry for name, entry in self._entries.items() if name not in self.known}

    def add(
        self,
        name: str,
        thing: Thing,
        title: str = "",
        settings: Mapping[str, Any] | None = None,
        code: Sequence[object] = (),
    ) -> None:
        """Give a thing a name. The module that gave the name may give it again, as a cell does that is run once more.

        Args:
            name: letters, digits and ``_ . + -``; not one that is in use, in whatever case.
            thing: what it names.
            title, settings: see :class:`Entry`.
            code: classes, functions and objects whose code it is; the thing itself by default.

        Raises:
            ValueError: a name that cannot be used, or is used by the package or by another module.
        """
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+-]*", name):
            raise ValueError(f"name must be made of letters, digits and _ . + -, got {name!r}")
        module, file = _caller()
        for used, entry in self._entries.items():
            if used.casefold() == name.casefold() and not (
                used == name and used in self.added and entry.module == module
            ):
                by = f"by {entry.module}" if entry.module else "by kcd_teach itself"
                raise ValueError(f"name={name!r} is taken: {self.kind} {used!r} was registered {by}; choose another")
        self._enter(name, thing, title, settings or {}, code or (thing,), module, file)

    def _import(self, name: str) -> None:
        """Add what ``package.module:function`` names; the package may be in the working folder."""
        module, _, path = name.partition(":")
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        try:
            loaded = importlib.import_module(module)
            thing = loaded
            for attribute in path.split("."):
                thing = getattr(thing, attribute)
        except Exception as error:  # code of a user can fail in any way
            raise ValueError(f"{self.kind} {name!r} cannot be imported: {type(error).__name__}: {error}") from error
        if not callable(thing):
            raise ValueError(f"{self.kind} {name!r} must be a class or a function, got {type(thing).__name__}")
        self._enter(name, cast("Thing", thing), "", {}, (thing,), module, str(loaded.__file__ or ""))

    def _enter(
        self,
        name: str,
        thing: Thing,
        title: str,
        settings: Mapping[str, Any],
        code: Sequence[object],
        module: str,
        file: str,
    ) -> None:
        """Add a thing with the source of its code."""
        parts = [part for thing in code for part in _parts(thing)]
        files = {path: None for path in (file, *map(_file_of, parts)) if path}
        texts = [Path(path).read_text(encoding="utf-8") for path in files]
        homeless = [part for part in parts if not _file_of(part) and not _is_known(part)]
        texts += [_constants(part) for part in homeless if isinstance(part, type)]
        texts += [f"{part.args!r} {part.keywords!r}" for part in code if isinstance(part, partial)]
        self._entries[name] = Entry(thing, title, dict(settings), module, file, tuple(texts), tuple(homeless))

    def remove(self, name: str) -> None:
        """Forget what was added under a name; raises KeyError if nothing was."""
        self.added[name]
        del self._entries[name]


class Register(Protocol):
    """A function that names a thing: called with both, or with the name alone as a decorator; it returns the thing."""

    @overload
    def __call__(self, name: str, **settings: Any) -> Callable[[Given], Given]: ...

    @overload
    def __call__(self, name: str, thing: Given, *more: Any, **settings: Any) -> Given: ...


def also_decorates(add: Callable[..., None]) -> Register:
    """Let a function ``add(name, thing, ..)`` also be written above the thing, ``@add(name, ..)``."""
    second = list(inspect.signature(add).parameters)[1]

    @wraps(add)
    def register(name: str, *rest: Any, **settings: Any) -> Any:
        first, *more = rest or (None,)
        thing = settings.pop(second, first)

        def named(given: Any) -> Any:
            add(name, given, *more, **settings)
            return given

        return named if thing is None else named(thing)

    return register


def _caller() -> tuple[str, str]:
    """Name and file of the module from which the package was called; no file for a notebook."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "kcd_teach":
        frame = frame.f_back
    found = frame.f_globals if frame is not None else {}
    file = str(found.get("__file__") or "")
    return str(found.get("__name__", "__main__")), str(Path(file).resolve()) if Path(file).is_file() else ""


def _parts(thing: object) -> Iterator[type | FunctionType]:
    """The classes and functions that the code of a thing is in."""
    if isinstance(thing, partial):
        yield from _parts(thing.func)
    elif isinstance(thing, FunctionType):
        yield thing
    else:
        yield from (thing if isinstance(thing, type) else type(thing)).__mro__


def _is_known(part: type | FunctionType) -> bool:
    """True for what is of this package, of torch or of Python, whose code is known by a version."""
    top = part.__module__.partition(".")[0]
    return top in ("kcd_teach", "torch", "builtins") or (top in sys.stdlib_module_names and top != "__main__")


def _file_of(part: type | FunctionType) -> str:
    """The source file of a class or function of somebody else's; nothing where it has none."""
    file = getattr(sys.modules.get(part.__module__), "__file__", None) or ""
    return "" if _is_known(part) or not file.endswith(".py") or not Path(file).is_file() else str(Path(file).resolve())


def _constants(kind: type) -> str:
    """Attributes of a class that are neither functions nor known by an address only."""
    plain = {name: repr(value) for name, value in vars(kind).items() if not name.startswith("__")}
    return "\n".join(f"{name}={text}" for name, text in sorted(plain.items()) if " at 0x" not in text)


class Origin(NamedTuple):
    """Where something was added: what a process must load to know it.

    Attributes:
        kind, name: of the thing.
        module, file: that added it; no file for a notebook.
    """

    kind: str
    name: str
    module: str
    file: str


def origins() -> tuple[Origin, ...]:
    """Where everything from outside was added."""
    return tuple(
        Origin(kind, name, entry.module, entry.file)
        for kind, registry in REGISTRIES.items()
        for name, entry in registry.added.items()
    )


def files_of(names: Collection[tuple[str, str]]) -> list[str]:
    """The files that registered things of these kinds and names, each once."""
    found = [origin.file for origin in origins() if (origin.kind, origin.name) in names and origin.file]
    return list(dict.fromkeys(found))


def check_files(names: Collection[tuple[str, str]]) -> None:
    """Raise ValueError if a thing of these kinds and names came from no file, so that no other process can load it."""
    for kind, name, _, file in origins():
        if (kind, name) in names and not file:
            raise ValueError(
                f"{kind} {name!r} was registered in a notebook or a console, which other processes do not have: put it "
                "into a file and import that, or work in one process"
            )


def load_origins(wanted: Iterable[Origin]) -> None:
    """Load in this process what another one knows from files, each file once.

    Raises:
        ValueError, OSError: a file that is not here or cannot be loaded.
    """
    for kind, name, module, file in wanted:
        if name in REGISTRIES[kind].added or not file:
            continue
        if ":" in name:
            if not _is_importable(module, file):  # its package lies elsewhere, at the same place on this machine
                levels = module.count(".") + (Path(file).name == "__init__.py")
                sys.path.append(str(Path(file).parents[levels]))
            REGISTRIES[kind][name]
        elif _is_importable(module, file):
            importlib.import_module(module)
        else:
            load_file(file)


def _is_importable(module: str, file: str) -> bool:
    """True if the name of a module leads to the same file here."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve()


def load_file(path: str | Path) -> ModuleType:
    """Run a Python file that registers something, as a module of its own name; once per process.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no Python file, one with the name of another module, or one that fails.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier():
        raise ValueError(f"{path} must be a Python file with a name that can be imported, as my_methods.py")
    loaded = sys.modules.get(name)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() == path:
        return loaded
    if loaded is not None or (importlib.util.find_spec(name) and not _is_importable(name, str(path))):
        raise ValueError(f"{path} has the name of another module, {name}; rename it")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise ValueError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module

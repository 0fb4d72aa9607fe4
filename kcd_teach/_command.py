"""How does a command speak? In one line where something is wrong; and the option that all commands share."""

import codecs
import functools
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

SIGNS = {
    "±": "+-",
    "Δ": "diff",
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "₂": "2",
    "²": "2",
    "≥": ">=",
    "≤": "<=",
    "…": "...",
}
"""What stands for a sign where the output cannot show it; any other one becomes a question mark."""

Folder = Annotated[
    Path, typer.Option(help="Where results, students, teachers and checkpoints are kept.", readable=False)
]


def speak_anywhere() -> None:
    """Let nothing that is printed fail for want of a sign in the encoding of the output, as cp1252 of older Windows."""
    codecs.register_error("kcd_teach", _instead)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="kcd_teach")


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SIGNS.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


def plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what can go wrong into one line and exit code 2, and an interrupt into 130."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **settings: Any) -> None:
        speak_anywhere()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_: typer.echo(f"warning: {message}", err=True)
                command(*arguments, **settings)
        except typer.Exit:  # a RuntimeError, and an exit code that was meant
            raise
        except KeyboardInterrupt as stopped:
            typer.echo("stopped; the same command goes on from here", err=True)
            raise typer.Exit(130) from stopped
        except (ValueError, TypeError, OSError, RuntimeError, MemoryError, ArithmeticError, ImportError) as error:
            typer.echo(f"error: {' '.join(str(error).split()) or type(error).__name__}", err=True)
            raise typer.Exit(2) from error

    return wrapped

"""How does a command speak? In one line where something is wrong; and the option that all commands share."""

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[Path, typer.Option(help="Where results, teachers and checkpoints are kept.")]


def plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what can go wrong into one line and exit code 2, and an interrupt into 130."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **settings: Any) -> None:
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

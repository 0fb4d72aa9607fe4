"""How hard is it to break? Flips, truncations, kills and full disks for every kind of file, counted by what came of them:

python -m tests.campaign [--flips 50] [--truncations 20] [--kills 20] [--seconds 240] [--seed 0]

Prints a Markdown table and, in its last line, the same as JSON. Ends with 1 if anything was silent, nameless or left behind.
"""

import argparse
import contextlib
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kcd_teach._files import sealed, write_state, written_whole
from kcd_teach.benchmark import Store
from kcd_teach.benchmark.plan import find_plan
from kcd_teach.benchmark.runs import read_teacher
from kcd_teach.benchmark.store import key_of
from kcd_teach.checkpoints import read_state
from kcd_teach.datasets import read_npz, write_npz
from kcd_teach.knowledge import DiskCache
from kcd_teach.models import load_checkpoint, save_weights
from tests.test_answers import IDS, ROWS, VIEWS, disk
from tests.tiny import same

BAD = ("silently another value", "without a name", "hang", "left behind")
LIMIT = 20
"""Seconds after which reading a file of a few kilobytes counts as a hang."""
TENSORS = {"a": torch.arange(40.0), "b": [1, "x", None]}
RECORD = {"test_accuracy": [0.25, 0.5], "train_loss": [2.0, 1.0], "seed": 0, "config": {"seed": 0}}
RECORD = {**RECORD, "key": key_of(RECORD["config"])}
TEACHER = {"network": "vgg8", "weights": "0" * 64, "accuracy": 0.5, "origin": "here"}
PLAN = {
    "pairs": ["resnet20>resnet8"],
    "rows": ["KD", "half: KC-KD@ratio=0.5"],
    "seeds": [0, 1],
    "scale": "course",
    "only": {},
}


def network() -> torch.nn.Module:
    return torch.nn.Linear(3, 2).requires_grad_(False)


def _write_text(path: Path, text: str) -> None:
    with written_whole(path) as file:
        file.write(text.encode())


def _load(path: Path) -> Any:
    return dict(load_checkpoint(network(), path).state_dict())


def _cache(path: Path) -> DiskCache:
    with contextlib.redirect_stdout(io.StringIO()):
        return disk(path.parent)


def _answers(path: Path) -> Any:
    """Stored answers; those that are not known any more are computed again."""
    logits, known = _cache(path).look_up(IDS, VIEWS)
    return torch.where(known[:, None], logits, ROWS).numpy()


with tempfile.TemporaryDirectory() as _folder:
    ANSWERS = _cache(Path(_folder) / "x").path.name


@contextlib.contextmanager
def _first_weights():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield network()


def _save(path: Path) -> None:
    with _first_weights() as made:
        save_weights(made, path)


KINDS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], Any]]] = {
    "checkpoint": ("x.pt", lambda path: write_state(path, TENSORS), read_state),
    "weights, safetensors": ("x.safetensors", _save, _load),
    "weights, npz": ("w.npz", _save, _load),
    "arrays": ("x.npz", lambda path: write_npz(path, {"a": np.arange(40)}), lambda path: read_npz(path, ("a",))),
    "results": ("results.jsonl", lambda path: _write_text(path, sealed(RECORD) + "\n" + sealed(RECORD) + "\n"),
                lambda path: {key: {n: r[n] for n in RECORD} for key, r in Store(path.parent).records().items()}),
    "plan": ("plan.json", lambda path: _write_text(path, sealed(PLAN, 1)), lambda path: find_plan(str(path))),
    "teacher": ("teacher.json", lambda path: _write_text(path, sealed(TEACHER)), read_teacher),
    "answers": (ANSWERS, lambda path: _cache(path).write(IDS, VIEWS, ROWS), _answers),
}  # fmt: skip
"""Kind of file -> its name, what writes it, what reads it."""


def outcome(path: Path, read: Callable[[Path], Any], right: Any) -> str:
    """What came of reading a file that may be damaged."""
    signal.alarm(LIMIT)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = read(path)
    except (ValueError, OSError) as error:
        return "refused by name" if str(path) in str(error) else "without a name"
    except TimeoutError:
        return "hang"
    except Exception:
        return "without a name"
    finally:
        signal.alarm(0)
    if any(str(path) in str(warning.message) for warning in said):
        return "begun again, or passed over, by name"
    return "the same value" if alike(found, right) else "silently another value"


def alike(found: Any, right: Any) -> bool:
    if isinstance(right, np.ndarray):
        return np.array_equal(found, right)
    if isinstance(right, dict) and any(isinstance(value, np.ndarray) for value in right.values()):
        return found.keys() == right.keys() and all(np.array_equal(found[name], right[name]) for name in right)
    return bool(same(found, right)) if isinstance(right, dict) else bool(found == right)


def damage(kind: str, folder: Path, draw: random.Random, flips: int, truncations: int) -> Counter[tuple[str, str]]:
    """Flip bits, and cut off ends, of one kind of file."""
    name, write, read = KINDS[kind]
    path, counted = folder / name, Counter[tuple[str, str]]()
    write(path)
    whole, right = path.read_bytes(), read(path)
    for harm, times in (("flip", flips), ("truncation", truncations)):
        for _ in range(times):
            at = draw.randrange(len(whole))
            flipped = whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :]
            path.write_bytes(flipped if harm == "flip" else whole[:at])
            counted[harm, truncated_records(kind, harm, whole[:at]) or outcome(path, read, right)] += 1
    for harm, content in (("zeros", bytes(len(whole))), ("text", b"hello")):
        path.write_bytes(content)
        counted[harm, outcome(path, read, right)] += 1
    path.unlink()
    os.mkfifo(path)
    counted["pipe", outcome(path, read, right)] += 1
    path.unlink()
    return counted


def truncated_records(kind: str, harm: str, left: bytes) -> str:
    """A file of results that ends with a whole line is one with fewer runs, which are repeated, and not a damaged one."""
    return (
        "fewer runs, which are repeated"
        if kind == "results" and harm == "truncation" and left[-1:] in (b"\n", b"")
        else ""
    )


def kill(kind: str, folder: Path, draw: random.Random, times: int) -> Counter[tuple[str, str]]:
    """Kill processes that write a file again and again, and look at what is there."""
    name, write, read = KINDS[kind]
    path, counted = folder / name, Counter[tuple[str, str]]()
    write(path)
    right = read(path)
    for _ in range(times):
        child = os.fork()
        if child == 0:
            while True:
                write(path)
        time.sleep(draw.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        counted["kill", outcome(path, read, right)] += 1
    write(path)
    if kind != "answers":
        counted["kill", "left behind"] += sum(1 for _ in folder.glob("*.part"))
    path.unlink()
    return +counted


def campaign(flips: int, truncations: int, kills: int, seconds: float, seed: int) -> dict[str, dict[str, int]]:
    """Kind and harm -> how often what came of it; ends early after so many seconds."""
    end, table = time.monotonic() + seconds, {}

    def ring(signum, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        for kind in KINDS:
            draw = random.Random(f"{seed} {kind}")
            with tempfile.TemporaryDirectory() as folder:
                counted = damage(kind, Path(folder), draw, flips, truncations)
                counted += kill(kind, Path(folder), draw, kills if time.monotonic() < end else 0)
            for (harm, came), count in counted.items():
                table.setdefault(f"{kind}: {harm}", {})[came] = count
    finally:
        signal.signal(signal.SIGALRM, before)
    return table


def markdown(table: dict[str, dict[str, int]]) -> str:
    lines = [
        f"| {what} | {', '.join(f'{count} {came}' for came, count in sorted(counts.items()))} |"
        for what, counts in table.items()
    ]
    return "\n".join(["| kind of file: harm | what came of it |", "| --- | --- |", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, usual in (("flips", 50), ("truncations", 20), ("kills", 20), ("seconds", 240), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    chosen = vars(parser.parse_args())
    table = campaign(**chosen)
    print(markdown(table))
    print(json.dumps({**chosen, "table": table}))
    sys.exit(any(came in BAD for counts in table.values() for came in counts))


if __name__ == "__main__":
    main()

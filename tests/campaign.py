"""How hard is it to break? Damage, kills, full disks, hostile folders and random inputs, counted by what came of them:

python -m tests.campaign [--flips 50] [--truncations 20] [--kills 30] [--examples 200] [--repeats 6] [--seconds 1500] [--seed 0]

Prints a Markdown table, and writes what it counted to --out. Ends with 1 if anything was silent, nameless, or left behind.
"""

import argparse
import contextlib
import inspect
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import numpy as np
import torch
from hypothesis import strategies as st
from tqdm.auto import tqdm

from kcd_teach import Condenser, Recipe
from kcd_teach._files import sealed, write_state, written_whole
from kcd_teach.benchmark import Scale, Store, find_row, run_plan
from kcd_teach.benchmark.plan import find_plan
from kcd_teach.benchmark.runs import read_teacher
from kcd_teach.benchmark.settings import find_pair
from kcd_teach.benchmark.store import key_of
from kcd_teach.checkpoints import read_state
from kcd_teach.datasets import read_npz, write_npz
from kcd_teach.knowledge import DiskCache
from kcd_teach.lessons import predictions
from kcd_teach.models import load_checkpoint, save_weights
from tests.benchmark.tiny import ROWS, leftovers, timeless, tiny_plan
from tests.test_answers import IDS, VIEWS, disk
from tests.test_answers import ROWS as LOGITS
from tests.tiny import same

BAD = ("silently another value", "without a name", "hang", "left behind", "crash")
LIMIT = 30
"""Seconds after which reading or writing a few kilobytes counts as a hang; a small run has ten times as long."""
NOBODY = 65534
ROOT = Path(__file__).resolve().parent.parent
PROCESSORS = ({}, {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"})
"""Variables under which this processor computes as it is, and as an older one."""

TENSORS = {"a": torch.arange(6000.0), "b": [1, "x", None]}
ARRAYS = {"a": np.arange(6000.0)}
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
GUESSES = {"tour": {"cost": True, "order": False}}

Table = dict[str, dict[str, Counter[str]]]
"""Harm -> kind of file, or of work -> what came of it -> how often."""


def network() -> torch.nn.Module:
    return torch.nn.Linear(60, 50).requires_grad_(False)


def _write_text(path: Path, text: str) -> None:
    with written_whole(path) as file:
        file.write(text.encode())


def _load(path: Path) -> Any:
    return dict(load_checkpoint(network(), path).state_dict())


def _save(path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = network()
    save_weights(made, path)


def _cache(path: Path) -> DiskCache:
    with contextlib.redirect_stdout(io.StringIO()):
        return disk(path.parent)


def _answers(path: Path) -> Any:
    """Stored answers; those that are not known any more are computed again."""
    logits, known = _cache(path).look_up(IDS, VIEWS)
    return {"logits": torch.where(known[:, None], logits, LOGITS)}


def _records(path: Path) -> Any:
    return {key: {n: r[n] for n in RECORD} for key, r in Store(path.parent).records().items()}


def _guesses(path: Path) -> Any:
    with mock.patch.object(predictions, "memory_file", return_value=path):
        return predictions._remembered()


with tempfile.TemporaryDirectory() as _folder:
    ANSWERS = _cache(Path(_folder) / "x").path.name


KINDS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], Any]]] = {
    "checkpoint": ("x.pt", lambda path: write_state(path, TENSORS), read_state),
    "weights, safetensors": ("x.safetensors", _save, _load),
    "weights, npz": ("w.npz", _save, _load),
    "arrays": ("x.npz", lambda path: write_npz(path, ARRAYS), lambda path: read_npz(path, ("a",))),
    "results": ("results.jsonl", lambda path: Store(path.parent).append(RECORD), _records),
    "plan": ("plan.json", lambda path: _write_text(path, sealed(PLAN, 1)), lambda path: find_plan(str(path))),
    "teacher": ("teacher.json", lambda path: _write_text(path, sealed(TEACHER)), read_teacher),
    "answers": (ANSWERS, lambda path: _cache(path).write(IDS, VIEWS, LOGITS), _answers),
    "checksums of answers": (ANSWERS.replace(".npy", ".sums.npy"),
                             lambda path: _cache(path).write(IDS, VIEWS, LOGITS), _answers),
    "guesses": ("guesses.json", lambda path: _write_text(path, sealed(GUESSES, 1)), _guesses),
}  # fmt: skip
"""Kind of file -> its name, what writes it, what reads it."""


def alike(found: Any, right: Any) -> bool:
    if isinstance(right, dict) and any(isinstance(value, np.ndarray) for value in right.values()):
        return found.keys() == right.keys() and all(np.array_equal(found[name], right[name]) for name in right)
    return bool(same(found, right)) if isinstance(right, dict) else bool(found == right)


def reading(path: Path, read: Callable[[Path], Any], right: Any) -> str:
    """What came of reading a file that may be damaged."""
    signal.alarm(LIMIT)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = read(path)
    except (ValueError, OSError) as error:
        return "hang" if isinstance(error, TimeoutError) else _named(path, error)
    except Exception as error:
        return f"without a name: {error!r}"
    finally:
        signal.alarm(0)
    if any(str(path) in str(warning.message) for warning in said):
        return "begun again, or passed over, by name"
    return "the same value" if alike(found, right) else "silently another value"


def _named(path: Path, error: Exception) -> str:
    return "refused by name" if str(path.parent) in str(error) else f"without a name: {error!r}"


class Child:
    """A process of its own that carries out an act and says what came of it, unless it hangs, crashes, or is killed."""

    def __init__(self, act: Callable[[], str]) -> None:
        self._pipe, theirs = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            tqdm.set_lock(threading.RLock())  # that of its parent is shared, and who is killed never gives it back
            try:
                os.write(theirs, act().encode())
            except BaseException as error:
                os.write(theirs, f"without a name: {error!r}"[:1000].encode())
            os._exit(0)
        os.close(theirs)

    def said(self, seconds: float = LIMIT, then: str = "hang") -> str:
        """What it said; ``then``, if it had to be killed after so many seconds."""
        end = time.monotonic() + seconds
        while os.waitpid(self._process, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(self._process, signal.SIGKILL)
                os.waitpid(self._process, 0)
                os.close(self._pipe)
                return then
            time.sleep(0.001)
        with os.fdopen(self._pipe, "rb") as pipe:
            return pipe.read().decode() or "crash"


def damaged(kind: str, folder: Path, draw: random.Random, flips: int, truncations: int) -> Iterator[tuple[str, str]]:
    """Flip bits of one kind of file, cut off its end, and put something else into its place."""
    name, write, read = KINDS[kind]
    path = folder / name
    write(path)
    whole, right = path.read_bytes(), read(path)
    for harm, times in (("a bit flipped", flips), ("cut off", truncations)):
        for _ in range(times):
            near = draw.randrange(min(len(whole), 600))  # of its ends, where a file says how it is to be read
            at = draw.choice((draw.randrange(len(whole)), near, len(whole) - 1 - near))
            flipped = whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :]
            path.write_bytes(flipped if harm == "a bit flipped" else whole[:at])
            came = reading(path, read, right)
            if came in BAD and (kind, harm) == ("results", "cut off") and whole[:at][-1:] in (b"\n", b""):
                came = "fewer runs, which are repeated"  # it ends with a whole line
            yield harm, came
    for put in (
        lambda: path.write_bytes(bytes(len(whole))),
        lambda: path.write_bytes(b"hello"),
        lambda: path.write_bytes(draw.randbytes(len(whole))),
        lambda: path.write_bytes(whole[len(whole) // 2 :] + whole),
        path.mkdir,
        lambda: path.symlink_to(path),
        lambda: os.mkfifo(path),
    ):
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        put()
        yield "something else in its place", reading(path, read, right)


def attempt(path: Path, write: Callable[[Path], None]) -> str:
    """What came of writing where that may be impossible."""
    try:
        write(path)
    except (ValueError, OSError) as error:
        return _named(path, error)
    return "written"


def killed(path: Path, write: Callable[[Path], None], draw: random.Random) -> str:
    def again_and_again() -> str:
        while True:
            write(path)

    return Child(again_and_again).said(draw.uniform(0, 0.03), "killed")


def on_a_full_disk(path: Path, write: Callable[[Path], None], draw: random.Random) -> str:
    """A file may have no more than so many bytes: the nearest thing to a full disk that every user can have."""

    import resource  # which not every system has

    def limited() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        return attempt(path, write)

    room = draw.randrange(2 * path.stat().st_size)
    if draw.random() < 0.5:
        path.unlink()
    return Child(limited).said()


def read_only(path: Path, write: Callable[[Path], None], draw: random.Random) -> str:
    """A folder in which this user may read and not write; who may do everything, becomes somebody else first."""

    def as_nobody() -> str:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        return attempt(path, write)

    changed = [path.parent, *path.parent.rglob("*")]
    for place in changed:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        return Child(as_nobody).said()
    finally:
        for place in changed:
            place.chmod(0o755)


def vanishing(path: Path, write: Callable[[Path], None], draw: random.Random) -> str:
    """The folder is deleted while it is written to."""

    def meanwhile() -> str:
        gone = threading.Timer(draw.uniform(0, 0.02), shutil.rmtree, [path.parent], {"ignore_errors": True})
        gone.start()
        while gone.is_alive():
            if (came := attempt(path, write)) != "written":
                return came
        return attempt(path, write)

    return Child(meanwhile).said()


HARMS = {
    "killed while it is written": killed,
    "no room on the disk": on_a_full_disk,
    "a folder to be read only": read_only,
    "a folder that vanishes": vanishing,
}


def hindered(kind: str, folder: Path, draw: random.Random, times: int) -> Iterator[tuple[str, str]]:
    """Hinder the writing of one kind of file, and look at what is there afterwards."""
    name, write, read = KINDS[kind]
    for harm, act in HARMS.items():
        for _ in range(times if act is killed else -(-times // 2)):
            shutil.rmtree(folder, ignore_errors=True)
            write(path := folder / name)
            right = read(path)
            came = act(path, write, draw)
            there = path.exists() and (kind != "results" or path.stat().st_size)  # of which an empty one has no runs
            found = reading(path, read, right) if there else ""
            if harm == "killed while it is written":
                came = found
                write(path)  # whoever writes next deletes what was left half-written
            if list(folder.rglob("*.part")):
                found = "left behind"
            yield harm, found if found.startswith(BAD) else came


def training(kills: int, seed: int, seconds: float, rows: tuple[str, ...] = ROWS) -> dict[str, Counter[str]]:
    """Kill runs of several methods at random moments, until each has ended after all: as an undisturbed one has?"""
    torch.set_num_threads(1)
    end, counted, draw = time.monotonic() + seconds, defaultdict(Counter), random.Random(f"{seed} training")
    works = {row: (tiny_plan((row,), 2), 1) for row in rows}
    works["two processes that share a folder"] = (tiny_plan(rows, store="disk"), 2)
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, XDG_CACHE_HOME=f"{name}/cache"):
        for work, (plan, processes) in works.items():

            def run(folder: Path, plan=plan) -> str:
                with warnings.catch_warnings():
                    warnings.filterwarnings("error", "a checkpoint of run")  # is lost
                    run_plan(plan, folder, quiet=True, device="cpu", announce=lambda text: None)
                return "finished"

            with contextlib.redirect_stdout(io.StringIO()):
                run(Path(name) / work / "undisturbed")
            right = timeless(Path(name) / work / "undisturbed")

            def to_the_end(folder: Path, run=run, right=right) -> str:
                run(folder)
                if timeless(folder) != right:
                    return "silently another value"
                return "left behind" if leftovers(folder) else "ended as if it had not been"

            while sum(counted[work].values()) < kills / len(works) and time.monotonic() < end:
                folder, died = Path(name) / work / f"{draw.random()}", 0
                for _ in range(draw.randint(4, 12)):
                    children, wait = [Child(partial(run, folder)) for _ in range(processes)], draw.uniform(0.02, 1.0)
                    said = [child.said(wait, "killed") for child in children]
                    died += said.count("killed")
                    for other in set(said) - {"killed", "finished"}:
                        counted[work][other] += 1
                counted[work][Child(partial(to_the_end, folder)).said(10 * LIMIT)] += died
    return dict(counted)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 400), st.integers(), st.floats(), st.text(max_size=6),
    st.lists(st.one_of(st.integers(), st.floats()), max_size=3),
)  # fmt: skip
JSON = st.recursive(ANYTHING, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
PARTS = st.lists(
    st.sampled_from([*"@=,:>-. 019", "KD", "KC-", "ratio", "epochs", "vgg8", "random", "R56", "é", "\x00"])
)


def some_of(thing: Callable[..., Any]) -> st.SearchStrategy:
    """One or two arguments of a class, anything for each."""
    return st.dictionaries(
        st.sampled_from(sorted(inspect.signature(thing).parameters)), ANYTHING, min_size=1, max_size=2
    )


def _condense(given: dict[str, Any]) -> None:
    """Three epochs of what was accepted."""
    condenser = Condenser(**{"epochs": 12, **given, "num_samples": 50})
    for _ in range(min(3, condenser.config["epochs"])):
        condenser.record(condenser.active, torch.rand(len(condenser.active)))
        condenser.end_epoch()


DOORS: dict[str, tuple[st.SearchStrategy, Callable[[Any], Any]]] = {
    "a recipe": (some_of(Recipe), lambda given: Recipe(**given)),
    "a condenser": (some_of(Condenser), _condense),
    "a scale": (some_of(Scale), lambda given: Scale(**given)),
    "a row": (PARTS.map("".join) | st.text(), find_row),
    "a pair": (PARTS.map("".join) | st.text(), find_pair),
}
"""What is given from outside: inputs, and what takes them."""


def random_inputs(examples: int, seed: int) -> dict[str, Counter[str]]:
    """Give anything to what takes settings, and bytes and JSON to what reads files."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)

    def give(to: str, inputs: st.SearchStrategy, take: Callable[[Any], str]) -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(inputs)
        def one(given: Any) -> None:
            counted[to][take(given)] += 1

        one()

    for door, (inputs, take) in DOORS.items():
        give(door, inputs, partial(at_the_door, take))
    with tempfile.TemporaryDirectory() as name:
        for kind, (file, write, read) in KINDS.items():
            path = Path(name) / kind / file
            write(path)
            right = read(path)

            def put(content: bytes, path=path, read=read, right=right) -> str:
                path.write_bytes(content)
                came = reading(path, read, right)
                return "taken for what it says" if came == "silently another value" else came

            give(kind, st.binary() | JSON.map(lambda value: json.dumps(value).encode() + b"\n"), put)
    return dict(counted)


def at_the_door(take: Callable[[Any], Any], given: Any) -> str:
    try:
        take(given)
    except (ValueError, TypeError) as error:
        return "refused by name" if str(error) else "without a name"
    except Exception as error:
        return f"without a name: {error!r} for {given!r}"
    return "taken for what it says"


def notebooks(times: int, seed: int, seconds: float) -> dict[str, Counter[str]]:
    """Run notebooks in random order, as one and as the other kind of processor; do they show what is stored in them?"""
    end, counted, draw = time.monotonic() + seconds, defaultdict(Counter), random.Random(f"{seed} notebooks")
    for _ in range(times):
        path, variables = draw.choice(sorted(ROOT.glob("notebooks/*.ipynb"))), draw.choice(PROCESSORS)
        if time.monotonic() < end:
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(path)]
            done = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
            counted[path.stem]["silently another value" if done.returncode else "the same value"] += 1
    return dict(counted)


def files_and_inputs(flips: int, truncations: int, kills: int, examples: int, seed: int) -> Table:
    """Every kind of file damaged, and hindered when it is written; every door given random inputs."""
    table: Table = defaultdict(lambda: defaultdict(Counter))

    def ring(signum: int, frame: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        for kind in KINDS:
            draw = random.Random(f"{seed} {kind}")
            with tempfile.TemporaryDirectory() as name:
                Path(name).chmod(0o755)  # for those whom the test of read-only folders becomes
                for harm, came in damaged(kind, Path(name) / "a", draw, flips, truncations):
                    table[harm][kind][came] += 1
                for harm, came in hindered(kind, Path(name) / "b", draw, kills):
                    table[harm][kind][came] += 1
            print(f"{kind}: {sum(sum(kinds[kind].values()) for kinds in table.values())}", file=sys.stderr)
        table["random inputs"].update(random_inputs(examples, seed))
    finally:
        signal.signal(signal.SIGALRM, before)
    return table


def campaign(flips: int, truncations: int, kills: int, examples: int, repeats: int, seconds: float, seed: int) -> Table:
    """Everything, as often as is said; kills for every kind of file, and ten times as many for training."""
    end = time.monotonic() + seconds
    table = files_and_inputs(flips, truncations, kills, examples, seed)
    for variables in PROCESSORS:
        with mock.patch.dict(os.environ, variables), ProcessPoolExecutor(1, get_context("spawn")) as apart:
            half = 10 * kills // len(PROCESSORS), seed, (end - time.monotonic()) / 2
            for work, came in apart.submit(training, *half).result().items():
                table["killed while it trains"][work] += came
    table["a notebook run, as one or the other kind of processor"].update(
        notebooks(repeats, seed, end - time.monotonic())
    )
    return table


def bad(table: Table) -> list[tuple[str, str, str]]:
    """What must not be: harm, kind, and what came of it."""
    return [(harm, kind, came) for harm, kinds in table.items() for kind in kinds for came in kinds[kind]
            if came.startswith(BAD)]  # fmt: skip


def markdown(table: Table) -> str:
    """A row for every harm."""
    lines = ["| what was done | to how many kinds | how often | what came of it |", "| --- | --- | --- | --- |"]
    for harm, kinds in table.items():
        came: Counter[str] = sum((Counter(counts) for counts in kinds.values()), Counter())
        said = ", ".join(f"{count:,} {what}" for what, count in came.most_common())
        lines.append(f"| {harm} | {len(kinds)} | {came.total():,} | {said} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = {
        "flips": 50,
        "truncations": 20,
        "kills": 30,
        "examples": 200,
        "repeats": 6,
        "seconds": 1500,
        "seed": 0,
    }
    for name, number in usual.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--out", type=Path, help="file for what was counted")
    chosen = vars(parser.parse_args())
    out = chosen.pop("out")
    table = campaign(**chosen)
    print(markdown(table))
    if out is not None:
        out.write_text(json.dumps({**chosen, "table": table}, indent=1) + "\n")
    for line in bad(table):
        print(*line, sep=": ")
    sys.exit(bool(bad(table)))


if __name__ == "__main__":
    main()

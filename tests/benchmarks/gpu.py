"""What a GPU is wanted for, in the order of its worth, within a time limit: ``make gpu``.

    python -m tests.benchmarks.gpu [PART ...] [--seconds S] [--data FOLDER] [--folder FOLDER] [--out FOLDER] ...

- ``tests``: those that need a GPU
- ``steps``: what a step costs, beside bare steps and public loops (:mod:`tests.benchmarks.gpu_steps`)
- ``campaign``: the benchmark's full runs, on from where they stopped (:mod:`tests.benchmarks.graphed_runs`)
- ``carried``: no more than to unpack what was carried here, for a look at it

Each part is a process of its own with a time limit; a campaign has what is left of ``--seconds``. All write lines of
JSON into ``gpu.jsonl`` in ``--out``, one as soon as something is known, so that the machine may be taken away at any
moment; called again, it goes on. What is to be carried to another machine is packed into ``--out`` as well, in files of at
most 15 MB: every record, and of unfinished runs as many checkpoints as fit, those first that are furthest. ``--carried``
names a folder with such files, which are unpacked first.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import io
import json
import multiprocessing
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

NEEDED = ("torch", "numpy", "scipy", "PIL", "tqdm", "filelock", "safetensors", "platformdirs", "pytest")
LONGEST_TESTS = 240.0
"""Seconds after which the tests are ended."""
MARGIN = 25.0
"""Seconds that the last measurement may take to end, or a campaign to save its runs and to pack them."""
ROOT = Path(__file__).resolve().parents[2]
PART_BYTES, MOST_BYTES = 15_000_000, 64_000_000
"""Of one file that is carried, and of all of them."""


def say(out: Path, **what: Any) -> None:
    """A line of JSON, on the screen and in the file."""
    print(json.dumps(what), flush=True)
    with (out / "gpu.jsonl").open("a") as file:
        print(json.dumps(what), file=file, flush=True)


class Lines:
    """A plugin of pytest that says how each test ended."""

    def __init__(self, out: Path) -> None:
        self.out, self.count = out, dict.fromkeys(("passed", "failed", "skipped"), 0)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.count[report.outcome] += 1
            error = {"error": report.longreprtext[-1500:]} if report.failed else {}
            say(self.out, part="tests", test=report.nodeid.partition("::")[2], outcome=report.outcome,
                seconds=round(report.duration, 2), **error)  # fmt: skip


def tests(options: argparse.Namespace, seconds: float) -> None:
    """The tests that need a GPU, without pytest's plugins that only other tests need."""
    import pytest

    lines = Lines(options.out)
    pytest.main(
        ["-o", "addopts=", "-p", "no:cacheprovider", "-q", str(ROOT / "tests" / "test_accelerator.py")], [lines]
    )
    say(options.out, part="tests", **lines.count)


def steps(options: argparse.Namespace, seconds: float) -> None:
    """What a step costs."""
    from tests.benchmarks import gpu_steps

    gpu_steps.main([*options.pairs, "--seconds", str(seconds - MARGIN), "--out", str(options.out / "gpu.jsonl"),
                    "--device", options.device, "--images", str(options.images), "--few", str(options.few)])  # fmt: skip


def campaign(options: argparse.Namespace, seconds: float) -> None:
    """The runs of the plan, and what is carried on from them."""
    from tests.benchmarks import graphed_runs

    carried(options)
    given = ["--folder", options.folder, "--plan", options.plan, "--device", options.device, "--side", options.side,
             "--seconds", seconds - MARGIN, "--save-every", options.save_every,
             "--log", options.out / "gpu.jsonl"]  # fmt: skip
    given += ["--data", options.data] if options.data else []
    given += ["--seeds", options.seeds] if options.seeds else []
    graphed_runs.main(list(map(str, given)))
    say(options.out, part="campaign", packed=pack(options.folder, options.out))


def carried(options: argparse.Namespace, seconds: float = 0) -> None:
    """What the repository and a folder that was carried here have of the campaign."""
    if options.carried:
        unpack(options.carried, options.folder)
    if options.plan == "full":
        begin_as_stored(options.folder)


def begin_as_stored(folder: Path) -> None:
    """Give a folder what the repository has of the campaign: its plan, if it has none, its teacher, and its records."""
    stored = ROOT / "data" / "results" / "full"
    (folder / "teachers").mkdir(parents=True, exist_ok=True)
    for path in (stored / "plan.json", stored / "sample.json", *(ROOT / "data" / "teachers").iterdir()):
        place = folder / ("teachers" if path.parent.name == "teachers" else "") / path.name
        if not place.exists():
            shutil.copyfile(path, place)
    take_records(stored / "results.jsonl", folder)


def take_records(results: Path, folder: Path) -> None:
    """Add finished runs to a folder that lacks them."""
    from kcd_teach.benchmark import Store

    ours, theirs = Store(folder), Store(results.parent).records()
    for key in theirs.keys() - ours.records().keys():
        ours.append(theirs[key])


def pack(folder: Path, out: Path, most: int = MOST_BYTES) -> list[str]:
    """Write a campaign into files of at most 15 MB, named with a checksum in ``pack.json``; returns what they hold.

    Left out are trained students and teachers, checkpoints for which no room is left, and the ones before the last.
    """
    from kcd_teach._files import written_whole
    from kcd_teach.benchmark import Store

    under_way = Store(folder).under_way()
    furthest = sorted(under_way, key=lambda key: -under_way[key][-1]["epoch"])
    files = [folder / name for name in ("plan.json", "sample.json", "results.jsonl")]
    files += [folder / "checkpoints" / f"{key}.pt" for key in furthest]
    held, names = io.BytesIO(), []
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in filter(Path.exists, files):
            alone = io.BytesIO()
            with zipfile.ZipFile(alone, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as trial:
                trial.write(path, path.name)
            if held.tell() + alone.tell() <= most:
                names.append(path.relative_to(folder).as_posix())
                archive.write(path, names[-1])
    content = held.getvalue()
    parts = [content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES)]
    out.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts):
        with written_whole(out / f"pack.{number}") as file:
            file.write(part)
    with written_whole(out / "pack.json") as file:
        about = {"parts": len(parts), "sha256": hashlib.sha256(content).hexdigest(), "files": names}
        file.write((json.dumps(about) + "\n").encode())
    return names


def unpack(carried: Path, folder: Path) -> None:
    """Put what :func:`pack` wrote into a folder: the records that it lacks, and the checkpoints of runs that it has not begun.

    Raises:
        ValueError: files that are not those that were written together; the folder is left as it was.
    """
    from kcd_teach._files import written_whole

    take_lines(carried / "gpu.jsonl", folder)
    if not (carried / "pack.json").exists():
        return
    about = json.loads((carried / "pack.json").read_text())
    content = b"".join((carried / f"pack.{number}").read_bytes() for number in range(about["parts"]))
    if hashlib.sha256(content).hexdigest() != about["sha256"]:
        raise ValueError(f"the files in {carried} were not written together, or are damaged: copy all of them again")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in about["files"]:
            place = folder / ("carried" if name == "results.jsonl" else "") / name
            if name == "results.jsonl" or not place.exists():
                with written_whole(place) as file:
                    file.write(archive.read(name))
    if "results.jsonl" in about["files"]:
        take_records(folder / "carried" / "results.jsonl", folder)
        shutil.rmtree(folder / "carried")


def take_lines(log: Path, folder: Path) -> None:
    """Add the finished runs of a log, which is there also where a machine was taken away before anything was packed."""
    from kcd_teach.benchmark import Store

    store = Store(folder)
    for line in log.read_text().splitlines() if log.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):  # half a line
            record = json.loads(line).get("record")
            if record and record["key"] not in store.records():
                store.append(record)


PARTS = {"tests": tests, "steps": steps, "campaign": campaign, "carried": carried}
DEFAULT = ("tests", "steps", "campaign")


def begin(part: str, options: argparse.Namespace, seconds: float) -> None:
    """A part in its own process, which ends with the one that started it."""
    import threading

    from kcd_teach.benchmark.runner import _end_with_parent

    threading.Thread(target=_end_with_parent, daemon=True).start()
    PARTS[part](options, seconds)


def run(options: argparse.Namespace) -> bool:
    """All parts that were asked for; True if each of them came to its end."""
    until, fine, spawn = time.monotonic() + options.seconds, True, multiprocessing.get_context("spawn")
    for part in options.parts:
        left = until - time.monotonic()
        seconds = min(left, {"tests": LONGEST_TESTS, "steps": options.step_seconds + MARGIN}.get(part, left))
        began, process = time.monotonic(), spawn.Process(target=begin, args=(part, options, seconds))
        process.start()
        process.join(seconds)
        in_time = not process.is_alive()
        process.kill()
        process.join()
        fine = fine and in_time and process.exitcode == 0
        say(options.out, part=part, ended=in_time, exit=process.exitcode, took=round(time.monotonic() - began, 1))
    return fine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all but the last by default")
    parser.add_argument("--seconds", type=float, default=840, help="for all parts together")
    parser.add_argument("--data", type=Path, help="folder with cifar100.npz")
    parser.add_argument("--folder", type=Path, default=Path("runs/full"), help="of the campaign")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="for lines of JSON, and what is carried on")
    parser.add_argument("--carried", type=Path, help="folder with what was carried here")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=2, help="runs side by side")
    parser.add_argument("--seeds", type=int, help="of the campaign, if not those of its plan")
    parser.add_argument("--plan", default="full", help="of a new campaign")
    parser.add_argument("--save-every", type=int, default=20, help="epochs between checkpoints")
    parser.add_argument("--step-seconds", type=float, default=120, help="after which no step is timed any more")
    parser.add_argument("--pairs", nargs="*", default=[], help="whose steps are timed")
    parser.add_argument("--images", type=int, default=12_800, help="random ones, for step times")
    parser.add_argument("--few", type=int, default=1, help="divide the numbers of steps that are timed")
    options = parser.parse_args()
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        parser.error(f"missing in this Python: {', '.join(missing)}; install them (without a network: from wheels)")
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    options.parts = options.parts or list(DEFAULT)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "gpu.jsonl").open("a") as file:
        file.write("\n" if file.tell() else "")  # a killed process may have left half a line
    raise SystemExit(0 if run(options) else 1)


if __name__ == "__main__":
    main()

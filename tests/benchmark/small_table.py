"""How long does the whole table take at small scale, killed twice on the way? Run by hand, on two quiet cores:

    python -m tests.benchmark.small_table [--pair PAIR] [--row ROW] [--workers N] [--out FILE]

Starts ``kcd-teach bench --scale small`` in an empty folder, kills all of its processes (SIGKILL) at a third and at two
thirds of the runs, starts it again each time, and checks at the end that every cell is there, and that no run was lost
or done twice. Writes data/results/small_table.json, or prints only if not all cells are asked for. POSIX only.
"""

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from kcd_teach import __version__
from kcd_teach._files import written_whole
from kcd_teach.benchmark import Prepared, Store, make_plan, make_table

OUT = Path(__file__).resolve().parents[2] / "data" / "results" / "small_table.json"
POLL = 0.2
"""Seconds between two looks at the results."""


def lines_of(store: Store) -> list[str]:
    """Finished runs, as they stand in the file."""
    return store.results.read_text(encoding="utf-8").splitlines() if store.results.exists() else []


def run_until(command: list[str], store: Store, enough: int | None) -> list[str]:
    """Start a plan and kill it as soon as so many runs are finished; ``None`` waits for its end.

    Returns:
        The finished runs.

    Raises:
        RuntimeError: it ended by itself, where it was to be killed, or with an error.
    """
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while started.poll() is None and (enough is None or len(lines_of(store)) < enough):
            time.sleep(POLL)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
    code = started.wait()
    if code != (0 if enough is None else -signal.SIGKILL):
        raise RuntimeError(f"{' '.join(command)} ended with {code}, {len(lines_of(store))} runs are finished")
    return lines_of(store)


def check_whole(store: Store, kept: list[list[str]]) -> dict[str, int]:
    """Counts of a table that is whole; raises RuntimeError for one that is not.

    Args:
        store: of the plan.
        kept: the finished runs at each kill.
    """
    prepared, lines = Prepared.load(store), lines_of(store)
    cells = make_table(prepared, store).rows()
    wanted = {unit.key for unit in prepared.units()}
    faults = {
        "cells are empty": sum(cell["ours"] is None for cell in cells),
        "runs were lost": sum(line not in lines for before in kept for line in before),
        "runs were done twice": len(lines) - len(store.records()),
        "runs differ from the plan's": len(wanted ^ store.records().keys()),
        "files were left": sum(1 for place in ("checkpoints/*", "**/*.part") for _ in store.folder.glob(place)),
    }
    if any(faults.values()):
        raise RuntimeError(", ".join(f"{count} {what}" for what, count in faults.items() if count))
    return {"cells": len(cells), "runs": len(lines)}


def measure(command: list[str], store: Store, cells: int) -> dict[str, Any]:
    """Run the plan with two kills; minutes, and how many runs were finished at each kill."""
    started, kept, marks = time.perf_counter(), [], []
    for enough in (cells // 3, 2 * cells // 3, None):
        kept.append(run_until(command, store, enough))
        marks.append(round((time.perf_counter() - started) / 60, 2))
    return {
        "minutes": marks[-1], **check_whole(store, kept), "killed after minutes": marks[:-1],
        "killed with runs": [len(lines) for lines in kept[:-1]],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", action="append", default=[], help="all by default")
    parser.add_argument("--row", action="append", default=[], help="all by default")
    parser.add_argument("--workers", default=2, type=int, help="processes side by side")
    parser.add_argument("--out", type=Path, help="file to write")
    chosen = parser.parse_args()
    plan = make_plan(chosen.pair or None, chosen.row or None)
    shown = ["bench", "--scale", plan.scale.name, "--workers", str(chosen.workers)]
    for option, names in (("--pair", chosen.pair), ("--row", chosen.row)):
        shown += [part for name in names for part in (option, name)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "kcd_teach.cli", *shown, "--folder", folder]
        measured = measure(command, Store(folder), len(plan.pairs) * len(plan.rows))
    result = {
        "command": "python -m tests.benchmark.small_table", "measured": f"kcd-teach {' '.join(shown)}", **measured,
        "versions": {"kcd_teach": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": f"cpu ({platform.machine()}), {os.cpu_count()} cores",
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    out = chosen.out or (None if chosen.pair or chosen.row else OUT)
    if out is not None:
        with written_whole(out) as file:
            file.write((json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

"""A plan whose runs take a fraction of a second each, and what is left of a record without its times."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from kcd_teach.benchmark import Outcome, Plan, Scale, Store, make_plan, run_plan
from kcd_teach.benchmark.runs import Watch
from kcd_teach.training import Distillation

ROOT = Path(__file__).resolve().parents[2]
PAIR = "mini_resnet8x3>mini_convnet"
SCALE = Scale(
    "tiny", "fashion-mnist-mini", epochs=3, batch_size=10, per_class=2, test_per_class=1, classes=5, side=12
)  # fmt: skip
ROWS = ("Student", "KD", "KC-KD", "KC-CRD")


def tiny_plan(rows: tuple[str, ...] = ROWS, seeds: int = 1, **changes: Any) -> Plan:
    return make_plan([PAIR], rows, seeds, SCALE.but(**changes))


def timeless(folder: Path) -> dict[str, dict[str, Any]]:
    """Records of a folder by key, without what differs between two runs of the same configuration."""
    return {
        key: {name: value for name, value in record.items() if name not in ("seconds", "finished")}
        for key, record in Store(folder).records().items()
    }


def run(folder: Path, **settings: Any) -> Outcome:
    """Carry out the tiny plan with two seeds."""
    return run_plan(tiny_plan(seeds=2), folder, quiet=True, **{"announce": lambda text: None, **settings})


def stop_at(look: int) -> Watch:
    """A watch that presses Ctrl-C at the given look."""
    looks = iter(range(1, 10_000))

    def watch(title: str, run: Distillation) -> None:
        if next(looks) == look:
            raise KeyboardInterrupt

    return watch


def leftovers(folder: Path) -> list[str]:
    """Checkpoints, and files that were left half-written."""
    return [path.name for path in (folder / "checkpoints").iterdir()] + [path.name for path in folder.rglob("*.part")]


def main(folder: str, kill_at: int, seeds: int = 2, rows: tuple[str, ...] = ROWS) -> None:
    """Run the tiny plan, print which trainings began here, and die at the given look of the watch."""
    looks = 0

    def watch(title: str, run: Distillation) -> None:
        nonlocal looks
        looks += 1
        if run.epoch == 0:
            print(title, flush=True)
        if looks == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    run_plan(tiny_plan(rows, seeds), folder, watch=watch, quiet=True, announce=lambda text: None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""What holds here holds on the other kind of machine: with and without instructions for bfloat16, with one thread or two.

``ONEDNN_MAX_CPU_ISA`` forbids newer instructions to the library that convolves, so that a processor of one kind can do as
the other would; it is read when torch starts, hence the processes. Where the value means nothing, as on processors of
another make, each of them repeats what was tested already.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KINDS = {("AVX2", 1): "", ("AVX512_CORE", 2): "every_method"}
"""Newest instructions allowed, and threads -> tests left out, as two threads take long for networks this small.

The newest instructions there are, with one thread, are those of all other tests.
"""
FILES = ["tests/test_engine.py", "tests/test_knowledge.py", "tests/test_resuming.py", "tests/test_training.py"]
CHOSEN = (
    "bfloat16 or float32 or features or predict or empty_memory or remembered_answers or never_stores "
    "or remembering_changes"
)
"""Tests whose outcome could depend on the digits of a convolution, and on the order in which threads add them up."""


def at_home_on(newest: str, threads: int) -> dict[str, str]:
    """The environment of a process that computes as such a machine does; waiting threads make room for others."""
    count = str(threads)
    return {**os.environ, "ONEDNN_MAX_CPU_ISA": newest, "OMP_NUM_THREADS": count, "KCD_TEACH_TEST_THREADS": count,
            "OMP_WAIT_POLICY": "PASSIVE"}  # fmt: skip


def python(*arguments: object, on: tuple[str, int]) -> str:
    """What Python prints on a machine of this kind; it must end well."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=at_home_on(*on), capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pytest_on(*arguments: object, on: tuple[str, int]) -> str:
    return python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *arguments, on=on)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_depends_on_digits_and_threads_passes_on_every_kind_of_machine(kind):
    left_out = f" and not {KINDS[kind]}" if KINDS[kind] else ""
    said = pytest_on(*FILES, "-k", f"({CHOSEN}){left_out}", on=kind)
    assert "passed" in said
    assert "failed" not in said


def test_the_appendix_shows_the_same_without_instructions_for_bfloat16():
    said = pytest_on("--nbval", "--nbval-current-env", "notebooks/appendix_speed.ipynb", on=("AVX2", 1))
    assert "passed" in said


@contextlib.contextmanager
def busy():
    """Another process beside this one takes all the time it can get."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


ONE_EPOCH = """
import sys
from kcd_teach import Condenser, Recipe, distill
from tests.tiny import tiny_dataset, tiny_networks

folder, *precisions = sys.argv[1:]
for precision in precisions:
    student, teacher = tiny_networks()
    recipe = Recipe(epochs=4, batch_size=10, **({} if precision == "as it comes" else {"precision": precision}))
    condenser = Condenser(48, 0.6, 2, 4)
    checkpoint = f"{folder}/{precision}.pt"
    run = distill(student, tiny_dataset(), teacher, recipe=recipe, condenser=condenser, checkpoint=checkpoint)
    print(next(run).epoch, run.engine.precision, len(run))
"""
WHERE = {"as it comes": [("DEFAULT", 1), ("AVX2", 1), ("AVX512_CORE", 2)], "bfloat16": [("DEFAULT", 1), ("AVX2", 1)]}
"""Precision -> the machines that compute one epoch each, one after the other."""


def test_a_run_goes_on_from_machine_to_machine_and_beside_a_busy_process(tmp_path):
    """No process chooses its numerics by what it finds, so that none refuses what another one began."""
    for epoch, kind in enumerate(WHERE["as it comes"], start=1):
        precisions = [precision for precision, kinds in WHERE.items() if kind in kinds]
        with busy() if epoch == 2 else contextlib.nullcontext():  # begun and ended on a quiet machine
            said = python("-c", ONE_EPOCH, tmp_path, *precisions, on=kind)
        expected = [f"{epoch} {'float32' if name == 'as it comes' else name} {4 - epoch}" for name in precisions]
        assert said.splitlines() == expected

"""The notebooks can fail: each bug below, put into a copy of the library, is noticed by a notebook."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BUGS = {
    "ranking reversed": (
        "condensation/value.py", "torch.sort(score, descending=True", "torch.sort(score, descending=False", "04_em_feedback"
    ),
    "T squared lost": ("distillers/kd.py", "return divergence * temperature**2", "return divergence", "01_plain_kd"),
    "mixture by the wrong share": ("augment.py", "(1 - share) * images + share * partners + 0.5",
                                   "share * images + (1 - share) * partners + 0.5", "05_summary_condensation"),
}  # fmt: skip


def run_notebook(name: str, library: Path) -> subprocess.CompletedProcess[str]:
    """Run a stored notebook under nbval with the library in a folder, up to the first cell that fails."""
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=300", "-x", "-q", "-p", "no:cacheprovider"]
    options += [f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval_sanitize.cfg'}", "-o", "addopts="]
    notebook = library / "notebooks" / f"{name}.ipynb"
    environment = {**os.environ, "PYTHONPATH": str(library), "KCD_DATA": str(ROOT / "data")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(notebook)],
        capture_output=True, text=True, cwd=library, env=environment, timeout=600,
    )  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_notebook_notices(bug, tmp_path):
    file, right, wrong, notebook = BUGS[bug]
    for folder in ("kcd_teach", "notebooks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = (tmp_path / "kcd_teach" / file).read_text()
    assert source.count(right) == 1
    (tmp_path / "kcd_teach" / file).write_text(source.replace(right, wrong))
    result = run_notebook(notebook, tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 failed" in result.stdout

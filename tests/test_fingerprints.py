"""A fingerprint changes with what it stands for, and with nothing else."""

import re
import shutil
from pathlib import Path

import pytest

from kcd_teach import fingerprints


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A copy of the package whose files may be changed, and its fingerprint."""
    package = tmp_path / "kcd_teach"
    shutil.copytree(Path(fingerprints.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprints, "__file__", str(package / "fingerprints.py"))
    return package, fingerprints.code_fingerprint.__wrapped__


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("distillers/kd.py", "* temperature**2", "* temperature**3", False),
        ("condensation/condenser.py", "alpha: float = 0.03", "alpha: float = 0.04", False),
        ("benchmark/settings.py", "RATIO, STAGES = 0.7, 6", "RATIO, STAGES = 0.7, 5", False),
        ("training.py", "# + what the student finds hard", "# + anything else", True),
        (
            "training.py",
            '"""Train for one epoch, or for the rest of an interrupted one."""',
            '"""Another text."""',
            True,
        ),
        ("training.py", "100_003 * self.seed + epoch", "(100_003   *\n self.seed) + epoch", True),
        ("figures/runs.py", "accuracy", "exactness", True),
        ("cli.py", "import", "import ", True),
    ],
)
def test_code_counts_and_its_comments_do_not(code, file, old, new, same):
    package, fingerprint = code
    before = fingerprint()
    assert before == fingerprints.code_fingerprint()
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    assert (fingerprint() == before) is same


def test_what_a_run_imports_is_hashed_or_cannot_change_its_end():
    package = Path(fingerprints.__file__).parent
    hashed = {path for pattern in fingerprints.RESULTS_COME_FROM for path in package.glob(pattern)}
    harmless = {  # checks, files, names and places
        "_checks.py", "_files.py", "__init__.py", "fingerprints.py", "benchmark/store.py", "benchmark/published.py",
    }  # fmt: skip
    reached, ahead = set(), {package / "benchmark" / "runs.py"}
    while ahead:
        path = ahead.pop()
        reached.add(path)
        names = re.findall(r"^\s*from (kcd_teach[\w.]*) import", path.read_text(), re.MULTILINE)
        modules = [package.parent.joinpath(*name.split(".")) for name in names]
        found = [m.with_suffix(".py") if m.with_suffix(".py").exists() else m / "__init__.py" for m in modules]
        ahead |= set(found) - reached
    left = {path.relative_to(package).as_posix() for path in reached - hashed}
    assert len(reached) > 30
    assert left <= harmless, left - harmless


def test_every_pattern_finds_a_file():
    package = Path(fingerprints.__file__).parent
    assert all(list(package.glob(pattern)) for pattern in fingerprints.RESULTS_COME_FROM)


def test_code_is_spelt_as_every_python_spells_it():
    assert fingerprints._bare("x = f'{a!r:>{w}} b'  # c") == (
        "(Module body=[(Assign targets=[(Name id='x' ctx=(Store ))] value=(JoinedStr values=[(FormattedValue "
        "value=(Name id='a' ctx=(Load )) conversion=114 format_spec=(JoinedStr values=[(Constant value='>') "
        "(FormattedValue value=(Name id='w' ctx=(Load )) conversion=-1)])) (Constant value=' b')]))])"
    )

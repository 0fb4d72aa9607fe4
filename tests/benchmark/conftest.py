from pathlib import Path

import pytest

from kcd_teach.benchmark import run_plan
from tests.benchmark.tiny import tiny_plan


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder with the tiny plan, two seeds, run without a disturbance. Read only."""
    folder = tmp_path_factory.mktemp("finished")
    run_plan(tiny_plan(seeds=2), folder, quiet=True, announce=lambda text: None)
    return folder

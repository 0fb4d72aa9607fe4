"""The networks of the tests are so small that threads cost more than they give, above all on a busy machine.

So there is one, unless ``KCD_TEACH_TEST_THREADS`` says otherwise, as ``tests/test_other_machines.py`` does.
"""

import os
import signal
import sys
from importlib.machinery import PathFinder

import pytest
import torch

from kcd_teach import datasets, distillers, models  # noqa: F401 - so that all registries are there
from kcd_teach.condensation import value  # noqa: F401
from kcd_teach.registry import REGISTRIES

THREADS = os.environ.get("KCD_TEACH_TEST_THREADS", "1")
os.environ["OMP_NUM_THREADS"] = THREADS  # of the processes that tests start
torch.set_num_threads(int(THREADS))


def pytest_collection_modifyitems(items):
    """Put the solved notebooks right behind the others: begun late, they would be all that runs at the end."""
    items.sort(key=lambda item: item.path.suffix != ".ipynb" and item.path.name != "test_solved_notebooks.py")


@pytest.fixture(autouse=True)
def interrupts_are_heard():
    """A process started in the background of a shell ignores SIGINT; the tests of interrupts need Python's handler."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def registries_are_as_before(monkeypatch):
    """What a test registers, and the files that it loads, are forgotten: the next test is another user's process."""
    for registry in REGISTRIES.values():
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and "." not in name and PathFinder.find_spec(name) is None:
            del sys.modules[name]

"""The networks of the tests are so small that threads cost more than they give, above all on a busy machine."""

import os
import signal

import pytest
import torch

os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def interrupts_are_heard():
    """A process started in the background of a shell ignores SIGINT; the tests of interrupts need Python's handler."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)

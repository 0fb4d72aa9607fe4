"""The networks of the tests are so small that threads cost more than they give, above all on a busy machine."""

import os

import torch

os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
torch.set_num_threads(1)

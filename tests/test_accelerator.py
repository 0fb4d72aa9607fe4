"""The same runs on a GPU, where there is one."""

import pytest
import torch

from kcd_teach.knowledge import Knowledge
from tests.tiny import tiny_dataset, tiny_networks, tiny_run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("store", ["off", "memory"], ids=["asked", "remembered"])
@pytest.mark.parametrize("preset", [None, "paper", "released"])
def test_a_run_on_a_gpu_makes_the_plans_of_its_own_values_and_resumes(tmp_path, preset, store):
    def run(checkpoint=None):
        knowledge = Knowledge(tiny_networks()[1], tiny_dataset(), store)
        return tiny_run(preset, knowledge, device="cuda", checkpoint=checkpoint)

    whole, first = run(), run(tmp_path / "run.pt")
    reports = list(whole)
    assert [report.active for report in reports] == ([48] * 4 if preset is None else [48, 48, 29, 29])
    assert next(whole.student.parameters()).device.type == "cuda"
    next(first), next(first), next(first)
    again = run(tmp_path / "run.pt")
    list(again)
    for ours, theirs in zip(again.student.state_dict().values(), whole.student.state_dict().values(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)  # sums on a GPU have no fixed order
    assert whole.condenser.active.device.type == "cpu"

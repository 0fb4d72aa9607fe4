"""What is refused at the door, and what a result says about where it was computed."""

import json
import os
import zipfile

import numpy as np
import pytest
import torch

from kcd_teach import Condenser, Recipe, distill
from kcd_teach import datasets as module
from kcd_teach._files import in_markdown, printable
from kcd_teach.benchmark import Scale
from kcd_teach.condensation.value import cost_aware_score, rank
from kcd_teach.datasets import find_data_file, read_npz
from kcd_teach.distillers.crd import noise_contrast
from kcd_teach.recipe import Engine
from kcd_teach.views import NegativePool
from tests import campaign
from tests.tiny import tiny_dataset, tiny_networks

LABELS = torch.tensor([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: Recipe(milestones=0.5), "milestones must be a sequence"),
        (lambda: Recipe(milestones=float("nan")), "milestones must be a sequence"),
        (lambda: Recipe(decay=-1), "decay must be in"),
        (lambda: Recipe(decay=float("nan")), "decay must be in"),
        (lambda: Condenser(50, epochs=2**54, history=True), "epochs x num_samples with history=True must be at most"),
        (lambda: Scale(epochs=None), "epochs must be a whole number, got None"),
        (lambda: Scale(batch_size=None), "batch_size must be a whole number, got None"),
        (lambda: NegativePool(LABELS[:0], LABELS), "negatives need samples to be drawn from, got none"),
        (lambda: NegativePool(torch.arange(4), LABELS).contrasts(LABELS, 0, torch.Generator()), "negatives must be at"),
        (lambda: noise_contrast(torch.ones(2, 1), torch.ones(()), 4), "with K at least 1, got"),
    ],
)
def test_what_cannot_work_is_refused_by_name(attempt, message):
    with pytest.raises((ValueError, TypeError), match=message):
        attempt()


class Sparse(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images).to_sparse()


def test_a_teacher_that_answers_with_a_sparse_tensor_is_refused():
    student, teacher = tiny_networks()
    with pytest.raises(ValueError, match=r"teacher must answer images with logits .*, got a sparse tensor"):
        distill(student, tiny_dataset(), Sparse(teacher))


@pytest.mark.parametrize("alpha", [200.0, 1e6])
def test_a_large_alpha_ranks_by_frequency_and_then_by_value(alpha):
    value = torch.tensor([0.0, 2.0, 0.1, 0.2, 1e-300], dtype=torch.float64)
    frequency = torch.tensor([300, 1, 300, 300, 299])
    assert rank(cost_aware_score(value, frequency, alpha)).tolist()[:2] == [3, 2]
    assert rank(cost_aware_score(value, frequency, alpha)).tolist()[-1] == 0


def test_a_usual_alpha_gives_the_formula_to_the_bit():
    value, frequency = torch.rand(50, dtype=torch.float64), torch.randint(0, 300, (50,))
    for alpha in (0.0, 0.03, 1.0, 100.0):
        assert torch.equal(cost_aware_score(value, frequency, alpha), value * frequency.double().pow(alpha))


def test_an_npz_file_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(20_000))
    with pytest.raises(ValueError, match=r"x\.npz would take 0\.0 GB of memory, more than any file here; refused"):
        read_npz(tmp_path / "x.npz", ())
    np.savez(tmp_path / "y.npz", a=np.zeros(1_000))
    assert read_npz(tmp_path / "y.npz", ())["a"].nbytes == 8_000


def test_the_place_names_instructions_and_threads(monkeypatch):
    assert torch.backends.cpu.get_cpu_capability() in Engine("cpu").place
    assert f"{torch.get_num_threads()} thread" in Engine("cpu").place
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert "oneDNN up to AVX2" in Engine("cpu").place


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_short_campaign_finds_nothing():
    """The long one is ``python -m tests.campaign``; what is missing here are notebooks, which other tests run."""
    table = campaign.files_and_inputs(flips=12, truncations=5, kills=2, examples=25, seed=1)
    assert campaign.bad(table) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_runs_that_are_killed_again_and_again_end_as_if_they_had_not_been():
    counted = campaign.training(kills=1, seed=1, seconds=600, rows=("KC-KD",))
    assert all(sum(came.values()) for came in counted.values())
    assert campaign.bad({"killed": counted}) == []


def test_the_page_shows_the_last_campaign():
    stored = json.loads(find_data_file("results/campaign.json").read_text())
    table = stored["table"]
    assert campaign.markdown(table) in (campaign.ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    assert campaign.bad(table) == []
    for harm, least in (("a bit flipped", 50), ("cut off", 20)):
        assert table[harm].keys() == campaign.KINDS.keys()
        assert all(sum(came.values()) >= least for came in table[harm].values())
    assert (
        sum(sum(came.values()) for harm in table if harm.startswith("killed") for came in table[harm].values()) >= 500
    )


def test_names_from_a_foreign_folder_are_harmless_in_a_table_and_in_a_terminal():
    assert in_markdown("a|b <img src=x>\n\x1b[2J\u202e") == r"a\|b &lt;img src=x> ?[2J?"
    assert printable("W40-2>W16-2 ±") == "W40-2>W16-2 ±"

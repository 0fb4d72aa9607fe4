"""Runs that are interrupted, killed and continued must end where an undisturbed run ends, bit for bit."""

import copy
import os
import re
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from kcd_teach import checkpoints, training
from kcd_teach.checkpoints import read_state, write_state
from kcd_teach.condensation import Condenser
from kcd_teach.knowledge import Knowledge
from kcd_teach.training import distill
from tests.tiny import outcome, replaced_weights, same, tiny_dataset, tiny_networks, tiny_run

PRESETS = pytest.mark.parametrize("preset", [None, "paper", "released"])
# Batches are 1-5, 6-10, 11-13 and 14-16; the stage changes after the tenth.
BATCHES = pytest.mark.parametrize("batch", [1, 3, 5, 6, 10, 11, 13, 16])


class Interrupting(nn.Module):
    """The tiny teacher, by its weights, but it presses Ctrl-C while it answers, at given calls.

    Only training is meant: a copy, as the rehearsal and the probe make one, presses nothing.
    """

    def __init__(self, *at: int, times: int = 1) -> None:
        super().__init__()
        self.network, self.at, self.times, self.calls = tiny_networks()[1], at, times, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls in self.at:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)
        return self.network(images)

    def state_dict(self, **settings) -> dict:
        return self.network.state_dict(**settings)

    def __deepcopy__(self, memo: dict) -> nn.Module:
        return copy.deepcopy(self.network, memo)


PRECISIONS = pytest.mark.parametrize("precision", ["float32", "bfloat16"])


@cache
def undisturbed(preset: str | None, precision: str = "float32") -> dict:
    run = tiny_run(preset, recipe={"precision": precision})
    list(run)
    return outcome(run)


@BATCHES
@PRESETS
def test_interrupted_and_continued(preset, batch):
    teacher = Interrupting(batch)
    run = tiny_run(preset, teacher)
    with pytest.raises(KeyboardInterrupt, match=r"stopped between batches in epoch \d; iterate to go on"):
        list(run)
    assert teacher.calls == batch  # it stopped right after this batch
    list(run)
    assert same(outcome(run), undisturbed(preset))
    assert [report.epoch for report in run.reports] == [1, 2, 3, 4]


class Waiting(Interrupting):
    """A teacher that waits, at given calls, until another thread has asked the run to stop."""

    def __init__(self, *at: int) -> None:
        super().__init__()
        self.stops, self.reached, self.asked = at, threading.Event(), threading.Event()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer = super().forward(images)
        if self.calls in self.stops:
            self.reached.set()
            assert self.asked.wait(30)
        return answer


@BATCHES
def test_stopped_by_another_thread_and_continued(batch):
    teacher = Waiting(batch)
    run, said = tiny_run("paper", teacher), []

    def work() -> None:
        try:
            list(run)
        except KeyboardInterrupt as stopped:
            said.append(str(stopped))

    thread = threading.Thread(target=work)
    thread.start()
    assert teacher.reached.wait(30)
    run.stop()
    teacher.asked.set()
    thread.join()
    assert teacher.calls == batch
    assert re.fullmatch(r"stopped between batches in epoch \d; iterate to go on", said[0])
    list(run)
    assert same(outcome(run), undisturbed("paper"))


def test_interrupted_again_and_again():
    run, interrupts = tiny_run("paper", Interrupting(1, 2, 5, 6, 11, 16)), 0
    while len(run):
        try:
            next(run)
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts == 6
    assert same(outcome(run), undisturbed("paper"))


@pytest.mark.parametrize("where", ["accuracy", "write_state", "end_epoch"])
@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_interrupted_while_an_epoch_is_closed(monkeypatch, tmp_path, epoch, where):
    """Ranking, evaluating and saving are finished first: stopped in their middle they would happen twice."""
    run = tiny_run("paper", checkpoint=tmp_path / "run.pt")
    owner = {"end_epoch": run.condenser, "write_state": checkpoints, "accuracy": training}[where]
    original = getattr(owner, where)

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    for _ in range(epoch - 1):
        next(run)
    monkeypatch.setattr(owner, where, interrupted)
    with pytest.raises(KeyboardInterrupt, match=f"stopped after epoch {epoch}; iterate to go on"):
        next(run)
    monkeypatch.setattr(owner, where, original)
    assert len(run.reports) == epoch
    list(run)
    assert same(outcome(run), undisturbed("paper"))


def test_a_second_interrupt_strikes_at_once_and_the_checkpoint_is_older_but_whole(tmp_path):
    run = tiny_run("paper", Interrupting(8, times=2), checkpoint=tmp_path / "run.pt")
    with pytest.raises(KeyboardInterrupt):
        list(run)
    with pytest.raises(
        RuntimeError, match="this run was stopped inside a step and may be inconsistent; start it again"
    ):
        next(run)
    again = tiny_run("paper", checkpoint=tmp_path / "run.pt")
    assert again.epoch == 1
    list(again)
    assert same(outcome(again), undisturbed("paper"))


def test_the_interrupt_handler_is_given_back(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    run = tiny_run("paper", Interrupting(2))
    with pytest.raises(KeyboardInterrupt):
        next(run)
    assert signal.getsignal(signal.SIGINT) is before
    next(run)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("epochs", [0, 1, 2, 3, 4])
@PRESETS
def test_continued_from_a_checkpoint_between_epochs(tmp_path, preset, epochs):
    run = tiny_run(preset, checkpoint=tmp_path / "run.pt")
    for _ in range(epochs):
        next(run)
    del run
    with replaced_weights():
        again = tiny_run(preset, checkpoint=tmp_path / "run.pt", student_seed=7)
    assert (again.epoch, len(again), len(again.reports)) == (epochs, 4 - epochs, epochs)
    assert [report.epoch for report in again] == list(range(epochs + 1, 5))
    assert same(outcome(again), undisturbed(preset))


@BATCHES
@PRESETS
def test_continued_from_a_checkpoint_in_the_middle_of_an_epoch(tmp_path, preset, batch):
    run = tiny_run(preset, Interrupting(batch), checkpoint=tmp_path / "run.pt")
    with pytest.raises(KeyboardInterrupt):
        list(run)
    del run
    teacher = Interrupting()
    with replaced_weights():
        again = tiny_run(preset, teacher, checkpoint=tmp_path / "run.pt", student_seed=7)
    list(again)
    assert teacher.calls == (20 if preset is None else 16) - batch  # no batch is repeated or left out
    assert same(outcome(again), undisturbed(preset))


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_continued_from_a_checkpoint_in_bfloat16(tmp_path, preset):
    settings = {"recipe": {"precision": "bfloat16"}, "checkpoint": tmp_path / "run.pt"}
    with pytest.raises(KeyboardInterrupt):
        list(tiny_run(preset, Interrupting(3, 13), **settings))
    assert tiny_run(preset, **settings).epoch == 0
    with pytest.raises(KeyboardInterrupt):
        list(tiny_run(preset, Interrupting(10), **settings))
    with replaced_weights():
        again = tiny_run(preset, student_seed=7, **settings)
    assert again.epoch == 2
    list(again)
    assert same(outcome(again), undisturbed(preset, "bfloat16"))


@pytest.mark.parametrize(
    "settings",
    [{"selection": "random"}, {"value": "sum", "pool": "active"}, {"history": True}],
    ids=["random", "sum, active", "history"],
)
def test_continued_with_other_condensers(tmp_path, settings):
    def run(checkpoint=None):
        return tiny_run(condenser=Condenser(48, 0.5, 4, 4, **settings), checkpoint=checkpoint)

    whole = run()
    list(whole)
    for _ in range(4):
        next(run(tmp_path / "run.pt"))
    last = run(tmp_path / "run.pt")
    ours, theirs = outcome(last), outcome(whole)
    for state in (ours, theirs):
        history = state["condenser"].pop("history")
        assert (history is None) == ("history" not in settings)
        state["seen"] = torch.zeros(()) if history is None else history.nan_to_num(-1)
    assert same(ours, theirs)


@pytest.mark.parametrize("batch", [3, 13])
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_interrupted_and_continued_with_remembered_answers(preset, batch):
    whole = tiny_run(preset, Knowledge(tiny_networks()[1], tiny_dataset(), store="memory"))
    list(whole)
    run = tiny_run(preset, Knowledge(Interrupting(batch), tiny_dataset(), store="memory"))
    with pytest.raises(KeyboardInterrupt):
        list(run)
    list(run)
    assert same(outcome(run), outcome(whole))


class Crowded(Interrupting):
    """A teacher that answers otherwise in a batch of another size, as all do, but not only in the last bits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (1 + 0.01 * len(images))


@pytest.mark.parametrize("store", ["memory", "disk"])
@PRECISIONS
@PRESETS
def test_a_run_does_not_depend_on_what_its_store_held(tmp_path, preset, precision, store):
    """Nor on its own answers from before a kill, which a store in memory has lost."""

    def run(knowledge, **changes):
        return tiny_run(preset, knowledge, recipe={"precision": precision}, **changes)

    def stored(name):
        folder = {"folder": tmp_path / name} if store == "disk" else {}
        return Knowledge(Crowded(), tiny_dataset(), store, precision=precision, **folder)

    whole = run(stored("empty"))
    list(whole)
    used = stored("used")
    list(run(used, seed=5))
    after = run(used)
    list(after)
    assert same(outcome(after), outcome(whole))
    for epochs in (1, 2, 3):
        checkpoint = tmp_path / f"{epochs}.pt"
        first = run(stored("first"), checkpoint=checkpoint)
        for _ in range(epochs):
            next(first)
        again = run(stored("another"), checkpoint=checkpoint)
        list(again)
        assert same(outcome(again), outcome(whole))


KILLED = """
import os, signal, sys
from tests.test_resuming import Interrupting
from tests.tiny import tiny_run

class Killing(Interrupting):
    def forward(self, images):
        if self.calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)

list(tiny_run("paper", Killing(), checkpoint=sys.argv[1]))
"""


def test_a_killed_process_loses_at_most_one_epoch(tmp_path):
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run.pt"), "12"]
    killed = subprocess.run(command, cwd=root, capture_output=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with replaced_weights():
        again = tiny_run("paper", checkpoint=tmp_path / "run.pt", student_seed=7)
    assert again.epoch == 2  # it was killed in the middle of the third
    list(again)
    assert same(outcome(again), undisturbed("paper"))


@pytest.mark.parametrize("entry", ["origin", "teacher's answers", "student's answers", "first weights"])
def test_a_checkpoint_that_does_not_say_what_it_belongs_to_is_refused(tmp_path, entry):
    next(tiny_run("paper", checkpoint=tmp_path / "run.pt"))
    state = read_state(tmp_path / "run.pt")
    del state[entry]
    write_state(tmp_path / "run.pt", state)
    with pytest.raises(ValueError, match=f"this is not the checkpoint of a run; it lacks {entry}"):
        tiny_run("paper", checkpoint=tmp_path / "run.pt")


def test_weights_that_a_checkpoint_replaces_are_mentioned_unless_they_began_or_stopped_the_run(tmp_path, recwarn):
    run = tiny_run("paper", checkpoint=tmp_path / "run.pt")
    next(run)
    tiny_run("paper", checkpoint=tmp_path / "run.pt")
    again = distill(
        run.student, tiny_dataset(), tiny_networks()[1], recipe=run.recipe, checkpoint=tmp_path / "run.pt",
        condenser=Condenser(48, 0.6, 2, 4, "paper", released_steps=1),
    )  # fmt: skip
    assert again.epoch == 1
    assert not recwarn.list
    tiny_run("paper", checkpoint=tmp_path / "run.pt", student_seed=7)
    (said,) = recwarn.list
    assert "this student is not the one that the run in" in str(said.message)


def test_a_place_that_cannot_be_written_to_fails_before_the_first_epoch(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "run.pt"
    teacher = Interrupting()
    with pytest.raises(OSError, match=f"checkpoint {path} cannot be written .*; choose another file"):
        tiny_run("paper", teacher, checkpoint=path)
    assert teacher.calls == 0


def test_folders_of_a_checkpoint_are_made(tmp_path):
    next(tiny_run("paper", checkpoint=str(tmp_path / "new" / "folder" / "run.pt")))
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["run.pt"]  # and nothing half-written

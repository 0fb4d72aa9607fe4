"""The panel that runs a plan beside the notebook: it starts, stops, goes on, and says what went wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kcd_teach.benchmark import Scale, Store, make_plan, run_plan
from kcd_teach.benchmark.runner import Pace
from kcd_teach.widgets.run_panel import RunPanel
from tests.benchmark.tiny import timeless, tiny_plan

ROWS = ("Student", "KC-KD")


def until(said: str, panel: RunPanel) -> str:
    """Wait for a line of the label; returns it."""
    deadline = time.monotonic() + 60
    while not re.search(said, text := panel.text):
        assert time.monotonic() < deadline, text
        time.sleep(0.001)
    return text


def press(panel: RunPanel, button: str) -> None:
    """Press a button of the picture, as the browser says it."""
    panel._handle_custom_msg({"press": button}, [])


@pytest.fixture
def undisturbed(tmp_path) -> dict:
    run_plan(tiny_plan(ROWS), tmp_path / "undisturbed", quiet=True, announce=lambda text: None)
    return timeless(tmp_path / "undisturbed")


def test_a_plan_from_its_start_to_its_end(tmp_path, undisturbed):
    panel = RunPanel(tiny_plan(ROWS), tmp_path / "runs")
    empty = panel.answer
    assert (panel.text, panel.busy, panel.wait()) == ("not started", False, None)
    panel.start()
    outcome = panel.wait()
    assert outcome is not None
    assert outcome.diverged == {}
    assert timeless(tmp_path / "runs") == undisturbed
    assert panel.text == "done: 2 of 2 runs are stored"
    assert [len(row["done"]) for row in panel.answer["rows"]] == [1, 1]
    assert empty["cells"]["rows"] == [["Student", ["missing"]], ["KC-KD", ["missing"]]]
    assert panel.answer["cells"]["rows"] == [["Student", ["done"]], ["KC-KD", ["done"]]]
    bundle, _ = panel._repr_mimebundle_()
    assert bundle["text/plain"] == "RunPanel: done: 2 of 2 runs are stored"
    assert panel.alt in bundle["text/html"]


def test_stopped_in_an_epoch_and_continued(tmp_path, undisturbed):
    panel = RunPanel(tiny_plan(ROWS), tmp_path / "runs")
    panel.start()
    until("KC-KD seed 0: epoch 1 of 3", panel)
    panel.stop()
    assert panel.wait() is None
    assert panel.text == "stopped, nothing is lost; it goes on from here"
    assert len(Store(tmp_path / "runs").records()) == 1
    assert [len(row["running"]) for row in panel.answer["rows"]] == [0, 1]
    again = RunPanel(tiny_plan(ROWS), tmp_path / "runs")  # as after a restart of the kernel
    again.start()
    assert again.wait() is not None
    assert timeless(tmp_path / "runs") == undisturbed


def test_stopped_again_and_again(tmp_path, undisturbed):
    panel, stops = RunPanel(tiny_plan(ROWS), tmp_path / "runs"), 0
    while panel.text != "done: 2 of 2 runs are stored":
        panel.start()
        for _ in range(2):  # each time it gets a little further
            before = panel.text
            while panel.busy and panel.text == before:
                time.sleep(0.001)
        panel.stop()
        stops += panel.wait() is None
        assert stops < 30
    assert stops >= 3
    assert timeless(tmp_path / "runs") == undisturbed


def test_buttons_do_what_they_say(tmp_path):
    panel = RunPanel(tiny_plan(ROWS), tmp_path)
    assert panel.answer["buttons"] == {"start": "start", "busy": False}
    press(panel, "start")
    assert panel.answer["buttons"]["busy"]
    until("epoch 1 of 3", panel)
    panel.start()
    assert panel.text != "getting ready", "a second start does nothing"
    press(panel, "stop")
    assert panel.wait() is None
    assert panel.answer["buttons"] == {"start": "continue", "busy": False}


def test_what_went_wrong_is_shown_and_raised(tmp_path):
    plan = make_plan(["resnet20>resnet8"], ["Student"], 1, Scale("x", "cifar100", epochs=1))
    broken = tmp_path / "cifar100.npz"
    broken.write_bytes(b"not a data set")
    panel = RunPanel(plan, tmp_path / "runs", root=tmp_path)
    panel.start()
    with pytest.raises(ValueError, match=r"cifar100\.npz"):
        panel.wait()
    assert panel.text.startswith("ValueError: ")
    assert not panel.busy


def test_an_interrupt_of_the_waiting_cell_stops_it_too(tmp_path):
    code = (
        "import sys; from kcd_teach.widgets.run_panel import RunPanel; from tests.benchmark.tiny import tiny_plan\n"
        "panel = RunPanel(tiny_plan(seeds=50), sys.argv[1]); panel.start()\n"
        "print('waiting', flush=True)\n"
        "try: panel.wait()\n"
        "except KeyboardInterrupt: print(panel.busy, panel.text, flush=True)\n"
    )
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        while not (tmp_path / "results.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.read() == "False stopped, nothing is lost; it goes on from here\n"
    assert all(json.loads(line)["key"] for line in (tmp_path / "results.jsonl").read_text().splitlines())


class Run:
    """As much of a run as the pace looks at."""

    def __init__(self, epoch: int, epochs: int = 4) -> None:
        self.epoch, self._left = epoch, epochs - epoch

    def __len__(self) -> int:
        return self._left


def test_pace(monkeypatch):
    clock = iter([100.0, 130.0, 140.0, 150.0, 180.0, 200.0, 210.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    pace = Pace()
    pace("teacher x", Run(0))
    pace("a", Run(1))  # begins at 130, resumed after its first epoch
    assert pace.of_plan(5) is None
    pace("a", Run(2))  # 140
    assert pace.of_run("a", Run(2)) == (150 - 130) / 1 * 2
    pace("a", Run(4))  # 180, the end
    assert pace.of_plan(5) == (200 - 130) / 1 * 4
    pace("b", Run(0))
    assert pace.of_run("b", Run(0)) is None

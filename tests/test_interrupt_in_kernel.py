"""The square button of a notebook: it stops a run between two batches, and running the cell again goes on."""

from jupyter_client.manager import start_new_kernel

SETUP = """
import torch
from kcd_teach import Condenser, Recipe, create_model, distill, load_dataset, load_teacher
torch.set_num_threads(1)
dataset = load_dataset("fashion-mnist-mini").first(per_class=40)
def make():
    student = create_model("mini_resnet8", num_classes=10, in_channels=1, seed=0)
    condenser = Condenser(400, stages=3, epochs=9)
    return distill(student, dataset, load_teacher(dataset), recipe=Recipe(epochs=9), condenser=condenser)
run, whole = make(), make()
"""
LOOP = "for report in run:\n    print(report.epoch, flush=True)"
COMPARE = """
for _ in whole:
    pass
a, b = run.student.state_dict(), whole.student.state_dict()
assert all(torch.equal(a[name], b[name]) for name in a)
assert [r.epoch for r in run.reports] == list(range(1, 10))
"""


def run_cell(client, code: str, on_output=None) -> dict:
    reply = client.execute_interactive(code, timeout=600, output_hook=on_output or (lambda message: None))
    return reply["content"]


def test_interrupted_cell_goes_on_when_it_is_run_again():
    manager, client = start_new_kernel(kernel_name="python3")
    pressed = []

    def press_the_button(message) -> None:
        if message["msg_type"] == "stream" and not pressed:
            pressed.append(message["content"]["text"])
            manager.interrupt_kernel()

    try:
        assert run_cell(client, SETUP)["status"] == "ok"
        stopped = run_cell(client, LOOP, press_the_button)
        assert pressed
        assert stopped["ename"] == "KeyboardInterrupt"
        # Between two epochs, where the run is not asked for anything, the interrupt is the kernel's own and says nothing.
        assert stopped["evalue"] == "" or "stopped" in stopped["evalue"]
        assert run_cell(client, LOOP)["status"] == "ok"
        compared = run_cell(client, COMPARE)
        assert compared["status"] == "ok", compared
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)

"""The library works from an empty folder, without a home, without a network, and without a single warning."""

import os
import subprocess
import sys

SCRIPT = """
import socket, warnings

class Refused(socket.socket):
    def __init__(self, *arguments, **settings):
        raise AssertionError("a socket was opened")

socket.socket = Refused

import kcd_teach

warnings.simplefilter("error")
dataset = kcd_teach.load_dataset("fashion-mnist-mini").first(8)
student = kcd_teach.create_model("mini_convnet", num_classes=10, in_channels=1, seed=0)
condenser = kcd_teach.Condenser(80, ratio=0.5, stages=2, epochs=2)
run = kcd_teach.distill(student, dataset, kcd_teach.load_teacher(dataset), recipe=kcd_teach.Recipe(epochs=2), condenser=condenser)
print([report.active for report in run])
"""


def test_works_anywhere_offline_and_without_warnings(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key not in ("KCD_DATA", "XDG_CACHE_HOME")}
    environment["HOME"] = str(tmp_path / "no such home")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[80, 40]\n"
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []

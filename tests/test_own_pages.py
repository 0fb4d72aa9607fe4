"""The pages about one's own images, networks and loop, and about using a student: every section runs as a file, in few processes."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("own_images_and_networks", "own_loop", "using_a_student")
IN_TURN = "import runpy, sys; [runpy.run_path(file, run_name='__main__') for file in sys.argv[1:]]"
OPTIONAL = ("lightning", "onnxruntime", "onnxscript", "timm")
SAID = {  # a line that ends what a section prints
    "Images": r"2 48|2 \d+ [\d.]+",
    "Plain PyTorch, with a DataLoader": r"6 70 \d+ [\d.]+",
    "Blending in the workers": r"4 60 40",
    "Several processes": "2 processes agree on 70 samples",
    "What is in the file": r"\d+ tensors of mini_convnet 10 1",
}


def sections(page: str) -> dict[str, str]:
    """Title -> its code, of the sections that have some."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    parts = [part.partition("\n") for part in re.split(r"^## ", text, flags=re.M)[1:]]
    code = {title: "\n".join(re.findall(r"```python\n(.*?)```", body, flags=re.S)) for title, _, body in parts}
    return {title: found for title, found in code.items() if found}


def test_sections_run(tmp_path):
    files, left_out = [], []
    for title, code in (section for page in PAGES for section in sections(page).items()):
        if any(re.search(rf"^import {name}", code, flags=re.M) and not find_spec(name) for name in OPTIONAL):
            left_out.append(title)
            continue
        files.append(tmp_path / f"{title}.py")
        files[-1].write_text(code)
    apart = [file for file in files if "import distributed" in file.read_text()]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = run(tmp_path, "-c", IN_TURN, *(file for file in files if file not in apart))
    said += "".join(run(tmp_path, *torchrun, file) for file in apart)
    for file in files:
        if file.stem in SAID:
            assert re.search(rf"^({SAID[file.stem]})$", said, flags=re.M), said
    if left_out:
        pytest.skip(f"all others ran; what these need is not installed: {', '.join(left_out)}")


def lesson() -> str:
    """The text of notebook 06."""
    cells = json.loads((ROOT / "notebooks" / "06_does_choosing_help.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("page", ["methods.md", "notebook 06"])
def test_the_file_of_ones_own_things_and_its_commands(tmp_path, page):
    """Every command is run as it stands, but with a single seed and epoch."""
    text = lesson() if page == "notebook 06" else (ROOT / "docs" / page).read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, flags=re.S) if "register_value" in block)
    commands = re.findall(r"^kcd-teach ((?:--with (\w+\.py) )(?:.*\\\n)*.*)", text, flags=re.M)
    assert len(commands) == (3 if page == "methods.md" else 1)
    for command, file in commands:
        (tmp_path / file).write_text(code)
        words = shlex.split(command.replace("\\\n", " "))
        shorter = ["--seeds", "1", "--epochs", "1"] if "bench" in words else []
        said = run(tmp_path, "-m", "kcd_teach.cli", *words, *shorter)
    assert re.search(r"^\| second guess 30% \| . / [\d.]+ \(n = 1\) \|$", said, flags=re.M), said


def run(folder: Path, *arguments: str | Path) -> str:
    """What Python prints; it must not fail."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout

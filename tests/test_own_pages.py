"""The pages about one's own images, networks and loop, and about using a student: every section runs as a file of its own."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("own_images_and_networks", "own_loop", "using_a_student")
OPTIONAL = ("lightning", "onnxruntime", "onnxscript")
SAID = {  # a line that ends what a section prints
    "Images": r"2 48|2 \d+ [\d.]+",
    "Plain PyTorch, with a DataLoader": r"6 210 \d+ [\d.]+",
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


@pytest.mark.parametrize(("page", "title"), [(page, title) for page in PAGES for title in sections(page)])
def test_section_runs(tmp_path, page, title):
    code = sections(page)[title]
    for name in OPTIONAL:
        if re.search(rf"^import {name}", code, flags=re.M) and importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    (tmp_path / "example.py").write_text(code)
    start = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if "torchrun" in page_of(title) else []
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *start, "example.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    if title in SAID:
        assert re.search(rf"^({SAID[title]})$", done.stdout, flags=re.M), done.stdout


def page_of(title: str) -> str:
    """The text of a section."""
    for page in PAGES:
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        for part in re.split(r"^## ", text, flags=re.M)[1:]:
            if part.startswith(f"{title}\n"):
                return part
    raise AssertionError(title)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target

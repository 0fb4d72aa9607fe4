"""How fast do the instruments answer a hand? Run by hand: ``make bench``, or ``python -m tests.benchmarks.browser``.

From a key or a pointer to the next frame with another picture, as the browser itself measures it: in JupyterLab, and
in the laboratory. Takes 20 presses of the first slider of every instrument, of the explorer on 10,000 images, and 20 presses
and moves of the pointer on a knowledge map of 50,000 points. Writes data/results/instruments.json.
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.speed import spread
from tests.browser.chromium import INSTRUMENTS, NEEDS, browser, executable, opened, settled
from tests.browser.lab import ROOT, Lab

TIMES = 20
LIMITS = {"ratio": 100, "ratio, 10,000 images": 100, "map, 50,000 points": 50, "map, 50,000 points, hovering": 50}
"""Milliseconds that a replay, and an answer of the large map, may take in JupyterLab."""
LARGE_MAP = """
from dataclasses import replace

import numpy as np

from kcd_teach import load_dataset, load_teacher
from kcd_teach.condensation import prediction_entropy
from kcd_teach.knowledge import predict
from kcd_teach.lessons.measurements import Trace, load_trace
from kcd_teach.widgets import KnowledgeMap

small, once = load_dataset("fashion-mnist-mini"), load_trace("mini_resnet8")
logits = predict(load_teacher(small), small, small.train_images).repeat(5, 1)
images, labels = small.train_images.repeat(5, 1, 1, 1), small.train_labels.repeat(5)
noise = np.random.default_rng(0)
amount = prediction_entropy(logits / 4).numpy() + noise.normal(0, 0.05, len(labels))
entropy = np.clip(np.tile(once.entropy, 5) * noise.uniform(0.8, 1.2, len(labels)), 0, 2.3).astype(np.float32)
trace = Trace(entropy, np.tile(once.said, 5), np.tile(once.labels, 5))
KnowledgeMap(replace(small, train_images=images, train_labels=labels), amount, trace, logits.softmax(dim=1))
"""

LOOK = """
root => [...root.querySelectorAll('PART')].map(one => {
  if (!one.getContext) return one.outerHTML;
  const pixels = new Uint32Array(one.getContext('2d').getImageData(0, 0, one.width, one.height).data.buffer);
  return pixels.reduce((sum, pixel) => (31 * sum + pixel) | 0, 7);
}).join()
"""
"""A part of what is drawn, as a text that costs a few milliseconds."""


def milliseconds(instrument: Any, event: str, gestures: Iterator[Callable[[], None]], part: str) -> list[float]:
    """Time from each gesture, which raises an event, until a part of the picture is another one."""
    times, look = [], LOOK.strip().replace("PART", part)
    for _ in range(TIMES):
        settled(instrument)
        instrument.evaluate(
            f"""root => {{
              const seen = {look}, before = seen(root);
              window.timed = new Promise((done) => root.addEventListener('{event}', () => {{
                const since = performance.now();
                const look = () => seen(root) === before ? requestAnimationFrame(look) : done(performance.now() - since);
                requestAnimationFrame(look);
              }}, {{ once: true, capture: true }}));
            }}"""
        )
        next(gestures)()
        times.append(instrument.page.evaluate("() => window.timed"))
    return times


def pressing(instrument: Any, part: str = "svg, canvas") -> list[float]:
    """Milliseconds from a key on the first slider."""
    slider = instrument.locator("input[type=range]:not([disabled])").first
    slider.focus()
    keys = ["ArrowLeft", "ArrowRight"]
    if slider.evaluate("one => Number(one.value) <= Number(one.min)"):
        keys.reverse()
    press = instrument.page.keyboard.press
    return milliseconds(instrument, "keydown", itertools.cycle([lambda key=key: press(key) for key in keys]), part)


def hovering(instrument: Any) -> list[float]:
    """Milliseconds from a move of the pointer over the map."""
    instrument.scroll_into_view_if_needed()
    box = instrument.locator(".map").bounding_box()
    places = [(0.55 + 0.012 * step, 0.85 - 0.01 * step) for step in range(TIMES)]
    move = instrument.page.mouse.move
    move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    moves = (lambda x=x, y=y: move(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places)
    return milliseconds(instrument, "pointermove", moves, ".map canvas, .point")


def in_jupyterlab(chromium: Any) -> Iterator[tuple[str, list[float]]]:
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), chromium)
        try:
            lab.write("together", *INSTRUMENTS.values(), LARGE_MAP)
            with lab.open("together") as page:
                lab.run_all(page)
                page.locator(".kcd").nth(len(INSTRUMENTS)).wait_for()
                shown = {name: page.locator(".kcd").nth(at) for at, name in enumerate([*INSTRUMENTS, "large"])}
                for name in INSTRUMENTS:
                    yield name, pressing(shown[name])
                shown["ratio"].get_by_role("button", name="10,000").press("Enter")
                yield "ratio, 10,000 images", pressing(shown["ratio"])
                yield "map, 50,000 points", pressing(shown["large"], ".map canvas")
                yield "map, 50,000 points, hovering", hovering(shown["large"])
        finally:
            lab.close()


def in_the_laboratory(chromium: Any) -> Iterator[tuple[str, list[float]]]:
    command = [sys.executable, "-u", "-m", "kcd_teach.cli", "app", "--no-browser"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[4]
        for name in INSTRUMENTS:
            with opened(chromium, f"{address}#{name}") as page:
                page.locator(".kcd").wait_for()
                yield name, pressing(page.locator(".kcd"))
        server.terminate()


def main() -> None:
    if executable() is None:
        raise SystemExit(NEEDS)
    setting = {"gestures": TIMES, "unit": "ms from a hand to the changed picture"}
    measured: dict[str, dict[str, float]] = {}
    with browser() as chromium:
        for place, times in (("JupyterLab", in_jupyterlab), ("laboratory", in_the_laboratory)):
            for name, found in times(chromium):
                median = measured.setdefault(f"{place}: {name}", spread(found))["median"]
                limit = LIMITS.get(name)
                late = f", more than the {limit} ms that it may take" if limit and median > limit else ""
                print(f"{place:12} {name:30} {median:6.0f} {setting['unit']}{late}", flush=True)
    out = ROOT / "data" / "results" / "instruments.json"
    out.write_text(json.dumps({"setting": setting, "measured": measured}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""How long does a picture take, in a real browser? Run by hand: ``make bench``, or ``python -m tests.benchmarks.browser``.

The time from a key press to the first frame with another picture, as the browser itself measures it: in JupyterLab, and
in the laboratory. Prints the median of 20 presses of the first slider of every instrument.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browser.chromium import INSTRUMENTS, NEEDS, SEEN, browser, executable, opened, settled
from tests.browser.lab import ROOT, Lab

PRESSES = 20
LIMIT = 100
"""Milliseconds that a replay of the explorer may take in JupyterLab."""


def milliseconds(instrument) -> float:
    """Median over the presses of the time until the picture is another one."""
    slider = instrument.locator("input[type=range]:not([disabled])").first
    slider.focus()
    keys = ["ArrowLeft", "ArrowRight"]
    if slider.evaluate("one => Number(one.value) <= Number(one.min)"):
        keys.reverse()
    times = []
    for press in range(PRESSES):
        settled(instrument)
        instrument.evaluate(
            f"""root => {{
              const seen = {SEEN.strip()}, before = seen(root);
              window.timed = new Promise((done) => root.addEventListener('keydown', () => {{
                const since = performance.now();
                const look = () => seen(root) === before ? requestAnimationFrame(look) : done(performance.now() - since);
                requestAnimationFrame(look);
              }}, {{ once: true, capture: true }}));
            }}"""
        )
        instrument.page.keyboard.press(keys[press % 2])
        times.append(instrument.page.evaluate("() => window.timed"))
    return statistics.median(times)


def in_jupyterlab(chromium) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), chromium)
        try:
            lab.write("together", *INSTRUMENTS.values())
            with lab.open("together") as page:
                lab.run_all(page)
                page.locator(".kcd").nth(len(INSTRUMENTS) - 1).wait_for()
                return {name: milliseconds(page.locator(".kcd").nth(at)) for at, name in enumerate(INSTRUMENTS)}
        finally:
            lab.close()


def in_the_laboratory(chromium) -> dict[str, float]:
    command = [sys.executable, "-u", "-m", "kcd_teach.cli", "app", "--no-browser"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        address, found = server.stdout.readline().split()[4], {}
        for name in INSTRUMENTS:
            with opened(chromium, f"{address}#{name}") as page:
                page.locator(".kcd").wait_for()
                found[name] = milliseconds(page.locator(".kcd"))
        server.terminate()
        return found


def main() -> None:
    if executable() is None:
        raise SystemExit(NEEDS)
    with browser() as chromium:
        for place, measure in (("JupyterLab", in_jupyterlab), ("laboratory", in_the_laboratory)):
            for name, median in measure(chromium).items():
                print(f"{place:12} {name:12} {median:6.0f} ms from a key to the changed picture", flush=True)
                if (place, name) == ("JupyterLab", "ratio") and median > LIMIT:
                    print(f"  more than the {LIMIT} ms that a replay may take")


if __name__ == "__main__":
    main()

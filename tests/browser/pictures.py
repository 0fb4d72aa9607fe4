"""Take the pictures of the instruments that the README shows; run by hand after a change of how they look:

python -m tests.browser.pictures docs/static
"""

import sys
import tempfile
from pathlib import Path

from kcd_teach.lessons.laboratory import INSTRUMENTS
from tests.browser.chromium import browser, opened, settled

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with browser() as chromium, tempfile.TemporaryDirectory() as place:
        for name, (_, make) in INSTRUMENTS.items():
            file = Path(place) / f"{name}.html"
            file.write_text(f"<html><body>{make().standalone()}</body></html>", encoding="utf-8")
            with opened(chromium, file, width=900, height=620) as page:
                shown = page.locator(".kcd").first
                settled(shown)
                shown.screenshot(path=folder / f"{name}.png")

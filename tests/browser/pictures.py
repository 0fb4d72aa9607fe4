"""Take the README's pictures of the instruments anew: ``python -m tests.browser.pictures``."""

import io
import subprocess
import sys

from PIL import Image

from tests.browser.chromium import INSTRUMENTS, browser, opened, settled
from tests.browser.lab import ROOT


def main() -> None:
    command = [sys.executable, "-u", "-m", "kcd_teach.cli", "app", "--no-browser"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server, browser() as chromium:
        address = server.stdout.readline().split()[4]
        for name in INSTRUMENTS:
            with opened(chromium, f"{address}#{name}", width=900, height=900) as page:
                page.locator(".kcd").wait_for()
                settled(page.locator(".kcd"))
                taken = Image.open(io.BytesIO(page.locator(".kcd").screenshot()))
                taken.convert("P", palette=Image.Palette.ADAPTIVE).save(
                    ROOT / "docs" / "static" / f"{name}.png", optimize=True
                )
        server.terminate()


if __name__ == "__main__":
    main()

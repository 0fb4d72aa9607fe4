"""A JupyterLab of its own, without the settings, kernels and news of this machine's user, and a page in it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat

from tests.browser.chromium import opened

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Lab:
    """A running JupyterLab with a copy of the course, without its outputs."""

    def __init__(self, folder, chromium):
        self.folder, self.chromium, self.address = folder, chromium, f"http://127.0.0.1:{free_port()}"
        self.books = folder / "notebooks"
        self.books.mkdir()
        for path in (ROOT / "notebooks").glob("*.ipynb"):
            book = nbformat.read(path, as_version=4)
            for cell in book.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            nbformat.write(book, self.books / path.name)
        settings = {
            "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
            "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page
            "docmanager-extension/plugin": {"autosave": False},
        }
        for name, values in settings.items():
            file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
        own = {f"JUPYTER_{name}": str(folder / name.lower()) for name in names}
        own |= {
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces"),
        }
        own["XDG_DATA_HOME"] = str(folder / "data")  # guesses are kept there
        self.log = (folder / "log").open("wb")
        command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", "--IdentityProvider.token=",
                   "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.address.rpartition(':')[2]}",
                   "--ServerApp.disable_check_xsrf=True"]  # fmt: skip
        self.server = subprocess.Popen(
            command, cwd=self.books, env={**os.environ, **own}, stdout=self.log, stderr=self.log
        )
        for _ in range(600):
            try:
                self.ask("api")
                return
            except OSError:
                assert self.server.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
        raise AssertionError((folder / "log").read_text())

    def ask(self, path, method="GET"):
        """What the server's own interface answers."""
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.address}/{path}", method=method), timeout=30
        ) as reply:
            return json.loads(reply.read() or "null")

    def restart_kernels(self):
        for kernel in self.ask("api/kernels"):
            self.ask(f"api/kernels/{kernel['id']}/restart", "POST")

    def write(self, name, *cells):
        """Store a notebook of these cells of code."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
        nbformat.write(book, self.books / f"{name}.ipynb")

    @contextmanager
    def open(self, name, **looks):
        """The page of a notebook whose kernel is ready."""
        address = f"{self.address}/lab/workspaces/{name}/tree/{name}.ipynb?reset"
        with opened(self.chromium, address, **looks) as page:
            page.wait_for_function(
                "() => { const name = document.querySelector('.jp-NotebookPanel .jp-KernelName');"
                " return name && name.innerText.includes('Python 3') }",
                timeout=120_000,
            )
            page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=120_000)
            yield page
            for session in self.ask("api/sessions"):
                self.ask(f"api/sessions/{session['id']}", "DELETE")

    def start_all(self, page):
        """Run All Cells of a notebook without outputs."""
        from playwright.sync_api import Error

        for attempt in range(5):  # the menu is there before its commands reach the notebook
            page.click(".lm-MenuBar-itemLabel:text-is('Run')")
            page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
            try:
                page.wait_for_function(
                    "() => [...document.querySelectorAll('.jp-InputPrompt')].some(one => /[*0-9]/.test(one.innerText))",
                    timeout=10_000,
                )
                break
            except Error:
                assert attempt < 4, "Run All Cells does nothing"

    def run_all(self, page, seconds=600):
        """Run All Cells of a notebook without outputs, and wait for the last of them, or for an error."""
        self.start_all(page)
        page.wait_for_function(
            "() => document.querySelector('[data-mime-type=\"application/vnd.jupyter.error\"]') ||"
            " ![...document.querySelectorAll('.jp-InputPrompt')].some(one => /\\[[ *]\\]/.test(one.innerText))"
            " && document.querySelector('.jp-Notebook-ExecutionIndicator').dataset.status === 'idle'",
            timeout=1000 * seconds,
        )

    def close(self):
        self.server.terminate()
        self.server.wait(timeout=60)
        self.log.close()


def complaints(page):
    """What is wrong in the outputs of a notebook: errors, warnings, and pictures that cannot be seen."""
    texts = page.evaluate("""() => ['error', 'stderr'].flatMap(kind =>
      [...document.querySelectorAll(`[data-mime-type="application/vnd.jupyter.${kind}"]`)].map(one => one.innerText.slice(0, 300)))""")
    page.wait_for_function("() => [...document.images].every(one => one.complete)")
    broken = page.evaluate(
        "() => [...document.images].filter(one => !one.naturalWidth).map(one => one.alt || one.src.slice(0, 80))"
    )
    return texts + broken

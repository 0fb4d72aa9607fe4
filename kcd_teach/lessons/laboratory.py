"""The laboratory: all instruments on one page of this machine, without code cells, for a lecture.

The page draws with the same JavaScript as a notebook. What it needs of Python it asks of a small server, which holds one
instrument of each kind, and listens at the loopback address only. Nothing is loaded from elsewhere.
"""

import asyncio
import json
import webbrowser
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from kcd_teach.condensation import prediction_entropy
from kcd_teach.datasets import load_dataset
from kcd_teach.knowledge import predict
from kcd_teach.lessons.measurements import load_trace
from kcd_teach.lessons.summary_condensation import explorer
from kcd_teach.models import create_model, load_teacher
from kcd_teach.training import Recipe, distill
from kcd_teach.widgets import KnowledgeMap, LoopPlayer, TemperatureBench
from kcd_teach.widgets.instrument import FOLDER, Instrument, as_text, module


def temperature() -> TemperatureBench:
    """The temperature bench of notebook 01: the teacher, beside a student after three epochs."""
    dataset = load_dataset("fashion-mnist-mini").first(per_class=200)
    student = create_model("mini_resnet8", num_classes=10, in_channels=1, seed=0)
    for _ in distill(student, dataset, recipe=Recipe(epochs=3)):
        pass
    shown = dataset.first(per_class=1)
    taught, says = (predict(network, dataset, shown.train_images) for network in (load_teacher(dataset), student))
    return TemperatureBench(shown.train_images, taught, says, shown.train_labels, dataset.classes)


def knowledge_map() -> KnowledgeMap:
    """The knowledge map of notebook 03: all bundled images, in the recorded run of plain KD."""
    dataset = load_dataset("fashion-mnist-mini")
    logits = predict(load_teacher(dataset), dataset, dataset.train_images)
    return KnowledgeMap(dataset, prediction_entropy(logits / 4), load_trace("mini_resnet8"), logits.softmax(dim=1))


def loop_player() -> LoopPlayer:
    """The loop player of notebook 04, in the same run."""
    return LoopPlayer(load_dataset("fashion-mnist-mini"), load_trace("mini_resnet8").entropy)


INSTRUMENTS: dict[str, tuple[str, Callable[[], Instrument]]] = {
    "temperature": ("Temperature", temperature),
    "map": ("Knowledge map", knowledge_map),
    "loop": ("The loop", loop_player),
    "ratio": ("Condensation ratio", explorer),
}
"""Part of the address -> title, and the function that makes the instrument; its annotation says of which kind."""
ABOUT = {
    "temperature": "In knowledge distillation (KD), a small network, the student, learns what a large one, the teacher, says of "
    "each class. A higher temperature T softens what both say.",
    "map": "Every point is a training image. Amount says how uncertain the teacher is of it, and so how much it has to tell; "
    "value says how uncertain the student is.",
    "loop": "Knowledge condensation records how uncertain the student is of each sample, and every few epochs drops those of "
    "which it is surest.",
    "ratio": "KC-KD is distillation (KD) that goes on with the samples of which the student is least certain. The ratio is the "
    "share that is left in the last stage.",
}
"""Part of the address -> what somebody has to know who has not read the notebooks."""


class Laboratory:
    """Instruments that are made one after the other, and asked one after the other, on a thread of their own.

    That begins at once, so that the first one is there when the page asks for it.
    """

    def __init__(self) -> None:
        self._do = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)).submit
        self._made = {name: self._do(make) for name, (_, make) in INSTRUMENTS.items()}

    def state(self, name: str) -> Future[dict[str, Any]]:
        """What the page needs to draw an instrument as it is at the start."""

        def answer() -> dict[str, Any]:
            instrument = self._made[name].result()
            instrument.reset()
            return {trait: getattr(instrument, trait) for trait in ("data", "setting", "answer", "pinned")}

        return self._do(answer)

    def answer(self, name: str, setting: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """The numbers of the picture for a setting; ValueError for one that the controls do not offer."""

        def answer() -> dict[str, Any]:
            instrument: Instrument = self._made[name].result()
            instrument.set(**setting)
            return instrument.answer

        return self._do(answer)


class _Page(RequestHandler):
    """The page, its style, and the module of each instrument."""

    def get(self, name: str) -> None:
        if name in ("", "instrument.css"):
            self.set_header("Content-Type", "text/css" if name else "text/html; charset=utf-8")
            text = (FOLDER / (name or "laboratory.html")).read_text(encoding="utf-8")
            told = {name: [title, ABOUT.get(name, "")] for name, (title, _) in INSTRUMENTS.items()}
            self.finish(text.replace("INSTRUMENTS", json.dumps(told)))
        elif name.removesuffix(".js") in INSTRUMENTS:
            self.set_header("Content-Type", "text/javascript; charset=utf-8")
            _, make = INSTRUMENTS[name.removesuffix(".js")]
            self.finish(module(make.__annotations__["return"].drawing))
        else:
            raise HTTPError(404)


class _State(RequestHandler):
    """An instrument as it is at the start, and its answers to settings."""

    def initialize(self, laboratory: Laboratory) -> None:
        self.laboratory = laboratory

    def _instrument(self, name: str) -> str:
        if name not in INSTRUMENTS:
            raise HTTPError(404)
        return name

    async def get(self, name: str) -> None:
        self._send(await asyncio.wrap_future(self.laboratory.state(self._instrument(name))))

    async def post(self, name: str) -> None:
        try:
            answer = self.laboratory.answer(self._instrument(name), dict(json.loads(self.request.body)))
            self._send(await asyncio.wrap_future(answer))
        except (TypeError, ValueError) as error:
            raise HTTPError(400, str(error)) from error

    def _send(self, content: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content, default=as_text, separators=(",", ":"), allow_nan=False))


def application() -> Application:
    """The pages of the laboratory, whose instruments begin to be made."""
    return Application([(r"/state/(\w+)", _State, {"laboratory": Laboratory()}), (r"/([\w.]*)", _Page)])


def serve(port: int = 0, browser: bool = True, announce: Callable[[str], None] = print) -> None:
    """Show the laboratory until it is interrupted.

    Args:
        port: of the address; 0 is any that is free.
        browser: whether to open a browser.
        announce: is told the address.
    """

    async def run() -> None:
        sockets = bind_sockets(port, "127.0.0.1")
        HTTPServer(application()).add_sockets(sockets)
        address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/"
        announce(f"the laboratory is at {address} (stop it with Ctrl-C)")
        if browser:
            webbrowser.open(address)
        await asyncio.Event().wait()

    asyncio.run(run())

"""The laboratory serves one page with every instrument, and answers settings as the instrument itself does."""

import asyncio
import json
import re

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from typer.testing import CliRunner

from kcd_teach.cli import app
from kcd_teach.lessons import laboratory
from kcd_teach.widgets.instrument import Instrument, choice


class Doubled(Instrument):
    drawing, alt = "condensation", "A number, doubled."
    made = 0

    def __init__(self):
        type(self).made += 1
        super().__init__([choice("number", "number", range(5), 1)])

    def reply(self, setting):
        return {"double": 2 * setting["number"], "text": f"twice {setting['number']}", "picture": b"\x00\xff"}


def double() -> Doubled:
    return Doubled()


@pytest.fixture
def said(monkeypatch):
    """Asks a laboratory with one instrument for some addresses, with what is posted there; code and text of each."""
    monkeypatch.setattr(laboratory, "INSTRUMENTS", {"double": ("Twice", double)})

    def ask(*asked):
        async def all_of_them():
            (socket,) = bind_sockets(0, "127.0.0.1")
            server = HTTPServer(laboratory.application())
            server.add_sockets([socket])
            found = []
            for path, posted in asked:
                body = {} if posted is None else {"method": "POST", "body": json.dumps(posted)}
                try:
                    reply = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{socket.getsockname()[1]}/{path}", **body)
                    found.append((reply.code, reply.body.decode()))
                except HTTPClientError as error:
                    found.append((error.code, ""))
            server.stop()
            return found

        return asyncio.run(all_of_them())

    return ask


def test_every_instrument_is_introduced():
    assert laboratory.ABOUT.keys() == laboratory.INSTRUMENTS.keys()


def test_page_names_every_instrument_and_nothing_from_elsewhere(said):
    (code, page), (_, style), (_, module) = said(("", None), ("instrument.css", None), ("double.js", None))
    assert code == 200
    assert '{"double": ["Twice", ""]}' in page
    assert "http" not in re.sub(r"http://www\.w3\.org", "", page)
    assert ".kcd" in style
    assert "export default drawing" in module


def test_settings_are_answered_by_one_instrument_that_starts_anew_for_every_page(said):
    before = Doubled.made
    first, answer, again = (json.loads(text) for _, text in said(
        ("state/double", None), ("state/double", {"number": 3}), ("state/double", None)))  # fmt: skip
    assert first["setting"] == {"number": 1}
    assert first["answer"]["picture"] == "AP8="
    assert (answer["double"], answer["text"]) == (6, "twice 3")
    assert again == first
    assert Doubled.made == before + 1


def test_what_does_not_exist_is_refused(said):
    asked = [("state/double", {"number": 9}), ("state/double", {"name": 1}), ("state/double", [1]), ("state/other", None),
             ("other.js", None), ("laboratory.html", None)]  # fmt: skip
    assert [code for code, _ in said(*asked)] == [400, 400, 400, 404, 404, 404]


@pytest.mark.parametrize("name", laboratory.INSTRUMENTS)
def test_every_instrument_can_be_made(name):
    title, make = laboratory.INSTRUMENTS[name]
    made = make()
    assert isinstance(made, make.__annotations__["return"])
    assert title
    assert made.text


def test_the_command_says_the_address_and_ends_with_an_interrupt(monkeypatch):
    def interrupted(port, browser, announce):
        announce(f"port {port}, browser {browser}")
        raise KeyboardInterrupt

    monkeypatch.setattr(laboratory, "serve", interrupted)
    done = CliRunner().invoke(app, ["app", "--port", "8765", "--no-browser"])
    assert (done.exit_code, done.output) == (0, "port 8765, browser False\nstopped\n")

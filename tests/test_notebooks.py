"""What every stored notebook must be, checked without running it; nbval runs them."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from kcd_teach import widgets
from kcd_teach.lessons import Exercise, Judgement
from kcd_teach.widgets.instrument import Instrument, module
from tests.lessons.course import LESSONS
from tests.pages import content_of

FOLDER = Path(__file__).parent.parent / "notebooks"
BOOKS = sorted(FOLDER.glob("*.ipynb"))
COURSE = [
    "00_tour",
    "01_plain_kd",
    "02_knowledge_amount",
    "03_learning_value",
    "04_em_feedback",
    "05_summary_condensation",
    "06_does_choosing_help",
    "07_any_distiller",
    "08_benchmark",
    "appendix_speed",
]
each = pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def prose(path: Path) -> str:
    return "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def outputs(path: Path) -> list[nbformat.NotebookNode]:
    return [output for cell in code_cells(path) for output in cell.outputs]


def test_the_course_is_complete():
    assert [path.stem for path in BOOKS] == COURSE


@each
def test_is_valid_and_small(path):
    nbformat.validate(read(path))
    assert path.stat().st_size < 1_000_000


@each
def test_is_stored_from_one_clean_run(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))
    assert all(output.output_type != "error" for output in outputs(path))


@each
def test_metadata_are_the_same_on_every_machine(path):
    metadata = read(path).metadata
    assert metadata.kernelspec.name == "python3"
    assert set(metadata) == {"kernelspec", "language_info"}
    assert "version" not in metadata.language_info


@each
def test_outputs_name_no_path_and_no_address(path):
    texts = [
        str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", "")) for output in outputs(path)
    ]
    found = re.findall(r"/(?:home|root|tmp|Users|work)/\S*|0x[0-9a-f]{6,}", "\n".join(texts))
    assert found == []


@each
def test_no_warning_is_stored(path):
    stderr = [o.text for o in outputs(path) if o.output_type == "stream" and o.name == "stderr"]
    assert all("Warning" not in text for text in stderr)


@each
def test_pictures_have_alternative_text_and_a_reading(path):
    pictures = [output.data for output in outputs(path) if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
    for data in pictures:
        alt = re.search(r'<img alt="([^"]*)"', data["text/html"])
        assert alt is not None
        assert len(alt[1].split()) >= 5
    readings = [data for data in pictures if "Reading:" in data["text/plain"]]
    assert len(readings) >= 3


@each
def test_instruments_are_stored_with_the_script_of_today(path):
    today = {module(getattr(widgets, name).drawing) for name in widgets.__all__}
    pages = [output.data["text/html"] for output in outputs(path) if "text/html" in output.get("data", {})]
    stored = [content_of(page) for page in pages if "kcd-instrument" in page]
    assert all(content["script"] in today and content["css"] == Instrument._css for content in stored), (
        "run the notebook again: python -m kcd_teach.notebooks execute"
    )


@each
def test_follows_the_skeleton(path):
    text = prose(path)
    assert re.match(r"# .+\?\n", text), "the title is a question"
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1
    for words in (
        "You will be able to",
        "**Needs**",
        "**Takes**",
        "**Paper**",
        "What you take with you",
        "did not show",
    ):
        assert words in text, words


@each
def test_asks_before_it_tells(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    asked, revealed = (
        {match[1]: match.start() for match in re.finditer(rf'guesses\.{verb}\(\s*"([^"]+)"', source)}
        for verb in ("ask", "reveal")
    )
    assert len(asked) >= 2
    assert set(asked) == set(revealed)
    assert all(asked[key] < revealed[key] for key in asked)
    assert "guesses.summary()" in source


def test_the_benchmark_is_stored_as_a_newcomer_sees_it():
    """Where notebooks/runs/small is left from before, nothing can be stopped: delete it, and run the notebook again."""
    stored = (FOLDER / "08_benchmark.ipynb").read_text(encoding="utf-8")
    assert stored.count("stopped, nothing is lost; it goes on from here") == 1


@each
def test_exercises_are_stubs_followed_by_their_check(path):
    lesson = LESSONS[path.stem]
    cells = code_cells(path)
    stubs = [i for i, cell in enumerate(cells) if "exercise" in cell.metadata.get("tags", [])]
    assert 2 <= len(stubs) <= 4
    for i in stubs:
        name = cells[i].metadata["exercise"]
        if isinstance(getattr(lesson, name), Judgement):
            assert cells[i].source == f"{name} = TODO"
        else:
            assert isinstance(getattr(lesson, name), Exercise)
            assert f"def {name}(" in cells[i].source
            assert "return TODO" in cells[i].source
        assert "check" in cells[i + 1].metadata["tags"]
        assert f"lesson.{name}.check({name})" in cells[i + 1].source


@each
def test_headings_of_exercises_say_how_long_they_take(path):
    tagged = [cell.metadata["exercise"] for cell in code_cells(path) if "exercise" in cell.metadata.get("tags", [])]
    expected = [(str(n), str(getattr(LESSONS[path.stem], name).minutes)) for n, name in enumerate(tagged, start=1)]
    stated = re.findall(r"^#{2,3} Exercise (\d+): .*\((\d+) minutes?\)$", prose(path), flags=re.M)
    assert stated == expected


@each
def test_judgements_are_asked_in_the_words_that_they_are_checked_by(path):
    """A learner who reads the page knows what is asked, and not only the statements to choose from."""
    asked = re.sub(r"[*`\s]+", " ", prose(path))
    for name, thing in vars(LESSONS[path.stem]).items():
        if isinstance(thing, Judgement):
            assert re.sub(r"[*`\s]+", " ", thing.task) in asked, name


@each
def test_code_can_be_read_on_a_projector(path):
    for cell in code_cells(path):
        lines = cell.source.splitlines()
        assert len(lines) <= 20, cell.id
        assert max(map(len, lines)) <= 88, cell.id
        assert not re.search(r"#\s*(fmt|yapf)\s*:", cell.source), cell.id


@each
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", prose(path)):
        assert (FOLDER / target).exists(), target


@each
def test_roles_are_not_drawn_in_colours_of_their_own(path):
    source = "\n".join(cell.source for cell in code_cells(path))
    assert re.findall(r"#[0-9a-fA-F]{6}\b", source) == []
    assert "pyplot" not in source
    ast.parse(source)


@each
def test_training_in_a_notebook_uses_one_thread(path):
    """More threads gain nothing on networks this small, and on a busy machine they wait for each other for minutes."""
    source = "\n".join(cell.source for cell in code_cells(path))
    assert "distill(" not in source or "torch.set_num_threads(1)" in source

"""The README and the pages under ``docs/`` say what was measured, and their code runs."""

import inspect
import json
import re
import textwrap
from pathlib import Path

import nbformat
import pytest

from kcd_teach.benchmark import curves, open_study
from kcd_teach.figures import accuracy_against_cost
from kcd_teach.lessons import does_choosing_help
from kcd_teach.statistics import interval, paired_differences
from kcd_teach.training import Distillation

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
README, RUNNING, SPEED = (PAGES[name] for name in ("README.md", "docs/running.md", "docs/speed.md"))


def test_every_page_can_be_found_from_the_readme():
    assert len(PAGES) >= 5
    assert all(f"]({name})" in README for name in PAGES if name != "README.md")


def test_picture_is_the_one_of_the_stored_study(tmp_path):
    picture = accuracy_against_cost(
        curves.accuracy_by_cost(*open_study("choice-2k")), "What do you pay, what do you get?"
    )
    assert len(picture.reading) > 100
    assert (ROOT / "data" / "results" / "accuracy_against_cost.png").stat().st_size > 10_000


def test_numbers_under_the_picture_are_measured():
    table = curves.accuracy_by_cost(*open_study("choice-2k"))
    quoted = re.findall(r"([\d.]+ ± [\d.]+) %", README)
    measured = {
        f"{found.mean:.1f} ± {found.half_width:.1f}"
        for points in table.values() for runs in points.values() for found in [interval(list(runs.values()))]
    }  # fmt: skip
    assert len(quoted) >= 3
    assert set(quoted) <= measured


def test_the_verdict_is_that_of_the_stored_studies():
    verdict = " ".join(README[README.index("<!-- verdict") : README.index("<!-- end of verdict -->")].split())
    rows = [(f"{ours} {ratio}%", f"random {ratio}%") for ratio in (70, 30) for ours in ("KC-KD", "no mixing")]
    for name in ("choice-2k", "choice-10k"):
        gaps = does_choosing_help.Study(name).gaps(rows)
        lead = interval(gaps["KC-KD 30% − random 30%"])
        assert f"{lead.mean:.1f} ± {lead.half_width:.1f} points" in verdict
        assert f"{lead.n} seeds, study `{name}`" in verdict
        assert does_choosing_help.found(gaps, comparisons=8)["KC-KD 30% − random 30%"], (
            "the text says that both stand out"
        )
    whole = [interval(does_choosing_help.Study(f"choice-{size}").gap("KC-KD 30%", "KD")) for size in ("2k", "10k")]
    assert all(found.covers_zero for found in whole)
    said = " and ".join(f"{found.mean:+.1f} ± {found.half_width:.1f}" for found in whole)
    assert f"cannot be told apart on either ({said} points)".replace("-", "−") in verdict
    for epochs in (8, 72):
        found = interval(does_choosing_help.after(epochs))
        assert f"{found.mean:+.1f} ± {found.half_width:.1f}".replace("-", "−") in verdict
    photographs = does_choosing_help.Study("slice-choice")
    chance, full = (interval(photographs.gap("KC-KD 70%", row)) for row in ("random 70%", "KD"))
    assert chance.mean > chance.half_width
    assert (
        f"{chance.n} seeds, study `slice-choice`), KC-KD beats a random subset by {chance.mean:.1f} ± {chance.half_width:.1f} points"
        in verdict
    )
    assert full.covers_zero
    assert (
        f"cannot be told apart from KD on all samples ({full.mean:+.1f} ± {full.half_width:.1f})".replace("-", "−")
        in verdict
    )
    assert interval(does_choosing_help.Study("choice-500").gap("KC-KD 30%", "random 30%")).half_width > 2
    own, others = "entropy 30%", "another student, fixed 30%"
    assert all(
        interval(does_choosing_help.Study(f"ranking-{size}").gap(own, others)).covers_zero for size in ("2k", "10k")
    )
    by_class = does_choosing_help.Study("choice-2k").class_gaps("KC-KD 30%", "random 30%").mean(axis=0)
    assert by_class.max() > by_class.sum() / 2


@pytest.mark.parametrize("page", ["README.md", "docs/methods.md"])
def test_python_example_runs(capsys, page):
    example, *_ = re.findall(r"```python\n(.*?)```", PAGES[page], flags=re.S)
    exec(example.replace("epochs=24", "epochs=6"), {})
    assert len(capsys.readouterr().out.splitlines()) == 6


def loop_of(text: str) -> list[str]:
    """The lines of the loop from its head to the end of the epoch, each with its mark, or a blank, before it."""
    lines = textwrap.dedent(text).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("for batch in batches("))
    last = next(number for number, line in enumerate(lines) if line.startswith("condenser.end_epoch()"))
    bare = [line.partition("  #") for line in lines[first : last + 1]]
    return [f"{'+' if comment.startswith(' +') else ' '} {code}" for code, _, comment in bare]


@pytest.mark.parametrize("page", ["README.md", "notebooks/00_tour.ipynb"])
def test_the_lines_that_kcd_adds_are_those_of_the_loop(page):
    code = inspect.getsource(Distillation._distil)
    loop = loop_of(code[code.index("        for batch in") :])
    assert [line[0] for line in loop] == list("+  + +")
    if page.endswith(".ipynb"):
        texts = [cell.source for cell in nbformat.read(ROOT / page, as_version=4).cells if cell.cell_type == "markdown"]
    else:
        texts = [README]
    (diff,) = [found for text in texts for found in re.findall(r"```diff\n(.*?)```", text, flags=re.S)]
    assert diff.splitlines() == loop


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_course_table_has_question_and_minutes(path):
    question = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
    seconds = json.loads((ROOT / "data" / "results" / "notebooks.json").read_text())[path.stem]
    (row,) = [line for line in README.splitlines() if line.startswith(f"| [{path.stem}](notebooks/{path.name})")]
    assert question in row
    stated = float(re.findall(r"([\d.]+) min", row)[0])
    assert stated == pytest.approx(seconds / 60, abs=0.3)


@pytest.mark.parametrize("page", PAGES)
def test_everything_it_names_exists(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for command in re.findall(r"`?make (\w+)", PAGES[page].replace("`make` (", "")):
        assert re.search(rf"^{command}:", makefile, flags=re.M), command


def test_minutes_of_the_small_table_are_the_measured_ones():
    stored = json.loads((ROOT / "data" / "results" / "small_table.json").read_text())
    assert f"took {stored['minutes']} minutes on two cores" in RUNNING
    assert stored["cells"] == 11 * 16


def test_cells_that_survived_are_those_of_the_stored_run():
    stored = json.loads((ROOT / "data" / "results" / "full_settings.json").read_text())
    assert f"each of the {len(stored['table'])} cells" in RUNNING
    assert len({(cell["pair"], cell["row"]) for cell in stored["table"]}) == 11 * 16
    assert all(cell["resumed equal"] and cell["in the table"] for cell in stored["table"])


def medians(name: str) -> dict[str, float]:
    stored = json.loads((ROOT / "data" / "results" / f"{name}.json").read_text())["measured"]
    return {what: figures["median"] for what, figures in stored.items()}


def test_the_condensers_share_is_the_measured_one():
    found = medians("speed")
    assert f"{100 * found['condenser over bare steps, 50,000 samples']:.1f} % of an epoch" in SPEED


def test_answers_of_the_instruments_are_the_measured_ones():
    found = medians("instruments")
    words = (
        "takes {temperature} ms at the temperature bench, {map} ms at the knowledge map and {loop} ms at the loop player",
        "within {ratio} ms for 2,000 images and {ratio, 10,000 images} ms for 10,000",
        "a key within {map, 50,000 points} ms and a move of the pointer within {map, 50,000 points, hovering} ms",
    )
    page = " ".join(SPEED.split())
    for told in words:
        assert re.sub("{(.+?)}", lambda name: f"{found['JupyterLab: ' + name[1]]:.0f}", told) in page


@pytest.mark.parametrize("pair", ["R56>R20", "W40-2>W16-2", "V13>V8", "bundled"])
def test_pace_is_the_measured_one(pair):
    assert f"{100 * medians('engine')[f'{pair}: throughput of an epoch over bare steps']:.0f} % (" in SPEED


@pytest.mark.parametrize("store", ["cold", "warm"])
@pytest.mark.parametrize("pair", ["R56>R20", "W40-2>W16-2"])
def test_speed_beside_public_code_is_the_measured_one(pair, store):
    section = SPEED[SPEED.index("beside a loop in the style") :]
    found = medians("engine")[f"{pair}: images per second, {store} store over benchmark style"]
    assert f"{found:.2f}" in section[: section.index("Where the rest")]


@pytest.mark.parametrize("store", ["store off", "warm store"])
def test_time_of_a_condensed_run_is_the_measured_one(store):
    found = [medians("engine")[f"{pair}: time of KC-KD 70% over KD, {store}"] for pair in ("R20>R8", "bundled")]
    words = " (ResNet-20 to ResNet-8) and {:.2f} (the course's" if store == "store off" else " and {:.2f}: no saving"
    assert f"takes {found[0]:.2f}{words.format(found[1])}" in SPEED


def test_growth_of_time_is_the_measured_one():
    found = [
        medians("engine")[f"time with twice the {what} over twice the time, bundled"] for what in ("samples", "epochs")
    ]
    assert f"took {found[0]:.2f} and {found[1]:.2f} of twice the time" in SPEED


def test_single_repetitions_lie_within_the_stated_distance():
    stored = json.loads((ROOT / "data" / "results" / "engine.json").read_text())["measured"].values()
    furthest = max(abs(found[end] / found["median"] - 1) for found in stored for end in ("least", "most"))
    assert 0.2 < furthest < 0.34
    assert "up to a third from their median" in SPEED


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("KD, bfloat16, store off", "KD, float32, store off"),
        ("KD, float32, store memory", "KD, float32, store off"),
        ("KC-KD 70%, float32, store memory", "KC-KD 70%, float32, store off"),
    ],
)
def test_what_speed_costs_in_accuracy_is_the_measured_difference(ours, theirs):
    reached = curves.accuracies(*open_study("engine"))
    found = interval(paired_differences(reached[ours], reached[theirs]))
    section = SPEED[: SPEED.index("Where the rest")]
    assert found.covers_zero
    assert f"{found.mean:+.1f} ± {found.half_width:.1f}".replace("-", "−") in section

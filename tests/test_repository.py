"""What stands around the code: commands, hooks, versions, citation, texts for those who work on it."""

import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jupyterlab
import pytest
import yaml
from jupyterlab_server.settings_utils import get_settings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # mypy and pytest bring it where Python has none

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE, README, CONTRIBUTING, CHANGELOG = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.M))


def recipe(target: str) -> list[str]:
    """The commands of a target, with the environment's Python."""
    (text,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)*)", MAKEFILE, flags=re.M)
    return [line.strip().replace("$(PY)", ".venv/bin/python") for line in text.splitlines()]


def test_types_are_handed_on():
    assert files("kcd_teach").joinpath("py.typed").is_file()
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["kcd_teach"]
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
    assert PROJECT["tool"]["mypy"]["strict"]


def test_every_command_says_what_it_does():
    described = set(re.findall(r"^([a-z]+):.* ## .", MAKEFILE, flags=re.M))
    assert described == TARGETS
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.M)
    assert set(phony.split()) == TARGETS


def test_the_course_opens_without_questions_about_news(tmp_path, monkeypatch):
    """The file that `make lab` writes is one that JupyterLab reads, and names settings that it has."""
    quiet, opening = recipe("lab")
    assert quiet.startswith("@mkdir -p $(VENV)/etc/jupyter/labconfig && ")
    assert "--LabApp.default_url=/lab/tree/00_tour.ipynb" in opening
    (command,) = re.findall(r"^\t@(mkdir .*labconfig.*)$", MAKEFILE, flags=re.M)
    (settings,) = re.findall(r"^QUIET\s*:= (.*)$", MAKEFILE, flags=re.M)
    subprocess.run(
        ["sh", "-c", command.replace("$(VENV)", ".").replace("$(QUIET)", settings)], cwd=tmp_path, check=True
    )
    monkeypatch.setattr("jupyter_core.paths.ENV_CONFIG_PATH", [str(tmp_path / "etc" / "jupyter")])
    schemas = Path(jupyterlab.__file__).parent / "schemas"
    plugin = "@jupyterlab/apputils-extension:notification"
    shown, _ = get_settings(str(tmp_path), str(schemas), str(tmp_path), schema_name=plugin)
    defaults = {name: entry["default"] for name, entry in shown["schema"]["properties"].items()}
    assert (defaults["fetchNews"], defaults["checkForUpdates"]) == ("false", False)


def test_quick_runs_the_tests_of_the_heart():
    (heart,) = re.findall(r"^HEART\s*:= ((?:.*\\\n)*.*)$", MAKEFILE, flags=re.M)
    paths = heart.replace("\\", "").split()
    assert all((ROOT / path).exists() for path in paths), paths
    assert {"tests/condensation", "tests/distillers/test_kd.py", "tests/test_loop_oracle.py"} <= set(paths)
    assert recipe("quick") == ["$(PYTEST) $(HEART)"]


def test_pre_commit_does_the_lint_and_types_of_make():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == recipe("lint")
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in local["hooks"])
    assert re.search(r"^test: lint ", MAKEFILE, flags=re.M)


def wanted() -> list[Requirement]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    requirements = [Requirement(text) for texts in [PROJECT["project"]["dependencies"], *extras] for text in texts]
    return [one for one in requirements if canonicalize_name(one.name) != "kcd-teach"]


def test_the_environment_of_conda_has_every_dependency():
    """What is missing would come from PyPI after all, and PyTorch with CUDA."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    given = [Requirement(text) for text in environment["dependencies"] if isinstance(text, str)]
    specifiers = {one.name.replace("pytorch-cpu", "torch"): one.specifier for one in given}
    needed = {one.name: one.specifier for one in map(Requirement, PROJECT["project"]["dependencies"])}
    assert specifiers.keys() == {*needed, "python", "pip"}
    assert specifiers["torch"] == needed["torch"]


def test_half_an_environment_is_removed(tmp_path):
    """Without a network, CPU=1 must not leave an environment that would get PyTorch with CUDA the next time."""
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    made = tmp_path / "made"
    done = subprocess.run(
        ["make", "-C", ROOT, f"{made}/bin/python", "CPU=1", f"VENV={made}", f"PYTHON={sys.executable}"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "PyTorch for processors could not be downloaded" in done.stdout
    assert not made.exists()


@pytest.mark.parametrize("requirement", wanted(), ids=lambda requirement: requirement.name)
def test_the_lock_file_names_every_dependency_in_a_version_that_fits(requirement):
    first, *lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert first.startswith("# Made by: make lock")
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(locked) == len(lines)
    assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)], prereleases=True)


def test_the_citation_is_that_of_the_readme():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["preferred-citation"]
    entry = dict(re.findall(r"^  (\w+)\s+= \{(.*)\}", README, flags=re.M))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "license"} <= set(citation)
    assert citation["authors"] == PROJECT["project"]["authors"] == [{"name": "The kcd_teach authors"}]
    assert citation["version"] == PROJECT["project"]["version"]
    assert paper["title"] == entry["title"] == "Knowledge Condensation Distillation"
    assert " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]) == entry["author"]
    assert str(paper["year"]) == entry["year"]
    assert paper["collection-title"] == entry["booktitle"]
    assert paper["url"] == PROJECT["project"]["urls"]["Paper"]


def test_the_changelog_knows_this_version():
    headings = re.findall(r"^## \[(.*?)\]", CHANGELOG, flags=re.M)
    assert headings[0] == "Unreleased"
    assert headings[1] == PROJECT["project"]["version"]
    assert set(re.findall(r"^### (.*)$", CHANGELOG, flags=re.M)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip


@pytest.mark.parametrize("text", [CONTRIBUTING, CHANGELOG], ids=["CONTRIBUTING", "CHANGELOG"])
def test_texts_name_commands_and_files_that_are_there(text):
    assert set(re.findall(r"`make (\w+)", text)) <= TARGETS
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    paths = re.findall(r"`((?:tests|data)/[\w./]+)`", text) + re.findall(
        r"(?:pytest|`)(?:\s)((?:tests|notebooks)/\S+?)`", text
    )
    assert all((ROOT / path).exists() for path in links + paths), (links, paths)


def test_the_guide_has_every_command_for_checking():
    for command in ("quick", "test", "notebooks", "bench", "studies", "develop", "lint", "lock"):
        assert f"make {command}" in CONTRIBUTING

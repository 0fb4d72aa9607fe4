"""What a user's own file adds is known everywhere, without a change of the package: methods, values, networks, images."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from kcd_teach import Condenser, Recipe, create_distiller, create_model, distill, list_distillers, list_models, zoo
from kcd_teach.benchmark import examine, make_plan, make_table, run_plan
from kcd_teach.benchmark.plan import FileNotLoaded, Prepared
from kcd_teach.benchmark.plotting import PICTURES, picture
from kcd_teach.benchmark.settings import ROWS, Scale, find_pair, find_row
from kcd_teach.benchmark.store import Store
from kcd_teach.cli import app
from kcd_teach.condensation import ValueMeasure, fixed_values, list_values, prediction_entropy, register_value
from kcd_teach.datasets import list_datasets, load_dataset, register_dataset
from kcd_teach.distillers import KD, Distiller, register_distiller
from kcd_teach.fingerprints import own_code
from kcd_teach.lessons.measurements import costs
from kcd_teach.models import register_model
from kcd_teach.registry import REGISTRIES, load_file
from tests.tiny import outcome, same, tiny_dataset, tiny_networks, tiny_run

OWN = '''
"""A file of a user."""
import torch
from torch import nn
from torch.nn import functional as F

from kcd_teach.condensation import register_value
from kcd_teach.datasets import Dataset, register_dataset
from kcd_teach.distillers import Distiller, register_distiller
from kcd_teach.distillers.base import Needs
from kcd_teach.models import register_model


@register_distiller("cosine", label_weight=0.1, teacher_weight=0.9)
class Cosine(Distiller):
    """Direction of the logits (Somebody 2030, arXiv 3001.00001)."""

    uses_taps = False

    def method_loss(self, batch, student, teacher):
        return STRENGTH * (1 - F.cosine_similarity(student.logits, teacher.logits).mean())


STRENGTH = 1.0


@register_value("hurry")
def hurry(student_logits, labels):
    """How far the label is from being likeliest."""
    return (student_logits.max(dim=1).values - student_logits.gather(1, labels[:, None])[:, 0]).clamp(min=0)


@register_model("flat")
class Flat(nn.Module):
    """One linear map of all pixels (Somebody 2031, arXiv 3101.00001)."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.head = nn.Linear(in_channels * 16, num_classes)

    def forward(self, images):
        return self.head(F.adaptive_avg_pool2d(images, 4).flatten(1))


@register_dataset("bars")
def bars(root):
    """Bars, in two directions."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 100, (40, 1, 16, 16), generator=generator).to(torch.uint8)
    images[::2, :, 4] += 150
    images[1::2, :, :, 4] += 150
    labels = torch.arange(40) % 2
    return Dataset("some bars", images[:30], labels[:30], images[30:], labels[30:], ("-", "|"), (0.3,), (0.3,), 1)
'''
ROW_NAMES = ["Cosine", "KC-Cosine", "KC-Cosine@value=hurry"]


@pytest.fixture
def own(tmp_path) -> Path:
    path = tmp_path / "my_things.py"
    path.write_text(OWN)
    return path


def a_plan(**changes):
    return make_plan(["mini_convnet>flat"], ROW_NAMES, 1, Scale("bars", "bars", epochs=3, batch_size=10, **changes))


def test_everything_of_an_own_file_is_listed_and_can_be_found(own):
    known = zoo.section()
    load_file(own)
    for names, name in (
        (list_distillers(), "cosine"), (list_values(), "hurry"), (list_models(), "flat"), (list_datasets(), "bars"),
    ):  # fmt: skip
        assert names[-1] == name
    assert [find_row(name.lower()).name for name in ROW_NAMES] == ROW_NAMES
    assert find_row("KC-KD@value=hurry").meaning == "ranked by: how far the label is from being likeliest"
    assert find_pair("mini_convnet>flat").student == create_model("flat", 2, 1).name == "flat"
    assert load_dataset("bars").name == "bars"
    assert "Cosine" not in [row.name for row in ROWS]
    added = set(zoo.section().splitlines()) - set(known.splitlines())
    (method,) = [line for line in added if "cosine" in line]
    assert method == "| `cosine`, `kc-cosine` | logits | Direction of the logits | Somebody 2030, arXiv 3001.00001 |"
    (network,) = [line for line in added if "`flat`" in line]
    assert "One linear map of all pixels" in network
    assert "arXiv 3101.00001" in network


def test_a_plan_with_an_own_method_value_network_and_data_set_runs_and_is_shown(own, tmp_path):
    load_file(own)
    plan, folder = a_plan(), tmp_path / "runs"
    assert all(finding.fine for finding in examine(plan, folder))
    said = run_plan(plan, folder, quiet=True, announce=lambda text: None)
    table = make_table(said.prepared, Store(folder))
    assert list(table.cells) == ROW_NAMES
    assert table.runs == 3
    assert all(name in table.markdown() for name in ROW_NAMES)
    assert "KC-Cosine@value=hurry" in str(
        table.styled().html() if hasattr(table.styled(), "html") else table.markdown()
    )
    for what in PICTURES:
        if what != "ablations":
            assert picture(said.prepared, Store(folder), what, None, "KC-Cosine").reading
    shown = [record["active"] for record in Store(folder).records().values()]
    assert sorted(active[-1] for active in shown) == [21, 21, 30]
    assert Prepared.load(Store(folder)).plan == plan


def test_the_same_plan_runs_in_processes_of_their_own(own, tmp_path):
    load_file(own)
    alone, beside = (
        run_plan(a_plan(), tmp_path / str(n), workers=n, quiet=True, announce=lambda text: None) for n in (1, 2)
    )
    ours, theirs = (Store(tmp_path / str(n)).records() for n in (1, 2))
    assert (
        {unit.key for unit in alone.prepared.units()} == {unit.key for unit in beside.prepared.units()} == set(theirs)
    )
    assert [ours[key]["test_accuracy"] for key in ours] == [theirs[key]["test_accuracy"] for key in ours]


def test_what_is_in_no_file_is_refused_before_other_processes_start(tmp_path):
    exec(
        "import kcd_teach.distillers as d\nclass Twin(d.KD): pass\nd.register_distiller('twin', Twin)",
        {"__name__": "__main__"},
    )
    plan = make_plan(["mini_convnet>mini_resnet8"], ["twin"])
    with pytest.raises(ValueError, match="distiller 'twin' was registered in a notebook"):
        run_plan(plan, tmp_path, workers=2, quiet=True)


@pytest.mark.parametrize(
    ("right", "wrong", "changed"),
    [
        ("STRENGTH = 1.0", "STRENGTH = 2.0", True), ("teacher_weight=0.9", "teacher_weight=0.8", True),
        ('"""A file of a user."""', '"""Other words."""  # and more', False),
    ],
)  # fmt: skip
def test_a_changed_file_makes_other_runs(own, right, wrong, changed):
    def keys() -> set[str]:
        load_file(own)
        prepared = Prepared(a_plan(), "images", 30, {"mini_convnet": None})
        found = {unit.key for unit in prepared.units()}
        assert all({"distiller cosine", "model flat"} <= set(unit.config["own"]) for unit in prepared.units())
        del sys.modules["my_things"]
        return found

    before, plain = keys(), Prepared(make_plan(["V13>V8"], ["Student"]), "images", 30, {}).units()[0].config
    assert "own" not in plain
    own.write_text(own.read_text().replace(right, wrong))
    assert bool(keys() - before) == changed


def test_a_folder_says_which_file_its_plan_needs(own, tmp_path):
    load_file(own)
    prepared = Prepared(a_plan(), "images", 30, {})
    prepared.save(Store(tmp_path))
    assert json.loads((tmp_path / "plan.json").read_text())["files"] == [str(own)]
    assert Prepared.load(Store(tmp_path)).own == prepared.own
    for registry in REGISTRIES.values():
        for name in registry.added:
            registry.remove(name)
    with pytest.raises(FileNotLoaded, match=r"kcd-teach --with .*my_things\.py"):
        Prepared.load(Store(tmp_path))


def test_the_command_line_loads_a_file_first(own, tmp_path):
    options = ["--pair", "mini_convnet>flat", "--row", "cosine", "--row", "KC-KD@value=hurry", "--dataset", "bars"]
    small = ["--epochs", "2", "--folder", str(tmp_path / "runs"), "--scale", "small"]
    command = [sys.executable, "-m", "kcd_teach.cli", "--with", str(own)]
    done = subprocess.run([*command, "bench", *options, *small], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "| Cosine |" in done.stdout
    assert "| KC-KD@value=hurry |" in done.stdout
    listed = CliRunner().invoke(app, ["--with", str(own), "list"]).stdout
    for kind, name in (("methods", "cosine"), ("values", "hurry"), ("networks", "flat"), ("data sets", "bars")):
        (line,) = [line for line in listed.splitlines() if line.startswith(f"{kind}: ")]
        assert line.endswith(f", {name}")
    missing = CliRunner().invoke(app, ["--with", str(tmp_path / "none.py"), "list"])
    assert missing.exit_code == 2
    assert "there is no file" in missing.stderr


# A method.


def test_an_own_method_is_called_by_name_and_condensed_like_any_other(own):
    load_file(own)
    student, teacher = tiny_networks()
    made = create_distiller("kc-cosine", student, teacher, image_shape=(1, 8, 8))
    assert (made.label_weight, made.teacher_weight) == (0.1, 0.9)
    assert create_distiller("cosine", student, teacher, image_shape=(1, 8, 8), teacher_weight=0.5).teacher_weight == 0.5
    by_name = tiny_run(None, distiller="cosine")
    list(by_name)
    other = tiny_run(None, distiller=type(made)(label_weight=0.1, teacher_weight=0.9))
    list(other)
    assert same(outcome(by_name)["student"], outcome(other)["student"])
    run = distill(student, tiny_dataset(), teacher, distiller="kc-cosine", recipe=Recipe(epochs=2, batch_size=16))
    assert isinstance(run.condenser, Condenser)
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        create_distiller("cosin", student, teacher)


def test_a_method_can_be_given_as_a_class():
    runs = [tiny_run(None, distiller=given) for given in ("kd", KD)]
    for run in runs:
        list(run)
    assert same(*(outcome(run)["student"] for run in runs))
    student, teacher = tiny_networks()
    assert create_distiller(KD, student, teacher, image_shape=(1, 8, 8), temperature=2.0).temperature == 2.0


def test_a_name_is_taken_only_by_other_modules():
    class Twin(KD):
        pass

    assert register_distiller("twin", Twin) is Twin
    register_distiller("twin", Twin, title="The Twin", temperature=2.0)  # the same cell, run again
    assert find_row("kc-the twin").name == find_row("kc-twin").name == "KC-The Twin"
    for name, reason in (
        ("kd", "registered by kcd_teach itself"),
        ("KD", "taken"),
        ("kc-x", "begin"),
        ("a b", "made of"),
    ):
        with pytest.raises(ValueError, match=reason):
            register_distiller(name, Twin)
    with pytest.raises(ValueError, match=r"'twin' was registered by tests\.test_open"):
        exec("import kcd_teach.distillers as d; d.register_distiller('twin', d.KD)", {"__name__": "elsewhere"})
    for title in ("CRD", "A@B", "kc-more"):
        with pytest.raises(ValueError, match="title"):
            register_distiller("third", Twin, title=title)
    with pytest.raises(TypeError, match="subclass of Distiller"):
        register_distiller("third", Twin())
    assert "third" not in list_distillers()


def test_without_a_docstring_the_zoo_has_a_name():
    @register_distiller("bare")
    class Bare(Distiller):
        compares = "moods"

    assert "| `bare`, `kc-bare` | moods | Bare |  |" in zoo.method_table()


def test_the_cost_of_an_own_method_is_measured_like_the_others(own, monkeypatch):
    load_file(own)
    monkeypatch.setattr("kcd_teach.lessons.measurements.list_distillers", lambda: ["kd", "cosine"])
    measured = costs(load_dataset("fashion-mnist-mini").first(13), repetitions=1)
    assert measured["methods"]["cosine"]["step time over KD"]["median"] > 0


# A value measure.


def logits_and_labels():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    return logits, torch.tensor([0, 1, 2])


def test_the_usual_values_are_what_they_were():
    logits, _ = logits_and_labels()
    observed, recorded = (Condenser(3, 0.5, 2, 4, value=value) for value in ("sum", "sum"))
    observed.observe(torch.arange(3), logits)
    recorded.record(torch.arange(3), prediction_entropy(logits))
    assert torch.equal(observed.value, recorded.value)
    assert observed.config["value"] == "sum"


def test_measures_of_the_package_are_what_they_say():
    logits, labels = logits_and_labels()
    told = logits.flip(1)

    def value(name: str) -> torch.Tensor:
        condenser = Condenser(3, value=name)
        condenser.observe(torch.arange(3), logits, labels=labels, teacher_logits=told)
        return condenser.value.float()

    p, q = logits.softmax(1), told.softmax(1)
    torch.testing.assert_close(value("loss"), -p[torch.arange(3), labels].log())
    torch.testing.assert_close(value("disagreement"), (q * (q / p).log()).sum(1))
    torch.testing.assert_close(value("teacher-entropy"), -(q * q.log()).sum(1))
    ordered = p.sort(1, descending=True).values
    torch.testing.assert_close(value("margin"), 1 - ordered[:, 0] + ordered[:, 1])


@pytest.mark.parametrize("value", ["loss", "disagreement", "teacher-entropy"])
def test_the_loop_hands_labels_and_the_teachers_logits_to_a_measure_that_asks_for_them(value):
    _, teacher = tiny_networks()
    dataset, seen = tiny_dataset(), []

    def spy(ids, student_logits, labels, teacher_logits):
        seen.append((ids, labels, teacher_logits))
        return REGISTRIES["value"][value].thing.values(
            ids=ids, student_logits=student_logits, labels=labels, teacher_logits=teacher_logits
        )

    def trained(given) -> list[torch.Tensor]:
        condenser = Condenser(48, 0.6, 2, 4, value=given)
        run = distill(tiny_networks()[0], dataset, teacher, recipe=Recipe(epochs=4, batch_size=10), condenser=condenser)
        list(run)
        return [condenser.value, condenser.active, *run.student.state_dict().values()]

    assert all(map(torch.equal, trained(value), trained(spy)))
    assert all(torch.equal(labels, dataset.train_labels[ids]) for ids, labels, _ in seen)
    assert all(told.shape == (len(ids), 3) for ids, _, told in seen)


def test_values_from_a_list_and_balanced_by_class():
    dataset = tiny_dataset()
    listed = torch.linspace(0, 1, 48)

    def balanced(record):
        """Rank within the class."""
        value = torch.empty(48, dtype=torch.float64)
        for c in range(3):
            of_class = torch.nonzero(dataset.train_labels == c).flatten()
            value[of_class] = record.mean[of_class].argsort().argsort().double() / len(of_class)
        return value

    for measure, kept in (
        (fixed_values(listed), None),
        (ValueMeasure(fixed_values(listed).observe, balanced), [10, 9, 10]),
    ):
        condenser = Condenser(48, 0.6, 1, 2, "released", value=measure, released_steps=1)
        for _ in range(2):
            condenser.observe(torch.arange(48), torch.zeros(48, 3))
            condenser.end_epoch()
        best = condenser.ranking()[:29]
        if kept is None:
            assert best.tolist() == list(range(47, 18, -1))
            assert condenser.config["value"] == measure.name != fixed_values(listed.flip(0)).name
        else:
            assert sorted(torch.bincount(dataset.train_labels[best]).tolist()) == sorted(kept)


def test_measures_that_cannot_work_are_refused_at_the_door():
    with pytest.raises(TypeError, match="asks for weather"):
        Condenser(4, value=lambda weather: weather)
    with pytest.raises(TypeError, match="must be a function"):
        ValueMeasure(3)
    with pytest.raises(ValueError, match="combine='median' is unknown"):
        register_value("middle", lambda ids: ids, "median")
    student, _ = tiny_networks()
    condenser = Condenser(48, 0.6, 2, 4, value="disagreement")
    with pytest.raises(ValueError, match="value='disagreement' asks for the teacher's logits, and teacher is None"):
        distill(student, tiny_dataset(), recipe=Recipe(epochs=4), condenser=condenser)
    with pytest.raises(ValueError, match=r"asks for teacher_logits: hand them to observe\(\.\., teacher_logits=\.\.\)"):
        condenser.observe(torch.arange(2), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="must give a floating-point tensor"):
        Condenser(4, value=lambda student_logits: student_logits).observe(torch.arange(2), torch.zeros(2, 3))


def test_a_run_does_not_go_on_with_another_measure(tmp_path):
    def sure(student_logits):
        return 1 - student_logits.softmax(1).amax(1)

    def same_name(student_logits):
        return student_logits.softmax(1).amax(1)

    same_name.__name__ = same_name.__qualname__ = "sure"

    def run(measure):
        student, teacher = tiny_networks()
        condenser = Condenser(48, 0.6, 2, 4, value=measure)
        recipe = Recipe(epochs=4, batch_size=10)
        return distill(
            student, tiny_dataset(), teacher, recipe=recipe, condenser=condenser, checkpoint=tmp_path / "run.pt"
        )

    next(run(sure))
    assert len(run(sure)) == 3
    with pytest.raises(ValueError, match="condenser's code"):
        run(same_name)


# A network and a data set.


def test_an_own_network_learns_from_an_own_teacher_on_own_images(own):
    load_file(own)
    bars = load_dataset("bars")
    teacher, student = (create_model("flat", 2, 1, seed=seed) for seed in (0, 1))
    list(distill(teacher, bars, recipe=Recipe(epochs=2, batch_size=10)))
    reports = list(distill(student, bars, teacher, distiller="kc-kd", recipe=Recipe(epochs=2, batch_size=10)))
    assert [report.active for report in reports] == [30, 21]
    weights = [create_model("flat", 2, 1, seed=3).head.weight for _ in range(2)]
    assert torch.equal(*weights)
    with pytest.raises(ValueError, match="this method compares features, and the student"):
        create_distiller("at", student, teacher, image_shape=(1, 16, 16))


def test_factories_and_loaders_that_give_something_else_are_refused():
    register_model("none", lambda num_classes, in_channels: None)
    register_dataset("nothing", lambda root: None)
    with pytest.raises(TypeError, match="the factory of 'none' must make a network"):
        create_model("none")
    with pytest.raises(TypeError, match="the loader of 'nothing' must return a Dataset"):
        load_dataset("nothing")
    with pytest.raises(TypeError, match="factory must be"):
        register_model("some", torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="loader must be"):
        register_dataset("some", 3)


def test_images_can_be_given_as_they_are_and_replaced():
    register_dataset("few", tiny_dataset())
    scale = Scale("few", "few", epochs=1, batch_size=4)
    assert len(scale.images().train_images) == 48
    register_dataset("few", tiny_dataset(num_train=24))
    assert len(scale.images().train_images) == 24


# A file.


def test_files_that_cannot_be_loaded_say_why(tmp_path):
    cases = {"my_text.txt": "Python file", "my_broken.py": "NameError", "random.py": "name of another module"}
    for name, reason in cases.items():
        path = tmp_path / name
        path.write_text("nothing_here")
        with pytest.raises(ValueError, match=reason):
            load_file(path)
    assert "my_broken" not in sys.modules
    (tmp_path / "my_good.py").write_text("loads = []")
    assert load_file(tmp_path / "my_good.py") is load_file(tmp_path / "my_good.py")


def test_code_of_a_notebook_is_known_by_its_functions_and_constants():
    def registered(body: str) -> str:
        text = f"import kcd_teach.distillers as d\nclass Mine(d.KD):\n    {body}\nd.register_distiller('mine', Mine)"
        exec(text, {"__name__": "a_notebook"})
        return own_code()["distiller mine"]

    assert registered("strength = 1") == registered("strength = 1") != registered("strength = 2")
    assert registered("def f(self): return 1") != registered("def f(self): return 2")


def test_a_function_of_an_own_measure_may_be_given_bare():
    condenser = Condenser(
        2, value=lambda student_logits, labels: F.cross_entropy(student_logits, labels, reduction="none")
    )
    condenser.observe(torch.arange(2), torch.zeros(2, 4), labels=torch.tensor([0, 3]))
    torch.testing.assert_close(condenser.value, torch.full((2,), 4.0).log().double())


@pytest.mark.parametrize("turn", ["first", "second"])
def test_what_one_test_registers_no_other_one_finds(turn, own):
    """Tests run in any order and place: whichever of the two comes second would find what the first has left."""
    assert "bars" not in list_datasets(), turn
    assert "my_things" not in sys.modules, turn
    load_file(own)
    assert "bars" in list_datasets(), turn


def test_a_method_says_whether_it_asks_for_taps():
    class Forgetful(Distiller):
        """No word about taps."""

    with pytest.raises(TypeError, match=r"Forgetful\.uses_taps must be False, or its constructor must take the taps"):
        create_distiller(Forgetful, *tiny_networks(), image_shape=(1, 12, 12))

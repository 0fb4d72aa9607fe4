"""The command line does what the library does, and says in one line what is wrong."""

import csv
import importlib.metadata
import io
import json

import pytest
import torch
from typer.testing import CliRunner

from kcd_teach.benchmark import Prepared, Store, runs
from kcd_teach.cli import app
from kcd_teach.fingerprints import hash_of
from kcd_teach.models import create_model, load_checkpoint
from tests.benchmark.test_faults import spoiled
from tests.benchmark.test_table import filled

SMALL = ["--epochs", "2", "--per-class", "2", "--classes", "5"]
PAIR = ["--pair", "mini_resnet8x3>mini_convnet"]


def call(*arguments, code=0):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    return done.output


def test_from_nothing_to_the_table(tmp_path):
    folder = ["--folder", tmp_path / "runs"]
    assert "mini_resnet8x3" in call("train-teacher", "mini_resnet8x3", *SMALL, *folder)
    teachers = list((tmp_path / "runs" / "teachers").glob("*.safetensors"))
    shown = call("bench", *PAIR, "--row", "Student", "--row", "KD", "--row", "KC-KD", "--seeds", 2, *SMALL, *folder)
    assert list((tmp_path / "runs" / "teachers").glob("*.safetensors")) == teachers
    assert "6 of 6 runs" in shown
    assert "gain" in shown
    call("distill", *PAIR, "--row", "KC-KD@random", *SMALL, *folder)
    assert "KC-KD@random" not in call("table", *folder)  # the plan is still that of bench
    rows = list(csv.DictReader(io.StringIO(call("table", "--as", "csv", *folder))))
    assert [(row["row"], row["n"], row["published"]) for row in rows] == [
        (name, "2", "") for name in ("Student", "KD", "KC-KD")
    ]
    assert "wrote" in call("table", "--out", tmp_path / "table.md", *folder)
    assert (tmp_path / "table.md").read_text().startswith("| Method |")
    assert len((tmp_path / "runs" / "results.jsonl").read_text().splitlines()) == 7


def test_a_plan_from_a_file_is_run_and_goes_on_by_itself(tmp_path):
    scale = {"name": "tiny", "dataset": "fashion-mnist-mini", "epochs": 2, "per_class": 2, "test_per_class": 1}
    content = {
        "pairs": ["mini_resnet8x3>mini_convnet"], "rows": ["plain: KD", "half: KC-KD@ratio=0.5,random"], "seeds": 2,
        "only": {"half": 1}, "scale": {**scale, "store": "memory", "teachers": "bundled"},
    }  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(content))
    folder = ["--folder", tmp_path / "runs"]
    shown = call("bench", "--plan", tmp_path / "mine.json", *folder)
    assert "3 of 3 runs" in shown
    assert "from the checkpoint mini_resnet8x3.npz" in shown
    assert "gain" in next(line for line in shown.splitlines() if line.startswith("| half"))
    records = Store(tmp_path / "runs").records()
    assert sorted((record["row"], record["seed"]) for record in records.values()) == [
        ("half", 0),
        ("plain", 0),
        ("plain", 1),
    ]
    assert "going on with the plan" in call("bench", *folder)
    assert "from the checkpoint" in call("doctor", *folder, "--no-time")
    assert Store(tmp_path / "runs").records() == records


def test_the_commands_say_where_the_students_are(tmp_path):
    folder = tmp_path / "runs"
    said = call("distill", *PAIR, "--row", "KC-KD@random", *SMALL, "--folder", folder)
    (file,) = (folder / "students").iterdir()
    assert file.name.startswith("mini_resnet8x3-mini_convnet_KC-KD@random_seed0_")
    assert f"student {file}" in said.splitlines()
    loaded = load_checkpoint(create_model("mini_convnet", num_classes=5, in_channels=1), file)
    (record,) = Store(folder).records().values()
    assert record["weights"] == hash_of(loaded)
    assert folder / record["weights_file"] == file
    said = call("bench", *PAIR, "--row", "Student", "--row", "KD", *SMALL, "--folder", folder)
    assert f"2 students are in {folder / 'students'}, named by pair, row and seed" in said.splitlines()
    file.unlink()
    said = call("distill", *PAIR, "--row", "KC-KD@random", *SMALL, "--folder", folder)  # not trained again
    assert f"student {file}" not in said


def taught_by(folder):
    return {record["config"]["teacher"]["weights"] for record in Store(folder).records().values()}


def teachers_in(folder):
    return {record["recipe"]: record["weights"] for path in (folder / "teachers").glob("*.json")
            for record in [json.loads(path.read_text())] for record["recipe"] in [record["config"]["recipe"]["epochs"]]}  # fmt: skip


@pytest.mark.parametrize("command", ["distill", "bench"])
def test_the_teacher_that_was_trained_is_the_one_that_doctor_names_and_that_teaches(tmp_path, command):
    folder, plan = ["--folder", tmp_path], [*PAIR, "--row", "KD", *SMALL]
    trained = call("train-teacher", "mini_resnet8x3", *SMALL, "--epochs", 5, *folder)
    (line,) = (line[line.index("teacher ") :] for line in trained.splitlines() if "trained here for" in line)
    assert f"weights {next((tmp_path / 'teachers').glob('*.safetensors'))}" in trained.splitlines()
    said = call("doctor", *plan, *folder, "--no-time")
    (named,) = (line for line in said.splitlines() if "teacher: " in line)
    assert named.removeprefix("ok  teacher: ").startswith(line.removeprefix("teacher "))
    assert f"the only one in {tmp_path}; --teacher-epochs 2 trains another" in named
    said = call(command, *plan, *folder)
    assert named.removeprefix("ok  teacher: ") in said
    assert taught_by(tmp_path) == {teachers_in(tmp_path)[5]}
    assert list(teachers_in(tmp_path)) == [5]


def test_which_of_several_teachers_is_asked_and_never_guessed(tmp_path):
    folder, plan = ["--folder", tmp_path], [*PAIR, "--row", "KD", *SMALL]
    for epochs in (1, 3):
        call("train-teacher", "mini_resnet8x3", *SMALL, "--epochs", epochs, *folder)
    call("train-teacher", "mini_resnet8x3", *SMALL, "--classes", 4, *folder)  # of other images
    call("train-teacher", "mini_resnet8x3", *SMALL, "--seed", 1, *folder)
    for command in (["doctor", "--no-time"], ["bench"]):
        said = call(*command, *plan, *folder, code=2)
        assert "has 2 teachers mini_resnet8x3 for these images, " in said
        assert "say which one by --teacher-epochs" in said
    assert not (tmp_path / "results.jsonl").exists()
    said = call("doctor", *plan, *folder, "--no-time", "--teacher-epochs", 3)
    assert "trained here for 3 epochs, seed 0; not used: trained here for 1 epochs, seed 0" in said
    call("bench", *plan, *folder, "--teacher-epochs", 3)
    assert taught_by(tmp_path) == {teachers_in(tmp_path)[3]}
    said = call("doctor", *plan, *folder, "--no-time", "--teacher-epochs", 2)
    assert "is not in" in said
    assert "will be trained first; not used: trained here for" in said
    said = call("distill", *plan, *folder, "--teacher-epochs", 2)
    (named,) = (line for line in said.splitlines() if "teacher mini_resnet8x3 will be trained; not used: " in line)
    assert all(f"trained here for {epochs} epochs, seed 0" in named for epochs in (1, 3))
    assert len(taught_by(tmp_path)) == 2


def test_a_published_teacher_is_known_to_doctor_and_remembered_by_the_folder(tmp_path):
    folder, plan = ["--folder", tmp_path / "runs"], [*PAIR, "--row", "KD", *SMALL]
    network = create_model("mini_resnet8x3", 5, 1, seed=3)
    torch.save({"model": network.state_dict()}, tmp_path / "x.pth")
    given = ["--checkpoint", f"mini_resnet8x3={tmp_path / 'x.pth'}"]
    assert f"ok  teacher: mini_resnet8x3 from the checkpoint {tmp_path / 'x.pth'}" in call(
        "doctor", *plan, *given, *folder, "--no-time"
    )
    assert not (tmp_path / "runs").exists()
    call("bench", *plan, *given, *folder)
    said = call("doctor", *plan, *folder, "--no-time")
    assert f"from the checkpoint x.pth; the only one in {tmp_path / 'runs'}" in said
    call("distill", *plan, *folder, "--seed", 1)
    assert taught_by(tmp_path / "runs") == {hash_of(network)}
    (tmp_path / "x.pth").write_bytes(b"")
    assert "NO  teacher: " in call("doctor", *plan, *given, *folder, "--no-time", code=2)


def test_a_damaged_teacher_is_named_before_anything_is_trained(tmp_path):
    folder, plan = ["--folder", tmp_path], [*PAIR, "--row", "KD", *SMALL]
    call("train-teacher", "mini_resnet8x3", *SMALL, "--epochs", 5, *folder)
    (weights,) = (tmp_path / "teachers").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "NO  teacher: " in call("doctor", *plan, *folder, "--no-time", code=2)
    assert "is damaged or not a safetensors file" in call("distill", *plan, *folder, code=2)
    said = call("doctor", *plan, *folder, "--no-time", "--teacher-epochs", 5)
    assert "will be trained first; " in said
    assert "is damaged or not a safetensors file" in said


def test_epochs_of_a_teacher_are_those_asked_for(tmp_path):
    small = ["--per-class", 2, "--classes", 5, "--dataset", "fashion-mnist-mini", "--folder", tmp_path]
    assert "trained here for 1 epochs" in call(
        "train-teacher", "mini_convnet", "--scale", "slice", "--epochs", 1, *small
    )


def plan_of(folder):
    return Prepared.load(Store(folder)).plan


def test_a_folder_goes_on_with_its_plan(tmp_path):
    folder = ["--folder", tmp_path]
    first = ["bench", *PAIR, "--row", "Student", "--row", "KD", "--seeds", 2, *SMALL, *folder]
    call(*first)
    plan, results = plan_of(tmp_path), (tmp_path / "results.jsonl").read_bytes()
    for again in (first, ["bench", *folder]):
        assert (
            f"going on with the plan of {tmp_path}: mini_resnet8x3>mini_convnet x Student, KD x seed 0, seed 1, "
            in call(*again)
        )
        assert plan_of(tmp_path) == plan
        assert (tmp_path / "results.jsonl").read_bytes() == results
    assert "for 176 runs and" in call("doctor", "--pair", "all", "--row", "all", "--seeds", 1, *folder)
    said = call("doctor", *folder)
    assert "for 4 runs and 1 teacher from" in said
    assert "5 classes" in said


@pytest.mark.parametrize(
    ("options", "becomes"),
    [
        (["--seeds", 3], "Student, KD x seed 0, seed 1, seed 2, small, epochs=2, per_class=2, classes=5 (6 runs)"),
        (["--row", "KC-KD"], "mini_resnet8x3>mini_convnet x KC-KD x seed 0, small, epochs=2, per_class=2, classes=5 (1 runs)"),
        (["--pair", "mini_resnet8x3>mini_resnet8"], "mini_resnet8x3>mini_resnet8 x Student, KD x seed 0, small, epochs=2"),
        (["--epochs", 1], "Student, KD x seed 0, small, per_class=2, classes=5, epochs=1 (2 runs)"),
        (["--scale", "small", *SMALL, "--classes", 4], "Student, KD x seed 0, small, epochs=2, per_class=2, classes=4 (2 runs)"),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, list) else "",
)  # fmt: skip
def test_what_is_not_said_is_as_it_was_and_a_change_is_announced(tmp_path, options, becomes):
    call("bench", *PAIR, "--row", "Student", "--row", "KD", *SMALL, "--folder", tmp_path)
    before = str(plan_of(tmp_path))
    said = call("bench", *options, "--folder", tmp_path)
    (line,) = (line for line in said.splitlines() if line.startswith("the plan of "))
    assert line.startswith(f"the plan of {tmp_path} was: {before}; it becomes: ")
    assert becomes in line
    assert plan_of(tmp_path).scale.name.count("epochs") == 1


def test_a_damaged_plan_must_be_said_again(tmp_path):
    plan = [*PAIR, "--row", "Student", *SMALL]
    call("bench", *plan, "--folder", tmp_path)
    (tmp_path / "plan.json").write_text("{")
    assert "finished runs are kept; bench needs its --pair and --row" in call("bench", "--folder", tmp_path, code=2)
    call("bench", *plan, "--folder", tmp_path)
    assert len(Store(tmp_path).records()) == 1


def test_distill_leaves_the_plan_as_it_was(tmp_path):
    call("bench", *PAIR, "--row", "Student", *SMALL, "--folder", tmp_path)
    before = (tmp_path / "plan.json").read_bytes()
    call("distill", *PAIR, "--row", "KD", *SMALL, "--folder", tmp_path)
    assert (tmp_path / "plan.json").read_bytes() == before


def test_what_diverged_is_said_and_ends_in_code_1(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "create_model", spoiled)
    said = call("bench", *PAIR, "--row", "KD", *SMALL, "--folder", tmp_path, code=1)
    assert "not stored: mini_resnet8x3>mini_convnet KD seed 0: " in said
    assert "error" not in said


def test_plots_of_a_folder_finished_or_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepared, store = filled(tmp_path / "runs")
    prepared.save(store)
    said = call("plot")
    assert said.startswith("wrote curves-W40-2-W40-1.png: KC-KD ends highest, at ")
    assert "Not run yet: Student, ReviewKD." in said
    assert "-R50-V8.png: Not run yet: Student, KD" in call("plot", "--what", "cost", "--pair", "r50>v8")
    said = call("plot", "--what", "ablations", "--out", "a.svg")
    assert said == (
        "wrote a.svg: KD lies within the noise of KC-KD. KC-KD minus each row. Points, mean ± 95 % interval: KD +1.50 ± "
        "6.35 (n = 2).\n"
    )
    assert "2 of 8 cells were run" in call("plot", "--what", "table")
    assert "2 of 4 cells were run" in call("plot", "--what", "table", "--pair", "W40-2>W40-1", "--out", "b.pdf")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"runs", "curves-W40-2-W40-1.png", "cost-R50-V8.png", "a.svg", "table.png", "b.pdf"}
    assert "pair='V13>V8' is unknown" in call("plot", "--pair", "V13>V8", code=2)
    assert "reference='KC-CRD' is unknown" in call("plot", "--what", "ablations", "--row", "KC-CRD", code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "--pair", "V13>V9"], "error: pair='V13>V9' is unknown; did you mean 'V13>V8'?"),
        (["bench", "--row", "KDD"], "error: row='KDD' is unknown"),
        (["bench", "--scale", "ful"], "error: scale='ful' is unknown; did you mean 'full'?"),
        (["bench", "--seeds", "0"], "error: seeds must be at least 1, got 0"),
        (["bench", "--seeds", "2000000000"], "error: seeds must be at most 10,000, got 2,000,000,000"),
        (["bench", "--epochs", "2000000000"], "error: epochs must be at most 1,000,000, got 2,000,000,000"),
        (["distill", *PAIR, "--seed", str(10**19)], "error: seed must be at most 1,000,000,000,000, got 10,000"),
        (["bench", "--device", "tpu"], "error: device must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
        (["bench", "--device", "cuda:99"], "error: device='cuda:99' is not there: this machine has "),
        (["train-teacher", "vgg8", "--device", "meta"], "error: device must be 'cpu', 'cuda' or 'cuda:N', got 'meta'"),
        (["doctor", "--workers", "0"], "error: workers must be at least 1, got 0"),
        (["bench", "--engine", "ray", "--per-gpu", "20000"], "error: per_gpu must be at most 10,000, got 20,000"),
        (
            ["bench", "--pair", "resnet8>MobileNetV2", "--classes", "3", "--per-class", "7", "--row", "Student"],
            "error: student cannot be trained on a batch of 1 images: Expected more than 1 value per channel when training",
        ),
        (["doctor", "--dataset", "pets"], "error: dataset='pets' is unknown. Known: fashion-mnist-mini, "),
        (["doctor", "--dataset", "pets"], "; and no folder of images is called so in "),
        (["bench", "--plan", "ranking-2k"], "choice/ranking_measures.py .."),
        (["bench", "--checkpoint", "resnet56"], "error: checkpoint must be NETWORK=FILE"),
        (["bench", *PAIR, "--row", "KD", "--checkpoint", "mini_resnet8x3=nowhere.pth", *SMALL], "nowhere.pth"),
        (["bench", "--engine", "rai"], "error: engine='rai' is unknown; did you mean 'ray'? Known: local, ray"),
        (["bench", "--address", "auto"], "error: address='auto' needs engine='ray', got engine='local'"),
        (["bench", "--per-gpu", "4"], "error: per_gpu=4 needs engine='ray', got engine='local'"),
        (["bench", "--engine", "ray", "--address", "head"], "error: address must be 'auto' or HOST:PORT"),
        (["bench", "--workers", "0"], "error: workers must be at least 1, got 0"),
        (["train-teacher", "resnet5"], "error: teacher='resnet5' is unknown"),
        (["table", "--folder", "nowhere"], "error: there is no folder nowhere; start a plan with kcd-teach bench"),
        (["table", "--as", "xml"], "error: as='xml' is unknown"),
        (["plot", "--folder", "nowhere"], "error: there is no folder nowhere; start a plan with kcd-teach bench"),
        (["plot", "--folder", "."], "error: there is no plan in .; start one with kcd-teach bench"),
        (["plot", "--what", "costs"], "error: what='costs' is unknown; did you mean 'cost'?"),
        (["plot", "--out", "a.jpg"], "error: the file's ending='.jpg' is unknown"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    said = call(*arguments, code=2)
    assert message in said
    assert len(said.splitlines()) == 1


def test_doctor_says_what_a_plan_takes(tmp_path):
    folder = tmp_path / "runs"
    said = call("doctor", *PAIR, "--row", "KD", *SMALL, "--folder", folder, "--price", 2)
    topics = [line.split()[1].rstrip(":") for line in said.splitlines()]
    assert topics == ["versions", "device", "data", "room", "teacher", "time"]
    assert all(line.startswith("ok") for line in said.splitlines())
    assert f"Ray {importlib.metadata.version('ray')}" in said
    assert "will be trained first" in said
    assert "at 2 an hour" in said
    assert not folder.exists()


def test_doctor_finds_what_is_wrong(tmp_path):
    (tmp_path / "cifar100.npz").write_text("not a data set")
    said = call("doctor", *PAIR, "--scale", "full", "--data", tmp_path, "--no-time", code=2)
    assert "NO  data" in said
    assert len(said.splitlines()) == 3
    said = call("doctor", *PAIR, *SMALL, "--device", "cuda:99", code=2)
    assert "NO  device: device='cuda:99' is not there" in said
    assert "time" not in said
    (tmp_path / "file").touch()
    said = call("doctor", *PAIR, *SMALL, "--folder", tmp_path / "file", "--no-time", code=2)
    assert f"NO  room: {tmp_path / 'file'} is not a folder; choose another folder" in said
    said = call("doctor", *PAIR, "--row", "RKD", *SMALL, "--per-class", 21, "--classes", 3, "--no-time", code=0)
    assert "ok  room" in said


@pytest.mark.parametrize("command", ["doctor", "train-teacher", "bench", "distill", "table", "plot"])
def test_help_explains_every_option(command):
    said = call(command, "--help")
    assert "--folder" in said


def test_results_are_plain_json_lines(tmp_path):
    call("distill", *PAIR, "--row", "Student", *SMALL, "--folder", tmp_path)
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == "Student"

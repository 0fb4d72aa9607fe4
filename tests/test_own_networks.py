"""Networks of others teach and learn with every method, though nobody wrote them for it."""

import copy
import sys
from functools import cache, partial

import pytest
import torch
import torchvision
from torch import nn
from typer.testing import CliRunner

from kcd_teach import Recipe, create_model, distill, list_distillers
from kcd_teach.benchmark import Prepared, Store, find_pair, make_plan, run_plan
from kcd_teach.benchmark.settings import Scale
from kcd_teach.cli import app
from kcd_teach.datasets import Dataset
from kcd_teach.distillers.base import read_taps
from kcd_teach.fingerprints import hash_of, make_of, own_code
from kcd_teach.models import load_checkpoint, save_weights, with_features
from kcd_teach.registry import REGISTRIES
from tests.tiny import tiny_dataset

RESNET = ["relu", "layer1", "layer2", "layer3", "layer4", "avgpool"]
MOBILE = ["features.0", "features.2", "features.4", "features.7", "features.18", "features.18"]

FILE = '''
"""Networks of a user."""
import torchvision
from torch import nn
from kcd_teach.models import with_features

def teacher(num_classes, in_channels):
    network = nn.Sequential(nn.Conv2d(in_channels, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))
    return with_features(network, ["1", "2", "4"])

def student(num_classes, in_channels):
    network = nn.Sequential(nn.Conv2d(in_channels, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
    return with_features(network, ["1", "2", "4"])

def colour_only(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

number = 3
'''


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """What a test imports is forgotten after it."""
    for registry in REGISTRIES.values():
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a user, in the working folder."""
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "nets.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mobilenet(classes=3):
    torch.manual_seed(2)
    return torchvision.models.mobilenet_v2(num_classes=classes, width_mult=0.25)


@cache
def resnet18():
    """Built once, and never trained."""
    torch.manual_seed(1)
    return torchvision.models.resnet18(num_classes=3)


@cache
def colours() -> Dataset:
    grey = tiny_dataset(24, 6, side=32)
    train, test = (images.expand(-1, 3, -1, -1) for images in (grey.train_images, grey.test_images))
    return Dataset.from_arrays(train, grey.train_labels, test, grey.test_labels, classes=grey.classes)


@pytest.fixture(scope="module")
def networks():
    """A residual network of few layers, and one to learn from it."""
    residual = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3)
    return with_features(residual, RESNET), with_features(mobilenet(), MOBILE)


@pytest.mark.parametrize("method", list_distillers())
def test_every_method_works_between_networks_of_torchvision(networks, method):
    teacher, student = networks[0], copy.deepcopy(networks[1])
    before = hash_of(student)
    recipe = Recipe(epochs=1, batch_size=12)
    (report,) = distill(student, colours(), teacher, distiller=f"kc-{method}", recipe=recipe)
    assert report.active == 24
    assert hash_of(student) != before
    assert not teacher.network.layer1._forward_hooks


def test_features_are_what_the_layers_give_and_logits_are_the_networks_own():
    network = resnet18().eval()
    ours, images = with_features(network, RESNET).eval(), torch.randn(2, 3, 32, 32)
    logits, features = ours(images, return_features=True)
    assert torch.equal(logits, network(images))
    assert torch.equal(ours(images), logits)
    stem = network.relu(network.bn1(network.conv1(images)))
    first = network.layer1(network.maxpool(stem))
    assert torch.equal(features[0], stem)
    assert torch.equal(features[1], first)
    assert features[-1].shape == (2, 512)
    assert torch.equal(network.fc(features[-1]), logits)
    assert ours(images, return_features=True, preact=True)[1][1].shape == first.shape
    shapes = read_taps(ours, ours, (3, 32, 32), features=True).student
    assert shapes == ((64, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1), (512,))
    with pytest.raises(ValueError, match="needs return_features"):
        ours(images, preact=True)


def test_copies_weights_and_identity():
    ours = with_features(resnet18(), RESNET)
    copied = copy.deepcopy(ours)
    with torch.no_grad():
        copied.network.fc.weight.zero_()
    images = torch.randn(2, 3, 32, 32)
    assert not torch.equal(ours.eval()(images), copied.eval()(images))
    assert copied(images, return_features=True)[1][1].shape == (2, 64, 8, 8)
    assert ours.state_dict().keys() == resnet18().state_dict().keys()
    copied.load_state_dict(ours.state_dict())
    assert hash_of(copied) == hash_of(ours) == hash_of(ours.network)
    assert make_of(copied) == make_of(ours) != make_of(with_features(resnet18(), RESNET[1:]))


def test_weights_of_either_are_weights_of_the_other(tmp_path):
    trained, plain = with_features(mobilenet(), MOBILE), mobilenet(3)
    save_weights(trained, tmp_path / "student.safetensors")
    with torch.no_grad():
        plain.classifier[1].weight.zero_()
    assert hash_of(load_checkpoint(plain, tmp_path / "student.safetensors")) == hash_of(trained)
    assert hash_of(load_checkpoint(with_features(mobilenet(), MOBILE), tmp_path / "student.safetensors")) == hash_of(
        plain
    )


def folded(tokens):
    """Tokens without that of the class, as a map."""
    return tokens[:, 1:].movedim(1, -1).unflatten(-1, (4, 4))


def test_a_function_makes_maps_of_what_are_none():
    torch.manual_seed(0)
    make = partial(
        torchvision.models.VisionTransformer, image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8,
        mlp_dim=16, num_classes=3,
    )  # fmt: skip
    layers = [f"encoder.layers.encoder_layer_{n}" for n in (0, 1)]
    ours = with_features(make(), {"conv_proj": None, **dict.fromkeys(layers, folded), "encoder.ln": lambda x: x[:, 0]})
    features = ours(torch.randn(2, 3, 32, 32), return_features=True)[1]
    assert [tuple(feature.shape) for feature in features] == [(2, 8, 4, 4)] * 3 + [(2, 8)]
    assert "folded" not in repr(ours)
    other = with_features(ours.network, {"conv_proj": None, **dict.fromkeys(layers, lambda x: folded(2 * x))})
    assert make_of(other) != make_of(ours)
    plain = with_features(make(), ["conv_proj", *layers])
    with pytest.raises(
        ValueError, match=r"must give a map \[B, c, h, w\] or a vector \[B, D\], got a tensor \[2, 17, 8\]"
    ):
        plain(torch.randn(2, 3, 32, 32), return_features=True)


def test_layers_that_cannot_be_asked_are_named():
    with pytest.raises(ValueError, match="layer='layer5' is unknown; did you mean 'layer"):
        with_features(resnet18(), ["layer5"])
    for nothing in ([], "layer1"):
        with pytest.raises(ValueError, match="features must be names of layers"):
            with_features(resnet18(), nothing)
    network = nn.ModuleDict({"used": nn.Flatten(), "unused": nn.ReLU()})
    network.forward = lambda images: network["used"](images)
    with pytest.raises(ValueError, match="layer 'unused' takes no part"):
        with_features(network, ["unused"])(torch.zeros(1, 1, 2, 2), return_features=True)


def test_networks_of_timm():
    timm = pytest.importorskip("timm")
    teacher = with_features(timm.create_model("resnet18", num_classes=3), ["act1", *RESNET[1:5], "global_pool"])
    student = with_features(
        timm.create_model("mobilenetv3_small_050", num_classes=3),
        ["conv_stem", "blocks.0", "blocks.1", "blocks.3", "blocks.5", "global_pool"],
    )
    for method in ("kc-kd", "at", "vid", "reviewkd"):
        (report,) = distill(student, colours(), teacher, distiller=method, recipe=Recipe(epochs=1, batch_size=12))
        assert report.active == 24


# On the command line.


def test_a_pair_needs_no_quotes():
    assert find_pair("V13:V8") == find_pair("V13>V8")
    assert find_pair("vgg13:vgg8") == find_pair("vgg13>vgg8")
    assert find_pair("resnet20:resnet8").student == "resnet8"
    with pytest.raises(ValueError, match="pair='V13' is unknown; did you mean 'V13:V8'"):
        find_pair("V13")  # what a shell leaves of V13>V8


def test_the_command_line_imports_a_network(package):
    def call(*arguments, code=0):
        done = CliRunner().invoke(app, list(map(str, arguments)))
        assert done.exit_code == code, done.output
        return done.output

    pair = "my_package.nets:teacher>my_package.nets:student"
    options = ["--pair", pair, "--epochs", 2, "--folder", "runs"]
    assert "my_package.nets:teacher is not in runs yet" in call("doctor", *options, "--row", "AT", "--no-time")
    assert "2 of 2 runs" in call("bench", *options, "--row", "AT", "--row", "KC-KD")
    (file, _) = sorted((package / "runs" / "students").iterdir())
    assert "my_package.nets-teacher-my_package.nets-student_AT" in file.name
    load_checkpoint(create_model("my_package.nets:student", 10, 1), file)
    weights = call("train-teacher", "my_package.nets:teacher", "--epochs", 2, "--folder", "runs")
    assert "teachers/my_package.nets-teacher-" in weights
    said = call("bench", "--pair", "my_package.nets:missing>resnet8", "--row", "KD", "--folder", "other", code=2)
    assert "my_package.nets:missing' cannot be imported: AttributeError" in said
    assert "must be a class or a function, got int" in call(
        "bench", "--pair", "my_package.nets:number>resnet8", "--row", "KD", "--folder", "other", code=2
    )


def test_reading_a_plan_imports_nothing_and_its_runs_are_known_by_the_code(package):
    plan = make_plan(["my_package.nets:teacher>my_package.nets:student"], ["KD"], scale=small())
    assert "my_package.nets" not in sys.modules
    done = run_plan(plan, package / "runs", quiet=True, announce=lambda text: None)
    (unit,) = done.prepared.units()
    assert set(unit.config["own"]) == {"model my_package.nets:teacher", "model my_package.nets:student"}
    for name in list(REGISTRIES["model"].added):
        REGISTRIES["model"].remove(name)
    del sys.modules["my_package.nets"]
    loaded = Prepared.load(Store(package / "runs"))
    assert "my_package.nets" not in sys.modules
    assert [unit.key for unit in loaded.units()] == [unit.key]
    text = (package / "my_package" / "nets.py").read_text()
    before = loaded.own["model my_package.nets:teacher"]
    (package / "my_package" / "nets.py").write_text(text.replace("number = 3", "number = 4"))
    create_model("my_package.nets:teacher", 10, 1)
    assert own_code()["model my_package.nets:teacher"] != before


def small() -> Scale:
    return Scale("tiny", "fashion-mnist-mini", epochs=2, batch_size=10, per_class=2, test_per_class=1, side=12)


def test_workers_import_it_too(package):
    plan = make_plan(["my_package.nets:teacher>my_package.nets:student"], ["KD", "KC-KD"], scale=small())
    done = run_plan(plan, package / "runs", workers=2, quiet=True, announce=lambda text: None)
    assert len(Store(package / "runs").records()) == len(done.prepared.units()) == 2


def test_a_function_that_takes_no_classes_is_named(package):
    (package / "my_package" / "lonely.py").write_text("def network():\n    pass\n")
    with pytest.raises(
        TypeError, match=r"factory of 'my_package\.lonely:network' must take num_classes= and in_channels="
    ):
        create_model("my_package.lonely:network", num_classes=7)


def test_a_function_that_knows_nothing_of_channels_is_called_without():
    network = create_model("torchvision.models:resnet18", num_classes=7)
    assert network.fc.out_features == 7
    assert network.name == "torchvision.models:resnet18"

"""Published checkpoints load, in the old format too; everything else is refused and changes nothing."""

import argparse
import os
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kcd_teach import Recipe, distill
from kcd_teach.models import create_model, load_checkpoint, save_weights
from tests.models.zoo import PUBLISHED
from tests.tiny import same, tiny_dataset

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(content, path, zipped=True):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def refused(path, message, **settings):
    """Try to load into a fresh network: the message must come and the network must stay as it was."""
    model = create_model(**{"name": "resnet8", "seed": 9, **settings})
    before = copied(model)
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(model, path)
    assert str(caught.value).startswith(str(path))
    assert same(copied(model), before)


@pytest.fixture
def source():
    model = create_model("resnet8", seed=1).train()
    model(torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)))  # fills the statistics
    return model


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_network_comes_back_bit_for_bit(name, tmp_path):
    source, target = create_model(name, num_classes=3, seed=1), create_model(name, num_classes=3, seed=2)
    assert not same(copied(source), copied(target))
    save({"model": source.state_dict()}, tmp_path / "ckpt.pth", zipped=False)
    assert load_checkpoint(target, tmp_path / "ckpt.pth") is target
    assert same(copied(target), copied(source))


@FORMATS
def test_other_entries_are_ignored(source, tmp_path, zipped):
    optimizer = torch.optim.SGD(source.parameters(), lr=0.1, momentum=0.9)
    source.fc.bias.grad = torch.ones(100)
    optimizer.step()
    content = {
        "epoch": 240, "model": source.state_dict(), "accuracy": torch.tensor(60.0), "optimizer": optimizer.state_dict(),
    }  # fmt: skip
    save(content, tmp_path / "ckpt_epoch_240.pth", zipped)
    target = load_checkpoint(create_model("resnet8").eval(), str(tmp_path / "ckpt_epoch_240.pth"))
    assert same(copied(target), copied(source))
    assert not target.training


@pytest.mark.parametrize("missing", ["bn1.num_batches_tracked", "num_batches_tracked"], ids=["one", "all"])
def test_numbers_of_batches_may_be_missing_and_stay(source, tmp_path, missing):
    weights = {name: value for name, value in source.state_dict().items() if not name.endswith(missing)}
    assert len(weights) < len(source.state_dict())
    target = create_model("resnet8", seed=2)
    for name, value in target.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(7)
    load_checkpoint(target, save({"model": weights}, tmp_path / "x.pth"))
    for name, value in target.state_dict().items():
        assert torch.equal(value, weights[name]) if name in weights else value == 7


def test_half_precision_weights_are_widened(source, tmp_path):
    weights = {name: value.half() if value.is_floating_point() else value for name, value in copied(source).items()}
    target = load_checkpoint(create_model("resnet8"), save({"model": weights}, tmp_path / "x.pth"))
    assert target.fc.weight.dtype == torch.float32
    assert torch.equal(target.fc.weight, weights["fc.weight"].float())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"num_classes": 10},
            r"holds another network: 2 entries differ, first fc\.weight \(float32 \[100, 64\] in the file, "
            r"float32 \[10, 64\] here\), fc\.bias .*; create the model with num_classes=100$",
        ),
        (
            {"in_channels": 1},
            r"1 entries differ, first conv1\.weight .*\[16, 3, 3, 3\] in the file, .*"
            r"; create the model with in_channels=3$",
        ),
        ({"num_classes": 10, "in_channels": 1}, r"; create the model with in_channels=3 and num_classes=100$"),
        (
            {"name": "resnet14"},
            r"30 entries differ, first layer1\.1\.conv1\.weight \(missing in the file\), [^;]*$",
        ),
        ({"name": "resnet8x4"}, r"\d\d entries differ, first conv1\.weight \(.*\), bn1\.weight [^;]*$"),
        ({"name": "vgg8"}, r"\d\d entries differ, first block0\.0\.weight \(missing in the file\), [^;]*$"),
    ],
    ids=str,
)
def test_weights_of_another_network_are_refused(source, tmp_path, settings, message):
    refused(save({"model": source.state_dict()}, tmp_path / "x.pth"), message, **settings)


def changed(model, **entries):
    weights = copied(model)
    for name, value in entries.items():
        weights.pop(name.replace("__", "."), None)
        if value is not None:
            weights[name.replace("__", ".")] = value
    return {"model": weights}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"fc__bias": None}, r"1 entries differ, first fc\.bias \(missing in the file\)$"),
        ({"extra": torch.ones(1)}, r"1 entries differ, first extra \(unknown here\)$"),
        ({"bn9__num_batches_tracked": torch.tensor(1)}, r"first bn9\.num_batches_tracked \(unknown here\)$"),
        ({"bn1__bias": torch.ones(16, dtype=torch.int64)}, r"first bn1\.bias \(int64 \[16\] in the file, float32 \[16\]"),
        ({"fc__bias": torch.ones(100, dtype=torch.complex64)}, r"first fc\.bias \(complex64 \[100\] in the file"),
        ({"bn1__num_batches_tracked": torch.ones(1, dtype=torch.int64)}, r"\(int64 \[1\] in the file, int64 \[\] here\)$"),
        ({"bn1__bias": torch.ones(17)}, r"float32 \[17\] in the file, float32 \[16\] here\)"),
        ({"fc__bias": torch.full((100,), torch.nan)}, r"holds NaN or infinity in 1 entries, first fc\.bias"),
        ({"bn1__running_var": torch.full((16,), torch.inf)}, r"NaN or infinity in 1 entries, first bn1\.running_var"),
        ({"fc__bias": "text"}, r"'model' that is not a dict of tensors: 'fc\.bias' is a str"),
        ({"fc__bias": torch.ones(100).to_sparse()}, r"'model' that is not a dict of tensors: 'fc\.bias' is a float32"),
        ({"fc__bias": torch.ones(100, device="meta")}, r"'model' that is not a dict of tensors: 'fc\.bias' is a float32"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_wrong_entries_are_named(source, tmp_path, entries, message):
    refused(save(changed(source, **entries), tmp_path / "x.pth"), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": {}, "epoch": 3}, r"has no entry 'model' with weights: it holds 2 entries, first weights, epoch; .*state_dict"),
        ({"state_dict": {}, "epoch": 3}, r"holds another network: \d+ entries differ, first conv1\.weight \(missing in the file\)"),
        ({}, r"has no entry 'model' with weights: it holds 0 entries"),
        (torch.zeros(3), r"has no entry 'model' with weights: it holds a Tensor$"),
        ([1, 2], r"has no entry 'model' with weights: it holds a list$"),
        ({"model": torch.zeros(3)}, r"has a Tensor as 'model', not a dict of tensors$"),
        ({"model": {3: torch.zeros(3)}}, r"not a dict of tensors: the name 3 is not text"),
        ({"model": {}}, r"holds another network: \d+ entries differ, first conv1\.weight \(missing in the file\)"),
    ],
    ids=["no model", "state_dict", "nothing", "tensor", "list", "tensor as model", "number as name", "no weights"],
)  # fmt: skip
def test_files_without_weights_are_refused(tmp_path, content, message):
    refused(save(content, tmp_path / "x.pth"), message)


@FORMATS
@pytest.mark.parametrize("keep", [0, 2, 30, 0.1, 0.5, 0.9, -1])
def test_truncated_files_are_refused(source, tmp_path, zipped, keep):
    path = save({"model": source.state_dict()}, tmp_path / "x.pth", zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    refused(path, r"is damaged or (not a checkpoint \(.+\)|.*; refused); copy or download it again$")


def test_a_flipped_bit_is_noticed_by_the_checksum(source, tmp_path):
    path = save({"model": source.state_dict()}, tmp_path / "x.pth")
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(source.fc.weight.detach().numpy().tobytes())] ^= 1
    path.write_bytes(damaged)
    refused(path, r"is damaged or not a checkpoint \(.*; copy or download it again$")


@pytest.mark.parametrize("content", [b"hello", b"<html>404</html>", b"\x80\x02}q\x00."], ids=["text", "html", "pickle"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", r"is damaged or (not a checkpoint \(.+\)|.*; refused); copy or download it again$")


class Evil:
    """Unpickling it creates a folder."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@FORMATS
@pytest.mark.parametrize("place", ["model", "beside"])
def test_code_is_refused_and_does_not_run(source, tmp_path, zipped, place):
    content = {"model": source.state_dict(), "config": Evil(tmp_path / "mark")}
    path = save({"model": Evil(tmp_path / "mark")} if place == "model" else content, tmp_path / "x.pth", zipped)
    refused(path, rf"more than tensors and plain values; refused: it asks for {re.escape(os.mkdir.__module__)}\.mkdir")
    assert not (tmp_path / "mark").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "mark").exists()  # it would have run


@FORMATS
@pytest.mark.parametrize(
    ("value", "asked_for"),
    [(argparse.Namespace(lr=0.05), "argparse.Namespace"), (np.float64(1), "numpy"), (save, "test_checkpoint.save")],
    ids=["options", "NumPy number", "function"],
)
def test_objects_beside_the_weights_are_refused_by_name(source, tmp_path, zipped, value, asked_for):
    path = save({"model": source.state_dict(), "opt": value}, tmp_path / "resnet8_last.pth", zipped)
    refused(path, rf"refused: it asks for \S*{re.escape(asked_for)}\S*, which could run code")


FORMS = {
    "published": lambda weights: {"model": weights, "epoch": 240},
    "alone": lambda weights: weights,
    "state_dict": lambda weights: {"state_dict": weights, "best_acc": 0.7},
    "net": lambda weights: {"net": weights, "acc": 70, "epoch": 3},
    "model_state_dict": lambda weights: {"model_state_dict": weights, "optimizer_state_dict": {"state": {}}},
    "another name": lambda weights: {"my_network": weights, "epoch": 3},
    "beside another network": lambda weights: {"model": weights, "teacher": create_model("vgg8").state_dict()},
}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model."])
@pytest.mark.parametrize("form", FORMS)
def test_the_forms_people_have(source, tmp_path, form, prefix):
    weights = FORMS[form]({prefix + name: value for name, value in copied(source).items()})
    target = load_checkpoint(create_model("resnet8", seed=2), save(weights, tmp_path / "x.pth"))
    assert same(copied(target), copied(source))


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, torch.compile], ids=["DataParallel", "compile"])
def test_a_wrapped_network_takes_them_too(source, tmp_path, wrap):
    wrapped = wrap(create_model("resnet8", seed=2))
    load_checkpoint(wrapped, save({"model": source.state_dict()}, tmp_path / "x.pth"))
    load_checkpoint(wrapped, save(wrapped.state_dict(), tmp_path / "y.pth"))
    assert next(iter(copied(wrapped).values())).equal(copied(source)["conv1.weight"])


def test_prefixes_that_differ_are_no_prefix(source, tmp_path):
    weights = {("module." if name.startswith("fc") else "") + name: value for name, value in copied(source).items()}
    refused(
        save(weights, tmp_path / "x.pth"),
        r"first fc\.weight \(missing .*fc\.bias \(missing .*module\.fc\.weight \(unknown",
    )


@pytest.mark.parametrize("beside", ["ema", "state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_two_sets_of_weights_are_refused(source, tmp_path, beside, prefix):
    other = {prefix + name: value for name, value in copied(create_model("resnet8", seed=5)).items()}
    path = save({"model": source.state_dict(), beside: other}, tmp_path / "x.pth")
    refused(path, f"holds 2 sets of weights for this network: model, {beside}; save the one you mean alone$")
    other.popitem()  # not even whole
    refused(save({"model": other, beside: copied(source)}, path), "holds 2 sets of weights")


def test_numbers_too_large_for_the_network_are_refused(source, tmp_path):
    weights = {"fc.bias": torch.full((100,), 1e300, dtype=torch.float64)}
    refused(save({"model": {**copied(source), **weights}}, tmp_path / "x.pth"), "holds NaN or infinity in 1 entries")


@pytest.mark.parametrize("name", ["x.safetensors", "x.bin", "x.pth"])
def test_safetensors_from_anywhere(source, tmp_path, name):
    weights = {
        f"module.{key}": value.half() if value.is_floating_point() else value for key, value in copied(source).items()
    }
    save_file(weights, tmp_path / name, {"format": "pt"})
    target = load_checkpoint(create_model("resnet8", seed=2), tmp_path / name)
    assert torch.equal(target.fc.weight, source.fc.weight.half().float())


def test_damaged_safetensors_are_refused(source, tmp_path):
    path = tmp_path / "x.safetensors"
    about = {"network": "resnet8", "num_classes": "100", "in_channels": "3"}
    save_weights(source, path, about)
    whole = path.read_bytes()
    for keep in (0, 4, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        refused(path, r"is damaged or not a safetensors file \(.+\); copy or download it again$")
    damaged = bytearray(whole)
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    refused(path, "is damaged: it holds other weights than those it was written with$")
    path.write_bytes(whole)
    refused(
        path,
        r"holds another network: .*; it is a create_model\('resnet8', num_classes=100, in_channels=3\)$",
        num_classes=7,
    )


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "renamed"])
def test_every_file_of_this_package_is_read(source, tmp_path, name):
    save_weights(source, tmp_path / ("w.npz" if name == "renamed" else name))
    if name == "renamed":
        (tmp_path / "w.npz").rename(tmp_path / name)
    target = load_checkpoint(create_model("resnet8", seed=2), tmp_path / name)
    assert same(copied(target), copied(source))
    refused(tmp_path / name, "holds another network: ", num_classes=7)


@pytest.mark.parametrize("method", ["kd", "kc-fitnet", "kc-reviewkd", "kc-crd"])
def test_the_checkpoint_of_a_run_is_read(tmp_path, method):
    dataset, (student, teacher) = (
        tiny_dataset(side=16),
        (create_model(name, 3, 1, seed=4) for name in ("resnet8", "resnet14")),
    )
    recipe = Recipe(epochs=4, batch_size=16)
    run = distill(student, dataset, teacher, distiller=method, recipe=recipe, checkpoint=tmp_path / "run.pt")
    next(run)
    loaded = load_checkpoint(create_model("resnet8", 3, 1), tmp_path / "run.pt")
    assert same(copied(loaded), copied(run.student))
    with pytest.raises(ValueError, match="holds another network"):
        load_checkpoint(create_model("resnet8", 4, 1), tmp_path / "run.pt")


def test_arrays_that_are_no_numbers_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array(["text"]))
    refused(tmp_path / "x.npz", "holds arrays that are not numbers of a network")


def test_weights_that_share_memory_are_kept(tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
            self.two.weight = self.one.weight

    tied = Tied()
    save_weights(tied, tmp_path / "w.safetensors")
    assert same(copied(load_checkpoint(Tied(), tmp_path / "w.safetensors")), copied(tied))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.pth"):
        load_checkpoint(create_model("resnet8"), tmp_path / "missing.pth")

"""One run, a teacher's or a student's: its settings, its training to the last epoch, and its record."""

import base64
import contextlib
import dataclasses
import datetime
import inspect
import json
import platform
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from platform import node
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kcd_teach import __version__
from kcd_teach._checks import check_at_least, check_between, check_choice
from kcd_teach._files import reading, sealed, unsealed, written_whole
from kcd_teach.benchmark.published import PUBLISHED
from kcd_teach.benchmark.settings import PAIRS, Pair, Row, Scale, negatives_of, rate_of
from kcd_teach.benchmark.store import Record, Store, key_of
from kcd_teach.checkpoints import UnusableCheckpoint
from kcd_teach.condensation import Condenser, KeepAll
from kcd_teach.datasets import Dataset
from kcd_teach.distillers import create_distiller, distiller_class
from kcd_teach.fingerprints import code_fingerprint, fingerprint_of, hash_of, own_code
from kcd_teach.knowledge import Knowledge, accuracy, class_accuracy
from kcd_teach.models import check_network, create_model, load_checkpoint, save_weights
from kcd_teach.recipe import Engine, Recipe
from kcd_teach.training import Distillation, distill

RESULTS_FORMAT = 1
"""Raised with every change of the code that changes results or the meaning of a record: older ones are run again."""

THREADS = 1
"""Threads that a run computes with, on every machine: sums, and so results, differ with their number."""

Watch = Callable[[str, Distillation], None]
"""Called with a run's title when it starts or goes on, and after each of its epochs."""


def unwatched(title: str, run: Distillation) -> None:
    """A :data:`Watch` that looks away."""


def configured(**settings: Any) -> dict[str, Any]:
    """A configuration as plain JSON values, with the version of the code that it belongs to."""
    config = {"format": RESULTS_FORMAT, "kcd_teach": __version__, **settings}
    plain: dict[str, Any] = json.loads(json.dumps(config))
    return plain


@contextlib.contextmanager
def repeatably() -> Iterator[None]:
    """Compute on one thread, whatever shares the machine, and on a GPU with convolutions that always add in one order."""
    before, cudnn = torch.get_num_threads(), torch.backends.cudnn
    torch.set_num_threads(THREADS)
    try:
        with cudnn.flags(cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32):
            yield
    finally:
        torch.set_num_threads(before)


def finish(title: str, key: str, store: Store, start: Callable[[Path], Distillation], watch: Watch) -> Distillation:
    """Train to the last epoch, going on from the last one that was saved.

    Args:
        title: for ``watch``.
        key: of the run.
        store: where its checkpoints are.
        start: makes the run, given its checkpoint file.
        watch: is told about every epoch.

    Raises:
        KeyboardInterrupt: stopped between two batches; the state is saved.
        FloatingPointError: training diverged.
        OSError: the checkpoint cannot be written.
    """
    with repeatably():
        run = _where_it_stopped(key, store, start)
        about = {"title": title, "epochs": run.recipe.epochs}
        store.log(key, ({**about, **dataclasses.asdict(report)} for report in run.reports), anew=True)
        watch(title, run)
        while len(run):
            store.keep_previous(key)
            report = next(run)
            store.log(key, [{**about, **dataclasses.asdict(report)}])
            watch(title, run)
    return run


def _where_it_stopped(key: str, store: Store, start: Callable[[Path], Distillation]) -> Distillation:
    """The run at its last usable checkpoint, or at its beginning."""
    while True:
        store.restore(key)
        try:
            return start(store.checkpoint(key))
        except UnusableCheckpoint as error:
            store.reject(key, str(error))


def keep_weights(network: nn.Module, path: Path, store: Store, dataset: Dataset, **about: str) -> str:
    """Write trained weights, in place of what may be there and be damaged; returns their hash.

    The header says which network it is, so that ``load_checkpoint(create_model(..), path)`` can be written from it.
    """
    name, shape = (
        {"network": str(network.name)},
        {"num_classes": len(dataset.classes), "in_channels": dataset.in_channels},
    )
    with store.alone(path):
        return save_weights(
            network,
            path,
            {**name, **{key: str(value) for key, value in shape.items()}, "kcd_teach": __version__, **about},
        )


def described(run: Distillation) -> Record:
    """What is stored of a finished run, beside its key and its configuration."""
    return {
        "test_accuracy": [round(report.test_accuracy, 6) for report in run.reports],
        "train_loss": [round(report.train_loss, 6) for report in run.reports],
        "class_accuracy": [
            value if value is None else round(value, 6)
            for value in class_accuracy(run.student, run.dataset, run.recipe.precision)
        ],
        "active": [report.active for report in run.reports],
        **_kept(run.condenser),
        "presentations": run.reports[-1].presentations,
        "preparation_epochs": run.preparation.epochs,
        "seconds": round(run.reports[-1].seconds, 2),
        "run": json.loads(json.dumps(run.config)),
        "versions": {"kcd_teach": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "places": run.progress.places,
        "device": run.engine.name,
        "threads": THREADS,
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _kept(condenser: Condenser | KeepAll) -> Record:
    """Which samples a condenser kept in every stage but the first, which has all; nothing where the seed alone says it."""
    if not isinstance(condenser, Condenser) or condenser.config["selection"] != "value":
        return {}
    return {"kept": [pack_ids(ids, condenser.config["num_samples"]) for ids in condenser.kept[1:]]}


def pack_ids(ids: Tensor, num_samples: int) -> str:
    """A set of samples as text: one bit for each of N samples, the first one highest, in base 64.

    >>> pack_ids(torch.tensor([0, 2]), 4), unpack_ids(pack_ids(torch.tensor([0, 2]), 4), 4)
    ('oA==', tensor([0, 2]))
    """
    chosen = torch.zeros(num_samples, dtype=torch.bool)
    chosen[ids] = True
    return base64.b64encode(np.packbits(chosen.numpy()).tobytes()).decode()


def unpack_ids(text: str, num_samples: int) -> Tensor:
    """The ids of :func:`pack_ids`, ascending; raises ValueError for text of another number of samples."""
    packed = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    if len(packed) != -(-num_samples // 8):
        raise ValueError(f"kept must have a bit for each of {num_samples} samples, got {len(packed)} bytes")
    return torch.from_numpy(np.flatnonzero(np.unpackbits(packed, count=num_samples)))


Root = str | Path | None
"""Folder of the data set; ``None`` looks where :func:`kcd_teach.datasets.load_dataset` looks."""


@dataclass(frozen=True)
class Teacher:
    """A trained network that the runs of a folder learn from.

    Attributes:
        network: a name of :func:`kcd_teach.models.list_models`.
        weights: SHA-256 of its weights.
        accuracy: measured on the test images of the scale, 0 .. 1.
        origin: where it comes from, in words.
    """

    network: str
    weights: str
    accuracy: float
    origin: str

    def __post_init__(self) -> None:
        check_between("accuracy", self.accuracy, 0, 1)

    @property
    def published(self) -> float | None:
        """Published accuracy of a teacher of this architecture on CIFAR-100, percent; None outside the table."""
        pairs = [pair.name for pair in PAIRS if pair.teacher == self.network]
        return PUBLISHED["Teacher"][pairs[0]].accuracy if pairs else None

    def file(self, store: Store) -> Path:
        """Where its weights are; ``.npz`` in a folder from before there were safetensors."""
        path = store.folder / "teachers" / f"{_readable(self.network)}-{self.weights[:16]}.safetensors"
        old = path.with_suffix(".npz")
        return old if old.exists() and not path.exists() else path

    def load(self, store: Store, dataset: Dataset) -> nn.Module:
        """The network, in eval mode; raises ValueError if the file holds other weights than it should."""
        network = create_model(self.network, len(dataset.classes), dataset.in_channels, seed=0)
        load_checkpoint(network, self.file(store))
        if hash_of(network) != self.weights:
            raise ValueError(f"{self.file(store)} holds other weights than the plan was made with; start it again")
        return network.eval()

    def __str__(self) -> str:
        known = "" if self.published is None else f", published {self.published:.2f} % (full recipe, CIFAR-100)"
        return f"{self.network} {self.weights[:8]}: {100 * self.accuracy:.2f} %{known}; {self.origin}"


def train_teacher(
    network: str,
    scale: Scale,
    store: Store,
    *,
    seed: int = 0,
    root: Root = None,
    device: torch.device | str = "cpu",
    watch: Watch = unwatched,
) -> Teacher | None:
    """Train a teacher on labels with the benchmark's recipe, or find the one that was trained before.

    Args:
        network: a name of :func:`kcd_teach.models.list_models`.
        scale: images and epochs.
        store: keeps its weights and its record; an interrupted training goes on from there.
        seed: of initial weights, order and views.
        root: folder of the data set.
        device: where to compute.
        watch: is told about every epoch.

    Returns:
        The teacher; None while another process is training it.
    """
    check_network("teacher", network)
    check_at_least("seed", seed, 0)
    dataset = scale.images(root)
    recipe = scale.recipe(rate_of(network), scale.teacher_epochs)
    config = _config(network, recipe, dataset, seed)
    key = key_of(config)
    file = _record_file(network, config, store)

    def start(checkpoint: Path) -> Distillation:
        fresh = create_model(network, len(dataset.classes), dataset.in_channels, seed=seed)
        return distill(fresh, dataset, recipe=recipe, seed=seed, device=device, checkpoint=checkpoint)

    with store.claim(key) as mine:
        if mine and not _is_whole(file, store, dataset):
            run = finish(f"teacher {network}", key, store, start, watch)
            origin = f"trained here for {recipe.epochs} epochs, seed {seed}"
            teacher = Teacher(network, hash_of(run.student), run.reports[-1].test_accuracy, origin)
            _keep(run.student, teacher, store, dataset, key=key, config=json.dumps(config))
            _write(store, file, {**dataclasses.asdict(teacher), "key": key, "config": config, **described(run)})
        if mine:
            store.discard(key)
        return read_teacher(file) if file.exists() else None


def choose_teacher(
    network: str, scale: Scale, store: Store, *, root: Root = None, checkpoint: str | Path | None = None
) -> tuple[Teacher | None, str]:
    """Which teacher the runs of a folder will learn from; nothing is trained or written.

    One that was trained as the scale says (seed 0), or else, where the scale leaves its epochs open, the only one that
    the folder has for these images.

    Args:
        network: a name of :func:`kcd_teach.models.list_models`.
        scale: images and epochs.
        store: the folder.
        root: folder of the data set.
        checkpoint: a published file that is to be used instead, see :func:`load_published`.

    Returns:
        The teacher, or None if it will be trained as the scale says or taken from the checkpoint; and what else is to
        be known about that choice, in words.

    Raises:
        ValueError: the folder has several, and the scale does not say which; the weights of the one are damaged; a
            checkpoint of another network.
        OSError: a checkpoint that is missing.
    """
    dataset = scale.images(root)
    if checkpoint is not None:
        load_checkpoint(create_model(network, len(dataset.classes), dataset.in_channels, seed=0), checkpoint)
        return None, ""
    recipe = scale.recipe(rate_of(network), scale.teacher_epochs)
    planned = _record_file(network, _config(network, recipe, dataset, seed=0), store)
    found = _teachers_for(network, dataset, store)
    others = {path: teacher for path, teacher in found.items() if path != planned}
    if scale.teacher_epochs is None and len(found) > 1:
        raise ValueError(
            f"{store.folder} has {len(found)} teachers {network} for these images, {_listed(found)}: say which one by "
            f"--teacher-epochs (teacher_epochs of the scale) or --checkpoint {network}=FILE"
        )
    unused = f"not used: {_listed(others)}" if others else ""
    if planned.exists():
        damage = _damage(planned, store, dataset)
        return (None, damage) if damage else (found[planned], unused)
    if scale.teacher_epochs is None and others:
        (only,) = others.values()
        only.load(store, dataset)
        return only, f"the only one in {store.folder}; --teacher-epochs {recipe.epochs} trains another"
    return None, unused


def _listed(teachers: Mapping[Path, Teacher]) -> str:
    return "; ".join(f"{teacher.origin} ({100 * teacher.accuracy:.2f} %)" for teacher in teachers.values())


def _teachers_for(network: str, dataset: Dataset, store: Store) -> dict[Path, Teacher]:
    """Record -> teacher, of all that a folder has for these images: trained with seed 0, or from a checkpoint."""
    found, images = {}, fingerprint_of(dataset)
    for path in sorted((store.folder / "teachers").glob(f"{_readable(network)}-*.json")):
        try:
            record, teacher = unsealed(path.read_text(encoding="utf-8")), read_teacher(path)
            config = record.get("config", {"images": record.get("images"), "seed": 0})
            if (teacher.network, config["images"], config["seed"]) == (network, images, 0):
                found[path] = teacher
        except (ValueError, KeyError, TypeError):  # damaged: training says so, and mends it
            continue
    return found


def _config(network: str, recipe: Recipe, dataset: Dataset, seed: int) -> dict[str, Any]:
    """All that the weights of a teacher depend on."""
    own = _own_of(own_code(), f"model {network}")
    return configured(
        teacher=network, recipe=dataclasses.asdict(recipe), images=fingerprint_of(dataset), seed=seed, **own
    )


def _own_of(own: Mapping[str, str], *names: str) -> dict[str, Any]:
    """The code of those of these kinds and names that were registered from outside, as a part of a configuration."""
    found = {name: code for name, code in own.items() if name in names}
    return {"own": found} if found else {}


def _record_file(network: str, config: dict[str, Any], store: Store) -> Path:
    return store.folder / "teachers" / f"{_readable(network)}-{key_of(config)}.json"


def _readable(name: str) -> str:
    """A name as a part of a file's."""
    return re.sub(r"[^\w.@+-]+", "-", name)


def load_published(
    network: str,
    path: str | Path,
    scale: Scale,
    store: Store,
    *,
    root: Root = None,
    device: torch.device | str = "cpu",
) -> Teacher:
    """Take a teacher from a published checkpoint, and measure it; its weights are copied to the store.

    Raises:
        ValueError: an unknown network; a file that is damaged, could run code, or holds another network.
        OSError: a file that is missing.
    """
    check_network("teacher", network)
    dataset = scale.images(root)
    loaded = load_checkpoint(create_model(network, len(dataset.classes), dataset.in_channels, seed=0), path).eval()
    weights = hash_of(loaded)
    engine = Engine(device, scale.precision)
    with repeatably():
        measured = accuracy(engine.prepare(loaded), dataset.to(device), engine.precision)
    teacher = Teacher(network, weights, measured, f"from the checkpoint {Path(path).name}")
    _keep(loaded, teacher, store, dataset)
    record = {**dataclasses.asdict(teacher), "scale": scale.name, "images": fingerprint_of(dataset)}
    _write(store, teacher.file(store).with_suffix(".json"), record)
    return teacher


def check_checkpoints(teachers: Iterable[str], checkpoints: Mapping[str, str | Path]) -> None:
    """Raise ValueError for a checkpoint of a network that is not among a plan's teachers."""
    for name in checkpoints:
        check_choice("teacher with a checkpoint", name, teachers)


def _is_whole(file: Path, store: Store, dataset: Dataset) -> bool:
    """Is a trained teacher there, record and weights? If it is damaged, say so."""
    if not file.exists():
        return False
    if damage := _damage(file, store, dataset):
        warnings.warn(f"a teacher is lost: {damage}; it is trained again", stacklevel=2)
    return not damage


def _damage(file: Path, store: Store, dataset: Dataset) -> str:
    """What is wrong with a teacher's record or weights; nothing if it is whole."""
    try:
        read_teacher(file).load(store, dataset)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _keep(network: nn.Module, teacher: Teacher, store: Store, dataset: Dataset, **about: str) -> None:
    """Save a teacher's weights."""
    keep_weights(
        network, teacher.file(store).with_suffix(".safetensors"), store, dataset, origin=teacher.origin, **about
    )


def _write(store: Store, path: Path, record: Record) -> None:
    with store.alone(path), written_whole(path) as file:
        file.write((sealed(record) + "\n").encode())


def read_teacher(path: Path) -> Teacher:
    """A teacher from its record; raises ValueError for a file that is none."""
    with reading(path, "the record of a teacher", "delete it to train the teacher again"):
        record = unsealed(path.read_text(encoding="utf-8"))
        return Teacher(record["network"], record["weights"], record["accuracy"], record["origin"])


def keys_of_teachers(store: Store, teachers: Iterable[Teacher]) -> set[str]:
    """The keys of the trainings that these teachers, which are whole, came from."""
    records = [
        path
        for teacher in teachers
        for path in (store.folder / "teachers").glob(f"{teacher.network}-*.json")
        if teacher.weights in path.read_text(encoding="utf-8", errors="replace")
    ]
    return {path.stem.rpartition("-")[2] for path in records}


@dataclass(frozen=True)
class Unit:
    """One run. It can be sent to any process or machine that sees the same folder and images.

    Attributes:
        pair, row, seed, scale: which student is trained how; the seed sets initial weights, order, views, selection.
        images: fingerprint of the data set.
        num_samples: training images.
        teacher: whom it learns from; None for the student alone.
        code: fingerprint of the code it belongs to; empty for runs from before there was one.
        own: of what was registered from outside, see :func:`~kcd_teach.fingerprints.own_code`.
    """

    pair: Pair
    row: Row
    seed: int
    scale: Scale
    images: str
    num_samples: int
    teacher: Teacher | None
    code: str
    own: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def title(self) -> str:
        """The run in a few words."""
        return f"{self.pair.name} {self.row.name} seed {self.seed}"

    @property
    def recipe(self) -> Recipe:
        """How its student is optimised."""
        return self.at.recipe(self.pair.learning_rate)

    @property
    def at(self) -> Scale:
        """The scale with what the row sets otherwise."""
        return self.row.at(self.scale)

    @property
    def method_settings(self) -> dict[str, Any]:
        """Constants of the method: those of the row, and the negatives of contrastive methods, which depend on the images."""
        if not self.row.method or "negatives" not in inspect.signature(distiller_class(self.row.method)).parameters:
            return self.row.method_settings
        return {"negatives": negatives_of(self.num_samples), **self.row.method_settings}

    @property
    def config(self) -> dict[str, Any]:
        """All that the result depends on; a student alone depends on no teacher, so pairs share it."""
        teacher = self.teacher and {"network": self.teacher.network, "weights": self.teacher.weights}
        return configured(
            **({"code": self.code} if self.code else {}),
            student=self.pair.student,
            teacher=teacher,
            method=self.row.method,
            method_settings=self.method_settings,
            condenser=self.row.condenser_settings(self.recipe.epochs, self.seed),
            recipe=dataclasses.asdict(self.recipe),
            images=self.images,
            seed=self.seed,
            store=self.at.store,
            **self.used(self.own),
        )

    def used(self, own: Mapping[str, str]) -> dict[str, Any]:
        """The part of the code from outside that the run depends on; nothing if it needs none."""
        networks = [self.pair.student, *([self.teacher.network] if self.teacher else [])]
        named = (f"distiller {self.row.method}", f"value {self.row.value}", *(f"model {name}" for name in networks))
        return _own_of(own, *named)

    @cached_property
    def key(self) -> str:
        """Name of the run, a hash of :attr:`config`."""
        return key_of(self.config)

    @property
    def presentations(self) -> int:
        """Samples that the student is shown, all epochs together."""
        return sum(self.row.shown(self.num_samples, self.scale.epochs))

    @property
    def weights_file(self) -> str:
        """Where the trained student is kept in the folder of its record, as ``students/V13-V8_KC-KD_seed0_KEY.safetensors``."""
        readable = _readable(f"{self.pair.name}_{self.row.name}_seed{self.seed}_{self.key[:12]}")
        return f"students/{readable}.safetensors"


def start(
    unit: Unit, dataset: Dataset, teacher: nn.Module | None, device: torch.device | str, checkpoint: Path | None
) -> Distillation:
    """The run of a unit, at its beginning or where its checkpoint is."""
    student = create_model(unit.pair.student, len(dataset.classes), dataset.in_channels, seed=unit.seed)
    common: dict[str, Any] = {"recipe": unit.recipe, "seed": unit.seed, "device": device, "checkpoint": checkpoint}
    if teacher is None:
        return distill(student, dataset, **common)
    channels, height, width = dataset.train_images.shape[1:]
    distiller = create_distiller(
        unit.row.method,
        student,
        teacher,
        image_shape=(channels, height, width),
        seed=unit.seed,
        **unit.method_settings,
    )
    condenser = unit.row.condenser(unit.num_samples, unit.recipe.epochs, unit.seed)
    knowledge = _knowledge(unit, dataset, teacher, device)
    return distill(student, dataset, knowledge, distiller=distiller, condenser=condenser, **common)


_REMEMBERED: dict[tuple[str, ...], Knowledge] = {}
"""What the last teacher whose answers are kept in memory has said, for all runs of this process."""


def _knowledge(unit: Unit, dataset: Dataset, teacher: nn.Module, device: torch.device | str) -> Knowledge:
    store, precision = unit.at.store, unit.at.precision
    key = (unit.teacher.weights if unit.teacher else "", unit.images, precision, str(device))
    if store == "memory" and key in _REMEMBERED:
        return _REMEMBERED[key]
    knowledge = Knowledge(teacher, dataset.to(device), store, precision=precision)
    if store == "memory":
        _REMEMBERED.clear()
        _REMEMBERED[key] = knowledge
    return knowledge


def execute(
    unit: Unit, folder: str | Path, *, root: Root = None, device: torch.device | str = "cpu", watch: Watch = unwatched
) -> bool:
    """Bring one run to its end and store its student and its record; does nothing if that is stored already.

    This is all that an engine has to call, in whatever process or on whatever machine.

    Args:
        unit: the run.
        folder: of the :class:`~kcd_teach.benchmark.store.Store`.
        root: folder of the data set.
        device: where to compute.
        watch: is told about every epoch.

    Returns:
        True once the record is stored; False while another process is at work on this run.

    Raises:
        ValueError: images, code or a teacher other than those of the plan.
        KeyboardInterrupt, FloatingPointError, OSError: see :func:`~kcd_teach.benchmark.runs.finish`.
    """
    store = Store(folder)
    with store.claim(unit.key) as mine:
        done = unit.key in store.records(unit.key)
        if mine and not done:
            if unit.code != code_fingerprint():
                raise ValueError(f"the code here differs from that of the plan; install the same kcd_teach on {node()}")
            if unit.used(unit.own) != unit.used(own_code()):
                raise ValueError(f"a file that registers something differs here from that of the plan, on {node()}")
            dataset = unit.scale.images(root)
            if fingerprint_of(dataset) != unit.images:
                raise ValueError(f"{unit.scale.dataset} here differs from the images that the plan was made with")
            teacher = None if unit.teacher is None else unit.teacher.load(store, dataset)
            run = finish(unit.title, unit.key, store, lambda file: start(unit, dataset, teacher, device, file), watch)
            identity = {"pair": unit.pair.name, "row": unit.row.name, "seed": unit.seed, "scale": unit.scale.name}
            weights = keep_weights(  # before the record: a record without its weights would be a promise
                run.student,
                store.folder / unit.weights_file,
                store,
                dataset,
                key=unit.key,
                config=json.dumps(unit.config),
            )
            kept = {"weights": weights, "weights_file": unit.weights_file}
            store.append({"key": unit.key, **identity, "config": unit.config, **kept, **described(run)})
            done = True
        if mine:
            store.discard(unit.key)
    return done

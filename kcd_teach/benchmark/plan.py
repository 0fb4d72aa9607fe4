"""Plans: pairs x rows x seeds at one scale, checked before anything starts."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcd_teach._checks import check_at_least, check_at_most, check_choice
from kcd_teach._files import reading, sealed, unsealed, written_whole
from kcd_teach.benchmark.runs import Teacher, Unit
from kcd_teach.benchmark.settings import PAIRS, ROWS, Pair, Row, Scale, find_pair, find_row, find_scale
from kcd_teach.benchmark.store import Store
from kcd_teach.datasets import Dataset, data_folders, find_data_file
from kcd_teach.distillers import LabelsOnly, distiller_class
from kcd_teach.fingerprints import code_fingerprint, own_code
from kcd_teach.models import TEACHER, check_network, create_model
from kcd_teach.registry import files_of, origins
from kcd_teach.training import LARGEST_SEED
from kcd_teach.validation import rehearse, smallest_batch

MOST_SEEDS = 10_000
MOST_NAMED = 4
"""Up to so many pairs, rows or seeds are named when a plan is printed; more are only counted."""


@dataclass(frozen=True)
class Plan:
    """Runs that are wanted.

    Attributes:
        pairs, rows: columns and rows of the table.
        seeds: of each cell.
        scale: images and recipe.
        only: row -> how many of the seeds, where it is not all of them.
    """

    pairs: tuple[Pair, ...] = PAIRS
    rows: tuple[Row, ...] = ROWS
    seeds: tuple[int, ...] = (0,)
    scale: Scale = dataclasses.field(default_factory=lambda: find_scale("small"))
    only: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("pairs", "rows", "seeds"):
            chosen = getattr(self, name)
            if not chosen:
                raise ValueError(f"{name} must hold at least one entry, got none")
            if len({_name(entry) for entry in chosen}) != len(chosen):
                raise ValueError(f"{name} must not repeat an entry, got {', '.join(_name(entry) for entry in chosen)}")
        for seed in self.seeds:
            check_at_least("seed", seed, 0)
            check_at_most("seed", seed, LARGEST_SEED)
        for row, count in self.only.items():
            check_choice("row with fewer seeds", row, [row.name for row in self.rows])
            check_at_most(f"seeds of {row}", check_at_least(f"seeds of {row}", count, 1), len(self.seeds))

    def seeds_of(self, row: Row) -> tuple[int, ...]:
        """Seeds of a row."""
        return self.seeds[: self.only.get(row.name, len(self.seeds))]

    @property
    def num_runs(self) -> int:
        """Runs, those that pairs share counted in each of them."""
        return len(self.pairs) * sum(len(self.seeds_of(row)) for row in self.rows)

    @property
    def checkpoints(self) -> dict[str, Path]:
        """Teachers that come with the course: network -> file."""
        return {TEACHER: find_data_file(f"{TEACHER}.npz")} if self.scale.teachers == "bundled" and self.teachers else {}

    def __str__(self) -> str:
        """Pairs x rows x seeds, named as far as there are few of them."""
        pairs, rows = [pair.name for pair in self.pairs], [row.name for row in self.rows]
        named = " x ".join(
            ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} {kind}"
            for kind, names in (("pairs", pairs), ("rows", rows), ("seeds", [f"seed {seed}" for seed in self.seeds]))
        )
        return f"{named}, {self.scale.name} ({self.num_runs} runs)"

    @property
    def teachers(self) -> tuple[str, ...]:
        """Networks that must be trained before the rest, each once; none for students alone."""
        return tuple(dict.fromkeys(pair.teacher for pair in self.pairs if any(row.method for row in self.rows)))

    @property
    def names(self) -> set[tuple[str, str]]:
        """Kind and name of all methods, value measures, networks and images that it names."""
        networks = {name for pair in self.pairs for name in (pair.teacher, pair.student)}
        return {
            ("dataset", self.scale.dataset),
            *(("model", name) for name in networks),
            *(("distiller", row.method) for row in self.rows),
            *(("value", row.value) for row in self.rows),
        }

    def check_batches(self, dataset: Dataset) -> None:
        """Raise ValueError if some epoch of a row would end with a batch that is too small for its method or networks.

        Networks that are named ``package.module:function`` are imported for it.
        """
        for network in dict.fromkeys(network for pair in self.pairs for network in (pair.teacher, pair.student)):
            check_network("network", network)
        for row in self.rows:
            counts = row.shown(len(dataset.train_images), self.scale.epochs)
            least = distiller_class(row.method).needs.smallest_batch if row.method else 1
            smallest = smallest_batch(counts, self.scale.recipe(1.0), f"row={row.name!r}", least)
            for pair in self.pairs if smallest == 1 else ():  # which most networks cannot normalise
                student = create_model(pair.student, len(dataset.classes), dataset.in_channels, seed=0)
                rehearse(student, None, LabelsOnly(), dataset, self.scale.recipe(1.0), smallest)


def make_plan(
    pairs: Iterable[str] | None = None,
    rows: Iterable[str] | None = None,
    seeds: int | Iterable[int] = 1,
    scale: str | Scale = "small",
    only: Mapping[str, int] | None = None,
) -> Plan:
    """A plan by names.

    Args:
        pairs: as in the table, or ``TEACHER>STUDENT``; all eleven by default.
        rows: as in the table, or as :func:`~kcd_teach.benchmark.find_row` reads them; all of the table by default.
        seeds: the seeds, or how many (0, 1, ..).
        scale: a scale or its name.
        only: row -> how many of the seeds, where it is not all of them.

    Raises:
        ValueError: an unknown name, with the nearest known one; nothing to run; something named twice.

    >>> plan = make_plan(["V13>V8"], ["Student", "KD", "kc-kd"], seeds=3)
    >>> [row.name for row in plan.rows], plan.seeds, plan.teachers
    (['Student', 'KD', 'KC-KD'], (0, 1, 2), ('vgg13',))
    """
    if isinstance(seeds, int):
        check_at_least("seeds", seeds, 1)
        check_at_most("seeds", seeds, MOST_SEEDS)
        seeds = range(seeds)
    return Plan(
        PAIRS if pairs is None else tuple(find_pair(name) for name in pairs),
        ROWS if rows is None else tuple(find_row(name) for name in rows),
        tuple(seeds),
        find_scale(scale) if isinstance(scale, str) else scale,
        dict(only or {}),
    )


def read_plan(content: Mapping[str, Any]) -> Plan:
    """A plan from what a ``plan.json`` holds: pairs, rows, seeds, scale (a name, or its settings), and only."""
    scale = content["scale"]
    scale = scale if isinstance(scale, str) else Scale(**scale)
    return make_plan(content["pairs"], content["rows"], content["seeds"], scale, content.get("only"))


def find_plan(name: str) -> Plan:
    """The plan of a stored study, or the one in a file whose name ends in ``.json``.

    Raises:
        ValueError: an unknown study; a file that holds no plan, or one with names from files that were not loaded.
        OSError: a file that is missing.

    >>> find_plan("students-10k").num_runs
    78
    """
    path = Path(name) if name.endswith(".json") else _study(name) / "plan.json"
    with reading(path, "a plan", "copy it again, or choose another file"):
        content = unsealed(path.read_text(encoding="utf-8"))
        _check_files(path, content)
        return read_plan(content)


def open_study(name: str) -> tuple["Prepared", Store]:
    """A stored study: its plan with its teachers, and its records."""
    store = Store(_study(name))
    return Prepared.load(store), store


def _study(name: str) -> Path:
    """The folder of a stored study."""
    known = [path.parent for folder in data_folders() for path in sorted(folder.glob("results/*/plan.json"))]
    check_choice("study", name, dict.fromkeys(path.name for path in known))
    return next(path for path in known if path.name == name)


@dataclass(frozen=True)
class Prepared:
    """A plan whose images are known and whose teachers are trained: its runs can be named.

    Attributes:
        plan: what is wanted.
        images: fingerprint of the data set.
        num_samples: training images.
        teachers: by network; those that are not trained yet are missing.
        code: fingerprint of the code its runs belong to; empty in a folder from before there was one.
        own: hashes of the code of what was registered from outside, see
            :func:`~kcd_teach.fingerprints.own_code`.
    """

    plan: Plan
    images: str
    num_samples: int
    teachers: Mapping[str, Teacher]
    code: str = dataclasses.field(default_factory=code_fingerprint)
    own: Mapping[str, str] = dataclasses.field(default_factory=own_code)

    def can_name(self, pair: Pair, row: Row) -> bool:
        """True if the teacher of this cell is trained, or if it needs none."""
        return not row.method or pair.teacher in self.teachers

    def unit(self, pair: Pair, row: Row, seed: int) -> Unit:
        """The run of one cell and seed; raises KeyError before its teacher is trained."""
        teacher = self.teachers[pair.teacher] if row.method else None
        return Unit(pair, row, seed, self.plan.scale, self.images, self.num_samples, teacher, self.code, self.own)

    def units(self) -> list[Unit]:
        """All runs, each once even where pairs share it; all cells of one seed before the next seed.

        Raises:
            ValueError: some teachers are not trained yet, so their runs have no name.
        """
        plan = self.plan
        if missing := [name for name in plan.teachers if name not in self.teachers]:
            raise ValueError(f"these teachers are not trained yet: {', '.join(missing)}")
        rows = [(row, seed) for seed in plan.seeds for row in plan.rows if seed in plan.seeds_of(row)]
        cells = [(pair, row, seed) for row, seed in rows for pair in plan.pairs]
        return list({unit.key: unit for unit in (self.unit(*cell) for cell in cells)}.values())

    def save(self, store: Store) -> None:
        """Write it to ``plan.json``, from which the table knows what belongs together."""
        plan = self.plan
        from_files = {(kind, name) for kind, name in plan.names if ":" not in name}  # the others say where they are
        content = {
            "pairs": [pair.name for pair in plan.pairs],
            "rows": [str(row) for row in plan.rows],
            "seeds": plan.seeds,
            "only": plan.only,
            "scale": dataclasses.asdict(plan.scale),
            "images": self.images,
            "num_samples": self.num_samples,
            "code": self.code,
            "own": self.own,
            "files": files_of(from_files),
            "registered": [f"{kind} {name}" for kind, name, *_ in origins() if (kind, name) in from_files],
            "teachers": [dataclasses.asdict(teacher) for teacher in self.teachers.values()],
        }
        path = store.folder / "plan.json"
        with store.alone(path), written_whole(path) as file:
            file.write((sealed(content, indent=1) + "\n").encode())

    @classmethod
    def load(cls, store: Store) -> "Prepared":
        """The plan that a folder was last used for.

        Raises:
            FileNotFoundError: a folder without one.
            ValueError: a file that is damaged.
        """
        path = store.folder / "plan.json"
        if not path.exists():
            raise FileNotFoundError(f"there is no plan in {store.folder}; start one with kcd-teach bench")
        with reading(path, "a plan", "start the plan again, finished runs are kept; bench needs its --pair and --row"):
            content = unsealed(path.read_text(encoding="utf-8"))
            _check_files(path, content)
            plan = read_plan(content)
            teachers = [Teacher(**teacher) for teacher in content["teachers"]]
            by_network = {teacher.network: teacher for teacher in teachers}
            code, own = content.get("code", ""), content.get("own", {})
            return cls(plan, content["images"], content["num_samples"], by_network, code, own)


class FileNotLoaded(ValueError):  # noqa: N818
    """A plan has methods, measures, networks or images from a file that was not loaded."""


def _check_files(path: Path, content: Mapping[str, Any]) -> None:
    """Raise unless what a plan names is registered; its files are not run just because it names them."""
    known = {f"{origin.kind} {origin.name}" for origin in origins()}
    if set(content.get("registered", ())) - known:
        # Those of a stored study are named from its folder, and may lie in the installed package.
        missing = [str((path.parent / file).resolve()) for file in content["files"]]
        options = " ".join(f"--with {file}" for file in missing)
        raise FileNotLoaded(
            f"{path} has names from files of your own, {', '.join(missing)}: load them first, with "
            f"kcd_teach.registry.load_file or as kcd-teach {options} .."
        )


def _name(entry: Pair | Row | int) -> str:
    return str(entry) if isinstance(entry, int) else entry.name

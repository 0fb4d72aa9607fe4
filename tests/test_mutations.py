"""Deliberate faults, put into a copy of the library or into the functions in memory: for each of them something fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kcd_teach.benchmark import Store
from tests.benchmark.runner_oracle import MOBILE, RUNS, Runs, by_hand, finished, made_up, unlike, wrong_cells
from tests.faults import plant
from tests.loop_cases import CASES, by_the_library, by_the_oracle
from tests.loop_oracle import differences

ROOT = Path(__file__).parent.parent

BUGS = {
    "ranking reversed": (
        "condensation/value.py", "torch.sort(score, descending=True", "torch.sort(score, descending=False", "04_em_feedback"
    ),
    "T squared lost": ("distillers/kd.py", "return divergence * temperature**2", "return divergence", "01_plain_kd"),
    "mixture by the wrong share": ("views.py", "(1 - share) * images + share * partners + 0.5",
                                   "share * images + (1 - share) * partners + 0.5", "05_summary_condensation"),
}  # fmt: skip

# Of the loop. Case of the oracle that notices, the text as it is, the fault; the file where the text is in several.
LOOP_FAULTS: dict[str, tuple[str, ...]] = {
    "the rate is never set": ("KD", "self.recipe.set_rate(self.optimizer, self.epoch + 1)", "pass"),
    "the rate falls an epoch late": (
        "KD", "self.recipe.set_rate(self.optimizer, self.epoch + 1)",
        "self.recipe.set_rate(self.optimizer, max(self.epoch, 1))",
    ),
    "the rate of another epoch is reported": ("KD", "self.recipe.rate(progress.epoch)", "self.recipe.rate(1)"),
    "no momentum": ("KD", "momentum=self.momentum, weight_decay", "momentum=0, weight_decay"),
    "no weight decay": ("KD", "weight_decay=self.weight_decay)", "weight_decay=0)"),
    "gradients add up": (
        "KD", "self.optimizer.zero_grad()\n        loss.backward()\n        self.optimizer.step()",
        "loss.backward()\n        self.optimizer.step()",
    ),
    "the student stays in eval mode": (
        "KD", "self.student.train()\n            self.distiller.train()", "self.distiller.train()",
    ),
    "the teacher is in train mode": ("KD", "respond(self.teacher.eval(), images", "respond(self.teacher.train(), images"),
    "tests are in train mode": ("labels alone", "    model.eval()\n    with Engine", "    with Engine"),
    "the loss is a mean over batches": (
        "KD", "self._loss.double() * len(batch.ids)", "self._loss.double() * self.recipe.batch_size",
    ),
    "the method is not told of the time": (
        "KD that grows with time", "self.distiller.start_epoch(self.epoch, self.recipe.epochs)", "pass",
    ),
    "presentations of one epoch only": ("KD", "shown, progress.presentations, rate", "shown, shown, rate"),
    "the next stage is reported": (
        "KC-KD, paper", "self._end_epoch(stage)", "self._end_epoch(self.condenser.stage)",
    ),
    "all epochs in one order": ("KD", "self._shuffled(active, self.epoch)", "self._shuffled(active, 0)"),
    "the order forgets the seed": ("KD", "manual_seed(100_003 * self.seed + epoch)", "manual_seed(epoch)"),
    "the order depends on the ranking": ("KC-KD, paper", "ids = active.sort().values", "ids = active"),
    "all samples are shown": (
        "KC-KD, paper", "in batches(condenser.active,", "in batches(condenser.active.new_tensor(range(44)),",
    ),
    "a mixture has the partner's label": (
        "KC-KD, paper", "loss = distiller(batch, outputs,",
        "partner = dict(zip(*(side.tolist() for side in (self.condenser.mixture.boundary, self.condenser.mixture.partners))));"
        "labels = self.dataset.train_labels[[partner.get(i, i) for i in batch.ids.tolist()]];"
        "loss = distiller(batch._replace(labels=labels), outputs,",
    ),
    "mixtures are never shown": (
        "KC-KD, paper", "render(images.current[here]", "render(images.originals[here]",
    ),
    "the paper's mixtures pile up": (
        "KC-KD, paper", 'self.cumulative = preset == "released"', "self.cumulative = True",
    ),
    "released mixtures are of originals": (
        "KC-KD, released", "source = self.current if self.cumulative else self.originals", "source = self.originals",
    ),
    "mixtures stay when nobody is dropped": (
        "KC-KD, stages that drop nobody", "self.current = source\n", "self.current = self.current\n",
    ),
    "who was mixed for good is forgotten": (
        "KC-KD, released, answers remembered", "if not self.cumulative:\n            self.mixed", "if True:\n            self.mixed",
    ),
    "released pixels are rounded": (
        "KC-KD, released", "share.float() * partners).to", "share.float() * partners + 0.5).to",
    ),
    "paper pixels are cut off": ("KC-KD, paper", "share * partners + 0.5).floor()", "share * partners).floor()"),
    "the partner is replaced": ("KC-KD, paper", "self.current[boundary] = mix(", "self.current[partners] = mix("),
    "mixed although told not to": (
        "KC-KD, no mixing", 'self.mixture = mixture if c["mixing"] else Mixture()', "self.mixture = mixture",
    ),
    "partners in reverse": (
        "KC-KD, paper", "ranking[start:kept], ranking[kept : kept + length]",
        "ranking[start:kept], ranking[kept : kept + length].flip(0)",
    ),
    "the frequency does not count": ("KC-KD, paper", "times.pow(alpha)", "frequency.double().pow(0)"),
    "only the last entropy counts": (
        "KC-KD, paper", "self.mean[ids] += (values.double() - self.mean[ids]) / self.frequency[ids]",
        "self.mean[ids] = values.double()",
    ),
    "the teacher's entropy is recorded": (
        "KC-KD, paper", "condenser.observe(batch.ids, outputs.logits",
        "condenser.observe(batch.ids, teacher(batch).logits",
    ),
    "events an epoch late": ("KC-KD, paper", "if self.epoch in self._events:", "if self.epoch - 1 in self._events:"),
    "chance forgets the seed": (
        "random selection", 'manual_seed(1_000 * self.config["seed"] + self.stage)', "manual_seed(self.stage)",
    ),
    "chance is the same in every stage": (
        "random selection", 'manual_seed(1_000 * self.config["seed"] + self.stage)',
        'manual_seed(1_000 * self.config["seed"])',
    ),
    "three stages by name": (
        "KC-KD by name", "stages=min(STAGES, recipe.epochs), epochs", "stages=min(2, recipe.epochs), epochs",
    ),
    "incomplete batches are kept": ("KC-KD, incomplete batches dropped", "if recipe.drop_last:\n        ids", "if 0:\n        ids"),
    "who was never shown goes": (
        "KC-KD, incomplete batches dropped", "outside[self.active] = False", "outside[self.active] = True",
    ),
    "the first samples are dropped": (
        "KC-KD, incomplete batches dropped", "ids = ids[: len(ids) // recipe.batch_size * recipe.batch_size]",
        "ids = ids[len(ids) % recipe.batch_size :]",
    ),
    "augmented although told not to": ("KC-KD, not augmented", "if not recipe.augment:", "if False:"),
    "the view without a shift is flipped": (
        "KC-KD, not augmented", "(padding * (2 * padding + 1) + padding) * 2", "(padding * (2 * padding + 1) + padding) * 2 + 1",
    ),
    "rows for columns": ("KD", "corner // side, corner % side]", "corner % side, corner // side]"),
    "upside down": ("KD", "chosen.flip(-1), chosen)", "chosen.flip(-2), chosen)"),
    "one mean for all channels": ("KD", ".sub_(mean).div_(std)", ".sub_(mean[:1]).div_(std)"),
    "tested on what was trained on": (
        "KD", "dataset.test_images, precision=precision).argmax(dim=1) == dataset.test_labels",
        "dataset.train_images, precision=precision).argmax(dim=1) == dataset.train_labels",
    ),
    "answers to mixtures are remembered": (
        "KC-KD, answers remembered", "pure = torch.nonzero(~batch.mixed[rows]).flatten()", "pure = torch.arange(len(rows))",
    ),
    "a mixture gets the answer to its original": (
        "KC-KD, answers remembered", "unknown = ~known | batch.mixed", "unknown = ~known",
    ),
    "contrasts with dropped samples": ("KC-CRD", 'needs.negatives_from == "active" and mixed_classes', "False"),
    "contrasts with active samples only": (
        "KC-CRD, contrasts with all", 'needs.negatives_from == "active" and mixed_classes', "True",
    ),
    "the same contrasts in every batch": (
        "KC-CRD", "manual_seed(1_000_003 * generator.initial_seed() + number)",
        "manual_seed(1_000_003 * generator.initial_seed())",
    ),
    "contrasts of the own class": ("KC-CRD", "torch.where(drawn < end - count, drawn, drawn + count)", "drawn"),
    "embeddings are not trained": (
        "KC-CRD", "[*student.parameters(), *distiller.student_parameters()]", "[*student.parameters()]",
    ),
    "the banks forget the seed": ("KC-CRD", "torch.manual_seed(seed)\n        method.begin", "torch.manual_seed(0)\n        method.begin"),
    "the entropy of a rotated view": ("KC-SSKD", "outputs.logits[::views])  # +", "outputs.logits[1::views])  # +"),
    "rotated clockwise": ("KC-SSKD", "flipped.rot90(turns, (-2, -1))", "flipped.rot90(-turns, (-2, -1))"),
    "one crop for all rotations": ("KC-SSKD", "return views - views % 2 + views[:, :1] % 2", "return views[:, :1].expand(-1, 4)"),
    "no preparation": ("KC-SSKD", "while not self.preparation.done:", "while False:"),
    "the preparation at one rate": ("KC-SSKD", "self._recipe.set_rate(self._optimizer, self.epoch + 1)", "pass"),
    "the preparation in the student's order": (
        "KC-SSKD", "PREPARATION_SEED + self.preparation.epoch)", "self.preparation.epoch)",
    ),
}  # fmt: skip

# Of the benchmark. Pair, row and seed whose record is another, the text as it is, the fault; the file.
SMALL = RUNS.pairs[0]
RECORD_FAULTS: dict[str, tuple[str, str, int, str, str, str]] = {
    "the runner ignores the pair's rate": (
        MOBILE.pairs[0], "Student", 1, "self.at.recipe(self.pair.learning_rate)", "self.at.recipe(0.05)", "runs.py",
    ),
    "one rate for all": (
        MOBILE.pairs[0], "Student", 1, "return LOW_RATE if network in LOW_RATE_STUDENTS else RATE", "return RATE", "settings.py",
    ),
    "all students start from seed 0": (
        SMALL, "Student", 3, "dataset.in_channels, seed=unit.seed)", "dataset.in_channels, seed=0)", "runs.py",
    ),
    "all runs are in the order of seed 0": (SMALL, "Student", 3, '"seed": unit.seed, "device"', '"seed": 0, "device"', "runs.py"),
    "the condenser forgets its seed": (
        SMALL, "KC-KD@random", 3, '"epochs": epochs, "seed": seed,', '"epochs": epochs, "seed": 0,', "settings.py",
    ),
    "the method forgets its seed": (
        SMALL, "KC-CRD", 3, "        seed=unit.seed,", "        seed=0,", "runs.py",
    ),
    "a negative too few": (SMALL, "KC-CRD", 3, "negatives_of(self.num_samples),", "negatives_of(self.num_samples) - 1,", "runs.py"),
    "nothing is condensed": (SMALL, "KC-KD", 3, "return Condenser(num_samples, **settings)", "return None", "settings.py"),
    "three stages for six": (SMALL, "KC-KD", 3, "stages = min(STAGES, epochs)", "stages = min(3, epochs)", "settings.py"),
    "variants are ignored": (SMALL, "KC-KD@released", 3, '"seed": seed, **changed}', '"seed": seed}', "settings.py"),
    "the short run is as long as all": (
        SMALL, "KD@short", 3, "epochs=self.epochs(scale.epochs), **changed", "**changed", "settings.py",
    ),
    "the teacher trains as long as a student": (
        SMALL, "KD", 3, "recipe = scale.recipe(rate_of(network), scale.teacher_epochs)\n    config",
        "recipe = scale.recipe(rate_of(network))\n    config", "runs.py",
    ),
    "the teacher is of another seed": (
        SMALL, "KD", 3, "fresh = create_model(network, len(dataset.classes), dataset.in_channels, seed=seed)",
        "fresh = create_model(network, len(dataset.classes), dataset.in_channels, seed=1)", "runs.py",
    ),
    "another batch size": (SMALL, "Student", 3, "batch_size=self.batch_size,", "batch_size=8,", "settings.py"),
    "the last epoch is left out": (SMALL, "Student", 3, "while len(run):", "while len(run) > 1:", "runs.py"),
    "accuracies in order of size": (
        SMALL, "KD", 3, "[round(report.test_accuracy, 6) for report in run.reports]",
        "sorted(round(report.test_accuracy, 6) for report in run.reports)", "runs.py",
    ),
}  # fmt: skip

# Of the table: the text as it is, the fault, the file.
TABLE_FAULTS: dict[str, tuple[str, str, str]] = {
    "the best epoch": ('100 * record["test_accuracy"][-1]', '100 * max(record["test_accuracy"])', "curves.py"),
    "the gain is a loss": ("[ours[seed] - theirs[seed] for", "[theirs[seed] - ours[seed] for", "statistics.py"),
    "the gain of other seeds": (
        "interval(paired_differences(ours, plain)) if paired",
        "interval([a - b for a, b in zip(ours.values(), plain.values())]) if paired", "table.py",
    ),
    "a variant has no plain row": ("not in OF_THE_CONDENSER)\n", "not in ())\n", "settings.py"),
    "the normal distribution": ("special.stdtrit(n - 1, 1 - 0.025 / comparisons)", "1.96", "statistics.py"),
    "the deviation of a population": ("np.std(values, ddof=1)", "np.std(values)", "statistics.py"),
    "the deviation of one run": ("max(deviation, spread) / math.sqrt(n)", "max(deviation, spread)", "statistics.py"),
    "the median": ("float(np.mean(values))", "float(np.median(values))", "statistics.py"),
    "all seeds show the first": ("prepared.unit(pair, row, seed).key", "prepared.unit(pair, row, 0).key", "curves.py"),
}  # fmt: skip


def run_notebook(name: str, library: Path) -> subprocess.CompletedProcess[str]:
    """Run a stored notebook under nbval with the library in a folder, up to the first cell that fails."""
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=300", "-x", "-q", "-p", "no:cacheprovider"]
    options += [f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval_sanitize.cfg'}", "-o", "addopts="]
    notebook = library / "notebooks" / f"{name}.ipynb"
    environment = {**os.environ, "PYTHONPATH": str(library), "KCD_DATA": str(ROOT / "data")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(notebook)],
        capture_output=True, text=True, cwd=library, env=environment, timeout=600,
    )  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_notebook_notices(bug, tmp_path):
    file, right, wrong, notebook = BUGS[bug]
    for folder in ("kcd_teach", "notebooks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = (tmp_path / "kcd_teach" / file).read_text()
    assert source.count(right) == 1
    (tmp_path / "kcd_teach" / file).write_text(source.replace(right, wrong))
    result = run_notebook(notebook, tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 failed" in result.stdout


@pytest.mark.parametrize("fault", LOOP_FAULTS)
def test_the_loop_written_out_notices(fault, monkeypatch):
    case, *texts = LOOP_FAULTS[fault]
    expected = by_the_oracle(case)  # before the fault, as the oracle asks the same networks
    plant(monkeypatch, *texts)
    assert differences(by_the_library(case), expected, CASES[case].tolerance)


@pytest.mark.parametrize("fault", RECORD_FAULTS)
def test_a_directly_written_run_notices(fault, monkeypatch, tmp_path):
    pair, row, seed, *texts = RECORD_FAULTS[fault]
    scale = MOBILE.scale if pair in MOBILE.pairs else RUNS.scale
    runs = Runs((pair,), (row,), (seed,), scale)
    expected = by_hand(runs, pair, row, seed)
    plant(monkeypatch, *texts)
    finished(runs, tmp_path)
    (record,) = Store(tmp_path).records().values()
    assert unlike(record, expected)


@pytest.mark.parametrize("fault", TABLE_FAULTS)
def test_a_table_by_hand_notices(fault, monkeypatch, tmp_path):
    prepared = made_up(tmp_path)
    plant(monkeypatch, *TABLE_FAULTS[fault])
    assert wrong_cells(prepared, Store(tmp_path))

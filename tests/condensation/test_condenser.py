"""The condenser as a whole, mostly against :class:`tests.oracles.PlainCondenser` over random histories."""

import copy
import random
import re

import pytest
import torch

from kcd_teach.condensation import MIXED, Condenser, FixedSubset, KeepAll, Mixture
from tests.oracles import PlainCondenser

SHAPES = [
    (10, "0.6", 3, 6),
    (23, "0.7", 1, 4),
    (23, "0.5", 5, 5),
    (40, "1", 4, 8),
    (60, "0.7", 6, 12),
    (61, "0.11", 4, 8),
    (50, "0.3", 2, 4),
    (97, "0.25", 3, 6),
    (30, "0.95", 6, 6),
    (3, "0.34", 2, 2),
    (200, "0.55", 10, 20),
]
ABLATIONS = [
    {},
    {"value": "sum"},
    {"alpha": 0.0},
    {"alpha": 0.5},
    {"pool": "active"},
    {"partners": "complement"},
    {"mixing": False},
    {"mixing_strength": 0.8},
    {"selection": "lowest"},
    {"pool": "active", "partners": "complement", "value": "sum"},
    {"pool": "active", "selection": "lowest", "mixing_strength": 0.1},
]


def name_of(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={part}" for key, part in value.items()) or "defaults"
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def both(shape, preset, **settings) -> tuple[Condenser, PlainCondenser]:
    num_samples, ratio, stages, epochs = shape
    ours = Condenser(num_samples, float(ratio), stages, epochs, preset, **settings)
    return ours, PlainCondenser(num_samples, ratio, stages, epochs, preset, **settings)


def play_epoch(ours: Condenser, plain: PlainCondenser, rng: random.Random, missing: float = 0.1) -> None:
    """Show the active samples in random batches, leaving some out; values fall with the epochs, as in training."""
    shown = [sample for sample in plain.active if rng.random() >= missing]
    rng.shuffle(shown)
    for start in range(0, len(shown), 7):
        batch = shown[start : start + 7]
        values = [rng.random() * 3 / (1 + plain.epoch) for _ in batch]
        ours.record(torch.tensor(batch), torch.tensor(values, dtype=torch.float64))
        for sample, value in zip(batch, values, strict=True):
            plain.record(sample, value)
    ours.end_epoch()
    plain.end_epoch()


# Which samples play_epoch leaves out is random, so now and then there are as many as the condenser warns of.
samples_missing = pytest.mark.filterwarnings("ignore:.* active samples were not observed in stage:UserWarning")


def assert_same_plan(ours: Condenser, plain: PlainCondenser) -> None:
    assert (ours.epoch, ours.stage) == (plain.epoch, plain.stage)
    assert ours.active.tolist() == plain.active
    assert ours.mixture.boundary.tolist() == [boundary for boundary, _, _ in plain.pairs]
    assert ours.mixture.partners.tolist() == [partner for _, partner, _ in plain.pairs]
    assert ours.mixture.coefficients.tolist() == pytest.approx([share for *_, share in plain.pairs], abs=2e-7)


@pytest.mark.parametrize("settings", ABLATIONS, ids=name_of)
@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
@samples_missing
def test_every_plan_equals_the_plain_condenser(shape, preset, settings):
    ours, plain = both(shape, preset, **settings)
    rng = random.Random(str((shape, preset, settings)))
    assert list(ours.counts) == plain.counts[: shape[2]]
    for _ in range(shape[3]):
        play_epoch(ours, plain, rng)
        assert_same_plan(ours, plain)
        assert ours.score.tolist() == pytest.approx([plain.score(i) for i in range(shape[0])], abs=1e-12)
        assert ours.ranking().tolist() == plain.ranking()


@pytest.mark.parametrize("shape", [(60, "0.7", 4, 11), (60, "0.5", 5, 8), (31, "0.2", 3, 7)], ids=name_of)
@samples_missing
def test_stages_need_not_divide_the_epochs_in_the_paper_preset(shape):
    ours, plain = both(shape, "paper")
    rng = random.Random(12)
    for _ in range(shape[3]):
        play_epoch(ours, plain, rng)
        assert_same_plan(ours, plain)


@pytest.mark.parametrize("settings", ABLATIONS[1:], ids=name_of)
@samples_missing
def test_comparison_notices_every_other_rule(settings):
    ours, _ = both((60, "0.4", 6, 12), "paper")
    _, plain = both((60, "0.4", 6, 12), "paper", **settings)
    rng, failures = random.Random(0), 0
    for _ in range(12):
        play_epoch(ours, plain, rng)
        try:
            assert_same_plan(ours, plain)
        except AssertionError:
            failures += 1
    assert failures > 0


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
def test_promises_in_every_stage(shape, preset):
    ours, plain = both(shape, preset)
    rng = random.Random(1)
    for _ in range(shape[3]):
        play_epoch(ours, plain, rng, missing=0.0)
        active, mixture = ours.active.tolist(), ours.mixture
        assert len(active) == len(set(active)) == plain.counts[ours.stage]
        assert mixture.boundary.tolist() == active[len(active) - len(mixture) :]
        assert set(mixture.partners.tolist()).isdisjoint(active)
        assert len(set(mixture.partners.tolist())) == len(mixture)
        assert bool((mixture.coefficients.diff() > 0).all())
        if ours.stage:
            dropped_now = plain.counts[ours.stage - 1] - len(active)
            assert len(mixture) == min(dropped_now, len(active))
            if len(mixture) and preset == "paper":
                assert mixture.coefficients[-1].item() == 0.3
        assert (ours.roles == MIXED).nonzero().flatten().tolist() == sorted(mixture.boundary.tolist())


def test_ratio_one_only_reorders():
    ours, plain = both((12, "1", 3, 6), "paper")
    rng = random.Random(2)
    for _ in range(6):
        play_epoch(ours, plain, rng)
        assert sorted(ours.active.tolist()) == list(range(12))
        assert len(ours.mixture) == 0
    assert ours.active.tolist() != list(range(12))


def test_one_stage_has_no_event():
    ours, plain = both((12, "0.5", 1, 5), "paper")
    rng = random.Random(3)
    for _ in range(5):
        play_epoch(ours, plain, rng)
    assert ours.active.tolist() == list(range(12))
    assert ours.stage == 0


def test_as_many_stages_as_epochs_gives_an_event_after_every_epoch_but_the_last():
    ours, plain = both((20, "0.5", 5, 5), "paper")
    rng, stages = random.Random(4), []
    for _ in range(5):
        play_epoch(ours, plain, rng)
        stages.append(ours.stage)
    assert stages == [1, 2, 3, 4, 4]


def test_released_event_after_the_last_epoch_is_not_trained_on():
    ours, plain = both((60, "0.5", 3, 6), "released")
    rng = random.Random(5)
    for _ in range(6):
        play_epoch(ours, plain, rng)
    assert ours.counts == (60, 55, 50)
    assert len(ours.active) == 45


@samples_missing
def test_a_plateau_of_the_schedule_mixes_nothing_but_may_exchange_samples():
    ours, plain = both((60, "0.5", 12, 12), "released")  # five samples leave per event, until 30 are left after six
    rng, exchanged = random.Random(6), 0
    for _ in range(11):
        before = set(ours.active.tolist())
        play_epoch(ours, plain, rng)
        if ours.stage > 6:
            assert len(ours.active) == 30
            assert len(ours.mixture) == 0
            exchanged += set(ours.active.tolist()) != before
    assert exchanged > 0


def test_dropped_samples_return_unless_the_pool_is_the_active_ones():
    returned = {}
    for pool in ("all", "active"):
        ours, plain = both((60, "0.5", 6, 12), "paper", pool=pool)
        rng, returned[pool] = random.Random(7), 0
        for _ in range(12):
            before = set(ours.active.tolist())
            play_epoch(ours, plain, rng)
            returned[pool] += len(set(ours.active.tolist()) - before)
    assert returned["all"] > 0
    assert returned["active"] == 0


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_plans_follow_a_permutation_of_the_samples(preset):
    order = torch.randperm(40, generator=torch.Generator().manual_seed(8))
    values = torch.rand(8, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    straight, permuted = (Condenser(40, 0.6, 4, 8, preset) for _ in range(2))
    for row in values:
        straight.record(straight.active, row[straight.active])
        permuted.record(order.argsort()[straight.active], row[straight.active])
        straight.end_epoch()
        permuted.end_epoch()
        assert torch.equal(permuted.score, straight.score[order])
        if straight.stage:  # before the first event the ids are in their own order
            assert torch.equal(order[permuted.active], straight.active)
            assert torch.equal(order[permuted.mixture.partners], straight.mixture.partners)


@pytest.mark.parametrize("settings", [{}, {"preset": "released"}, {"selection": "random"}], ids=name_of)
@pytest.mark.parametrize("stop", range(1, 8))
def test_resuming_anywhere_gives_the_same_plans(stop, settings):
    values = torch.rand(8, 30, generator=torch.Generator().manual_seed(10))

    def play(condenser, first, last):
        for row in values[first:last]:
            condenser.record(condenser.active, row[condenser.active])
            condenser.end_epoch()

    whole, before, after = (Condenser(30, 0.5, 4, 8, history=True, **settings) for _ in range(3))
    play(whole, 0, 8)
    play(before, 0, stop)
    state = before.state_dict()
    play(before, stop, 8)  # must not reach into the saved state
    after.load_state_dict(state)
    play(after, stop, 8)
    for resumed in (before, after):
        assert torch.equal(resumed.active, whole.active)
        assert torch.equal(resumed.mixture.coefficients, whole.mixture.coefficients)
        assert torch.equal(resumed.score, whole.score)
        assert torch.equal(resumed.history.nan_to_num(-1), whole.history.nan_to_num(-1))


def test_resuming_between_two_batches_of_an_epoch_loses_nothing():
    whole, before, after = (Condenser(6, 0.5, 2, 2) for _ in range(3))
    for condenser in (whole, before):
        condenser.record(torch.tensor([0, 2, 4]), torch.tensor([0.5, 0.1, 0.3]))
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    for condenser in (whole, after):
        condenser.record(torch.tensor([1, 3, 5]), torch.tensor([0.4, 0.6, 0.2]))
        condenser.end_epoch()
    assert after.active.tolist() == whole.active.tolist() == [3, 0, 1]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"ratio": 0.6}, "the saved condenser has ratio=0.6, this one ratio=0.5"),
        ({"alpha": 0.1}, "the saved condenser has alpha=0.1, this one alpha=0.03"),
        ({"preset": "released"}, "the saved condenser has preset=released, this one preset=paper"),
        ({"seed": 1}, "the saved condenser has seed=1, this one seed=0"),
    ],
    ids=name_of,
)
def test_the_state_of_another_configuration_is_refused(other, message):
    saved = Condenser(12, **{"ratio": 0.5, "stages": 2, "epochs": 4, **other}).state_dict()
    with pytest.raises(ValueError, match=message):
        Condenser(12, 0.5, 2, 4).load_state_dict(saved)


def test_a_history_cannot_be_restored_from_a_run_without_one():
    with pytest.raises(ValueError, match="history=True, but the saved condenser kept no history"):
        Condenser(4, 0.5, 2, 2, history=True).load_state_dict(Condenser(4, 0.5, 2, 2).state_dict())


def test_history_holds_every_value_and_nan_where_nothing_was_shown():
    condenser = Condenser(4, 0.5, 2, 2, history=True)
    condenser.record(torch.tensor([3, 1, 0]), torch.tensor([0.3, 0.1, 0.2]))
    condenser.end_epoch()
    assert condenser.active.tolist() == [2, 3]  # 2 was never shown and keeps its place
    condenser.record(torch.tensor([3]), torch.tensor([0.7]))
    condenser.end_epoch()
    nan = float("nan")
    expected = torch.tensor([[0.2, 0.1, nan, 0.3], [nan, nan, nan, 0.7]])
    assert torch.equal(condenser.history.isnan(), expected.isnan())
    assert torch.equal(condenser.history.nan_to_num(), expected.nan_to_num())
    assert Condenser(4, 0.5, 2, 2).history is None


def test_history_gives_the_value_back():
    ours, plain = Condenser(40, 0.5, 4, 8, history=True), PlainCondenser(40, "0.5", 4, 8)
    rng = random.Random(11)
    for _ in range(8):
        play_epoch(ours, plain, rng)
    assert ours.history.nanmean(dim=0).tolist() == pytest.approx(ours.value.tolist(), abs=1e-6)
    assert (~ours.history.isnan()).sum(dim=0).tolist() == ours.frequency.tolist()


def test_active_samples_that_were_left_out_keep_their_place():
    # An incomplete last batch may be left out in every epoch of a stage: 4 and 5 are never recorded here.
    condenser = Condenser(6, 0.5, 2, 2)
    condenser.record(torch.tensor([0, 1, 2, 3]), torch.tensor([9.0, 8.0, 7.0, 6.0]))
    condenser.end_epoch()
    assert condenser.active.tolist() == [4, 5, 0]


def test_inactive_samples_that_were_never_recorded_stay_out():
    condenser = Condenser(4, 0.5, 3, 3)  # 4, 3 and 2 samples
    condenser.active = torch.tensor([0, 1, 2])  # as if 3 had been left out from the start
    condenser.record(torch.tensor([0, 1, 2]), torch.tensor([0.0, 0.2, 0.1]))
    assert condenser.ranking().tolist() == [1, 2, 0, 3]


def test_observe_records_the_entropy_of_the_logits():
    condenser = Condenser(3, 1.0, 1, 1)
    condenser.observe(torch.tensor([2, 0]), torch.tensor([[0.0, 0.0], [50.0, 0.0]], requires_grad=True))
    assert condenser.value.tolist() == pytest.approx([0.0, 0.0, 0.6931472], abs=1e-6)
    assert condenser.frequency.tolist() == [1, 0, 1]


def test_observing_a_sample_twice_in_one_epoch_counts_twice():
    condenser = Condenser(2, 1.0, 1, 1)
    for value in (1.0, 3.0):
        condenser.record(torch.tensor([1]), torch.tensor([value]))
    condenser.end_epoch()
    assert condenser.frequency.tolist() == [0, 2]
    assert condenser.value.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_logits_raise_and_change_nothing(bad):
    condenser = Condenser(3, 1.0, 1, 1)
    with pytest.raises(ValueError, match="logits must be finite, but 1 of 2 rows hold NaN or infinity"):
        condenser.observe(torch.tensor([0, 1]), torch.tensor([[0.0, bad], [1.0, 2.0]]))
    assert condenser.frequency.sum() == 0


@pytest.mark.parametrize(
    ("indices", "values", "error", "message"),
    [
        ([0, 1], torch.ones(2), TypeError, r"indices must be a tensor of shape \[B\], got list"),
        (torch.tensor([0, 1]), [1.0, 2.0], TypeError, r"values must be a tensor of shape \[B\], got list"),
        (torch.tensor([0, 3]), torch.ones(2), IndexError, "indices must be in 0 .. 2, got 3"),
        (torch.tensor([1, 1]), torch.ones(2), ValueError, "indices must not repeat"),
        (torch.tensor([1]), torch.ones(2), ValueError, r"values must have shape \[1\] like indices, got \[2\]"),
    ],
    ids=["list of ids", "list of values", "beyond N", "repeated", "shapes"],
)
def test_bad_records_name_the_argument_and_do_no_harm(indices, values, error, message):
    condenser = Condenser(3, 1.0, 1, 1)
    with pytest.raises(error, match=message):
        condenser.record(indices, values)
    condenser.record(torch.arange(3), torch.ones(3))
    condenser.end_epoch()
    assert condenser.frequency.tolist() == [1, 1, 1]


def test_after_the_last_epoch_nothing_is_accepted():
    condenser = Condenser(3, 1.0, 1, 1)
    condenser.end_epoch()
    with pytest.raises(RuntimeError, match="all 1 epochs have ended already"):
        condenser.end_epoch()
    with pytest.raises(RuntimeError, match="all 1 epochs have ended; nothing can be recorded any more"):
        condenser.record(torch.tensor([0]), torch.ones(1))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_samples": 0}, ValueError, "num_samples must be at least 1, got 0"),
        ({"ratio": 0}, ValueError, r"ratio must be in \(0, 1\], got 0"),
        ({"ratio": 1.5}, ValueError, r"ratio must be in \(0, 1\], got 1.5"),
        ({"ratio": "0.7"}, TypeError, "ratio must be a number, got '0.7'"),
        ({"ratio": None}, TypeError, "ratio must be a number, got None"),
        ({"stages": 9}, ValueError, "stages must be at most epochs=8, got 9"),
        ({"stages": 0}, ValueError, "stages must be at least 1, got 0"),
        ({"stages": 2.0}, TypeError, "stages must be a whole number, got 2.0"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"stages": 3, "preset": "released"}, ValueError, "stages must divide epochs=8 in the released preset, got 3"),
        ({"preset": "papers"}, ValueError, "preset='papers' is unknown; did you mean 'paper'.* Known: paper, released"),
        ({"alpha": -1}, ValueError, r"alpha must be in \[0, inf\), got -1"),
        ({"alpha": float("inf")}, ValueError, r"alpha must be in \[0, inf\), got inf"),
        ({"mixing_strength": 1.1}, ValueError, r"mixing_strength must be in \[0, 1\], got 1.1"),
        ({"value": "median"}, ValueError, "value='median' is unknown; did you mean 'mean'.* Known: mean, sum"),
        ({"pool": "none"}, ValueError, "pool='none' is unknown.* Known: all, active"),
        ({"partners": 3}, ValueError, r"partners=3 is unknown\. Known: slice, complement"),
        ({"selection": "worst"}, ValueError, "selection='worst' is unknown.* Known: value, random, lowest"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number, got 0.5"),
    ],
    ids=name_of,
)
def test_wrong_settings_are_refused_with_what_is_allowed(settings, error, message):
    with pytest.raises(error, match=message):
        Condenser(**{"num_samples": 20, "ratio": 0.7, "stages": 4, "epochs": 8, **settings})


def test_random_selection_ignores_the_values_and_repeats_with_its_seed():
    def choices(seed, scale):
        condenser, kept = Condenser(50, 0.5, 4, 4, selection="random", seed=seed), []
        for _ in range(4):
            ids = condenser.active
            condenser.record(ids, scale * ids.double())
            condenser.end_epoch()
            kept.append(condenser.active.tolist())
        return kept

    assert choices(0, 1.0) == choices(0, -1.0)
    assert choices(0, 1.0) != choices(1, 1.0)
    first, second, third, _ = choices(0, 1.0)
    assert len({tuple(kept[:10]) for kept in (first, second, third)}) == 3  # a new draw at every event


def test_random_selection_is_fair():
    kept = torch.zeros(20)
    for seed in range(400):
        condenser = Condenser(20, 0.5, 2, 2, selection="random", seed=seed)
        condenser.record(torch.arange(20), torch.arange(20).double())
        condenser.end_epoch()
        kept[condenser.active] += 1
    # 400 draws with probability 1/2: standard deviation 10; five of them allowed.
    assert kept.min() > 150
    assert kept.max() < 250


def test_repr_shows_where_it_stands():
    condenser = Condenser(10, 0.6, 3, 6)
    assert repr(condenser) == (
        "Condenser(paper, 10 samples to 60% in 3 stages of 6 epochs; epoch 0, stage 0, 10 active, Mixture(empty))"
    )


def test_keep_all_keeps_all():
    keep_all = KeepAll(5)
    keep_all.observe(torch.arange(5), torch.full((5, 2), torch.nan))
    keep_all.end_epoch()
    assert keep_all.active.tolist() == [0, 1, 2, 3, 4]
    assert (keep_all.stage, len(keep_all.mixture)) == (0, 0)
    keep_all.load_state_dict(keep_all.state_dict())


def test_a_fixed_subset_is_one_random_draw_for_the_whole_run():
    subset = FixedSubset(200, 0.65, seed=3)
    assert subset.counts == (130,)
    before = subset.active.clone()
    subset.observe(before, torch.full((130, 2), torch.nan))
    subset.end_epoch()
    assert torch.equal(subset.active, before)
    assert len(subset.active.unique()) == 130
    assert (int(before.min()) >= 0, int(before.max()) < 200, subset.stage, len(subset.mixture)) == (True, True, 0, 0)
    assert torch.equal(FixedSubset(200, 0.65, seed=3).active, before)
    assert not torch.equal(FixedSubset(200, 0.65, seed=4).active, before)
    drawn = torch.stack([torch.bincount(FixedSubset(20, 0.5, seed).active, minlength=20) for seed in range(400)]).sum(0)
    assert 150 < int(drawn.min()) <= int(drawn.max()) < 250  # 400 draws with probability 1/2, five standard deviations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 0}, "share must be in (0, 1], got 0"),
        ({"share": 1.5}, "share must be in (0, 1], got 1.5"),
        ({"share": 0.01}, "share=0.01 of 10 samples must be at least 1, got 0"),
        ({"share": 0.5, "seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_a_subset_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FixedSubset(10, **arguments)


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_the_sets_of_all_stages_are_remembered_and_survive_a_resume(preset):
    condenser, seen = Condenser(30, 0.5, 3, 6, preset=preset), [list(range(30))]
    for epoch in range(6):
        condenser.record(torch.arange(30), torch.rand(30, generator=torch.Generator().manual_seed(epoch)))
        condenser.end_epoch()
        if condenser.stage == len(seen):
            seen.append(condenser.active.tolist())
        resumed = Condenser(30, 0.5, 3, 6, preset=preset)
        resumed.load_state_dict(condenser.state_dict())
        condenser = resumed
    assert [ids.tolist() for ids in condenser.kept] == seen
    assert len(seen) == {"paper": 3, "released": 4}[preset]


def test_a_new_condenser_mixes_nothing():
    assert len(Mixture()) == len(Condenser(10).mixture) == 0

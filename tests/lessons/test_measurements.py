"""The stored step times cover every method, and their command measures what it says."""

import json

from kcd_teach import load_dataset
from kcd_teach.datasets import find_data_file
from kcd_teach.distillers import list_distillers
from kcd_teach.lessons import measurements


def test_stored_costs_cover_every_method_and_name_their_setting():
    stored = json.loads(find_data_file("results/method_costs.json").read_text())
    assert list(stored["methods"]) == list_distillers()
    assert stored["setting"]["repetitions"] >= 5
    assert stored["setting"]["threads"] == 1
    assert stored["setting"]["versions"]["torch"]
    for figures in stored["methods"].values():
        spread = figures["step time over KD"]
        assert 0 < spread["least"] <= spread["median"] <= spread["most"]


def test_costs_are_ratios_to_kd_and_preparation_stands_apart():
    dataset = measurements.small_test(load_dataset("fashion-mnist-mini").first(per_class=7))
    methods = measurements.costs(dataset, repetitions=2)["methods"]
    assert methods["kd"]["step time over KD"] == {"median": 1.0, "least": 1.0, "most": 1.0}
    assert methods["sskd"]["views per sample"] == 4
    assert methods["sskd"]["preparation presentations"] == 6 * 70
    assert all(figures["preparation presentations"] == 0 for name, figures in methods.items() if name != "sskd")

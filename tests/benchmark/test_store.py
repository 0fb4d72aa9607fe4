"""What a folder holds is whole, or named as damaged."""

import pytest

from kcd_teach.benchmark import Store


def test_a_damaged_line_of_results_is_named(tmp_path):
    store = Store(tmp_path)
    store.append({"key": "a"})
    with store.results.open("a") as file:
        file.write("{half a line")
    with pytest.raises(ValueError, match=r"line 2 of .*results.jsonl is damaged; delete that line to repeat its run"):
        store.records()

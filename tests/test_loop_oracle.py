"""A run of the library is the run that a slow and obvious loop makes of the same images, weights and seed."""

import pytest

from tests.loop_cases import CASES, by_the_library, by_the_oracle
from tests.loop_oracle import differences


@pytest.mark.parametrize("name", CASES)
def test_reports_weights_and_choices_are_those_of_the_written_out_loop(name):
    assert differences(by_the_library(name), by_the_oracle(name), CASES[name].tolerance) == []

"""Where no browser is at hand, its checks are skipped, and one line says how to get it."""

import pytest

from tests.browser.chromium import NEEDS, browser, executable
from tests.browser.lab import Lab


@pytest.fixture(scope="module")
def chromium():
    if executable() is None:
        pytest.skip(NEEDS)
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory):
    one = Lab(tmp_path_factory.mktemp("lab"), chromium)
    yield one
    one.close()

import subprocess
import sys

import pytest

import kcd_teach

HEAVY = ("matplotlib", "seaborn", "ipywidgets", "torchvision", "IPython")


def loaded_by(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=600)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_the_package_does_not_import_what_only_figures_and_downloads_need():
    loaded = loaded_by("import kcd_teach")
    assert "torch" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_kernel_does_not_load_what_takes_much_memory_before_something_needs_it():
    loaded = loaded_by("import kcd_teach.widgets, kcd_teach.lessons.tour; print('scipy.stats' in sys.modules)")
    assert "matplotlib" in loaded
    assert loaded.isdisjoint({"True", "torchvision", "pandas"})


def test_importing_the_benchmark_does_not_import_ray():
    loaded = loaded_by("import kcd_teach.benchmark")
    assert "torch" in loaded
    assert "ray" not in loaded


@pytest.mark.parametrize("name", kcd_teach.__all__)
def test_public_names_exist_and_are_documented(name):
    assert getattr(kcd_teach, name).__doc__

"""Which networks and methods are here? The tables of the README, made from the code: ``python -m kcd_teach.zoo``."""

import importlib
import inspect
import re

from torch import nn

from kcd_teach.distillers import list_distillers
from kcd_teach.models import count_parameters, create_model, list_models

BEGIN, END = "<!-- zoo: python -m kcd_teach.zoo -->", "<!-- end of zoo -->"
FAMILIES = {
    "logits": ("kd",),
    "features": ("fitnet", "at", "vid", "reviewkd"),
    "relations": ("sp", "rkd", "pkt"),
    "contrasts": ("crd", "wcord"),
    "self-supervision": ("sskd",),
}
"""What a method compares -> the methods."""


def family_of(method: str) -> str:
    """What a method compares, a key of :data:`FAMILIES`."""
    return next(family for family, methods in FAMILIES.items() if method in methods)


def summary_of(thing: object) -> tuple[str, str]:
    """Title and source of a module from the first line of its docstring, ``Title (source, arXiv number).``"""
    module = inspect.getmodule(thing)
    line = (inspect.getdoc(module) or "").splitlines()[0]
    found = re.match(r"(.+?) \(([^()]*arXiv [\d.]+)\)", line)
    if found is None:
        return line.rstrip("."), ""
    return found[1], found[2]


def benchmark_networks() -> dict[str, nn.Module]:
    """The 22 networks of the published table, without the small ones of the course."""
    return {name: create_model(name) for name in list_models() if not name.startswith("mini_")}


def network_table() -> str:
    """Markdown table of the networks: family, names with parameter counts at 100 classes, source."""
    families: dict[tuple[str, str], list[str]] = {}
    for name, network in benchmark_networks().items():
        entry = f"`{name}` {count_parameters(network):,}"
        families.setdefault(summary_of(type(network)), []).append(entry)
    rows = [f"| {title} | {' · '.join(names)} | {source} |" for (title, source), names in families.items()]
    return "\n".join(
        ["| family | networks and their parameters (100 classes) | source |", "| --- | --- | --- |", *rows]
    )


def method_table() -> str:
    """Markdown table of the methods: name, what is compared, what it is, source."""
    rows = []
    for name in list_distillers():
        module = importlib.import_module(f"kcd_teach.distillers.{name}")
        title, source = summary_of(module)
        if "constants here are ours" in (module.__doc__ or ""):
            title += "; **no code was ever published, its constants are ours**"
        if "the recipe around it is not" in (module.__doc__ or ""):
            title += "; its authors train it with a recipe of their own, here it has that of the benchmark"
        rows.append(f"| `{name}`, `kc-{name}` | {family_of(name)} | {title} | {source} |")
    return "\n".join(["| method, condensed | compares | what it is | source |", "| --- | --- | --- | --- |", *rows])


def section() -> str:
    """Both tables between the marks that the README holds."""
    return f"{BEGIN}\n{network_table()}\n\n{method_table()}\n{END}"


if __name__ == "__main__":
    print(section())

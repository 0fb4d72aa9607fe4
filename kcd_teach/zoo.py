"""Tables of all networks and methods for ``docs/methods.md``, made from the code: ``python -m kcd_teach.zoo``."""

import importlib
import inspect
import re
from typing import Any

from torch import nn

from kcd_teach.condensation.value import VALUES
from kcd_teach.datasets import DATASETS
from kcd_teach.distillers import DISTILLERS, distiller_class, list_distillers
from kcd_teach.models import MODELS, count_parameters, create_model, list_models

BEGIN, END = "<!-- zoo: python -m kcd_teach.zoo -->", "<!-- end of zoo -->"


def family_of(method: str) -> str:
    """What a method compares: ``compares`` of its class, or else features or logits, whichever it needs."""
    cls = distiller_class(method)
    return cls.compares or ("features" if cls.needs.features else "logits")


FAMILIES = {
    family: tuple(name for name in DISTILLERS.known if family_of(name) == family)
    for family in dict.fromkeys(map(family_of, DISTILLERS.known))
}
"""What a method compares -> the methods of this package."""


def summary_of(thing: Any) -> tuple[str, str]:
    """Title and source from the first line of a docstring, ``Title (source, arXiv number).``

    The docstring is that of the module for what this package has, and of the class or function itself for what a user
    has, or its name where it has none.
    """
    module = inspect.getmodule(thing)
    ours = module is not None and module.__name__.partition(".")[0] == "kcd_teach"
    text = inspect.getdoc(module) if ours else inspect.cleandoc(vars(thing).get("__doc__") or thing.__name__)
    line = (text or "").splitlines()[0]
    found = re.match(r"(.+?) \(([^()]*arXiv [\d.]+)\)", line)
    if found is None:
        return line.rstrip("."), ""
    return found[1], found[2]


def benchmark_networks() -> dict[str, nn.Module]:
    """The 22 networks of the published table, and registered ones, without the small ones of the course."""
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
        own = name in DISTILLERS.known
        module = importlib.import_module(f"kcd_teach.distillers.{name}") if own else distiller_class(name)
        title, source = summary_of(module)
        if "constants here are ours" in (module.__doc__ or ""):
            title += "; **no code was ever published, its constants are ours**"
        if "the recipe around it is not" in (module.__doc__ or ""):
            title += "; its authors train it with a recipe of their own, here it has that of the benchmark"
        rows.append(f"| `{name}`, `kc-{name}` | {family_of(name)} | {title} | {source} |")
    return "\n".join(["| method, condensed | compares | what it is | source |", "| --- | --- | --- | --- |", *rows])


def section() -> str:
    """The tables of networks and methods between the marks that the page holds."""
    return f"{BEGIN}\n{network_table()}\n\n{method_table()}\n{END}"


def names() -> str:
    """Everything that has a name, a line per kind; what was registered from outside stands last."""
    kinds = {
        "methods": list(DISTILLERS),
        "values": list(VALUES),
        "networks": list(MODELS),
        "data sets": list(DATASETS),
    }
    return "\n".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())


if __name__ == "__main__":
    print(section())

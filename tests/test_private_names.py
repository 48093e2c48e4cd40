"""The private names of Darts, Lightning and PyTorch that the package uses are as they were.

``tests/data/private_names.json`` holds the signature of each, as in the versions that
``constraints.txt`` pins. A new version that changes one turns one line red. To write the file
anew: ``python -m tests.test_private_names``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import darts_mim.models.checkpoints
import darts_mim.models.data
from darts_mim.models.mim import MIMModel

PACKAGE = Path(darts_mim.__file__).parent
STORED = Path(__file__).parent / "data" / "private_names.json"
DESCRIPTORS = (property, classmethod, staticmethod)
LIBRARIES = ("darts", "torch", "pytorch_lightning")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_theirs(kind: type) -> bool:
    return kind.__module__.split(".")[0] in LIBRARIES


def used_names() -> dict[str, Any]:
    """Return the private objects that the package imports, overrides or calls, by their names."""
    trees = [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    found: dict[str, Any] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            module = importlib.import_module(node.module)
            for alias in node.names:
                parts = [*node.module.split("."), alias.name]
                if any(map(is_private, parts)):
                    found[".".join(parts)] = getattr(module, alias.name)
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    attributes |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    for ours in our_classes():
        for base in filter(is_theirs, ours.__mro__):
            for name in filter(is_private, vars(base).keys() & attributes):
                if not (callable(vars(base)[name]) or isinstance(vars(base)[name], DESCRIPTORS)):
                    continue
                found[f"{base.__module__}.{base.__qualname__}.{name}"] = vars(base)[name]
    return found


def our_classes() -> list[type]:
    """Return the classes of ours that inherit from theirs."""
    model = [each for each in MIMModel.__mro__ if not is_theirs(each)]
    module = [each for each in MIMModel.module_type.__mro__ if not is_theirs(each)]
    rooms = (darts_mim.models.checkpoints, darts_mim.models.data)
    others = [each for room in rooms for each in vars(room).values() if inspect.isclass(each)]
    return [*model, *module, *(each for each in others if not is_theirs(each))]


def signature_of(thing: Any) -> str:
    if isinstance(thing, property):
        return "property"
    thing = getattr(thing, "__func__", thing)
    if not callable(thing):
        return type(thing).__name__
    parameters = inspect.signature(thing).parameters.values()
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return ", ".join(stars.get(each.kind, "") + each.name for each in parameters)


@cache
def signatures() -> dict[str, str]:
    return {name: signature_of(thing) for name, thing in sorted(used_names().items())}


@pytest.mark.parametrize("name", json.loads(STORED.read_text()) if STORED.exists() else [])
def test_a_private_name_is_as_it_was(name: str) -> None:
    assert signatures()[name] == json.loads(STORED.read_text())[name]


def test_every_private_name_in_use_is_known() -> None:
    assert set(used_names()) == set(json.loads(STORED.read_text()))


if __name__ == "__main__":
    STORED.write_text(json.dumps(signatures(), indent=1) + "\n")

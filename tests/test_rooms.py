"""Imports of the package point one way: no circle, and no room imports one above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "darts_mim"
# from the bottom up; a room may import itself and the rooms that its line names
ROOMS: dict[str, set[str]] = {
    "heart": set(),
    "nn": {"heart"},
    "transforms": {"heart"},
    "seasonal": {"heart", "transforms"},
    "metrics": {"heart"},
    "backtesting": {"heart"},
    "adapters": {"heart"},
    "models": {"heart", "nn"},
    "presets": {"heart", "nn"},
    "diagnostics": {"heart", "nn", "models"},
    "datasets": {"heart", "adapters", "transforms"},
    "plotting": {"heart", "metrics", "adapters", "diagnostics"},
}
HEART = {"_optional", "checks", "files", "grid", "series", "times"}


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules of the package that a module imports, anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {each for each in found if each in known} - {name}


def room_of(name: str) -> str:
    part = [*name.split("."), ""][1]
    return "heart" if part in HEART else part


GRAPH = {name: imports_of(name, path, modules()) for name, path in modules().items()}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    for name, imported in GRAPH.items():
        if room_of(name) == room:
            others = {room_of(each) for each in imported if each != "darts_mim"} - {room}
            assert others <= ROOMS[room], f"{name} imports {sorted(others - ROOMS[room])}"


def test_every_module_belongs_to_a_room() -> None:
    assert {room_of(name) for name in GRAPH if name != "darts_mim"} == set(ROOMS)


def test_the_rooms_themselves_form_no_circle() -> None:
    below: set[str] = set()
    for room, allowed in ROOMS.items():
        assert allowed <= below
        below.add(room)


def test_no_module_imports_itself_by_way_of_others() -> None:
    # a package's __init__ imports its modules: that is no circle unless they import the package
    waiting = dict(GRAPH)
    while waiting:
        free = [name for name, imported in waiting.items() if not imported & waiting.keys()]
        assert free, f"circle among {sorted(waiting)}"
        for name in free:
            del waiting[name]

"""Every example of the documentation runs, and what it names exists.

Pages of which the build of the site runs every block are left to it. Of the others, the blocks of
Python run in their order, in a folder of their own, with the warnings of the tests as errors. As
when the site is built, blocks of one session share their names. A block that the site shows without
running it belongs to the session before it, and one with a title is the file of that name, a script
that is run by itself.
"""

import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import darts_mim

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(
    r"^(?P<indent>[ ]*)(?P<fence>`{3,})python(?P<options>[^\n`]*)\n"
    r"(?P<code>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.DOTALL | re.MULTILINE,
)
_OPTION = re.compile(r'(\w+)="([^"]*)"')


class Block(NamedTuple):
    """A block of Python on a page, with the options behind its language and its first line."""

    code: str
    options: dict[str, str]
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            textwrap.dedent(match["code"]),
            dict(_OPTION.findall(match["options"])),
            text.count("\n", 0, match.start("code")) + 1,
        )
        for match in _FENCE.finditer(text)
    ]


def run_page(page: Path) -> None:
    Path("docs").symlink_to(DOCS, target_is_directory=True)
    sessions: dict[str, dict[str, Any]] = {}
    session = "page"
    for block in blocks_of(page):
        if "title" in block.options:
            run_script(block)
            continue
        if "exec" in block.options and "session" not in block.options:
            names: dict[str, Any] = {"__name__": "example"}
        else:
            session = block.options.get("session", session)
            names = sessions.setdefault(session, {"__name__": "example"})
        # with the line numbers of the page, for the traceback
        exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)


def run_script(block: Block) -> None:
    name = block.options["title"]
    Path(name).write_text(block.code)
    answer = subprocess.run([sys.executable, name], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def is_left_out(page: Path) -> bool:
    """Say whether a page has a block that the build of the site does not run."""
    return any(block.options.get("exec") != "true" for block in blocks_of(page))


# those of all other pages run in the build, which fails where one of them does
LEFT_OUT = [page for page in PAGES if is_left_out(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", LEFT_OUT, ids=[str(page.relative_to(ROOT)) for page in LEFT_OUT])
def test_the_examples_that_the_build_leaves_out_run(page: Path) -> None:
    run_page(page)


def test_no_block_of_python_is_overlooked() -> None:
    for page in PAGES:
        opened = re.findall(r"^\s*`{3,}\s*(?:py|python)\b", page.read_text(), re.MULTILINE)
        assert len(opened) == len(blocks_of(page)), page


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('A list:\n\n- of\n\n    ```python exec="true"\n    x = 1\n    1 / 0\n    ```\n')
    with pytest.raises(ZeroDivisionError) as caught:
        run_page(page)
    assert caught.traceback[-1].lineno == 6  # counted from 0


PUBLIC = [
    "darts_mim",
    "darts_mim.adapters",
    "darts_mim.datasets",
    "darts_mim.diagnostics",
    "darts_mim.metrics.frames",
    "darts_mim.nn",
    "darts_mim.plotting",
    "darts_mim.presets",
    "darts_mim.metrics.protocols",
]


def public_objects() -> dict[str, Any]:
    """Return what the package offers to call, by its full names."""
    modules = [importlib.import_module(name) for name in PUBLIC]
    return {
        f"{module.__name__}.{name}": getattr(module, name)
        for module in modules
        for name in module.__all__
        if callable(getattr(module, name))
    }


def is_record(thing: Any) -> bool:
    """Say whether a class is one of results: its example is that of what returns it."""
    is_protocol = getattr(thing, "_is_protocol", False)
    return inspect.isclass(thing) and (issubclass(thing, tuple) or is_protocol)


def has_example(thing: Any) -> bool:
    """Say whether a docstring has an example, its own or that of one of a class's methods."""
    methods = [each for name, each in vars(thing).items() if not name.startswith("_")]
    parts = [thing, *methods] if inspect.isclass(thing) else [thing]
    return any(">>>" in (inspect.getdoc(part) or "") for part in parts)


def test_every_public_function_and_class_has_an_example_in_its_docstring() -> None:
    objects = {name: thing for name, thing in public_objects().items() if not is_record(thing)}
    assert len(objects) > 30
    assert not [name for name, thing in objects.items() if not has_example(thing)]


def resolve(path: str) -> Any:
    """Return the object of a dotted path, the longest part of which is a module."""
    parts = path.split(".")
    for k in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for name in parts[k:]:
            thing = getattr(thing, name)
        return thing
    raise ModuleNotFoundError(path)


def test_objects_that_the_pages_name_exist() -> None:
    """The table from equations to code, say, links to them by their paths."""
    pattern = re.compile(r"(?:\]\[|^::: )(darts_mim[\w.]*)", re.MULTILINE)
    named = {path for page in DOCS.rglob("*.md") for path in pattern.findall(page.read_text())}
    assert len(named) > 20
    for path in named:
        assert resolve(path) is not None


def test_every_equation_of_the_paper_is_mapped_to_code() -> None:
    text = (DOCS / "how_it_works.md").read_text()
    table = text[text.index("| equation | code |") :]
    for number in (1, 2, 3, 4):
        rows = re.findall(rf"^\| {number}\b.*\]\[darts_mim\.nn\..*$", table, re.MULTILINE)
        assert rows, f"equation {number}"


def test_the_overview_of_the_api_names_all_of_the_package() -> None:
    text = (DOCS / "api" / "index.md").read_text()
    for name in darts_mim.__all__:
        assert f"[`{name}`]" in text

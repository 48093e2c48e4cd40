"""The hook of the site that runs percent-format scripts and makes pages of them."""

import importlib.util
import sys
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

pytest.importorskip("mkdocs", reason="the site needs the extra `docs`")

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from PIL import Image

HOOKS = Path(__file__).resolve().parents[2] / "docs" / "_hooks"

SCRIPT = """\
# %% [markdown]
# # A spot
#
# It moves. It does nothing else.

# %%
from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

print("arguments:", sys.argv[1:])


# %%
class Spot:
    def moved(self) -> NotDefinedYet:
        return self


# %% [markdown]
# ## Where it is
#
# | row | column |
# | --- | --- |
# | 1 | 2 |

# %%
import pickle

print("before")
output = Path("out") / "spot"
output.mkdir(parents=True)
Image.new("L", (3, 2)).save(output / "a_spot.png")
print(type(pickle.loads(pickle.dumps(Spot()))).__name__)
"""


def load_hook(name: str) -> ModuleType:
    """Load a hook as mkdocs does: its own folder is on the path for that time."""
    spec = importlib.util.spec_from_file_location(name, HOOKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(HOOKS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(HOOKS))
    return module


cells = load_hook("cells")
gallery = load_hook("gallery")


def example(folder: Path, script: str = SCRIPT, **options: object) -> object:
    """Return an example in a folder of its own."""
    path = folder / "examples" / "spot.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    return gallery.Example("spot.py", thumbnail="a_spot.png", **options)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gallery, "ROOT", tmp_path)
    monkeypatch.delenv("DARTS_MIM_DATA", raising=False)
    return tmp_path


# --- cells --------------------------------------------------------------------------------------


def test_a_script_is_split_into_text_and_code_with_the_lines_where_they_are():
    found = cells.split_cells(SCRIPT)
    assert [cell.is_markdown for cell in found] == [True, False, False, True, False]
    assert found[0].source == "# A spot\n\nIt moves. It does nothing else."
    assert found[3].source.splitlines()[2] == "| row | column |"
    lines = SCRIPT.splitlines()
    for cell in found[1:3]:
        assert lines[cell.first_line - 1] == cell.source.splitlines()[0]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("x = 1\n# %%\ny = 2\n", "line 1: a script must begin with a cell"),
        ("# %% [markdown]\n# text\n\nx = 1\n", "line 4: a line of a text cell must begin with `#`"),
    ],
)
def test_what_is_no_percent_script_is_refused(script: str, message: str):
    with pytest.raises(ValueError, match=message):
        cells.split_cells(script)


# --- pages --------------------------------------------------------------------------------------


def test_a_page_has_text_code_output_and_pictures_in_their_order(root: Path):
    page = gallery.make_page(example(root))
    assert page.title == "A spot"
    wanted = [
        "# A spot",
        "ran for",
        "python examples/spot.py --quick",
        "````python\nfrom __future__",
        "````{ .text .no-copy }\narguments: ['--quick']\n````",
        "class Spot:",
        "## Where it is",
        "| 1 | 2 |",
        "````{ .text .no-copy }\nbefore\nSpot\n````",
        "![A spot](spot/a_spot.png)",
    ]
    places = [page.markdown.index(each) for each in wanted]
    assert places == sorted(places)
    with Image.open(BytesIO(page.pictures["a_spot.png"])) as picture:
        assert picture.size == (3, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('print("before")', 'raise RuntimeError("no spot")', r"(?s)spot.py failed.*no spot"),
        ('"a_spot.png"', '"b_spot.png"', r"must write a_spot.png.*it wrote b_spot.png"),
        ("# # A spot", "# A spot", r"spot.py must begin with a text cell"),
    ],
)
def test_a_poor_script_fails_the_build(root: Path, old: str, new: str, message: str):
    with pytest.raises(PluginError, match=message):
        gallery.make_page(example(root, SCRIPT.replace(old, new)))


@pytest.mark.parametrize("has_data", [True, False])
def test_a_page_says_which_data_it_ran_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, has_data: bool
):
    monkeypatch.setenv("DARTS_MIM_DATA", str(root / "data"))
    if has_data:
        (root / "data" / "spots").mkdir(parents=True)
    page = gallery.make_page(example(root, data="spots", arguments=("{data}", "--quick")))
    said = "on real data" if has_data else "on `stand-in`"
    assert said in page.markdown
    command = "path/to/spots" if has_data else "stand-in"
    assert f"python examples/spot.py {command} --quick" in page.markdown


# --- the site -----------------------------------------------------------------------------------


def test_the_build_gets_pages_pictures_and_cards(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gallery, "EXAMPLES", (example(root),))
    files = Files([])
    config = MkDocsConfig()
    config.load_dict({"site_name": "site", "docs_dir": str(root), "site_dir": str(root / "site")})
    config.validate()
    config.plugins._current_plugin = "gallery"  # as while mkdocs calls a hook
    gallery.on_files(files, config=config)
    assert {file.src_uri for file in files} == {"gallery/spot.md", "gallery/spot/a_spot.png"}

    index = SimpleNamespace(file=SimpleNamespace(src_uri=gallery.INDEX))
    text = (HOOKS.parent / gallery.INDEX).read_text()
    cards = gallery.on_page_markdown(text, page=index)
    assert "[A spot](spot.md)" in cards
    assert "It moves." in cards
    assert "nothing else" not in cards
    other = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"))
    assert gallery.on_page_markdown("text", page=other) == "text"
    with pytest.raises(PluginError, match="where the cards go"):
        gallery.on_page_markdown("text", page=index)


def test_every_example_of_the_gallery_is_a_script_and_a_page_of_the_site():
    navigation = (HOOKS.parents[1] / "mkdocs.yml").read_text()
    for each in gallery.EXAMPLES:
        assert each.script.exists()
        assert cells.split_cells(each.script.read_text())[0].source.startswith("# ")
        assert f"gallery/{each.name}.md" in navigation

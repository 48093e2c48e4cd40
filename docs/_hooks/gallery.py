"""The gallery: examples that the build runs in their smoke preset, each shown as a page.

A script of `examples/` in percent format becomes a page under its name: its text, its code, and
below each cell what it printed. A printed line

    picture: PATH (WHAT IT SHOWS)

becomes that picture in its place. A script that fails, fails the build. Each runs once in a build,
in a process of its own; nothing is kept for the next one.

Where the real data of an example are at hand, in the folder that `DARTS_MIM_DATA` names or in
`../shared/data`, it runs on them, else on what the repository brings along. The page says which.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cells import Cell, split_cells
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
RUNNER = Path(__file__).with_name("cells.py")
INDEX, INDEX_MARK = "gallery/index.md", "<!-- the cards of the gallery -->"
TIME_LIMIT = 600  # seconds; a smoke preset takes some twenty of them
MAX_PROCESSES = 4

_PICTURE = re.compile(r"^picture: (?P<path>\S+) \((?P<alt>.*)\)$")


@dataclass(frozen=True)
class Example:
    """A script, the data it wants, and what stands for it on the first page of the gallery.

    Attributes
    ----------
    name
        Name of the script, without its ending.
    thumbnail
        Name of the picture on the card.
    data
        Where its real data lie in the folder of data; `None` where it needs none.
    without
        What it is told where they are not there.
    options
        What it is told besides the preset.
    said_with, said_without
        What the page says it ran on.
    """

    name: str
    thumbnail: str
    data: str | None = None
    without: tuple[str, ...] = ("--data", "stand-in")
    options: tuple[str, ...] = ()
    said_with: str = "on the real data"
    said_without: str = (
        "on a **stand-in** that the script writes itself, because the real data were not there: "
        "it has their format, and the figures mean nothing"
    )

    @property
    def script(self) -> Path:
        """The file."""
        return ROOT / "examples" / f"{self.name}.py"

    @property
    def has_data(self) -> bool:
        """Whether its real data are at hand."""
        folder = os.environ.get("DARTS_MIM_DATA") or ROOT.parent / "shared" / "data"
        return self.data is not None and (Path(folder) / self.data).exists()

    @property
    def arguments(self) -> list[str]:
        """What the build tells it, besides where to write."""
        is_lacking = self.data is not None and not self.has_data
        return ["--preset", "smoke", *self.options, *(self.without if is_lacking else ())]


EXAMPLES = (
    Example(
        "moving_mnist",
        thumbnail="forecast.gif",
        data="mnist",
        without=("--digits", "bundled"),
        said_with="on MNIST",
        said_without="on the handwritten digits that come with scikit-learn, because MNIST was not "
        "there",
    ),
    Example(
        "kth",
        thumbnail="forecast.gif",
        data="weizmann",
        options=("--dataset", "weizmann"),
        said_with="on the clips of the Weizmann actions",
    ),
    Example(
        "taxibj",
        thumbnail="forecast.gif",
        data="nyc_taxi_bike/NYTaxi",
        options=("--dataset", "nyc-taxi"),
        said_with="on taxis of New York",
    ),
    Example("sea_surface_temperature", thumbnail="strip.png", data="sst/sst.mnmean.nc"),
    Example("multivariate", thumbnail="forecast.png"),
    Example("custom_network", thumbnail="strip.png"),
)


@dataclass(frozen=True)
class Page:
    """A page of the gallery.

    Attributes
    ----------
    name
        Name of the example.
    markdown
        The page.
    pictures
        Its pictures, by their names.
    """

    name: str
    markdown: str
    pictures: dict[str, bytes] = field(repr=False)

    @property
    def title(self) -> str:
        """The first heading."""
        return self.markdown.splitlines()[0].removeprefix("# ")


_pages: dict[str, Page] = {}  # of this build, for the cards


def on_files(files: Files, config: Any, **_: Any) -> None:
    """Run the examples and add their pages and pictures to the site."""
    n_processes = min(os.cpu_count() or 1, MAX_PROCESSES)
    with ThreadPoolExecutor(n_processes) as pool:
        pages = list(pool.map(make_page, EXAMPLES))
    for page in pages:
        _pages[page.name] = page
        files.append(File.generated(config, f"gallery/{page.name}.md", content=page.markdown))
        for name, picture in page.pictures.items():
            uri = f"gallery/{page.name}/{name}"
            files.append(File.generated(config, uri, content=picture))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the cards on the first page of the gallery."""
    if page.file.src_uri != INDEX:
        return markdown
    if INDEX_MARK not in markdown:
        raise PluginError(f"docs/{INDEX} must hold the line `{INDEX_MARK}`, where the cards go")
    cards = "\n".join(_card(_pages[example.name], example.thumbnail) for example in EXAMPLES)
    return markdown.replace(INDEX_MARK, f'<div class="grid cards" markdown>\n\n{cards}\n\n</div>')


def make_page(example: Example) -> Page:
    """Run an example, and make a page of it.

    Raises
    ------
    mkdocs.exceptions.PluginError
        If the script fails, runs for too long, or does not draw the picture of its card.
    """
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        texts = run_example(example.script, example.arguments, Path(folder))
        note = _note(example, time.monotonic() - started)
        cells = split_cells(example.script.read_text())
        page = render_page(example.name, cells, texts, note, Path(folder))
    if example.thumbnail not in page.pictures:
        raise PluginError(
            f"{example.script.name} must show {example.thumbnail}, the picture of its card; it "
            f"showed {', '.join(page.pictures) or 'none'}"
        )
    return page


def run_example(script: Path, arguments: list[str], folder: Path) -> list[str]:
    """Run a script in a process of its own, and return what each of its code cells printed.

    Parameters
    ----------
    script
        The script.
    arguments
        What it is told, besides where to write.
    folder
        Where it runs; it writes to `out/NAME` in it.
    """
    record = folder / "printed.json"
    output = f"out/{script.stem}"
    command = [sys.executable, RUNNER, record, script, *arguments, "--output", output]
    try:
        answer = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
            # one thread each: on a busy machine threads that wait for each other cost minutes
            env={**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise PluginError(f"{script.name} ran for more than {TIME_LIMIT} s") from error
    if answer.returncode:
        raise PluginError(f"{script.name} failed:\n{answer.stderr[-4000:]}")
    texts: list[str] = json.loads(record.read_text())
    return texts


def render_page(name: str, cells: list[Cell], texts: list[str], note: str, folder: Path) -> Page:
    """Make a page of a script and of what its code cells printed.

    Parameters
    ----------
    name
        Name of the example, under which its pictures lie.
    cells
        The script; the first cell is text that begins with the title.
    texts
        What each code cell printed.
    note
        Where the page comes from; it stands below the first cell.
    folder
        What the paths of printed pictures start from.
    """
    if not (cells and cells[0].is_markdown and cells[0].source.startswith("# ")):
        raise PluginError(
            f"{name}.py must begin with a text cell that begins with `# ` and a title"
        )
    parts, pictures, printed = [cells[0].source, note], {}, iter(texts)
    for cell in cells[1:]:
        if cell.is_markdown:
            parts.append(cell.source)
            continue
        parts.append(_fenced("python", cell.source))
        parts += _render_printed(next(printed), name, folder, pictures)
    return Page(name, "\n\n".join(parts) + "\n", pictures)


def _render_printed(text: str, name: str, folder: Path, pictures: dict[str, bytes]) -> list[str]:
    """Return blocks of text and pictures in the order they were printed; collect the pictures."""
    blocks: list[str] = []
    lines: list[str] = []

    def end_block() -> None:
        if "".join(lines).strip():
            blocks.append(_fenced("{ .text .no-copy }", "\n".join(lines).strip("\n")))
        lines.clear()

    for line in text.splitlines():
        match = _PICTURE.match(line)
        if match is None:
            lines.append(line.rstrip())
            continue
        end_block()
        picture = folder / match["path"]
        pictures[picture.name] = picture.read_bytes()
        blocks.append(f"![{match['alt']}]({name}/{picture.name})")
    end_block()
    return blocks


def _fenced(kind: str, source: str) -> str:
    return f"````{kind}\n{source}\n````"


def _note(example: Example, seconds: float) -> str:
    """Say what the page was made by."""
    path = example.script.relative_to(ROOT)
    said = ""
    if example.data is not None:
        said = f", {example.said_with if example.has_data else example.said_without}"
    return (
        '!!! info "This page ran when the site was built"\n\n'
        f"    It is `{path}`, run in {seconds:.0f} seconds{said}:\n\n"
        f"        python {path} {' '.join(example.arguments)}\n\n"
        "    That is enough to see that everything works, and too short to forecast well; the "
        "preset `cpu` trains for minutes."
    )


def _card(page: Page, thumbnail: str) -> str:
    """Return an item of the grid of cards: picture, title, first sentence."""
    paragraph = page.markdown.split("\n\n")[1].replace("\n", " ")
    sentence = paragraph.split(". ")[0].removesuffix(".") + "."
    style = "width: 100%; height: 10rem; object-fit: contain; background: white"
    return (
        f'-   [![{page.title}]({page.name}/{thumbnail}){{ style="{style}" }}]({page.name}.md)\n\n'
        f"    **[{page.title}]({page.name}.md)**\n\n    {sentence}\n"
    )

"""The gallery: examples that the build runs, each shown as a page.

A script of `examples/` in percent format becomes a page: its text, its code, and after each cell
its output: what it printed, and the pictures that it wrote. A script that fails, fails the build.
Each runs once in a build, in a process of its own.

An example runs on real data where these are at hand, in the folder that `DARTS_MIM_DATA` names or
in `../shared/data`; otherwise on stand-ins. The page says which.
"""

from __future__ import annotations

import json
import os
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
TIME_LIMIT = 600  # seconds; an example takes some twenty of them
MAX_PROCESSES = 4


@dataclass(frozen=True)
class Example:
    """A script, how it is called, and the picture of its card on the first page of the gallery.

    Attributes
    ----------
    path
        Path of the script below `examples/`.
    thumbnail
        Name of the picture on the card.
    arguments
        Arguments for a short run; `{data}` stands for the data.
    data
        Where its real data lie in the folder of data; `None` where it needs none.
    stand_in
        What takes the place of `{data}` where the real data are missing. A name that ends in
        `.nc` is written first, by `stand_ins.write_sea_surface`.
    """

    path: str
    thumbnail: str
    arguments: tuple[str, ...] = ("--quick",)
    data: str | None = None
    stand_in: str = "stand-in"

    @property
    def name(self) -> str:
        """Name of the page."""
        return Path(self.path).stem

    @property
    def script(self) -> Path:
        """The file."""
        return ROOT / "examples" / self.path

    @property
    def data_path(self) -> Path | None:
        """Where its real data are, `None` where they are missing."""
        if self.data is None:
            return None
        folder = os.environ.get("DARTS_MIM_DATA") or ROOT.parent / "shared" / "data"
        path = Path(folder) / self.data
        return path if path.exists() else None

    def command(self, data: str) -> list[str]:
        """Return the arguments of the short run on the data."""
        return [each.format(data=data) for each in self.arguments]


EXAMPLES = (
    Example("bouncing_digits.py", thumbnail="forecast.gif"),
    Example(
        "sea_surface_temperature.py",
        thumbnail="last_months_and_forecast.png",
        arguments=("{data}", "--quick"),
        data="sst/sst.mnmean.nc",
        stand_in="stand-in.nc",
    ),
    Example("multivariate.py", thumbnail="observed_and_forecast.png"),
    Example("custom_network.py", thumbnail="forecast.png"),
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
        If the script fails, runs for too long, or does not write the picture of its card.
    """
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        outputs = run_example(example, Path(folder))
        note = _note(example, time.monotonic() - started)
        cells = split_cells(example.script.read_text())
        page = render_page(example.name, cells, outputs, note, Path(folder))
    if example.thumbnail not in page.pictures:
        raise PluginError(
            f"{example.path} must write {example.thumbnail}, the picture of its card; it wrote "
            f"{', '.join(page.pictures) or 'none'}"
        )
    return page


def run_example(example: Example, folder: Path) -> list[dict[str, Any]]:
    """Run a script in a process of its own, in a folder; return the output of each code cell."""
    record, data = folder / "output.json", str(example.data_path or example.stand_in)
    if data.endswith(".nc") and example.data_path is None:
        sys.path.insert(0, str(ROOT / "examples" / "paper"))
        import stand_ins

        stand_ins.write_sea_surface(folder / data)
    try:
        answer = subprocess.run(
            [sys.executable, RUNNER, record, example.script, *example.command(data)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
            # one thread each: on a busy machine threads that wait for each other cost minutes
            env={**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise PluginError(f"{example.path} ran for more than {TIME_LIMIT} s") from error
    if answer.returncode:
        raise PluginError(f"{example.path} failed:\n{answer.stderr[-4000:]}")
    outputs: list[dict[str, Any]] = json.loads(record.read_text())
    return outputs


def render_page(
    name: str, cells: list[Cell], outputs: list[dict[str, Any]], note: str, folder: Path
) -> Page:
    """Make a page of a script and of the output of its code cells.

    Parameters
    ----------
    name
        Name of the example, under which its pictures lie.
    cells
        The script; the first cell is text that begins with the title.
    outputs
        Text and pictures of each code cell.
    note
        How the page was made; it stands below the first cell.
    folder
        Folder that the paths of pictures start from.
    """
    if not (cells and cells[0].is_markdown and cells[0].source.startswith("# ")):
        raise PluginError(
            f"{name}.py must begin with a text cell that begins with `# ` and a title"
        )
    parts, pictures, rest = [cells[0].source, note], {}, iter(outputs)
    for cell in cells[1:]:
        if cell.is_markdown:
            parts.append(cell.source)
            continue
        parts.append(_fenced("python", cell.source))
        output = next(rest)
        if output["text"].strip():
            text = "\n".join(line.rstrip() for line in output["text"].strip("\n").splitlines())
            parts.append(_fenced("{ .text .no-copy }", text))
        for path in output["pictures"]:
            picture = folder / path
            pictures[picture.name] = picture.read_bytes()
            alt = picture.stem.replace("_", " ").capitalize()
            parts.append(f"![{alt}]({name}/{picture.name})")
    return Page(name, "\n\n".join(parts) + "\n", pictures)


def _fenced(kind: str, source: str) -> str:
    return f"````{kind}\n{source}\n````"


def _note(example: Example, seconds: float) -> str:
    """Say how the page was made."""
    found, said = example.data_path, ""
    if example.data is not None:
        said = " on real data" if found else f", without its data, on `{example.stand_in}`"
    data = f"path/to/{found.name}" if found else example.stand_in
    command = " ".join(["python", f"examples/{example.path}", *example.command(data)])
    return (
        '!!! info "This page ran when the site was built"\n\n'
        f"    `examples/{example.path}` ran for {seconds:.0f} seconds{said}:\n\n"
        f"        {command}\n\n"
        "    That shows that everything works, and is too short to forecast well."
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

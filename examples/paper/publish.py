"""Put the results of experiments under `docs/results/`, and make their tables anew.

    python examples/paper/publish.py out/moving_mnist_constant_cpu out/taxibj_nyc-taxi_cpu

copies the records, losses and pictures of these runs. Without folders it only makes the tables
anew: every table on the site is made of records by this command.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common import in_words
from published import PUBLISHED
from records import write_whole
from tables import as_lines, as_markdown, means_of

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
RECORDS, PICTURES = ("results*.json", "errors*.csv"), ("*.png", "*.gif")
_SEED = re.compile(r"_seed\d+$")


def copy_run(folder: Path) -> Path:
    """Copy what a run left behind, and the loss of each of its models."""
    if not (folder / "results.json").exists():
        raise SystemExit(f"{folder} holds no results.json: let the run end")
    goal = RESULTS / folder.name
    goal.mkdir(parents=True, exist_ok=True)
    # the pictures of one seed are enough
    is_further_seed = _SEED.search(folder.name) is not None
    for pattern in RECORDS if is_further_seed else RECORDS + PICTURES:
        for path in folder.glob(pattern):
            shutil.copy2(path, goal)
    for path in folder.glob("*/loss.csv"):
        shutil.copy2(path, goal / f"loss_{path.parent.name}.csv")
    return goal


def origin(record: Mapping[str, Any]) -> str:
    """Say where the figures of a run come from, model by model."""
    rows = {
        name: {
            "parameters": f"{each['parameters'] / 1e6:.2f} million",
            "steps": f"{each['steps']:,}",
            "training": in_words(each["seconds"]),
            "threads": each["threads"],
            "commit": f"`{each['commit']}`",
            "command": f"`{each['command']}`",
        }
        for name, each in record["training"].items()
    }
    last = next(iter(record["training"].values()))
    versions = ", ".join(
        f"{name} {version}" for name, version in last["versions"].items()
    )
    return (
        f"Seed {record['seed']}, {last['device']}; Python {record['python']}, {versions}.\n\n"
        f"{as_lines(pd.DataFrame(rows).T)}\n"
    )


def tables_of(record: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the table of each model: a row for each frame and one for their mean."""
    return {
        name: pd.DataFrame(rows).T for name, rows in record["figures"].items()
    }


def spread(records: Iterable[Mapping[str, Any]]) -> str:
    """Return the mean of each figure over runs of several seeds, and its standard deviation."""
    means = [means_of(tables_of(record)) for record in records]
    values = np.stack([each.loc[means[0].index] for each in means])
    centre, deviation = values.mean(axis=0), values.std(axis=0, ddof=1)
    cells = [
        [
            f"{a:.4g} ± {b:.2g}" if b > 1e-9 * abs(a) else f"{a:.4g}"
            for a, b in zip(*row, strict=True)
        ]
        for row in zip(centre, deviation, strict=True)
    ]
    table = pd.DataFrame(cells, means[0].index, means[0].columns)
    return f"{as_lines(table)}\n"


def make_tables() -> dict[Path, str]:
    """Return what every record under `docs/results/` says in tables, by the path of its file."""
    made: dict[Path, str] = {}
    by_run: dict[Path, list[dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*/results*.json")):
        record = json.loads(path.read_text())
        if "training" not in record:
            continue  # of one model alone, without a table of its own
        ending = path.stem.removeprefix("results")
        made[path.with_name(f"table{ending}.md")] = as_markdown(
            tables_of(record), PUBLISHED.get(record["published"]), record
        )
        if not ending:
            made[path.with_name("origin.md")] = origin(record)
            run = path.parent.with_name(_SEED.sub("", path.parent.name))
            by_run.setdefault(run, []).append(record)
    for run, records in by_run.items():
        if len(records) > 1:
            made[run / "seeds.md"] = spread(records)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, help="of runs")
    for run_folder in parser.parse_args().folders:
        print(copy_run(run_folder))
    for file, text in make_tables().items():
        write_whole(file, text)
        print(file)

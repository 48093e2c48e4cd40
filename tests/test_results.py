"""The tables of results say what the records of runs say."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
MAKE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import publish
print(json.dumps({str(path): text for path, text in publish.make_tables().items()}))
"""


def made_tables() -> dict[str, str]:
    command = [sys.executable, "-c", MAKE, str(ROOT / "examples" / "paper")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    tables: dict[str, str] = json.loads(answer.stdout)
    return tables


def test_every_table_is_made_of_its_record_and_there_are_no_others() -> None:
    made = made_tables()
    assert {str(path) for path in RESULTS.glob("*/*.md")} == set(made)
    for path, text in made.items():
        assert Path(path).read_text() == text, "run `python examples/paper/publish.py`"


def test_every_figure_comes_with_its_command_its_commit_its_device_and_its_losses() -> None:
    for path in RESULTS.glob("*/results*.json"):
        record = json.loads(path.read_text())
        for name, training in record.get("training", {}).items():
            assert training["command"].startswith("python examples/")
            assert not training["commit"].endswith("-dirty")
            assert training["device"]
            losses = pd.read_csv(path.with_name(f"loss_{name.lower().replace(' ', '-')}.csv"))
            assert losses["loss"].iloc[-1] == training["last_loss"]
            assert losses["step"].iloc[-1] == training["steps"] == record["preset"]["steps"]

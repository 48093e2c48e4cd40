"""What is wrong in a page fails the build."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the extra `docs` builds the site")

CONFIG = Path(__file__).resolve().parents[2] / "mkdocs.yml"
FAULTS = {
    "an example that fails": '```python exec="true"\n1 / 0\n```',
    "a link to no page": "[there](nowhere.md)",
    "a link to no heading": "[there](#nowhere)",
    "a link to no object": "[`there`][darts_mim.nowhere]",
    "a file that is not there": '--8<-- "nowhere.md"',
}


def build(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Build a site of one page with the settings of ours."""
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text(f"# Page\n\n{text}\n")
    settings = f"INHERIT: {CONFIG}\nnav: [index.md]\nhooks: []\nextra_css: []\n"
    (folder / "mkdocs.yml").write_text(settings)
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )


def test_a_page_without_faults_is_built(tmp_path: Path) -> None:
    answer = build(tmp_path, '```python exec="true"\nprint("A *result*.")\n```')
    assert answer.returncode == 0, answer.stderr
    assert "A <em>result</em>." in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_build(tmp_path: Path, fault: str) -> None:
    answer = build(tmp_path, FAULTS[fault])
    assert answer.returncode != 0
    assert "nowhere" in answer.stderr or "ZeroDivisionError" in answer.stderr

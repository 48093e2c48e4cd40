import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_example_of_the_readme_runs():
    examples = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    if not examples:
        pytest.fail(f"no python example in {README}")
    exec(compile("\n".join(examples), str(README), "exec"), {"__name__": "readme"})

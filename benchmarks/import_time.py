"""Time `import darts_mim` against the import of Darts' torch models alone.

    python benchmarks/import_time.py

The two are imported in turn, each in a process of its own; what counts is the ratio within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from origin import describe_origin

IMPORTS = {
    "darts": "from darts.models import TiDEModel",
    "darts_mim": "import darts_mim",
}


def seconds_of(statement: str) -> float:
    """Return how long a new process takes that runs one statement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Time both in turn and print their medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    rounds = [
        {name: seconds_of(statement) for name, statement in IMPORTS.items()}
        for _ in range(arguments.rounds + 1)
    ][1:]  # the first one brings the files into memory
    ratios = sorted(each["darts_mim"] / each["darts"] for each in rounds)
    record = {
        **describe_origin(),
        "imports": IMPORTS,
        "rounds": arguments.rounds,
        "seconds": {
            name: round(statistics.median(each[name] for each in rounds), 2) for name in IMPORTS
        },
        "ratio": {
            "median": round(statistics.median(ratios), 3),
            "least": round(ratios[0], 3),
            "most": round(ratios[-1], 3),
        },
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

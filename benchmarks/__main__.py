"""Measure speed and memory of the networks, and write a record that a later run goes on with.

    python -m benchmarks --parts steps scaling --output record.json

What is compared is done in turn within each round, and what counts are the medians of the ratios
within a round. Use a machine on which nothing else runs.
"""

from __future__ import annotations

import sys
from importlib import import_module

import torch

from benchmarks.options import Case, Options, PartSkippedError, PeerError, options_of, parse
from benchmarks.printing import tables_of
from benchmarks.record import Record, describe_run

MODULES = {
    "steps": "benchmarks.parts.steps",
    "scaling": "benchmarks.parts.scaling",
    "calls": "benchmarks.parts.calls",
    "darts": "benchmarks.parts.through_darts",
    "recompute": "benchmarks.parts.recompute",
    "peer": "benchmarks.parts.peer",
}


def cases_of(part: str, options: Options, record: Record) -> list[Case]:
    """Return what a part has to measure, and note it if it cannot."""
    try:
        cases: list[Case] = import_module(MODULES[part]).cases(options)
    except PartSkippedError as reason:
        record.skip(part, str(reason))
        print(f"{part}: left out, {reason}")
        return []
    return [case for case in cases if not record.has(part, case.key)]


def measure(part: str, cases: list[Case], record: Record) -> None:
    """Measure the rows that are missing."""
    for number, case in enumerate(cases, start=1):
        print(f"{part} {number}/{len(cases)}:", *case.key.values(), flush=True)
        record.add(part, {**case.key, **case.measure()})


def main() -> None:
    """Measure all parts and print their tables."""
    parsed = parse()
    torch.set_num_threads(parsed.threads)
    options = options_of(parsed)
    record = Record(parsed.output, describe_run(options.device))
    try:
        plans = {part: cases_of(part, options, record) for part in parsed.parts}
    except PeerError as error:
        sys.exit(f"error: {error}")
    for part, cases in plans.items():
        measure(part, cases, record)
    for part in parsed.parts:
        if rows := record.rows(part):
            print(f"\n== {part}\n\n{tables_of(rows)}")
    print(f"\n{parsed.output}")


if __name__ == "__main__":
    main()

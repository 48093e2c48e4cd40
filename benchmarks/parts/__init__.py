"""The parts of ``python -m benchmarks``, each imported when it is asked for.

A part is a module with a function ``cases`` that takes ``Options`` and returns what to measure.
"""

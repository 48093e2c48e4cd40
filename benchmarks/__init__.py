"""What the claims about speed and memory are measured with: ``python -m benchmarks``.

Beside it, scripts that measure one thing each: ``python benchmarks/NAME.py``.
"""

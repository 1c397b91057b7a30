"""Instruction counts under callgrind: which change of code made something slower, on a machine of any load.

``pytest benchmarks/instructions`` compares them with `baseline.json`, and `record` writes that. See docs/benchmarks.md.
"""

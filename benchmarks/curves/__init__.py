"""How costs grow: each module measures one curve after the other and gives a `Plot` for `benchmarks/scaling.py`."""

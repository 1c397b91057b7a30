"""Training side of fastroute: distil a static token table, train routers. Scoring never imports it.

Modules
-------
distill
    A static token table from a local sentence encoder; `bert_forward` and `onnx_forward` run the encoder.
preferences, outcomes
    Battles from a table of judgements, or from a table of scores; `table_parts` reads them.
battles
    Battles as checked arrays: joined, balanced, split.
mf
    The matrix-factorization router; `mf_loops` compiles its loops, `strengths` gives its start.
progress
    A bar on terminals.
"""

"""Training side of fastroute: distil a static token table, train routers. Scoring never imports it.

Modules
-------
distill
    A static token table from a local sentence encoder; `bert_forward` and `onnx_forward` run the encoder.
preferences, outcomes
    Battles from a table of judgements, or from a table of scores; `table_parts` reads them.
battles, scores
    Battles, and scores, as checked arrays: joined, balanced, split; `together` takes tables of both, `guessing` knows
    what a guess scores.
mf, mf_outcomes
    The matrix-factorization router on battles, and on scores; `mf_descent` has the steps, `mf_loops` and
    `mf_outcome_loops` compile the loops, `strengths` gives the start.
comparisons
    Scores as tasks with a strong and a weak side; `experts` and `qualities` (nearest neighbours) are trained on them.
splits
    Which prompts are drawn, held out, or of which fold.
tiers, held_out_battles
    Models with like ratings put together, and how a router of battles does on prompts that it has not seen.
provenance
    What an artifact says of its data.
progress
    A bar on terminals.
"""

"""Prompts that two sets share, word for word or nearly: training data that gives away an evaluation.

::

    texts     what of a text is compared: its normal form, its words, the question that it asks
    exact     the same text but for case, space and Unicode forms
    near      runs of eight words in common
    semantic  embeddings that point the same way
    pairs     all three ──> Pair
    sources   files and folders of prompts
    cleaning  the training file without what was found

Only NumPy is needed; FAISS, where installed, finds the same semantic pairs faster.
"""

from __future__ import annotations

from fastroute.contamination.cleaning import Cleaning, decontaminate
from fastroute.contamination.pairs import METHODS, Pair, find_pairs
from fastroute.contamination.sources import EvalSet, read_eval_set

__all__ = ["METHODS", "Cleaning", "EvalSet", "Pair", "decontaminate", "find_pairs", "read_eval_set"]

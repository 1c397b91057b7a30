"""All ways to find a pair, the surest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute.contamination.exact import exact_pairs
from fastroute.contamination.near import near_pairs
from fastroute.contamination.semantic import semantic_pairs
from fastroute.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastroute.contamination.semantic import Engine, Pairs
    from fastroute.encoders import Encoder

__all__ = ["CONTAINMENT", "COSINE", "METHODS", "Pair", "find_pairs"]

METHODS = ("exact", "near", "semantic")
"""From the surest to the least sure."""

COSINE = 0.95
CONTAINMENT = 0.5


@dataclass(frozen=True, slots=True)
class Pair:
    """A training text and an evaluation text that are too much alike.

    Attributes
    ----------
    train, evaluation
        Indices of the two.
    method
        The surest of `METHODS` that finds the pair.
    similarity
        1 for "exact"; the share of the question's word runs that stand in the other text for "near"; the
        cosine for "semantic".
    """

    train: int
    evaluation: int
    method: str
    similarity: float


def find_pairs(
    train: Sequence[str],
    evaluation: Sequence[str],
    *,
    methods: Sequence[str] = METHODS,
    cosine: float = COSINE,
    containment: float = CONTAINMENT,
    encoder: Encoder | None = None,
    engine: Engine = "auto",
) -> tuple[Pair, ...]:
    """Find the pairs of two lists of texts, each pair once.

    Parameters
    ----------
    train, evaluation
        Texts. Those that occur often are better given once: every pair of indices is listed.
    methods
        Some of `METHODS`; see `exact_pairs`, `near_pairs` and `semantic_pairs` in the modules of those names.
    cosine
        Least cosine of "semantic", above 0.
    containment
        Least share of "near", above 0.
    encoder
        For "semantic"; the built-in one by default.
    engine
        "auto" is FAISS where it is installed, else NumPy; the pairs are the same.

    Returns
    -------
    tuple of Pair
        By `train`, then by `evaluation`.

    Raises
    ------
    InvalidArgumentError, InvalidTypeError
        An argument has a value or type that is not allowed.
    MissingDependencyError
        ``engine="faiss"`` without FAISS.
    """
    _check(train, evaluation, methods=methods, cosine=cosine, containment=containment, engine=engine)
    found: list[tuple[str, Pairs]] = []
    if "exact" in methods:
        first, second = exact_pairs(train, evaluation)
        found.append(("exact", (first, second, np.ones(len(first)))))
    if "near" in methods:
        found.append(("near", near_pairs(train, evaluation, containment=containment)))
    if "semantic" in methods:
        if encoder is None:
            from fastroute.encoders import load_encoder

            encoder = load_encoder()
        pairs = semantic_pairs(train, evaluation, cosine=cosine, encoder=encoder, engine=engine)
        found.append(("semantic", pairs))
    surest: dict[tuple[int, int], Pair] = {}
    for method, columns in found:
        for one, other, similarity in zip(*(column.tolist() for column in columns), strict=True):
            surest.setdefault((one, other), Pair(one, other, method, similarity))
    return tuple(surest[key] for key in sorted(surest))


def _check(
    train: Sequence[str],
    evaluation: Sequence[str],
    *,
    methods: Sequence[str],
    cosine: float,
    containment: float,
    engine: str,
) -> None:
    for name, texts in (("train", train), ("evaluation", evaluation)):
        if isinstance(texts, str):
            raise InvalidTypeError(f"{name}: found str, allowed: a sequence of str")
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidTypeError(f"{name}: item {index} is {type(text).__name__}; str is needed")
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise InvalidArgumentError(f"methods: found {list(methods)}, allowed: one or more of {', '.join(METHODS)}")
    for name, value in (("cosine", cosine), ("containment", containment)):
        if not 0 < value <= 1:
            raise InvalidArgumentError(f"{name}: found {value!r}, allowed: above 0, up to 1")
    if engine not in ("auto", "faiss", "numpy"):
        raise InvalidArgumentError(f"engine: found {engine!r}, allowed: 'auto', 'faiss' or 'numpy'")

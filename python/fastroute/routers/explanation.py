"""Why a prompt got its score."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DomainShare", "Explanation", "FeatureEffect"]


@dataclass(frozen=True, slots=True)
class DomainShare:
    """How much a domain's expert counted, and what gain it expects.

    Attributes
    ----------
    domain
        Its name; a gold set's bears the prefix "gold: ".
    weight
        In [0, 1].
    gain
        Expected from the strong model if the prompt were of this domain alone.
    """

    domain: str
    weight: float
    gain: float


@dataclass(frozen=True, slots=True)
class FeatureEffect:
    """What a feature added to the gain.

    Attributes
    ----------
    feature
        A surface feature, or "embedding" for what the words mean.
    value
        The surface feature's value; None for the embedding.
    effect
        Its part of the gain.
    """

    feature: str
    value: float | None
    effect: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score and how it came about.

    Attributes
    ----------
    score, gain
        As the router gives them.
    domains
        All of them, the weightiest first; ``sum(weight * gain)`` is the gain.
    features
        All of them, those that moved the score most first; their effects add up to the gain.
    """

    score: float
    gain: float
    domains: tuple[DomainShare, ...]
    features: tuple[FeatureEffect, ...]

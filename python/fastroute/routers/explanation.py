"""Why a prompt got its score."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BattleExplanation",
    "CascadeExplanation",
    "DomainShare",
    "Explanation",
    "FeatureEffect",
    "NearestBattle",
    "NearestPrompt",
    "NeighbourExplanation",
]


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


@dataclass(frozen=True, slots=True)
class NearestBattle:
    """A battle on a prompt that is like the one at hand.

    Attributes
    ----------
    prompt
        Its text, or its key where the artifact has no texts.
    model_a, model_b
        Who fought.
    winner
        "model_a", "model_b" or "tie".
    outcome
        In [0, 1]: 1 where model_a won, .5 for a tie; in between where several judged, or where scores were compared.
    similarity
        Cosine of the prompt's embedding and the indexed one as it is stored, within .004 of the exact one.
    weight
        What the battle counts in the fit: 1 on the most similar prompt, times its own weight, 1 for the average battle.
    battles
        How many battles the index has on this prompt.
    """

    prompt: str
    model_a: str
    model_b: str
    winner: str
    outcome: float
    similarity: float
    weight: float
    battles: int


@dataclass(frozen=True, slots=True)
class BattleExplanation:
    """A score by similarity-weighted Elo, and the battles that weigh most in it.

    Attributes
    ----------
    score
        As the router gives it: the win rate of the strong model's tier.
    global_score
        The win rate with all battles alike, whatever the prompt.
    prompts
        How many prompts the index has.
    battles
        The nearest, most similar first.
    """

    score: float
    global_score: float
    prompts: int
    battles: tuple[NearestBattle, ...]


@dataclass(frozen=True, slots=True)
class NearestPrompt:
    """A scored prompt that is like the one at hand.

    Attributes
    ----------
    prompt
        Its text, or its key where the artifact has no texts.
    strong, weak
        Quality of the two models on it: scores from 0 to 1, or, where domains were scored with different models, moved
        by what a model's mean over the domain lacks of its mean over all, so that they may leave that range.
    similarity
        Cosine of the prompt's embedding and the indexed one as it is stored, within .004 of the exact one.
    weight
        What it counts; the most similar one counts 1.
    """

    prompt: str
    strong: float
    weak: float
    similarity: float
    weight: float


@dataclass(frozen=True, slots=True)
class NeighbourExplanation:
    """A score by nearest neighbours, and the nearest of them.

    Attributes
    ----------
    score
        As the router gives it.
    gain
        Quality of the strong model above the weak one among the neighbours, shrunk to that of all prompts.
    standard_error
        Of `gain`; infinite for a single neighbour.
    global_gain
        Mean over all prompts: what a prompt is taken to gain unless its neighbours clearly say otherwise.
    trusted
        Whether `gain` differs from `global_gain` by more than the guard allows for chance.
    neighbours
        How many count.
    nearest
        The nearest of them, most similar first.
    """

    score: float
    gain: float
    standard_error: float
    global_gain: float
    trusted: bool
    neighbours: int
    nearest: tuple[NearestPrompt, ...]


@dataclass(frozen=True, slots=True)
class CascadeExplanation:
    """Which router of a cascade decided, and within what bounds.

    Attributes
    ----------
    score
        The second router's, kept within the bounds; where it wasn't asked, the bound that is nearer to the threshold.
    threshold
        The cascade's own.
    first
        The first router's score.
    low, high
        What it leaves open of the second's: it decides unless ``low < threshold <= high``.
    second
        The second router's score; None where it wasn't asked.
    """

    score: float
    threshold: float
    first: float
    low: float
    high: float
    second: float | None

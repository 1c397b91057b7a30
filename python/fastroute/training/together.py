"""What routers are trained on: battles and outcomes together, either of which may be missing."""

from __future__ import annotations

from fastroute.errors import InvalidArgumentError
from fastroute.training.battles import Battles, mix_battles
from fastroute.training.outcomes import battles_from_outcomes
from fastroute.training.preferences import battles_from_preferences
from fastroute.training.scores import Scores, scores_from_outcomes, scores_with_battles

__all__ = ["battles_of_both", "scores_of_both"]


def battles_of_both(battles: object, outcomes: object, *, seed: int = 0) -> Battles:
    """Battles of a table of judgements, of one of scores, or of both.

    Parameters
    ----------
    battles, outcomes
        Tables, or `Battles` as they are; None for what is missing.
    seed
        Of the pairs that are drawn from outcomes.

    Raises
    ------
    InvalidArgumentError
        Both are missing; or one has texts, the other rows of an embedding matrix.
    """
    if battles is None and outcomes is None:
        raise InvalidArgumentError("battles, outcomes: neither given; at least one is needed")
    judged = (
        battles
        if battles is None or isinstance(battles, Battles)
        else battles_from_preferences(battles, name="battles")
    )
    if outcomes is None and judged is not None:
        return judged  # as it is, weights and all
    scored = outcomes if isinstance(outcomes, Battles) else battles_from_outcomes(outcomes, seed=seed)
    return mix_battles(judged, scored)


def scores_of_both(battles: object, outcomes: object) -> Scores:
    """Scores of a table of outcomes, with the battles of a table of judgements besides.

    Parameters
    ----------
    battles, outcomes
        Tables, or `Battles` and `Scores` as they are; battles may be None.

    Raises
    ------
    InvalidArgumentError
        There are no outcomes; or one has texts, the other rows of an embedding matrix.
    """
    if outcomes is None:
        raise InvalidArgumentError("outcomes: found none, needed for the objective 'outcomes'")
    scores = outcomes if isinstance(outcomes, Scores) else scores_from_outcomes(outcomes)
    return scores if battles is None else scores_with_battles(scores, _judged(battles))


def _judged(battles: object) -> Battles:
    return battles if isinstance(battles, Battles) else battles_from_preferences(battles, name="battles")

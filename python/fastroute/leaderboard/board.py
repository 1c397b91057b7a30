"""The leaderboard: ratings with intervals, rank ranges and tiers, group by group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError, UnknownModelError
from fastroute.leaderboard.bootstrap import intervals, resampled_strengths
from fastroute.leaderboard.groups import comparable_groups, reachable
from fastroute.leaderboard.ratings import ELO_SCALE, strengths
from fastroute.leaderboard.votes import Votes, votes_from_table
from fastroute.training.tiers import assign_tiers

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Entry", "Group", "Leaderboard", "Unrated", "rank_models"]

_MEAN = 1000.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One model's place.

    Attributes
    ----------
    rank
        Place by rating, from 1.
    model
        Its name.
    rating
        Elo points.
    low, high
        Interval of the rating; infinite where battles drawn anew leave it without a bound.
    best_rank, worst_rank
        1 + the number of models whose interval lies wholly above this one's, and the number of models whose
        interval does not lie wholly below it.
    battles
        How many it fought, those against models of other groups among them.
    win_rate
        Share of these that it won, ties counted half.
    tier
        From 1, the strongest.
    """

    rank: int
    model: str
    rating: float
    low: float
    high: float
    best_rank: int
    worst_rank: int
    battles: int
    win_rate: float
    tier: int


@dataclass(frozen=True, slots=True)
class Group:
    """Models with ratings that can be compared, by rank.

    Attributes
    ----------
    entries
        Two models or more.
    relation
        How the group stands to the first one: "" for that itself, "above" (it only ever won against models
        that the first one's chains of wins lead to), "below" the reverse, "apart" where no battle tells.
    battles
        Battles between its models.
    """

    entries: tuple[Entry, ...]
    relation: str
    battles: int


@dataclass(frozen=True, slots=True)
class Unrated:
    """A model without a finite rating.

    Attributes
    ----------
    model
        Its name.
    reason
        "never lost", "never won", or "no chain of wins and losses to other models".
    battles
        How many it fought.
    """

    model: str
    reason: str
    battles: int


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Ratings from battles.

    Attributes
    ----------
    groups
        The largest first. Ratings of two groups say nothing about each other: each has its own mean.
    unrated
        Models of no group, by name.
    battles
        All battles.
    resamples
        Bootstrap resamples behind the intervals.
    confidence
        Coverage of the intervals.
    penalty
        As given to `rank_models`.
    """

    groups: tuple[Group, ...]
    unrated: tuple[Unrated, ...]
    battles: int
    resamples: int
    confidence: float
    penalty: float


@dataclass(frozen=True, slots=True)
class _Settings:
    anchor: str | None
    anchor_rating: float
    resamples: int
    seed: int
    tiers: int
    confidence: float
    penalty: float


def rank_models(
    battles: object,
    *,
    anchor: str | None = None,
    anchor_rating: float = _MEAN,
    resamples: int = 1000,
    seed: int = 0,
    tiers: int = 10,
    confidence: float = 0.95,
    penalty: float = 0.0,
) -> Leaderboard:
    """Rank models by Bradley-Terry ratings on the Elo scale, as Chatbot Arena does (arXiv 2403.04132).

    Ratings are maximum-likelihood strengths times 400 / ln 10: 400 points more are odds of 10 to 1. Ties
    count half a win each way. Maximum likelihood is finite only among models each of which reaches each
    other along wins; so the models are split into such groups, and each group is rated on its own. What that
    leaves out of a group changes nothing in it: its fit is the limit of the fit on everything.

    Parameters
    ----------
    battles
        `Votes`, or a table as `votes_from_table` takes it.
    anchor
        Model that gets `anchor_rating`; by default the mean of each group does. The mean of a group without
        the anchor is 1000.
    anchor_rating
        In Elo points.
    resamples
        Bootstrap resamples of the battles, each group's with replacement; 0 leaves the intervals unbounded.
    seed
        Of the bootstrap.
    tiers
        Tiers per group, at most.
    confidence
        Coverage of the percentile intervals, above 0 and below 1.
    penalty
        Above 0, ``penalty / 2`` times the squared strength of every model is taken from the log-likelihood.
        That pulls ratings to the mean, makes all of them finite and puts all models into one group;
        comparisons that no battle backs then come from the penalty.

    Returns
    -------
    Leaderboard

    Raises
    ------
    DataError
        The battles are not as `votes_from_table` needs them, or no model can be rated.
    UnknownModelError
        `anchor` has no battle, or no rating.
    InvalidArgumentError
        Another argument has a value that is not allowed.
    """
    settings = _Settings(anchor, anchor_rating, resamples, seed, tiers, confidence, penalty)
    _check(settings)
    votes = battles if isinstance(battles, Votes) else votes_from_table(battles)
    wins = votes.wins
    parts = [np.arange(len(wins))] if penalty > 0 else comparable_groups(wins)
    rated = [part for part in parts if len(part) > 1]
    if not rated:
        raise DataError(
            f"{votes.name}: no two models can be rated against each other: along wins, none is reached from a model "
            "that it reaches; more battles, or a penalty above 0 (--penalty), are needed"
        )
    _check_anchor(anchor, votes, rated)
    reach = reachable(wins)
    return Leaderboard(
        groups=tuple(_group(votes, part, _relation(reach, part[0], rated[0][0]), settings) for part in rated),
        unrated=tuple(_unrated(votes, int(part[0])) for part in sorted(parts, key=lambda p: p[0]) if len(part) == 1),
        battles=votes.battles,
        resamples=resamples,
        confidence=confidence,
        penalty=penalty,
    )


def _check(settings: _Settings) -> None:
    if not math.isfinite(settings.anchor_rating):
        raise InvalidArgumentError(f"anchor_rating: {settings.anchor_rating!r} given; a finite number is needed")
    for name, least in (("resamples", 0), ("seed", 0), ("tiers", 1)):
        value = getattr(settings, name)
        if value < least:
            raise InvalidArgumentError(f"{name}: {value} given; at least {least} is needed")
    if not 0 < settings.confidence < 1:
        raise InvalidArgumentError(f"confidence: {settings.confidence!r} given; above 0 and below 1 is needed")
    if not 0 <= settings.penalty < math.inf:
        raise InvalidArgumentError(f"penalty: {settings.penalty!r} given; a finite number, 0 or above, is needed")


def _check_anchor(anchor: str | None, votes: Votes, rated: list[NDArray[np.int64]]) -> None:
    if anchor is None:
        return
    if anchor not in votes.models:
        import difflib

        near = difflib.get_close_matches(anchor, votes.models, n=3, cutoff=0.3)
        hint = f"; the nearest are {', '.join(map(repr, near))}" if near else ""
        raise UnknownModelError(f"anchor: {anchor!r} has no battle in {votes.name}{hint}")
    if not any(votes.models.index(anchor) in part for part in rated):
        raise UnknownModelError(f"anchor: {anchor!r} has no finite rating; choose a model that has won and lost")


def _relation(reach: NDArray[np.bool_], model: int, first: int) -> str:
    if reach[model, first] and reach[first, model]:
        return ""
    return "above" if reach[model, first] else "below" if reach[first, model] else "apart"


def _unrated(votes: Votes, model: int) -> Unrated:
    won, lost = votes.wins[model].sum(), votes.wins[:, model].sum()
    reason = "never lost" if not lost else "never won" if not won else "no chain of wins and losses to other models"
    return Unrated(votes.models[model], reason, int(won + lost))


def _group(votes: Votes, part: NDArray[np.int64], relation: str, settings: _Settings) -> Group:
    block = np.ix_(part, part)
    wins = votes.wins[block]
    fitted = strengths(wins, penalty=settings.penalty)
    samples = resampled_strengths(
        np.stack([votes.won[block], np.triu(votes.tied[block])]),
        fitted,
        resamples=settings.resamples,
        seed=settings.seed,
        penalty=settings.penalty,
    )
    names = [votes.models[index] for index in part]
    origin_rating = settings.anchor_rating
    if settings.anchor is not None and settings.anchor not in names:
        origin_rating = _MEAN
    elif settings.anchor is not None:
        at = names.index(settings.anchor)
        origin = samples[:, at : at + 1]
        samples = samples - np.where(np.isfinite(origin), origin, fitted[at])
        fitted = fitted - fitted[at]
    rating = origin_rating + ELO_SCALE * fitted
    low, high = intervals(origin_rating + ELO_SCALE * samples, settings.confidence)
    best = 1 + (low[None, :] > high[:, None]).sum(axis=1)
    worst = len(part) - (high[None, :] < low[:, None]).sum(axis=1)
    tier = assign_tiers(rating, settings.tiers)
    won, lost = votes.wins[part].sum(axis=1), votes.wins[:, part].sum(axis=0)
    order = sorted(range(len(part)), key=lambda index: (-rating[index], names[index]))
    entries = tuple(
        Entry(
            rank=rank,
            model=names[index],
            rating=float(rating[index]),
            low=float(low[index]),
            high=float(high[index]),
            best_rank=int(best[index]),
            worst_rank=int(worst[index]),
            battles=int(won[index] + lost[index]),
            win_rate=float(won[index] / (won[index] + lost[index])),
            tier=int(tier[index]),
        )
        for rank, index in enumerate(order, start=1)
    )
    return Group(entries, relation, round(float(wins.sum())))

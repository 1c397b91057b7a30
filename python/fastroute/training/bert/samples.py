"""Prompts with what the loss compares them with: scores of models, or who won."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError
from fastroute.tables import Table, as_table
from fastroute.training.scores import as_outcomes, join_scores, scores_from_outcomes
from fastroute.training.strengths import bradley_terry
from fastroute.training.tiers import assign_tiers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.battles import Battles
    from fastroute.training.scores import Scores

__all__ = ["CLASSES", "Samples", "samples_from_battles", "samples_from_scores", "scores_of_tables"]

CLASSES = ("strong model wins", "tie", "weak model wins")
"""In the order of RouteLLM's checkpoint."""
_TIERS = 10  # as in the paper


@dataclass(frozen=True, slots=True)
class Samples:
    """Prompts of sources, each with its targets. A prompt that two sources have is two.

    Attributes
    ----------
    keys, prompts
        n keys, which decide on what is held out, and texts.
    source
        (n,) int64 indices into `sources`.
    sources
        Names of the data sets.
    columns
        Names of the network's outputs: K models, or the classes.
    begin
        (n + 1,) int64: the targets of sample i are ``begin[i]`` to ``begin[i + 1]``.
    column
        (m,) int64 indices into `columns`.
    target
        (m,) float64 in [0, 1]: a score, or the probability of a class.
    guess
        (m,) float64 in [0, 1): what an answer without knowledge scores.
    weight
        (m,) float64, positive: what a target counts in the loss; those of a sample are of one scale.
    dropped
        Reason to number of input rows left out.
    """

    keys: tuple[str, ...]
    prompts: tuple[str, ...]
    source: NDArray[np.int64]
    sources: tuple[str, ...]
    columns: tuple[str, ...]
    begin: NDArray[np.int64]
    column: NDArray[np.int64]
    target: NDArray[np.float64]
    guess: NDArray[np.float64]
    weight: NDArray[np.float64]
    dropped: dict[str, int]

    def __len__(self) -> int:
        return len(self.keys)

    def draw(self, among: NDArray[np.int64], most: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw without replacement, a source by its size to the power 1/2 and its samples alike.

        Parameters
        ----------
        among
            Samples to draw from.
        most
            How many; all come back where there are no more.

        Returns
        -------
        numpy.ndarray
            Indices of samples, in random order.
        """
        if len(among) <= most:
            return generator.permutation(among)
        sizes = np.bincount(self.source[among], minlength=len(self.sources))
        share = 1 / np.sqrt(sizes[self.source[among]])
        # The largest of u ** (1 / share) are a weighted draw without replacement (Efraimidis and Spirakis, 2006).
        order = np.argsort(np.log(generator.random(len(among))) / share, kind="stable")[::-1]
        drawn: NDArray[np.int64] = among[order[:most]]
        return generator.permutation(drawn)


def scores_of_tables(
    outcomes: object, judge_scores: object, *, score_range: tuple[float, float] = (0.0, 1.0)
) -> tuple[Scores, frozenset[str]]:
    """Read tables of outcomes, of judges' scores, or of both; return the names of the judges' sources too.

    `score_range` has the worst and the best score of the outcomes.

    Raises
    ------
    DataError
        A column is missing or a value is not allowed, or both tables have a source of one name.
    """
    judged = None if judge_scores is None else scores_from_outcomes(as_outcomes(judge_scores), name="judge_scores")
    if outcomes is None:
        if judged is None:
            raise DataError("outcomes, judge_scores: found neither; at least one is needed")
        return judged, frozenset(judged.sources)
    scored = scores_from_outcomes(_from_0_to_1(outcomes, *score_range))
    if judged is None:
        return scored, frozenset()
    twice = sorted({*scored.sources} & {*judged.sources})
    if twice:
        raise DataError(f"outcomes, judge_scores: both have a source {twice[0]!r}; rename one")
    return join_scores(scored, judged), frozenset(judged.sources)


def samples_from_scores(scores: Scores, judges: frozenset[str], *, judged_factor: float) -> Samples:
    """Make samples of scores: a sample's scores count as one together, or `judged_factor` where judges gave them.

    Raises
    ------
    DataError
        The scores have rows of a matrix for prompts.
    """
    _check_texts(scores.prompts, len(scores), "outcomes")
    unit, first, order = _units(scores.prompt, scores.source)
    factors = np.array([judged_factor if name in judges else 1.0 for name in scores.sources])
    count = np.bincount(unit)
    source = scores.source[order][first]
    return Samples(
        keys=tuple(scores.prompt_keys[i] for i in scores.prompt[order][first]),
        prompts=tuple(scores.prompts[i] for i in scores.prompt[order][first]),
        source=source,
        sources=scores.sources,
        columns=scores.models,
        begin=np.append(first, len(unit)),
        column=scores.model[order],
        target=scores.score[order],
        guess=scores.guess[order],
        weight=factors[source][unit] / count[unit],
        dropped=dict(scores.dropped),
    )


def samples_from_battles(battles: Battles, strong: str, weak: str) -> tuple[Samples, tuple[str, ...], tuple[str, ...]]:
    """Make samples of battles between a strong and a weak tier; return the tiers' models too.

    All models are put into ten tiers by their strength (arXiv 2406.18665, section 4.1). Those of the tier of `strong`
    and above are strong, those of the tier of `weak` are weak. The target is the mean over a prompt's battles, of which
    an outcome between a tie and a win is some of both.

    Raises
    ------
    DataError
        The battles have rows of a matrix for prompts; one of the models has none; both are of one tier; or no battle is
        between the tiers.
    """
    _check_texts(battles.prompts, len(battles), "preferences")
    for argument, name in (("strong", strong), ("weak", weak)):
        if name not in battles.models:
            raise DataError(f"{argument}: found {name!r}, which has no battle; the data have {_few(battles.models)}")
    strength = bradley_terry(
        len(battles.models), battles.model_a, battles.model_b, battles.outcome, np.ones(len(battles))
    )
    tier = assign_tiers(strength, _TIERS)
    upper, lower = (int(tier[battles.models.index(name)]) for name in (strong, weak))
    if upper >= lower:
        raise DataError(
            f"strong, weak: found {strong!r} in tier {upper} and {weak!r} in tier {lower} by their battles; the strong "
            f"one must be in a better tier"
        )
    strong_side, weak_side = tier <= upper, tier == lower
    forward = strong_side[battles.model_a] & weak_side[battles.model_b]
    backward = weak_side[battles.model_a] & strong_side[battles.model_b]
    taken = np.flatnonzero(forward | backward)
    unit, first, order = _units(battles.prompt[taken], battles.source[taken])
    outcome = np.where(forward, battles.outcome, 1 - battles.outcome)[taken][order]
    clear = 2 * outcome - 1
    shares = np.stack([np.maximum(clear, 0), 1 - np.abs(clear), np.maximum(-clear, 0)], axis=1)
    mean = np.stack([np.bincount(unit, share) for share in shares.T], axis=1) / np.bincount(unit)[:, None]
    at = taken[order][first]
    samples = Samples(
        keys=tuple(battles.prompt_keys[i] for i in battles.prompt[at]),
        prompts=tuple(battles.prompts[i] for i in battles.prompt[at]),
        source=battles.source[at],
        sources=battles.sources,
        columns=CLASSES,
        begin=np.arange(len(at) + 1) * len(CLASSES),
        column=np.tile(np.arange(len(CLASSES)), len(at)),
        target=mean.reshape(-1),
        guess=np.zeros(mean.size),
        weight=np.ones(mean.size),
        dropped=dict(battles.dropped) | {"not between the two tiers": len(battles) - len(taken)},
    )
    named = [
        tuple(name for name, on in zip(battles.models, side, strict=True) if on) for side in (strong_side, weak_side)
    ]
    return samples, named[0], named[1]


def _from_0_to_1(outcomes: object, low: float, high: float) -> Table:
    table = as_table(outcomes, "outcomes")
    if (low, high) == (0.0, 1.0):
        return table
    table.require("model", "score")
    scores = (table.scores("score", low, high) - low) / (high - low)
    return replace(table, columns={**table.columns, "score": scores})


def _units(
    prompt: NDArray[np.int64], source: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sort rows by prompt and source: the unit of each, the first row of each unit, and the order."""
    if not len(prompt):
        raise DataError("training data: no rows to train on")
    order = np.lexsort((source, prompt))
    new = np.diff(prompt[order], prepend=-1).astype(bool) | np.diff(source[order], prepend=-1).astype(bool)
    return np.cumsum(new) - 1, np.flatnonzero(new), order


def _check_texts(prompts: tuple[str, ...], rows: int, name: str) -> None:
    if rows and not prompts:
        raise DataError(f"{name}: column 'prompt' is needed; a bert router reads text")


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

"""What a router's scores are worth on questions that both models answered: exact definitions.

Questions i = 1..n have a score s_i, and the qualities w_i and t_i of the weak and the strong model's answer.
Sending every question with a score of at least a threshold to the strong model is a *cut*; questions with equal
scores are always cut together, and the cut that sends none is one too. At a cut with strong-call share f::

    quality(f) = mean of t_i where strong, of w_i elsewhere
    PGR(f)     = (quality(f) - W) / (S - W)          W, S: mean quality of always-weak and always-strong
    APGR       = area under PGR over f = 0..1, straight lines between neighbouring cuts
    AUC        = area under quality over f = 0..1 = W + APGR (S - W)
    CPT(x)     = smallest share of a cut whose PGR is at least x
    dollars(f) = mean price per request at the cut, the router's own included

PGR, APGR and CPT are RouteLLM's (arXiv 2406.18665, section 3.2). A line between cuts is what sending a random
part of a group of equal scores gives on average, so a router with one score for everything has APGR 1/2. A curve
need not rise everywhere: CPT is the first cut that qualifies, whatever the curve does after it, and never lies
between cuts. CPT thus depends on ties (a router with one score for everything has CPT 1).

Edge cases: where the strong model is no better than the weak one (S <= W) nothing can be recovered, and what is
defined by PGR is None. One question is two cuts: APGR 1/2, CPT 1. NaN and infinity are refused. Comparisons allow
for 1e-9 of rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "KEEP",
    "METRIC_NAMES",
    "ROUTER_DOLLARS",
    "SLACK",
    "STRONG_DOLLARS",
    "WEAK_DOLLARS",
    "Curve",
    "Metrics",
    "Outcomes",
    "apgr_10",
    "checked_unit",
    "curve_of",
    "measure",
    "oracle_scores",
]

STRONG_DOLLARS = 0.00887
"""Dollars per answer of GPT-4: 95 input and 264 output tokens at $10 and $30 per million."""
WEAK_DOLLARS = 0.0000862
"""Dollars per answer of Mixtral-8x7B: the same tokens at $0.24 per million (arXiv 2406.18665, section 5.4)."""
ROUTER_DOLLARS = 1e-9
"""Dollars per decision: 70 microseconds of a core that costs $0.05 an hour."""
KEEP = 0.95
"""The part of the strong model's quality that the headline keeps."""

SLACK = 1e-9
"""Rounding that comparisons allow for, relative."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How both models did on n questions, and what their answers cost.

    Attributes
    ----------
    weak, strong
        (n,) float64, finite: quality of each model's answer; higher is better, any scale.
    weak_dollars, strong_dollars
        (n,) float64, finite, not negative: price of each model's answer.
    """

    weak: NDArray[np.float64]
    strong: NDArray[np.float64]
    weak_dollars: NDArray[np.float64]
    strong_dollars: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        weak: ArrayLike,
        strong: ArrayLike,
        *,
        weak_dollars: ArrayLike = WEAK_DOLLARS,
        strong_dollars: ArrayLike = STRONG_DOLLARS,
    ) -> Outcomes:
        """Check and copy; one price stands for all questions.

        Raises
        ------
        InvalidTypeError, DataError
            An array is not one finite number per question, there is no question, or a price is negative.
        """
        qualities = _column("weak", weak), _column("strong", strong)
        if len(qualities[0]) != len(qualities[1]) or not len(qualities[0]):
            raise DataError(
                f"strong: found {len(qualities[1])} questions, and {len(qualities[0])} in weak; "
                f"as many are needed, one or more"
            )
        cheap = _prices("weak_dollars", weak_dollars, len(qualities[0]))
        dear = _prices("strong_dollars", strong_dollars, len(qualities[0]))
        return cls(*qualities, cheap, dear)

    def __len__(self) -> int:
        return len(self.weak)

    def take(self, rows: NDArray[Any]) -> Outcomes:
        """Keep these questions."""
        return Outcomes(self.weak[rows], self.strong[rows], self.weak_dollars[rows], self.strong_dollars[rows])


@dataclass(frozen=True, slots=True)
class Curve:
    """Every cut of one router, from none to all questions to the strong model.

    Attributes
    ----------
    share, quality, dollars
        (cuts,) float64: strong-call share, rising from 0 to 1; mean quality; dollars per request.
    """

    share: NDArray[np.float64]
    quality: NDArray[np.float64]
    dollars: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a router is worth; None where it is not defined (see the module).

    Attributes
    ----------
    apgr, auc
        Areas, exact.
    apgr_10
        APGR over RouteLLM's ten quantile cuts.
    cpt_50, cpt_80
        CPT(50%) and CPT(80%).
    saving_50, saving_80
        Strong calls of random / of the router at the same PGR. Random recovers x of the gap at a share of x, on
        average, so this is x / CPT(x).
    dollar_saving_50, dollar_saving_80
        Dollars of random / of the router at the same PGR, the router's own price included.
    keep_share, keep_dollars
        Smallest share, and lowest dollars per request, of a cut that keeps 95% (or what was asked for) of S. The
        share is 0 where the weak model does. None where S is negative: part of it is no floor.
    keep_reduction
        The part of always-strong's dollars that this saves: ``1 - keep_dollars / dollars of always-strong``.
    threshold_share, threshold_quality, threshold_pgr, threshold_dollars
        At the router's own threshold; None for a router without one. For a benchmark of right and wrong answers
        `threshold_quality` is the accuracy.
    """

    apgr: float | None
    apgr_10: float | None
    auc: float | None
    cpt_50: float | None
    cpt_80: float | None
    saving_50: float | None
    saving_80: float | None
    dollar_saving_50: float | None
    dollar_saving_80: float | None
    keep_share: float | None
    keep_dollars: float | None
    keep_reduction: float | None
    threshold_share: float | None
    threshold_quality: float | None
    threshold_pgr: float | None
    threshold_dollars: float | None


METRIC_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Metrics))
"""Names of the metrics, in order."""


def curve_of(scores: ArrayLike, outcomes: Outcomes, *, router_dollars: float = ROUTER_DOLLARS) -> Curve:
    """Every cut of a router.

    Parameters
    ----------
    scores
        (n,) finite; higher goes to the strong model first.
    outcomes
        Of the same questions.
    router_dollars
        Price of one decision.
    """
    ranked, order = _ranked(scores, len(outcomes))
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) + 1
    return Curve(
        np.concatenate([[0.0], ends / len(ranked)]),
        _at_cuts(outcomes.weak, outcomes.strong, order, ends),
        _at_cuts(outcomes.weak_dollars, outcomes.strong_dollars, order, ends) + router_dollars,
    )


def measure(
    scores: ArrayLike,
    outcomes: Outcomes,
    *,
    threshold: float | None = None,
    keep: float = KEEP,
    router_dollars: float = ROUTER_DOLLARS,
) -> Metrics:
    """Every metric of one router.

    Parameters
    ----------
    scores
        (n,) finite; higher goes to the strong model first.
    outcomes
        Of the same questions.
    threshold
        The router's own.
    keep
        The part of the strong model's quality to keep, 0 to 1.
    router_dollars
        Price of one decision.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError, DataError
        An argument has a type or value that is not allowed.
    """
    checked_unit("keep", keep)
    curve = curve_of(scores, outcomes, router_dollars=router_dollars)
    weak, gap = float(curve.quality[0]), _gap(outcomes)
    values: dict[str, float | None] = dict.fromkeys(METRIC_NAMES)
    values["auc"] = _area(curve.share, curve.quality)
    values["keep_share"], values["keep_dollars"], values["keep_reduction"] = _kept(curve, outcomes, keep)
    if gap > 0:
        recovered = (curve.quality - weak) / gap
        values["apgr"] = _area(curve.share, recovered)
        values["apgr_10"] = apgr_10(scores, outcomes)
        random_weak, random_strong = outcomes.weak_dollars.mean(), outcomes.strong_dollars.mean()
        for name, part in (("50", 0.5), ("80", 0.8)):
            first = int(np.argmax(recovered >= part - SLACK))
            values[f"cpt_{name}"] = float(curve.share[first])
            values[f"saving_{name}"] = part / float(curve.share[first])
            random = random_weak + part * (random_strong - random_weak)
            values[f"dollar_saving_{name}"] = _ratio(float(random), float(curve.dollars[first]))
    if threshold is not None:
        above = np.asarray(scores, np.float64) >= threshold
        quality = float(np.where(above, outcomes.strong, outcomes.weak).mean())
        dollars = np.where(above, outcomes.strong_dollars, outcomes.weak_dollars).mean()
        values["threshold_share"], values["threshold_quality"] = float(above.mean()), quality
        values["threshold_pgr"] = (quality - weak) / gap if gap > 0 else None
        values["threshold_dollars"] = float(dollars) + router_dollars
    return Metrics(**values)


def apgr_10(scores: ArrayLike, outcomes: Outcomes) -> float | None:
    """APGR over RouteLLM's ten cuts (routellm/evals of lm-sys/RouteLLM).

    The thresholds are the 0, 10, .., 100% quantiles of the scores, interpolated linearly; a question goes to the
    strong model at ``score >= threshold``, and at ``score > threshold`` for the last of them. Where ties make
    thresholds equal, RouteLLM stops with an error; here they are one cut. Where a quantile is a score itself,
    RouteLLM's rounding decides whether that question is sent; here it always is.
    """
    ranked, order = _ranked(scores, len(outcomes))
    n = len(ranked)
    if _gap(outcomes) <= 0:
        return None
    gain = np.concatenate([[0.0], np.cumsum((outcomes.strong - outcomes.weak)[order])])
    rising = ranked[::-1]
    counts = [0]
    for tenth in range(9, 0, -1):
        low, rest = divmod(tenth * (n - 1), 10)
        between = rest > 0 and rising[low + 1] > rising[low]
        counts.append(n - int(np.searchsorted(rising, rising[low], side="right" if between else "left")))
    counts.append(n)
    cuts = np.array(counts)
    return _area(cuts / n, gain[cuts] / gain[-1])


def oracle_scores(outcomes: Outcomes) -> NDArray[np.float64]:
    """Scores of a router that knows the answers: the largest gain first, all of them different; (n,).

    No router has a higher PGR at any share. Equal gains may be cut apart, as the curve is the same.
    """
    scores = np.empty(len(outcomes))
    scores[np.argsort(outcomes.strong - outcomes.weak, kind="stable")] = np.arange(len(outcomes)) / len(outcomes)
    return scores


def checked_unit(name: str, value: float) -> float:
    """Refuse a number outside 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidTypeError(f"{name}: found {type(value).__name__}, allowed: a number from 0 to 1")
    if not 0 <= value <= 1:
        raise InvalidArgumentError(f"{name}: found {value}, allowed: 0 to 1")
    return float(value)


def _gap(outcomes: Outcomes) -> float:
    """S - W; 0 where that is rounding."""
    weak, strong = float(outcomes.weak.mean()), float(outcomes.strong.mean())
    gap = strong - weak
    return gap if abs(gap) > SLACK * max(abs(weak), abs(strong)) else 0.0


def _kept(curve: Curve, outcomes: Outcomes, keep: float) -> tuple[float | None, float | None, float | None]:
    strong = float(curve.quality[-1])
    if strong < 0:
        return None, None, None
    enough = curve.quality >= keep * strong - SLACK * strong
    if not enough.any():  # rounding alone: always-strong keeps all of it
        enough[-1] = True
    dollars = float(curve.dollars[enough].min())
    spent = _ratio(dollars, float(outcomes.strong_dollars.mean()))
    return float(curve.share[int(np.argmax(enough))]), dollars, None if spent is None else 1 - spent


def _at_cuts(
    weak: NDArray[np.float64], strong: NDArray[np.float64], order: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    gained = np.cumsum((strong - weak)[order])[ends - 1]
    gained[-1] = strong.sum() - weak.sum()
    means: NDArray[np.float64] = (weak.sum() + np.concatenate([[0.0], gained])) / len(weak)
    return means


def _area(share: NDArray[np.float64], height: NDArray[np.float64]) -> float:
    return float(np.sum(np.diff(share) * (height[1:] + height[:-1])) / 2)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > 0 else None


def _ranked(scores: ArrayLike, questions: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scores from the highest down, and the questions in that order."""
    column = _column("scores", scores)
    if len(column) != questions:
        raise DataError(f"scores: found {len(column)}, and {questions} questions; one per question is needed")
    order = np.argsort(-column, kind="stable")
    return column[order], order


def _prices(name: str, values: ArrayLike, questions: int) -> NDArray[np.float64]:
    prices = np.full(questions, values, np.float64) if np.ndim(values) == 0 else _column(name, values)
    if len(prices) != questions:
        raise DataError(f"{name}: found {len(prices)}, and {questions} questions; one per question is needed")
    if not (np.isfinite(prices) & (prices >= 0)).all():
        row = int(np.argmin(np.isfinite(prices) & (prices >= 0)))
        raise DataError(f"{name}: question {row}: found {prices[row]}, allowed: a finite price, 0 or more")
    return prices


def _column(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        column = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidTypeError(f"{name}: found {type(values).__name__}, allowed: one number per question") from None
    if column.ndim != 1:
        raise InvalidTypeError(f"{name}: found shape {column.shape}, allowed: one number per question")
    if not np.isfinite(column).all():
        row = int(np.argmin(np.isfinite(column)))
        raise DataError(f"{name}: question {row}: found {column[row]}, allowed: a finite number")
    return column

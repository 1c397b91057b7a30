"""Why a prompt got its score, as text."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import printable
from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from fastroute.routers import BattleExplanation, CascadeExplanation, Explanation, NeighbourExplanation, Router

__all__ = ["as_text", "explained"]

_LEAST_WEIGHT = 0.005  # of a domain that is shown
_FEATURES_SHOWN = 6
_PROMPT_SHOWN = 60  # characters


def explained(router: Router, prompt: str, nearest: int | None) -> Any:
    """Ask a router for its explanation of a score.

    Raises
    ------
    InvalidArgumentError
        It has none, or `nearest` is given and it has no neighbours.
    """
    explain = getattr(router, "explain", None)
    if explain is None:
        raise InvalidArgumentError(
            f"--explain: a router of kind {router.kind!r} can't say; experts, sw_ranking, knn and cascade can"
        )
    if nearest is None:
        return explain(prompt)
    if "k" not in inspect.signature(explain).parameters:
        raise InvalidArgumentError(f"--nearest: a router of kind {router.kind!r} has no neighbours to show")
    return explain(prompt, k=nearest)


def as_text(explanation: Any) -> str:
    """Lay an explanation out in lines."""
    from fastroute.routers import BattleExplanation, CascadeExplanation, Explanation, NeighbourExplanation

    if isinstance(explanation, Explanation):
        return _of_domains(explanation)
    if isinstance(explanation, BattleExplanation):
        return _of_battles(explanation)
    if isinstance(explanation, NeighbourExplanation):
        return _of_neighbours(explanation)
    if isinstance(explanation, CascadeExplanation):
        return _of_cascade(explanation)
    return printable(str(explanation))  # a third party's


def _of_domains(explanation: Explanation) -> str:
    lines = [f"\nexpected gain {explanation.gain:+.4f}, from", "  weight    gain  domain"]
    lines += [
        f"  {share.weight:6.1%} {share.gain:+.4f}  {printable(share.domain)}"
        for share in explanation.domains
        if share.weight >= _LEAST_WEIGHT
    ]
    lines += ["what moved it most", "  effect   feature"]
    for feature in explanation.features[:_FEATURES_SHOWN]:
        value = "" if feature.value is None else f" = {feature.value:.4g}"
        lines.append(f"  {feature.effect:+.4f}  {feature.feature}{value}")
    return "\n".join(lines)


def _of_battles(explanation: BattleExplanation) -> str:
    lines = [
        f"\nwin rate {explanation.score:.4f}, with all battles alike {explanation.global_score:.4f}; "
        f"nearest of {explanation.prompts:,} prompts",
        "  similar  weight  battle",
    ]
    if explanation.battles and explanation.battles[0].similarity <= 0:
        lines[0] += ": similar to none of them"
    for battle in explanation.battles:
        first, second, relation = battle.model_a, battle.model_b, "beat"
        if battle.winner == "model_b":
            first, second = second, first
        elif battle.winner == "tie":
            relation = "tied with"
        lines.append(
            f"  {battle.similarity:7.3f}  {battle.weight:6.3g}  {printable(first)} {relation} {printable(second)}"
            f"{_by(battle.outcome)} on {_short(battle.prompt)}"
        )
    return "\n".join(lines)


def _of_neighbours(explanation: NeighbourExplanation) -> str:
    verdict = "beyond chance" if explanation.trusted else "not beyond chance"
    if explanation.nearest and explanation.nearest[0].similarity <= 0:
        verdict = "similar to no prompt"
    lines = [
        f"\ngain {explanation.gain:+.4f} +- {explanation.standard_error:.4f} among {explanation.neighbours:,} "
        f"neighbours, {explanation.global_gain:+.4f} over all prompts: {verdict}",
        "  similar  weight    gain  prompt",
    ]
    lines += [
        f"  {near.similarity:7.3f}  {near.weight:6.3g}  {near.strong - near.weak:+6.2f}  {_short(near.prompt)}"
        for near in explanation.nearest
    ]
    return "\n".join(lines)


def _by(outcome: float) -> str:
    """Say how clearly, where several judged or scores were compared."""
    return "" if outcome in (0.0, 0.5, 1.0) else f" ({max(outcome, 1 - outcome):.0%})"


def _of_cascade(explanation: CascadeExplanation) -> str:
    second = "" if explanation.second is None else f"; the second router's score is {explanation.second:.4f}"
    decides = "the first router decides" if explanation.second is None else "the second router decides"
    return (
        f"\nthe first router's score {explanation.first:.4f} leaves {explanation.low:.4f} to {explanation.high:.4f}"
        f"{second}\nat threshold {explanation.threshold:.4g} {decides}"
    )


def _short(prompt: str) -> str:
    line = printable(" ".join(prompt.split()))
    return line if len(line) <= _PROMPT_SHOWN else line[: _PROMPT_SHOWN - 3] + "..."

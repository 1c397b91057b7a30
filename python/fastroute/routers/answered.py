"""Scores that are answers: a router behind an endpoint gives a prompt without one a score of its own choosing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastroute.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastroute.routers.protocol import Router

__all__ = ["answered_scores", "fallbacks_of"]


def answered_scores(router: Router, prompts: Sequence[str], name: str = "router") -> Any:
    """Scores of prompts as the router gives them, where each has an answer.

    A router whose endpoint is down would else be calibrated or measured on its fallback. Where other threads use the
    router meanwhile, their fallbacks count too.

    Parameters
    ----------
    name
        What errors call the router.

    Raises
    ------
    EndpointError
        Some got the fallback score; the message says how many.
    """
    before = fallbacks_of(router)
    scores = router.score(prompts)
    failed = fallbacks_of(router) - before
    if failed:
        raise EndpointError(
            f"{name}: {failed:,} of {len(prompts):,} prompts have no answer and got the fallback score, which says "
            f"nothing of them; an answer to every prompt is needed: see that the endpoint is up"
        )
    return scores


def fallbacks_of(router: object) -> int:
    """How many prompts a router had no answer for so far; 0 for one that needs none."""
    count = getattr(router, "fallbacks", 0)
    return count if isinstance(count, int) else 0

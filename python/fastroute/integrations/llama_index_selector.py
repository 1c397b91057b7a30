"""The class of `fastroute.integrations.llama_index`, on that of llama-index-core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_selector import BaseSelector, SelectorResult, SingleSelection

from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_index.core.schema import QueryBundle
    from llama_index.core.tools.types import ToolMetadata

    from fastroute.integrations.deciding import Choice, Chooser

__all__ = ["DifficultySelector"]


class DifficultySelector(BaseSelector):  # type: ignore[misc]
    """Chooses between two of the choices by the query's difficulty; made by `difficulty_selector`."""

    def __init__(self, chooser: Chooser, names: tuple[str, str]) -> None:
        super().__init__()
        self._chooser = chooser
        self._names = names

    def _get_prompts(self) -> dict[str, Any]:
        return {}  # no LLM is asked

    def _update_prompts(self, prompts: dict[str, Any]) -> None:
        pass

    def _select(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> SelectorResult:
        places = self._places(choices)
        return _result(places, self._chooser.choose(query.query_str))

    async def _aselect(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> SelectorResult:
        places = self._places(choices)
        return _result(places, await self._chooser.achoose(query.query_str))

    def _places(self, choices: Sequence[ToolMetadata]) -> dict[str, int]:
        """Where the two are among the choices; both, so that a wrong name is an error of the first query."""
        called = [choice.description if choice.name is None else choice.name for choice in choices]
        for name in self._names:
            if called.count(name) != 1:
                raise InvalidArgumentError(
                    f"choices: {called.count(name)} are named {name!r:.60}, allowed: one; found "
                    f"{', '.join(repr(each)[:60] for each in called) or 'none at all'}"
                )
        return {name: called.index(name) for name in self._names}


def _result(places: dict[str, int], choice: Choice) -> SelectorResult:
    decision = choice.decision
    if decision is None:
        reason = f"no score: {choice.failure}"
    else:
        sign = ">=" if choice.strong else "<"
        reason = f"score {decision.score:.4f} {sign} {decision.threshold:.4f} of the router {decision.router!r}"
    return SelectorResult(selections=[SingleSelection(index=places[choice.name], reason=reason)])

"""The classes of `fastroute.integrations.langchain`, on those of langchain-core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import Field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from fastroute.integrations.deciding import Choice, Chooser

__all__ = ["RoutedChatModel", "picker"]

_ROLES = {"human": "user", "ai": "assistant"}
_QUIET: Any = {"callbacks": []}  # the run is told of already


class RoutedChatModel(BaseChatModel):  # type: ignore[misc]
    """A chat model that has each call answered by one of two; made by `routed_chat_model`.

    Attributes
    ----------
    strong, weak : Runnable
        The two chat models; with tools bound to them after `bind_tools`.
    chooser : Chooser
        Chooses between them.
    """

    strong: Any = Field(exclude=True)
    weak: Any = Field(exclude=True)
    chooser: Any = Field(exclude=True)
    # An answer is cached by the model that gave it, if at all: this one's key would know nothing of bound tools.
    cache: Any = Field(default=False, exclude=True)

    @property
    def _llm_type(self) -> str:
        return "fastroute"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> RoutedChatModel:
        """Bind tools to both models, each in its provider's format; a routed chat model comes back."""
        bound = {"strong": self.strong.bind_tools(tools, **kwargs), "weak": self.weak.bind_tools(tools, **kwargs)}
        routed: RoutedChatModel = self.model_copy(update=bound)
        return routed

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Return a runnable that answers by the schema, as each of the models does it."""
        strong = self.strong.with_structured_output(schema, **kwargs)
        weak = self.weak.with_structured_output(schema, **kwargs)
        chooser: Chooser = self.chooser

        def chosen(given: Any) -> Any:
            return strong if chooser.choose(_chat(given)).strong else weak

        async def achosen(given: Any) -> Any:
            return strong if (await chooser.achoose(_chat(given))).strong else weak

        return RunnableLambda(chosen, achosen, name="fastroute")

    def invoke(self, input: Any, config: Any = None, *, stop: Any = None, **kwargs: Any) -> AIMessage:  # noqa: A002
        """Have one of the models answer."""
        model, choice = self._model(input)
        return _marked(model.invoke(input, config, **_given(stop, kwargs)), choice)

    async def ainvoke(self, input: Any, config: Any = None, *, stop: Any = None, **kwargs: Any) -> AIMessage:  # noqa: A002
        """Have one of the models answer."""
        model, choice = await self._amodel(input)
        return _marked(await model.ainvoke(input, config, **_given(stop, kwargs)), choice)

    def stream(self, input: Any, config: Any = None, *, stop: Any = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        """Yield the chunks of one of the models."""
        model, choice = self._model(input)
        for number, chunk in enumerate(model.stream(input, config, **_given(stop, kwargs))):
            yield chunk if number else _marked(chunk, choice)

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: Any = None,
        *,
        stop: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Yield the chunks of one of the models."""
        model, choice = await self._amodel(input)
        number = 0
        async for chunk in model.astream(input, config, **_given(stop, kwargs)):
            yield chunk if number else _marked(chunk, choice)
            number += 1

    # What is left is for `generate` and what goes through it. The run is this model's there, and is told of once.

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:  # noqa: ARG002
        return _result(self.invoke(messages, _QUIET, stop=stop, **kwargs))

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:  # noqa: ARG002
        return _result(await self.ainvoke(messages, _QUIET, stop=stop, **kwargs))

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
        for chunk in self.stream(messages, _QUIET, stop=stop, **kwargs):
            piece = ChatGenerationChunk(message=chunk)
            if run_manager is not None:
                run_manager.on_llm_new_token(piece.text, chunk=piece)
            yield piece

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        async for chunk in self.astream(messages, _QUIET, stop=stop, **kwargs):
            piece = ChatGenerationChunk(message=chunk)
            if run_manager is not None:
                await run_manager.on_llm_new_token(piece.text, chunk=piece)
            yield piece

    def _model(self, given: Any) -> tuple[Any, Choice]:
        choice = self.chooser.choose(_chat(given))
        return (self.strong if choice.strong else self.weak), choice

    async def _amodel(self, given: Any) -> tuple[Any, Choice]:
        choice = await self.chooser.achoose(_chat(given))
        return (self.strong if choice.strong else self.weak), choice


def picker(chooser: Chooser) -> Runnable[Any, str]:
    """Return a runnable from what a chat model takes to the name that is chosen."""

    def picked(given: Any) -> str:
        return chooser.choose(_chat(given)).name

    async def apicked(given: Any) -> str:
        return (await chooser.achoose(_chat(given))).name

    return RunnableLambda(picked, apicked, name="fastroute")


def _chat(given: Any) -> object:
    """Return what a chat model takes as OpenAI's messages, or as the prompt that it is."""
    if isinstance(given, str):
        return given
    messages = given.to_messages() if isinstance(given, PromptValue) else convert_to_messages(given)
    return [{"role": _role(message), "content": message.content} for message in messages]


def _role(message: BaseMessage) -> str:
    role = getattr(message, "role", None)  # of a ChatMessage
    return role if isinstance(role, str) else _ROLES.get(message.type, message.type)


def _given(stop: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    return kwargs if stop is None else {"stop": stop, **kwargs}


def _marked(message: Any, choice: Choice) -> Any:
    """Return the message with the choice in its metadata; a cache may hold the one that was given."""
    decision = choice.decision
    mark: dict[str, Any] = {"model": choice.name, "strong": choice.strong}
    if decision is not None:
        mark |= {"score": decision.score, "threshold": decision.threshold, "router": decision.router}
    if choice.failure is not None:
        mark["failure"] = choice.failure
    return message.model_copy(update={"response_metadata": {**message.response_metadata, "fastroute": mark}})


def _result(message: Any) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])

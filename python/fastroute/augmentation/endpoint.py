"""A model behind an OpenAI-compatible API: where it is, what it costs, where its key is."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastroute.endpoints.address import check_address, read_key
from fastroute.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Endpoint"]

_OWN_MEMBERS = ("model", "messages", "stream", "n", "max_tokens")
_OTHER_LIMIT = "max_completion_tokens"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind an OpenAI-compatible API.

    Attributes
    ----------
    url
        Base of the API, such as ``https://host/v1``; ``/chat/completions`` is appended. Plain http takes no key
        unless the host is this machine.
    model
        Name of the model, in requests and in the labels.
    key_env
        Name of the environment variable that holds the API key; None sends none.
    price_in, price_out
        Dollars per million tokens of input and of output: both or neither.
    max_tokens
        Tokens that an answer may have.
    extra
        Further members of each request's body, such as ``{"temperature": 0.7}``; None leaves a member out.
        ``max_completion_tokens`` takes the place of `max_tokens`, for models that want it.

    Raises
    ------
    InvalidArgumentError
        One of them has a value that is not allowed.
    InvalidTypeError
        `url` or `model` is no string.
    """

    url: str
    model: str
    key_env: str | None = None
    price_in: float | None = None
    price_out: float | None = None
    max_tokens: int = 1024
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str):
            raise InvalidTypeError(f"model: found {type(self.model).__name__}; allowed: a string")
        check_address(self.url, self.key_env)
        if not self.model:
            raise InvalidArgumentError("model: found an empty name")
        if (self.price_in is None) != (self.price_out is None):
            raise InvalidArgumentError("price_in, price_out: found one of the two; allowed: both or neither")
        for name, price in (("price_in", self.price_in), ("price_out", self.price_out)):
            if price is not None and not (isinstance(price, (int, float)) and 0 <= price < math.inf):
                raise InvalidArgumentError(f"{name}: found {price!r}; allowed: dollars per million tokens, 0 or more")
        _check_extra(self.extra)
        if not _is_count(self.longest):
            raise InvalidArgumentError(f"max_tokens: found {self.longest!r}; allowed: a whole number, 1 or more")

    @property
    def longest(self) -> int:
        """Tokens that an answer may have, whichever member says so."""
        limit: int = self.extra.get(_OTHER_LIMIT, self.max_tokens)
        return limit

    def key(self) -> str | None:
        """Read the API key from the environment.

        Raises
        ------
        InvalidArgumentError
            The variable is not set, or what it holds can't be a key. The message never has the value.
        """
        return read_key(self.key_env)

    def body(self, messages: Sequence[Mapping[str, str]], **settings: Any) -> dict[str, Any]:
        """Make the body of a request; `extra` overrides `settings`."""
        limit = {} if _OTHER_LIMIT in self.extra else {"max_tokens": self.max_tokens}
        body = {"model": self.model, "messages": list(messages), **limit, **settings, **self.extra}
        return {name: value for name, value in body.items() if value is not None}

    def dollars(self, tokens_in: float, tokens_out: float) -> float | None:
        """Price of so many tokens; None where no prices are known."""
        if self.price_in is None or self.price_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6

    def worst_dollars(self, body: Mapping[str, Any]) -> float | None:
        """Price of a request's most expensive answer: no tokenizer makes more tokens than there are bytes."""
        size = len(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        return self.dollars(size + _TEMPLATE_TOKENS, self.longest)


# What a chat template may add to the texts.
_TEMPLATE_TOKENS = 128


def _check_extra(extra: Mapping[str, Any]) -> None:
    taken = [name for name in _OWN_MEMBERS if name in extra]
    if taken:
        raise InvalidArgumentError(f"extra: found {taken[0]!r}, which is set otherwise; allowed: other members")
    try:
        json.dumps(dict(extra), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"extra: can't be written as JSON: {error}") from None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1

"""A model behind a URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastroute.endpoints.address import check_address, read_key
from fastroute.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Endpoint"]

# The SDK wants a key; an API that checks none takes any.
_NO_KEY = "no-key"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model of an OpenAI-compatible API.

    Attributes
    ----------
    model
        Its name there.
    base_url
        Base of the API, such as ``http://localhost:8000/v1``; None for the SDK's: OPENAI_BASE_URL or OpenAI.
    api_key
        The key, or what the SDK calls for one; not shown by ``repr``. Where both it and `key_env` are None, the SDK
        takes OPENAI_API_KEY if `base_url` is None too; a `base_url` of its own is sent the placeholder "no-key" and
        never the key of another API.
    key_env
        Name of the environment variable that holds the key, read when a client is made.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        `model` is no name; `base_url` is none, or holds a secret; `key_env` is no name, or would send its key over
        plain http to another machine; or there are two keys.
    """

    model: str
    base_url: str | None = None
    api_key: str | Callable[[], Any] | None = field(default=None, repr=False)
    key_env: str | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if not isinstance(self.model, str):
            raise InvalidTypeError(f"model: found {type(self.model).__name__}, allowed: the name of a model as a str")
        if not self.model:
            raise InvalidArgumentError("model: found '', allowed: the name of a model")
        if self.api_key is not None and self.key_env is not None:
            raise InvalidArgumentError("api_key, key_env: found both, allowed: one of them")
        if self.api_key is not None and not isinstance(self.api_key, str) and not callable(self.api_key):
            raise InvalidTypeError(f"api_key: found {type(self.api_key).__name__}, allowed: a str")
        if self.base_url is not None or self.key_env is not None:
            url = "https://api.openai.com/v1" if self.base_url is None else self.base_url
            check_address(url, self.key_env, argument="base_url")

    def key(self) -> str | Callable[[], Any] | None:
        """Return what the SDK is given; None leaves it to the SDK's environment variable."""
        if self.api_key is not None:
            return self.api_key
        if self.key_env is not None:
            return read_key(self.key_env)
        return None if self.base_url is None else _NO_KEY

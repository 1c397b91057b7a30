"""The official `openai` package: imported late, one client for each model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastroute.errors import InvalidArgumentError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastroute.client.endpoint import Endpoint

__all__ = ["import_openai", "made_of", "never_connected"]

_OF_ENDPOINTS = ("api_key", "base_url")


def import_openai() -> Any:
    """Import the SDK.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        import openai
    except ImportError as error:
        raise MissingDependencyError("the client needs the package openai: pip install 'fastroute[client]'") from error
    return openai


def made_of(sdk: Any, endpoint: Endpoint, options: Mapping[str, Any]) -> Any:
    """Make a client of the SDK for an endpoint; it connects to nothing yet.

    Parameters
    ----------
    sdk
        Class of the client.
    options
        Its other arguments.

    Raises
    ------
    InvalidArgumentError
        No key is found, or an option is not the SDK's.
    """
    for name in _OF_ENDPOINTS:
        if name in options:
            raise InvalidArgumentError(f"{name}: found one, allowed: one for each model, as strong=Endpoint(...)")
    try:
        return sdk(base_url=endpoint.base_url, api_key=endpoint.key(), **options)
    except TypeError as error:
        raise InvalidArgumentError(f"options of {sdk.__name__}: {error}") from None
    except import_openai().OpenAIError:
        raise InvalidArgumentError(
            f"api_key: found none for {endpoint.model!r}; give it, or set OPENAI_API_KEY"
        ) from None


def never_connected(error: Exception) -> bool:
    """Whether a request failed before the first byte of an answer, and not by waiting for one.

    Parameters
    ----------
    error
        An APIConnectionError of the SDK.
    """
    if not isinstance(error, import_openai().APITimeoutError):
        return True
    return type(error.__cause__).__name__ in ("ConnectTimeout", "PoolTimeout")

"""Where an API is and where its key is; keys never get into messages."""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import urlsplit

from fastroute.errors import InvalidArgumentError, InvalidTypeError

__all__ = ["HOSTS_VARIABLE", "check_address", "check_named_by_user", "read_key"]

HOSTS_VARIABLE: Final = "FASTROUTE_ENDPOINT_HOSTS"
_KEY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_ENDINGS = ("/chat/completions", "/completions", "/embeddings")


def check_address(url: object, key_env: object, *, argument: str = "url") -> None:
    """See that a URL is the base of an API, and that a key would be safe on its way there.

    Raises
    ------
    InvalidArgumentError
        It is none, or holds a secret; `key_env` is no name; or plain http would take the key to another machine.
    InvalidTypeError
        `url` is no string.
    """
    if not isinstance(url, str):
        raise InvalidTypeError(f"{argument}: found {type(url).__name__}; allowed: a string")
    host = _checked_host(url, argument)
    if key_env is None:
        return
    if not isinstance(key_env, str) or not _KEY_NAME.fullmatch(key_env):
        raise InvalidArgumentError(
            "key_env: found something else than the name of an environment variable (not shown: it may be a key)"
        )
    if urlsplit(url).scheme == "http" and not _is_this_machine(host):
        raise InvalidArgumentError(
            f"{argument}: http would send the key to {host!r} in the clear; allowed: https, or no key"
        )


def check_named_by_user(url: str, *, otherwise: str) -> None:
    """See that a URL that an artifact names is on this machine, or on a host that the user listed.

    Raises
    ------
    InvalidArgumentError
        It is not; `otherwise` says how else to allow it.
    """
    host = urlsplit(url).hostname or ""
    listed = {each.strip().casefold() for each in os.environ.get(HOSTS_VARIABLE, "").split(",")}
    if not _is_this_machine(host) and host.casefold() not in listed:
        raise InvalidArgumentError(
            f"base_url: found {url!r}, which an artifact names; prompts go to another machine once the environment "
            f"variable {HOSTS_VARIABLE} lists {host!r}, or {otherwise}"
        )


def read_key(key_env: str | None) -> str | None:
    """Read an API key from the environment.

    Raises
    ------
    InvalidArgumentError
        The variable is not set, or what it holds can't be a key. The message never has the value.
    """
    if key_env is None:
        return None
    key = os.environ.get(key_env, "")
    # A name that is not in capitals may be the key itself, given in place of a name.
    shown = key_env if key_env.isupper() else "given (not shown: it may be a key)"
    if not key:
        raise InvalidArgumentError(f"key_env: the environment variable {shown} is not set")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidArgumentError(
            f"key_env: the environment variable {shown} holds a space, a line end or no ASCII; a key has none"
        )
    return key


def _checked_host(url: str, argument: str) -> str:
    allowed = "allowed: the base of an API, such as https://host/v1"
    # Before a message shows the URL.
    if any(mark in url for mark in "@?#"):
        raise InvalidArgumentError(
            f"{argument}: found a user, a query or a fragment in it (not shown: it may hold a secret); {allowed}, "
            "and the name of a variable for the key"
        )
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidArgumentError(f"{argument}: found {url!r}; {allowed}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidArgumentError(f"{argument}: found {url!r} ({error}); {allowed}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidArgumentError(f"{argument}: found {url!r}; {allowed}")
    path = parts.path.rstrip("/")
    for ending in _ENDINGS:
        if path.endswith(ending):
            raise InvalidArgumentError(f"{argument}: found {url!r}, and {ending} is appended to it; {allowed}")
    return host


def _is_this_machine(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

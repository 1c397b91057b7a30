"""Errors in OpenAI's form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LATER", "RefusalError", "error_body", "too_many"]

LATER: Final = ((b"retry-after", b"1"),)

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class RefusalError(Exception):
    """A request is answered with an error.

    Attributes
    ----------
    status
        Of HTTP.
    code
        For programs, such as "model_not_found".
    param
        The parameter that is wrong, if it is one.
    headers
        To send beside it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = headers

    def body(self) -> bytes:
        """Return the answer's body."""
        return error_body(self.status, str(self), self.code, self.param)


def too_many() -> RefusalError:
    """Refuse one request more than are let through."""
    return RefusalError(503, "too many requests at once", code="overloaded", headers=LATER)


def error_body(status: int, message: str, code: str, param: str | None = None) -> bytes:
    """Return an error as JSON, as OpenAI's API has it."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    return json.dumps({"error": error}, separators=(",", ":")).encode()

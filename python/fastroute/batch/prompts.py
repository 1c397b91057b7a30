"""Which text of a row is scored: a column's own, or one turn of the chat that it holds."""

from __future__ import annotations

from dataclasses import dataclass

from fastroute.batch.rows import UnusableRowError
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.messages import TURNS, decode, json_type, prompt_of

__all__ = ["PromptColumn"]


@dataclass(frozen=True, slots=True)
class PromptColumn:
    """The column of the prompts.

    Attributes
    ----------
    name : str
    turn : str or None
        The column holds message lists, of which this turn is scored; see `fastroute.messages`. None where it holds the
        prompts.

    Raises
    ------
    InvalidArgumentError
        There is no such turn.
    """

    name: str
    turn: str | None = None

    def __post_init__(self) -> None:
        if self.turn is not None and self.turn not in TURNS:
            raise InvalidArgumentError(f"turn: found {self.turn!r}, allowed: {', '.join(TURNS)}")

    def of_value(self, value: object) -> str:
        """Return the prompt of a JSON value, or raise UnusableRowError; text may hold a message list as JSON."""
        if self.turn is not None:
            return self.of_text(value) if isinstance(value, str) else self._of_messages(value)
        if not isinstance(value, str):
            raise UnusableRowError(f"column {self.name!r}: expected a string, found {json_type(value)}")
        return value

    def of_text(self, text: str) -> str:
        """Return the prompt of a cell of text, or raise UnusableRowError."""
        if self.turn is None:
            return text
        try:
            messages = decode(text)
        except DataError as problem:
            raise UnusableRowError(f"column {self.name!r}: {problem}") from None
        return self._of_messages(messages)

    def _of_messages(self, messages: object) -> str:
        assert self.turn is not None
        try:
            return prompt_of(messages, self.turn)
        except DataError as problem:
            raise UnusableRowError(f"column {self.name!r}: {problem}") from None

"""What of a text is compared: its normal form, its words, the question that it asks."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["normal_form", "question", "words"]

_WORD = re.compile(r"[^\W_]+|(?<=\s)[-+*/](?=\s)|[=<>^%|~×÷±√≤≥≠]")
# "A. " or "A) " or "A: " begins a line; "(A) " stands anywhere.
_FIRST_OPTION = re.compile(r"^[ \t]*A[.):][ \t]|\(A\)", re.MULTILINE)
_SECOND_OPTION = re.compile(r"^[ \t]*B[.):][ \t]|\(B\)", re.MULTILINE)
_INTRODUCTION = re.compile(r"^[ \t]*(?:Question|Q)[ \t]*:", re.MULTILINE | re.IGNORECASE)
_OPTIONS_TITLE = re.compile(r"\s(?:Options|Choices|Answer choices)[ \t]*:\s*\Z", re.IGNORECASE)


def normal_form(text: str) -> str:
    """Text in Unicode's NFKC, case folded, every run of white space one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """List runs of letters and digits of the normal form, and operators; other punctuation parts words only."""
    return _WORD.findall(normal_form(text))


def question(text: str) -> str:
    """Return the question that a prompt asks, without what surrounds it.

    That is the text before the first answer option, where the prompt has options A and B, and after the last
    line that begins with "Question:", if there is one. Of a prompt without such marks it is all.
    """
    second = max((mark.start() for mark in _SECOND_OPTION.finditer(text)), default=-1)
    first = next((mark.start() for mark in _FIRST_OPTION.finditer(text) if mark.start() < second), None)
    asked = text if first is None else _OPTIONS_TITLE.sub("", text[:first])
    start = max((mark.end() for mark in _INTRODUCTION.finditer(asked)), default=0)
    return asked[start:] if asked[start:].strip() else text

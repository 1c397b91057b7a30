"""Prompts of a given number of tokens, the same ones every time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastroute.routers import Router

__all__ = ["prompts_of", "tokenizer_of"]

# Things that people ask, in plain words, numbers and code. A prompt starts at one of them and goes on with the next.
_TEXT = (
    "Explain in simple words why the sky is blue during the day and red when the sun goes down.",
    "Write a short letter to my landlord and ask him to fix the heating before the first of November.",
    "A train leaves at 9:40 and arrives at 13:05. How long does the journey take, and how fast is it over 210 miles?",
    "Prove that the sum of two odd numbers is always even, and give one example for each step of the proof.",
    "My Python code `for i in range(10): print(i)` should count down from ten. What do I have to change, and why?",
    "Summarise the following notes in three points: sales rose in March, costs fell, and two people left the team.",
    "Which of these is not a metal: iron, gold, carbon, copper? Answer with one word and then give the reason.",
    "Translate this sentence into French and German: the children are playing in the garden behind the old house.",
    "Compare the causes of the first and the second world war, and say which of them historians disagree about.",
    "Give me a recipe for soup with onions, potatoes and cream that takes less than 30 minutes and serves four.",
)
_FILLER = "and"


def prompts_of(tokens: int, tokenize: Callable[[str], Sequence[Any]] | None = None) -> tuple[str, ...]:
    """Give ten different prompts of so many tokens each, the same ones every time.

    Parameters
    ----------
    tokens
        1 to 100,000. A tokenizer that splits words, or joins them, may make a prompt a few tokens off.
    tokenize
        From a prompt to its tokens; the built-in encoder's if None.

    Raises
    ------
    InvalidArgumentError
        `tokens` is outside its range.
    """
    if not 1 <= tokens <= 100_000:
        raise InvalidArgumentError(f"tokens: found {tokens}, allowed: 1 to 100,000")
    count = _built_in() if tokenize is None else tokenize
    return tuple(_prompt(start, tokens, count) for start in range(len(_TEXT)))


def tokenizer_of(router: Router) -> Callable[[str], Sequence[Any]] | None:
    """Find what a router, or its encoder, splits prompts with; None where it doesn't show it or reads no text."""
    for owner in (router, router.encoder):
        found: Callable[[str], Sequence[Any]] | None = getattr(owner, "tokenize", None)
        if found is not None:
            return found
    return None


def _prompt(start: int, tokens: int, tokenize: Callable[[str], Sequence[Any]]) -> str:
    sentences = _TEXT[start:] + _TEXT[:start]
    words = " ".join(sentences).split()
    words *= 1 + tokens // len(words)  # a word has a token or more
    low, high = 0, min(len(words), tokens)
    while low < high:  # the most words that are no more tokens than asked for
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(tokenize(" ".join(words[:middle]))) <= tokens else (low, middle - 1)
    prompt = " ".join(words[:low])
    while len(tokenize(longer := f"{prompt} {_FILLER}".lstrip())) <= tokens:
        prompt = longer
    return prompt or _FILLER


def _built_in() -> Callable[[str], Sequence[Any]]:
    from fastroute.builtin import DEFAULT_ENCODER
    from fastroute.encoders import StaticEncoder, load_encoder

    encoder = load_encoder(DEFAULT_ENCODER)
    assert isinstance(encoder, StaticEncoder)
    return encoder.tokenize

"""Ids equal those of the `tokenizers` wheel: all of Unicode, random strings, special tokens, lengths (scorecard 12)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.tiny_artifacts import tokenizer_json, write_encoder
from tokenizers import Tokenizer

from fastroute.encoders import StaticEncoder, load_encoder

Pair = tuple[StaticEncoder, Tokenizer]
Differences = Callable[[StaticEncoder, Tokenizer, Sequence[str]], list[str]]

SCALARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
# Combining marks that move or vanish, Hangul, ideographs, letters with more than one lowercase, format characters
TRICKY = [
    *(0x302E, 0x302F, 0x1D165, 0x1D16D, 0x16FF0, 0x301, 0x323, 0x345, 0x3099, 0x93C, 0x94D, 0x5B0, 0x1715),
    *(0x61, 0x41, 0x20, 0x5B, 0x00, 0xAD, 0x200B, 0xFB1E, 0xF900, 0x4E2D, 0x3400, 0x20000, 0x2F800),
    *(0xAC00, 0xAC01, 0x1100, 0x1161, 0x130, 0x3A3, 0xDF, 0x1E9E, 0x1E9B, 0xFFFD, 0x85, 0x2028, 0x3000),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unk]", "[MASK", "MASK]", "[", "]", "[[CLS]]", "[CLS][SEP]"]


def random_texts(count: int, seed: int) -> list[str]:
    """Strings of several kinds, some with special tokens, some long."""
    rng = random.Random(seed)
    kinds: list[Callable[[], int]] = [
        lambda: rng.randrange(0x110000),
        lambda: rng.randrange(0x3000),
        lambda: rng.choice(TRICKY),
        lambda: rng.randrange(128),
        lambda: ord(rng.choice("abehtin ##[].'")),
    ]
    texts = []
    for _ in range(count):
        kind = rng.choice(kinds)
        points = (kind() for _ in range(rng.randrange(1, 40)))
        text = "".join(chr(c) for c in points if not 0xD800 <= c < 0xE000)
        if rng.random() < 0.1:
            text += rng.choice(SPECIAL) + text
        if rng.random() < 0.05:
            text *= rng.randrange(1, 30)
        texts.append(text)
    return texts


@pytest.mark.slow
def test_every_code_point_alone(variant: Pair, differences: Differences) -> None:
    assert differences(*variant, SCALARS) == []


@pytest.mark.slow
def test_every_code_point_between_letters(variant: Pair, differences: Differences) -> None:
    assert differences(*variant, [f"a{c}b" for c in SCALARS]) == []


@pytest.mark.slow
def test_100000_random_strings(variant: Pair, differences: Differences) -> None:
    assert differences(*variant, random_texts(100_000, seed=1)) == []


@settings(deadline=None, max_examples=500)
@given(st.text(max_size=200))
def test_whatever_hypothesis_finds(built_in: Pair, text: str) -> None:
    encoder, oracle = built_in
    assert encoder.tokenize(text) == oracle.encode(text, add_special_tokens=False).ids


def test_special_tokens_in_text(variant: Pair, differences: Differences) -> None:
    around = ["", "a", " ", ".", "\u4e2d", "\u0301", "\u302e", "\x00", "[", "##"]
    texts = [f"{before}{token}{after}" for token in SPECIAL for before in around for after in around]
    assert differences(*variant, texts) == []


def test_special_tokens_that_overlap(tmp_path: Path, differences: Differences) -> None:
    """The leftmost counts, then the longest; whatever characters they are made of."""
    tokenizer = tokenizer_json()
    vocabulary = tokenizer["model"]["vocab"]
    for content in ("[MASK]ed", "[MASK", "[", "K][", "ab", "abab", "the sum", "\u00c9t", "\u4e2d\u4e2d", " "):
        vocabulary[content] = len(vocabulary)
        tokenizer["added_tokens"].append(
            {**tokenizer["added_tokens"][0], "id": vocabulary[content], "content": content}
        )
    write_encoder(tmp_path / "encoder", tokenizer=tokenizer)
    oracle = Tokenizer.from_file(str(tmp_path / "encoder" / "tokenizer.json"))
    rng = random.Random(5)
    parts = [*vocabulary, "MASK", "K]", "a", "b", "\u00e9t", "\u00c9", "E\u0301t", "\u0301", "t", "ABAB"]
    texts = ["".join(rng.choice(parts) for _ in range(rng.randrange(1, 8))) for _ in range(20_000)]
    assert differences(load_encoder(tmp_path / "encoder"), oracle, texts) == []


@pytest.mark.parametrize("length", [99, 100, 101])
def test_words_at_the_longest_length(built_in: Pair, differences: Differences, length: int) -> None:
    parts = ["a", "e\u0301", "\u00e9", "\u302e", "\u0130", "\U0001d400"]
    assert differences(*built_in, [part * length for part in parts] + [f"x {part * length} y" for part in parts]) == []


def test_truncation_keeps_a_prefix(built_in: Pair) -> None:
    encoder, oracle = built_in
    for text in random_texts(2000, seed=2):
        long = text * 60
        expected = oracle.encode(long, add_special_tokens=False).ids
        assert encoder.tokenize(long, truncate=True) == expected[: encoder.max_tokens]


def test_truncation_keeps_a_prefix_at_every_length(tmp_path: Path, tiny_encoder_folder: Path) -> None:
    whole = load_encoder(tiny_encoder_folder).tokenize("prove that the sum is [MASK] zzz\u4e2d sqrting!")
    assert len(whole) == 11
    for length in range(1, len(whole) + 2):
        write_encoder(tmp_path / "short", max_tokens=length)
        short = load_encoder(tmp_path / "short")
        assert short.max_tokens == length
        found = short.tokenize("prove that the sum is [MASK] zzz\u4e2d sqrting!", truncate=True)
        assert found == whole[:length]


def test_lone_surrogates_vanish(built_in: Pair) -> None:
    """UTF-8 has none; they count as U+FFFD, which is cleaned away."""
    encoder, _ = built_in
    rng = random.Random(3)
    for text in random_texts(2000, seed=4):
        cut = rng.randrange(len(text) + 1)
        surrogate = chr(rng.randrange(0xD800, 0xE000))
        torn = text[:cut] + surrogate + text[cut:]
        assert encoder.tokenize(torn) == encoder.tokenize(text[:cut] + "\ufffd" + text[cut:])
    assert encoder.tokenize("hel\ud800lo \udfffworld") == encoder.tokenize("hello world")
    assert encoder.tokenize("\ud83d\ude00") == []


def test_nothing_to_tokenize(built_in: Pair) -> None:
    encoder, _ = built_in
    for text in ("", " ", "\x00", "\x00" * 1000, "\t\r\n\u3000", "\ufffd", "\u0301", "\ud800"):
        assert encoder.tokenize(text) == []
    assert encoder.tokenize("a\x00b") == encoder.tokenize("ab")


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["a", "word ", "\u4e2d", "[", "\u302e", "[MASK] ", "e\u0301", "\x00", "\U0001f600", "\uac00"], ids=ascii
)
def test_prompts_of_ten_megabytes(built_in: Pair, part: str) -> None:
    encoder, oracle = built_in
    few, times = part * 200, 10_000_000 // len(part.encode()) // 200
    # Either one long word, or each part is tokens of its own.
    ids = oracle.encode(few, add_special_tokens=False).ids
    assert encoder.tokenize(few * times) == (ids if len(ids) == 1 else ids * times)

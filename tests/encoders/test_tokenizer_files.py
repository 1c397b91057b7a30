"""Tokenizer files that the native WordPiece can't follow are refused, not read in another way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.reference.tiny_artifacts import tokenizer_json, write_encoder

from fastroute.encoders import load_encoder
from fastroute.errors import ArtifactCorruptError


def refusal(tmp_path: Path, tokenizer: dict[str, Any]) -> str:
    write_encoder(tmp_path / "encoder", tokenizer=tokenizer)
    with pytest.raises(ArtifactCorruptError) as caught:
        load_encoder(tmp_path / "encoder")
    return str(caught.value)


def replaced(section: str, **values: object) -> dict[str, Any]:
    tokenizer = tokenizer_json()
    tokenizer[section] = {**tokenizer[section], **values}
    return tokenizer


@pytest.mark.parametrize("flag", ["single_word", "lstrip", "rstrip", "normalized"])
def test_added_tokens_that_are_not_verbatim(tmp_path: Path, flag: str) -> None:
    tokenizer = tokenizer_json()
    tokenizer["added_tokens"][4][flag] = True
    message = refusal(tmp_path, tokenizer)
    assert "tokenizer.json" in message
    assert "[MASK]" in message
    assert flag in message


@pytest.mark.parametrize(
    ("tokenizer", "named"),
    [
        (replaced("model", type="BPE"), "model"),
        (replaced("normalizer", type="NFKC"), "normalizer"),
        (replaced("pre_tokenizer", type="Whitespace"), "pre_tokenizer"),
        (replaced("normalizer", lowercase="yes"), "lowercase"),
        (replaced("model", unk_token="[NONE]"), "unknown token"),
        (replaced("model", continuing_subword_prefix=""), "continuing_subword_prefix"),
        (replaced("model", max_input_chars_per_word=0), "max_input_chars_per_word"),
        (replaced("model", max_input_chars_per_word=True), "max_input_chars_per_word"),
        (replaced("model", max_input_chars_per_word=10001), "max_word_chars"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_are_not_berts(tmp_path: Path, tokenizer: dict[str, Any], named: str) -> None:
    assert named in refusal(tmp_path, tokenizer)


@pytest.mark.parametrize(
    "change",
    [
        lambda vocab: vocab.update({"extra": 61}),
        lambda vocab: vocab.update({"the": 0}),
        lambda vocab: vocab.update({"the": -1}),
        lambda vocab: vocab.update({"the": "5"}),
        lambda vocab: vocab.update({"the": True}),
        lambda vocab: vocab.pop("the"),
        lambda vocab: vocab.pop("[MASK]"),
    ],
)
def test_vocabularies_with_wrong_ids(tmp_path: Path, change: Callable[[dict[str, int]], object]) -> None:
    tokenizer = tokenizer_json()
    change(tokenizer["model"]["vocab"])
    message = refusal(tmp_path, tokenizer)
    assert "tokenizer.json" in message or "vocabulary" in message

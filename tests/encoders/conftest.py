"""The `tokenizers` wheel as the oracle of WordPiece ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from tests.reference.tiny_artifacts import write_encoder
from tokenizers import Tokenizer

from fastroute import builtin
from fastroute.encoders import StaticEncoder, load_encoder

# Whether text is cleaned, ideographs are words, accents are dropped (None: as lowercase), text is lowercased.
VARIANTS = {
    "default": {},
    "cased": {"lowercase": False},
    "cased-stripped": {"lowercase": False, "strip_accents": True},
    "accents-kept": {"strip_accents": False},
    "unclean": {"clean_text": False},
    "ideographs-joined": {"handle_chinese_chars": False},
    "nothing": {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False},
}

Differences = Callable[[StaticEncoder, Tokenizer, Sequence[str]], list[str]]


@pytest.fixture(scope="session")
def built_in() -> tuple[StaticEncoder, Tokenizer]:
    """The built-in encoder and the wheel's tokenizer of the same file."""
    folder = builtin.find_encoder("static-minilm-l6")
    assert folder is not None
    return load_encoder(), Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="session", params=VARIANTS, ids=VARIANTS)
def variant(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StaticEncoder, Tokenizer]:
    """An encoder with the built-in vocabulary and other options, and the wheel's tokenizer of the same file."""
    source = builtin.find_encoder("static-minilm-l6")
    assert source is not None
    tokenizer = json.loads((source / "tokenizer.json").read_bytes())
    tokenizer["normalizer"].update(VARIANTS[request.param])
    folder = tmp_path_factory.mktemp("variant") / request.param
    write_encoder(folder, dim=1, tokenizer=tokenizer)
    return load_encoder(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="session")
def differences() -> Differences:
    """Compare ids on texts; up to ten that differ, readable, and how many there are."""

    def compare(encoder: StaticEncoder, oracle: Tokenizer, texts: Sequence[str]) -> list[str]:
        found = []
        for start in range(0, len(texts), 20000):
            part = texts[start : start + 20000]
            expected = oracle.encode_batch(part, add_special_tokens=False)
            for text, encoding in zip(part, expected, strict=True):
                ids = encoder.tokenize(text)
                if ids != encoding.ids:
                    found.append(f"{text[:80]!a}: found {ids[:20]}, the wheel gives {encoding.ids[:20]}")
        return [*found[:10], f"{len(found)} of {len(texts)}"] if found else []

    return compare

"""Tokenizer files, checked and reduced to what the native WordPiece implements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastroute import _core
from fastroute.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WordPieceVocabulary", "parse_tokenizer", "read_wordpiece"]

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_FLAGS = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


@dataclass(frozen=True, slots=True)
class WordPieceVocabulary:
    """A WordPiece vocabulary with its tokenizer.

    Attributes
    ----------
    tokens
        The token of each id, 0 .. V-1.
    tokenizer
        A Hugging Face `tokenizer.json` as a dictionary: WordPiece with BERT's normaliser and pre-tokenizer,
        no truncation, no padding, no post-processor, so that encoding gives bare ids.
    source
        The file it was read from, for messages.
    """

    tokens: tuple[str, ...]
    tokenizer: dict[str, Any]
    source: str

    def id_of(self, token: str) -> int:
        """Id of a token that the encoder can't do without."""
        ids: dict[str, int] = self.tokenizer["model"]["vocab"]
        if token not in ids:
            raise DataError(f"{self.source}: the vocabulary has no {token}")
        return ids[token]

    def native(self) -> _core.WordPiece:
        """Build the native tokenizer."""
        model, normalizer = self.tokenizer["model"], self.tokenizer["normalizer"]
        strip_accents = normalizer["strip_accents"]
        return _core.WordPiece(
            self.tokens,
            unknown_id=model["vocab"][model["unk_token"]],
            special_tokens=[(token["content"], token["id"]) for token in self.tokenizer["added_tokens"]],
            continuation_prefix=model["continuing_subword_prefix"],
            max_word_chars=model["max_input_chars_per_word"],
            clean_text=normalizer["clean_text"],
            handle_chinese_chars=normalizer["handle_chinese_chars"],
            # None means "as lowercase", as in Hugging Face's BertNormalizer
            strip_accents=normalizer["lowercase"] if strip_accents is None else strip_accents,
            lowercase=normalizer["lowercase"],
        )


def parse_tokenizer(raw: bytes, *, source: str) -> WordPieceVocabulary:
    """Parse the content of a `tokenizer.json`.

    Raises
    ------
    DataError
        It is not JSON, or not WordPiece with BERT's normaliser and pre-tokenizer.
    """
    return _from_tokenizer_json(raw, source)


def read_wordpiece(folder: Path) -> WordPieceVocabulary:
    """Read `tokenizer.json`, or else `vocab.txt` (with `tokenizer_config.json`, if there), of an encoder.

    Raises
    ------
    DataError
        Neither file is there, or the tokenizer is not WordPiece with BERT's normaliser and pre-tokenizer.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        return parse_tokenizer(path.read_bytes(), source=str(path))
    path = folder / "vocab.txt"
    if path.is_file():
        return _from_vocab_txt(path)
    raise DataError(f"{folder}: neither tokenizer.json nor vocab.txt is there; an encoder folder has one")


def _from_tokenizer_json(content: bytes, path: str) -> WordPieceVocabulary:
    raw = _json_object(content, path)
    model = _section(path, raw, "model", "WordPiece")
    normalizer = _section(path, raw, "normalizer", "BertNormalizer")
    _section(path, raw, "pre_tokenizer", "BertPreTokenizer")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not all(type(index) is int for index in vocab.values()):
        raise DataError(f"{path}: model.vocab must map tokens to integer ids")
    added = raw.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise DataError(f"{path}: added_tokens must be a list of objects")
    for token in added:
        if any(token.get(flag) for flag in ("single_word", "lstrip", "rstrip", "normalized")):
            raise DataError(
                f"{path}: added token {token.get('content')!r} has single_word, lstrip, rstrip or normalized set; "
                f"only verbatim matching is supported"
            )
        if vocab.get(token.get("content")) != token.get("id"):
            raise DataError(
                f"{path}: added token {token.get('content')!r} has id {token.get('id')!r}, "
                f"which is not its id in model.vocab; only added tokens of the vocabulary are supported"
            )
    return _vocabulary(
        path,
        vocab,
        normalizer={
            "type": "BertNormalizer",
            "clean_text": _flag(path, normalizer, "clean_text", True),
            "handle_chinese_chars": _flag(path, normalizer, "handle_chinese_chars", True),
            "strip_accents": _flag(path, normalizer, "strip_accents", None),
            "lowercase": _flag(path, normalizer, "lowercase", True),
        },
        added=[
            {"id": token["id"], "content": token["content"]}
            | {flag: _flag(path, token, flag, default) for flag, default in _FLAGS.items()}
            for token in added
        ],
        unknown=model.get("unk_token", "[UNK]"),
        prefix=model.get("continuing_subword_prefix", "##"),
        longest=model.get("max_input_chars_per_word", 100),
    )


def _from_vocab_txt(path: Path) -> WordPieceVocabulary:
    config_path = path.parent / "tokenizer_config.json"
    settings = str(config_path)
    config = _json_object(config_path.read_bytes(), settings) if config_path.is_file() else {}
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}") from error
    lines = text.removesuffix("\n").split("\n")
    vocab: dict[str, int] = {}
    for index, line in enumerate(lines):
        token = line.removesuffix("\r")
        if token in vocab:
            raise DataError(f"{path}: line {index + 1}: token {token!r} is already on line {vocab[token] + 1}")
        vocab[token] = index
    return _vocabulary(
        str(path),
        vocab,
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": _flag(settings, config, "tokenize_chinese_chars", True),
            "strip_accents": _flag(settings, config, "strip_accents", None),
            "lowercase": _flag(settings, config, "do_lower_case", True),
        },
        added=[{"id": vocab[token], "content": token} | _FLAGS for token in _SPECIAL if token in vocab],
        unknown=config.get("unk_token", "[UNK]"),
        prefix="##",
        longest=100,
    )


def _vocabulary(
    path: str,
    vocab: dict[str, int],
    *,
    normalizer: dict[str, Any],
    added: list[dict[str, Any]],
    unknown: object,
    prefix: object,
    longest: object,
) -> WordPieceVocabulary:
    tokens = sorted(vocab, key=vocab.__getitem__)
    if [vocab[token] for token in tokens] != list(range(len(tokens))):
        raise DataError(f"{path}: the ids of its {len(tokens)} tokens must be 0 .. {len(tokens) - 1}, each once")
    if not isinstance(unknown, str) or unknown not in vocab:
        raise DataError(f"{path}: the unknown token is {unknown!r}; it must be in the vocabulary")
    if not isinstance(prefix, str) or not prefix:
        raise DataError(f"{path}: continuing_subword_prefix is {prefix!r}; a non-empty string is needed")
    if type(longest) is not int or longest < 1:
        raise DataError(f"{path}: max_input_chars_per_word is {longest!r}; a positive integer is needed")
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added, key=lambda token: int(token["id"])),
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": prefix, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": prefix,
            "max_input_chars_per_word": longest,
            "vocab": {token: index for index, token in enumerate(tokens)},
        },
    }
    return WordPieceVocabulary(tuple(tokens), tokenizer, path)


def _json_object(raw: bytes, path: str) -> dict[str, Any]:
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(parsed, dict):
        raise DataError(f"{path}: holds {type(parsed).__name__}; a JSON object is needed")
    return parsed


def _section(path: str, raw: dict[str, Any], key: str, kind: str) -> dict[str, Any]:
    section = raw.get(key)
    found = section.get("type") if isinstance(section, dict) else section
    if not isinstance(section, dict) or found != kind:
        raise DataError(f"{path}: {key} is {found!r}; only {kind} is supported")
    return section


def _flag(path: str, section: dict[str, Any], key: str, default: bool | None) -> bool | None:
    value = section.get(key, default)
    if value is not None and not isinstance(value, bool):
        raise DataError(f"{path}: {key} is {value!r}; true, false or null is needed")
    return default if value is None else value

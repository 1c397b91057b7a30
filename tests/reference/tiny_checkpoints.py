"""Folders of tiny sequence classifiers as transformers saves them; needs torch."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

from tests.reference.tiny_transformers import config_of, random_model

POSITIONS = 80
WORDS = ["prove", "that", "the", "sum", "of", "two", "odd", "numbers", "is", "even", "why", "what", "write", "code"]
WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "?", "2", "+", "##ing"]
WORDPIECES += [chr(c) for c in range(97, 123)] + [f"##{chr(c)}" for c in range(97, 123)]


def write_bert(folder: Path, *, labels: int, fast: bool = True, **config: Any) -> Any:
    """Write a BERT with its WordPiece tokenizer, as tokenizer.json or as vocab.txt; return the model."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDPIECES), encoding="utf-8")
    model = random_model("bert", labels=labels, vocab_size=len(WORDPIECES), positions=POSITIONS, **config)
    model.save_pretrained(folder)
    if fast:
        tokenizer = transformers.BertTokenizerFast.from_pretrained(folder, local_files_only=True)
        (folder / "vocab.txt").unlink()
        tokenizer.save_pretrained(folder)
    return model


def write_xlm_roberta(folder: Path, *, labels: int = 3, fast: bool = True, **config: Any) -> Any:
    """Write an XLM-RoBERTa with its tokenizer, as tokenizer.json or as sentencepiece.bpe.model; return the model."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    if fast:
        tokenizer = unigram()
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}
        settings |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        rows = len(tokenizer["model"]["vocab"])
    else:
        (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece_model())
        config_of("xlm-roberta").save_pretrained(folder)
        rows = len(transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True))
    model = random_model("xlm-roberta", labels=labels, vocab_size=rows, positions=POSITIONS, **config)
    model.save_pretrained(folder)
    return model


def unigram() -> dict[str, Any]:
    """A tokenizer.json like XLM-RoBERTa's: Unigram over words and letters, <s> and </s> added."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(token, 0.0) for token in special]
    pieces += [(f"\u2581{word}", -3.0) for word in WORDS]
    pieces += [(f"{mark}{chr(c)}", -9.0) for mark in ("\u2581", "") for c in range(97, 123)]
    pieces += [("\u2581", -8.0), ("?", -6.0), ("2", -6.0), ("\u4e2d", -7.0)]
    added = [
        {"id": i, "content": token, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for i, token in enumerate(special)
    ]
    space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": space,
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}
        | {"trim_offsets": True, "add_prefix_space": True},
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": False},
    }


def sentencepiece_model() -> bytes:
    """A small SentencePiece model of words; needs sentencepiece."""
    import sentencepiece

    rng, made = random.Random(0), io.BytesIO()
    lines = [" ".join(rng.choices(WORDS, k=8)) for _ in range(500)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=made, vocab_size=36, model_type="unigram", minloglevel=2
    )
    return made.getvalue()


def change_json(path: Path, **changes: Any) -> None:
    """Set members of a JSON object in a file; None removes one."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = {name: value for name, value in {**found, **changes}.items() if value is not None}
    path.write_text(json.dumps(found), encoding="utf-8")

"""From an encoder folder to a static table."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.training.distill import distill, principal_axes, quantize_rows


def _pooled(tiny_bert, bert_reference, pool="mean"):
    """Every token through the reference encoder."""
    rows = []
    for token in range(len(tiny_bert.TOKENS)):
        states = bert_reference.hidden_states(
            tiny_bert.bert_tensors(), [2, token, 3], layers=2, heads=2, eps=1e-12, activation="gelu"
        )
        rows.append(states.mean(axis=0) if pool == "mean" else states[0])
    return np.array(rows)


def _rows(table):
    return table.embedding * table.scale[:, None]


def test_rows_are_the_pooled_tokens(encoder_folder, bert_reference, tiny_bert):
    table = distill(encoder_folder(), dims=None)
    expected = _pooled(tiny_bert, bert_reference)
    assert table.embedding.dtype == np.int8
    assert table.scale.dtype == np.float32
    assert table.tokens == tuple(tiny_bert.TOKENS)
    assert (np.abs(_rows(table) - expected) <= table.scale[:, None] / 2 + 1e-5).all()


def test_cls_pooling_is_followed(encoder_folder, bert_reference, tiny_bert):
    folder = encoder_folder()
    (folder / "1_Pooling").mkdir()
    config = {
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
        "word_embedding_dimension": 8,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    table = distill(folder, dims=None)
    expected = _pooled(tiny_bert, bert_reference, "cls")
    assert (np.abs(_rows(table) - expected) <= table.scale[:, None] / 2 + 1e-5).all()
    assert table.provenance["pooling"] == "cls"


def test_pca_keeps_differences_between_tokens(encoder_folder, bert_reference, tiny_bert):
    table = distill(encoder_folder(), dims=8)
    found, expected = _rows(table), _pooled(tiny_bert, bert_reference)
    np.testing.assert_allclose(
        np.linalg.norm(found[:, None] - found, axis=2),
        np.linalg.norm(expected[:, None] - expected, axis=2),
        atol=8 * float(table.scale.max()),
    )
    assert table.provenance["explained_variance"] == 1.0
    assert distill(encoder_folder(), dims=3).embedding.shape == (12, 3)


def test_principal_axes_are_those_of_the_singular_value_decomposition():
    rows = np.random.default_rng(1).standard_normal((50, 6)).astype(np.float32) * [5, 4, 3, 2, 1, 0.5] + 7
    found, explained = principal_axes(rows.astype(np.float32), 3)
    centred = rows - rows.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(centred @ axes[:3].T), atol=1e-4)
    assert explained == pytest.approx((singular[:3] ** 2).sum() / (singular**2).sum(), rel=1e-6)


def test_the_sign_of_an_axis_does_not_depend_on_the_order_of_tokens():
    rows = np.random.default_rng(2).standard_normal((40, 5)).astype(np.float32) * [5, 4, 3, 2, 1]
    order = np.random.default_rng(3).permutation(40)
    one, other = (
        principal_axes(rows.astype(np.float32), 4)[0],
        principal_axes(rows[order].astype(np.float32), 4)[0],
    )
    np.testing.assert_allclose(one[order], other, atol=1e-4)


def test_quantisation_is_within_half_a_step_and_keeps_zero_rows():
    rows = np.random.default_rng(0).standard_normal((30, 7)).astype(np.float32) * 10.0 ** np.arange(-15, 15)[:, None]
    rows[4] = 0
    embedding, scale = quantize_rows(rows.astype(np.float32))
    assert scale[4] == 0
    assert not embedding[4].any()
    assert (np.abs(embedding).max(axis=1)[np.arange(30) != 4] == 127).all()
    assert (np.abs(embedding * scale[:, None].astype(np.float64) - rows) <= scale[:, None] * 0.5001).all()


def test_the_tokenizer_gives_bare_ids(encoder_folder, tmp_path):
    table = distill(encoder_folder(), dims=4)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(table.tokenizer_json())
    tokenizer = Tokenizer.from_file(str(path))
    assert tokenizer.truncation is None
    assert tokenizer.padding is None
    assert tokenizer.encode("A prompts! [MASK] É 中 xyz").ids == [5, 6, 7, 9, 4, 10, 11, 1]
    assert tokenizer.encode("").ids == []
    assert tokenizer.encode("a " * 600).ids == [5] * 600


def test_vocab_txt_gives_the_same_tokenizer(encoder_folder, tiny_bert):
    folder = encoder_folder()
    before = distill(folder, dims=4)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(tiny_bert.TOKENS) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "strip_accents": False}))
    after = distill(folder, dims=4)
    assert after.tokenizer == before.tokenizer
    np.testing.assert_array_equal(after.embedding, before.embedding)


def test_provenance_names_the_files_and_no_path(encoder_folder):
    table = distill(encoder_folder(), dims=4, max_tokens=64)
    assert set(table.provenance["files"]) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert all(len(entry["sha256"]) == 64 for entry in table.provenance["files"].values())
    assert table.provenance["encoder"] == "tiny-encoder"
    assert table.max_tokens == table.provenance["max_tokens"] == 64
    assert "/" not in json.dumps(table.provenance)


def test_the_same_folder_gives_the_same_table(encoder_folder):
    one, other = distill(encoder_folder(), dims=5), distill(encoder_folder(), dims=5)
    assert one.embedding.tobytes() == other.embedding.tobytes()
    assert one.scale.tobytes() == other.scale.tobytes()


def test_progress_ends_at_the_vocabulary(encoder_folder):
    calls = []
    distill(encoder_folder(), dims=4, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (12, 12)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"dims": 9}, InvalidArgumentError, "dims: 9"),
        ({"dims": 0}, InvalidArgumentError, "dims: 0"),
        ({"dims": 4.0}, InvalidTypeError, "dims: float"),
        ({"dims": True}, InvalidTypeError, "dims: bool"),
        ({"max_tokens": 0}, InvalidArgumentError, "max_tokens: 0"),
        ({"max_tokens": "8"}, InvalidTypeError, "max_tokens: str"),
    ],
)
def test_bad_arguments_are_named(encoder_folder, arguments, error, says):
    with pytest.raises(error) as caught:
        distill(encoder_folder(), **{"dims": 4, **arguments})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("tokenizer", "says"),
    [
        ({"model": {"type": "BPE"}}, "model is 'BPE'; only WordPiece"),
        ({"normalizer": None}, "normalizer is None; only BertNormalizer"),
        ({"normalizer": {"type": "NFC"}}, "normalizer is 'NFC'"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer is 'Whitespace'"),
        ({"added_tokens": [{"id": 12, "content": "<new>"}]}, "'<new>'"),
        ({"added_tokens": [3]}, "added_tokens"),
        (
            {"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "[CLS]": 2}}, "added_tokens": []},
            "each once",
        ),
        ({"model": {"type": "WordPiece", "vocab": {"[CLS]": 0}}, "added_tokens": []}, "unknown token"),
        ({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}, "added_tokens": []}, "no [CLS]"),
        ({"model": {"type": "WordPiece", "vocab": {"a": 0.5}}, "added_tokens": []}, "integer ids"),
        ({"model": {"type": "WordPiece", "vocab": ["a"]}, "added_tokens": []}, "integer ids"),
        ({"normalizer": {"type": "BertNormalizer", "lowercase": "yes"}}, "lowercase is 'yes'"),
    ],
)
def test_other_tokenizers_are_refused(encoder_folder, tokenizer, says):
    with pytest.raises(DataError) as caught:
        distill(encoder_folder(tokenizer=tokenizer), dims=4)
    assert says in str(caught.value)


def test_a_vocabulary_larger_than_the_encoder_is_refused(encoder_folder, tiny_bert):
    folder = encoder_folder()
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join([*tiny_bert.TOKENS, "extra"]), encoding="utf-8")
    with pytest.raises(DataError, match=r"13 tokens.*embeddings for 12"):
        distill(folder, dims=4)


@pytest.mark.parametrize(
    ("content", "says"), [(b"a\nb\na\n", "line 3"), (b"\xff\n", "UTF-8"), (b"a\nb\n", "unknown token")]
)
def test_a_bad_vocab_txt_is_refused(encoder_folder, content, says):
    folder = encoder_folder()
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        distill(folder, dims=4)
    assert says in str(caught.value)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(encoder_folder, missing):
    folder = encoder_folder()
    (folder / missing).unlink()
    with pytest.raises(DataError) as caught:
        distill(folder, dims=4)
    assert missing in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="encoder_folder"):
        distill(tmp_path / "nothing")


@pytest.mark.parametrize("config", ['{"pooling_mode_max_tokens": true}', "{}", "[]", "{"])
def test_other_poolings_are_refused(encoder_folder, config):
    folder = encoder_folder()
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(config)
    with pytest.raises(DataError, match="1_Pooling"):
        distill(folder, dims=4)

"""The NumPy encoder against plain loops in float64, and what it refuses."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fastroute.errors import DataError
from fastroute.training.bert_forward import BertEncoder, gelu, gelu_tanh


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("prefix", ["", "bert."])
def test_hidden_states_equal_the_reference(encoder_folder, bert_reference, tiny_bert, activation, prefix):
    folder = encoder_folder(config={"hidden_act": activation}, prefix=prefix)
    ids = np.array([[2, 5, 3, 1], [7, 7, 0, 11], [4, 3, 2, 9]])
    found = BertEncoder(folder).hidden_states(ids)
    assert found.dtype == np.float32
    for row, sequence in enumerate(ids):
        expected = bert_reference.hidden_states(
            tiny_bert.bert_tensors(), list(sequence), layers=2, heads=2, eps=1e-12, activation=activation
        )
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_sequences_do_not_see_each_other(encoder_folder):
    encoder = BertEncoder(encoder_folder())
    together = encoder.hidden_states(np.array([[2, 5, 3], [2, 8, 3]]))
    np.testing.assert_allclose(together[1], encoder.hidden_states(np.array([[2, 8, 3]]))[0], atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("F64", 1e-6), ("F16", 3e-2), ("BF16", 2e-1)])
def test_other_float_types_are_read(encoder_folder, dtype, tolerance):
    ids = np.array([[2, 5, 3]])
    exact = BertEncoder(encoder_folder()).hidden_states(ids)
    np.testing.assert_allclose(BertEncoder(encoder_folder(dtype=dtype)).hidden_states(ids), exact, atol=tolerance)


def test_gelu_is_accurate_everywhere():
    x = np.concatenate([np.linspace(-12, 12, 20001), [0.0, -1e-30, 1e4, -1e4]]).astype(np.float32)
    exact = np.array([float(v) * 0.5 * math.erfc(-float(v) / math.sqrt(2)) for v in x])
    np.testing.assert_allclose(gelu(x), exact, atol=5e-7, rtol=3e-7)
    assert np.abs(gelu_tanh(x[:20001]) - exact[:20001]).max() < 5e-4


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"num_attention_heads": 3}, "no multiple of 3"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"num_hidden_layers": 3}, "encoder.layer.2"),
        ({"vocab_size": 13}, "asks for (13, 8)"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(encoder_folder, config, says):
    with pytest.raises(DataError) as caught:
        BertEncoder(encoder_folder(config=config))
    assert says in str(caught.value)


def test_a_config_that_is_no_object_is_refused(encoder_folder):
    folder = encoder_folder()
    for text in ("[1]", "{"):
        (folder / "config.json").write_text(text)
        with pytest.raises(DataError, match=r"config\.json"):
            BertEncoder(folder)


def test_nan_in_the_weights_is_refused(encoder_folder, tiny_bert):
    tensors = tiny_bert.bert_tensors()
    tensors["encoder.layer.1.output.dense.bias"][3] = np.nan
    with pytest.raises(DataError, match="NaN or infinity"):
        BertEncoder(encoder_folder(tensors=tensors))


def _with_header(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"\0" * 16


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        # the rules of the format itself are tested in tests/artifact and tests/hostile
        (b"\xff" * 8, "header of"),
        (_with_header({"x": {"dtype": "I32", "shape": [4], "data_offsets": [0, 16]}}), "no float tensor"),
    ],
)
def test_a_malformed_weights_file_is_refused(encoder_folder, blob, says):
    folder = encoder_folder()
    (folder / "model.safetensors").write_bytes(blob)
    with pytest.raises(DataError) as caught:
        BertEncoder(folder)
    assert says in str(caught.value)


def test_a_weights_file_cut_at_any_length_is_refused(encoder_folder):
    folder = encoder_folder()
    whole = (folder / "model.safetensors").read_bytes()
    for length in range(0, len(whole), 97):
        (folder / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(DataError):
            BertEncoder(folder)

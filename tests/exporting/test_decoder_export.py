"""Decoders from torch to ONNX: tiny random ones, whose graphs must say what torch says."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.tiny_artifacts import TOKENS, tokenizer_json

import fastroute
from fastroute.cli import main
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.onnx.graph import check_graph
from fastroute.onnx.session import GraphSession
from fastroute.routers import CausalLlmRouter

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch", reason="exporting needs the extra [train-llm]")
transformers = pytest.importorskip("transformers", reason="exporting needs the extra [train-llm]")
pytest.importorskip("onnxscript", reason="exporting needs the extra [train-llm]")

TEMPLATE = ("prove that ", " ? is the sum")
LABELS = ("why", "what")


def write_checkpoint(folder: Path, kind: str = "llama", **changes: Any) -> Any:
    """A random checkpoint with the tiny tokenizer; the model."""
    classes = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    }
    config, model = classes[kind]
    torch.manual_seed(0)
    made = model(
        config(
            **{
                "vocab_size": len(TOKENS),
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "max_position_embeddings": 64,
                "initializer_range": 0.2,
                "pad_token_id": 0,
                "attn_implementation": "eager",
                **changes,
            }
        )
    ).eval()
    made.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return made


def by_torch(model: Any, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1].numpy()


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_the_graph_says_what_torch_says(kind: str, tmp_path: Path) -> None:
    from fastroute.exporting.decoder import export_decoder

    model = write_checkpoint(tmp_path / "checkpoint", kind)
    done = export_decoder(
        tmp_path / "checkpoint", tmp_path / "exported", template=TEMPLATE, labels=LABELS, quantise=False
    )
    assert done.error <= 1e-5
    assert (done.width, done.correlation, done.licence) == (32, 1.0, None)
    graph = (tmp_path / "exported" / "model.onnx").read_bytes()
    assert check_graph(graph, source="exported").vocabulary == len(TOKENS)
    session = GraphSession(graph, source="exported", output=("hidden",))
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, len(TOKENS), length).tolist() for length in (1, 5, 17, 40)]
    ids, mask = np.zeros((4, 40), np.int64), np.zeros((4, 40), np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)], mask[row, : len(sequence)] = sequence, 1
    ids[mask == 0] = rng.integers(0, len(TOKENS), int((mask == 0).sum()))  # whatever stands in the padding
    padded = session.run(ids, mask)
    for row, sequence in enumerate(sequences):
        expected = by_torch(model, sequence)
        alone = session.run(np.array([sequence]), np.ones((1, len(sequence)), np.int64))[0]
        assert np.abs(alone - expected).max() <= 1e-4
        assert np.abs(padded[row] - expected).max() <= 1e-4


@pytest.mark.parametrize("tied", [True, False])
def test_zero_shot_is_the_decoders_own_answer(tied: bool, tmp_path: Path) -> None:
    from fastroute.exporting.decoder import export_decoder

    model = write_checkpoint(tmp_path / "checkpoint", tie_word_embeddings=tied)
    export_decoder(tmp_path / "checkpoint", tmp_path / "exported", template=TEMPLATE, labels=LABELS, quantise=False)
    router = CausalLlmRouter.from_folder(tmp_path / "exported", "large", "small", template=TEMPLATE)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "checkpoint", local_files_only=True)
    for prompt in ("the sum of x", "why", "sqrt 2 is what ?"):
        ids = tokenizer(f"{TEMPLATE[0]} {prompt} {TEMPLATE[1]}", add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
        first, second = (logits[TOKENS.index(label)].item() for label in LABELS)
        assert abs(router.score(prompt) - 1 / (1 + np.exp(second - first))) <= 1e-5


def test_in_int8_it_says_nearly_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from fastroute.exporting.decoder import export_decoder

    write_checkpoint(tmp_path / "checkpoint", vocab_size=len(TOKENS), hidden_size=64, intermediate_size=256)
    capfd.readouterr()
    sizes, scores = [], []
    prompts = ["the sum of x", "why", "sqrt 2 is what ?", "prove that 1 is 2", "", "what is the sum of 1 , 2 ?"]
    for quantise in (False, True):
        done = export_decoder(
            tmp_path / "checkpoint", tmp_path / str(quantise), template=TEMPLATE, labels=LABELS, quantise=quantise
        )
        router = CausalLlmRouter.from_folder(tmp_path / str(quantise), "large", "small", template=TEMPLATE)
        sizes.append(done.graph_bytes)
        scores.append(router.score(prompts))
    assert 0.9 <= done.correlation < 1
    assert sizes[1] < 0.6 * sizes[0]
    assert np.corrcoef(*scores)[0, 1] > 0.95
    assert scores[1].tolist() == [router.score(prompt) for prompt in prompts]
    assert capfd.readouterr().err == ""  # libraries' bars and warnings
    assert logging.root.manager.disable == logging.NOTSET


def test_an_activation_that_stands_out_keeps_its_matrix_in_float(tmp_path: Path) -> None:
    import onnx

    from fastroute.exporting.decoder import export_decoder
    from fastroute.exporting.decoder_quantising import quantise_decoder

    model = write_checkpoint(tmp_path / "loud", intermediate_size=1024)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3] *= 1000
    model.save_pretrained(tmp_path / "loud")
    export_decoder(tmp_path / "loud", tmp_path / "exported", template=TEMPLATE, quantise=False)
    kept = quantise_decoder(tmp_path / "exported" / "model.onnx", tmp_path / "int8.onnx", [[5, 6, 7, 8], [9, 10]])
    nodes = onnx.load(tmp_path / "int8.onnx").graph.node
    blocks = [node for node in nodes if node.op_type == "MatMulNBits"]
    assert kept == len(blocks) == 1
    assert sum(node.op_type == "MatMulInteger" for node in nodes) == 13
    check_graph((tmp_path / "int8.onnx").read_bytes(), source="int8")


@pytest.mark.parametrize(
    ("labels", "says"), [(("why", "the sum"), "'the sum', which is 2 tokens"), (("why", ""), "'', which is 0 tokens")]
)
def test_labels_are_single_tokens(labels: tuple[str, ...], says: str, tmp_path: Path) -> None:
    from fastroute.exporting.decoder import export_decoder

    write_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(InvalidArgumentError, match=says):
        export_decoder(tmp_path / "checkpoint", tmp_path / "exported", labels=labels)
    assert not (tmp_path / "exported").exists()


def test_two_labels_of_one_token(tmp_path: Path) -> None:
    from fastroute.exporting.decoder import export_decoder

    write_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(InvalidArgumentError, match="labels: found 'why' and ' why', which are one token"):
        export_decoder(tmp_path / "checkpoint", tmp_path / "exported", labels=("why", " why"))
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--max-tokens", "65"], "--max-tokens: found 65, allowed: 64 at most, for as many checkpoint has positions"),
        (["--max-tokens", "6"], "--max-tokens: found 6, allowed: more than the 6 of the template"),
        (["--max-tokens", "2000000"], "--max-tokens: found 2000000"),
        (["--before", "why " * 70], "--before, --after: found 74 tokens, allowed: fewer than the 64 of a sequence"),
        (["--labels", "why", "the sum"], "--labels: found 'the sum', which is 2 tokens"),
        (["--labels", "why", " why"], "--labels: found 'why' and ' why', which are one token"),
    ],
)
def test_settings_are_looked_at_before_the_graph_is_made(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: pytest.fail("a graph is made"))
    write_checkpoint(tmp_path / "checkpoint")
    command = ["train", "causal_llm", "--model", str(tmp_path / "checkpoint"), "--zero-shot", "--before", TEMPLATE[0]]
    given = ["--after", TEMPLATE[1], "--labels", *LABELS, "-o", str(tmp_path / "it")]
    assert main([*command, *given, *options]) == 2
    said = capsys.readouterr().err
    assert f"error: {says}" in said
    assert "exported-" not in said
    assert not (tmp_path / "it").exists()


def test_the_cache_goes_by_what_files_hold(tmp_path: Path) -> None:
    checkpoint, cache = tmp_path / "checkpoint", tmp_path / "cache"
    write_checkpoint(checkpoint)
    command = ["train", "causal_llm", "--model", str(checkpoint), "--zero-shot", "--cache", str(cache)]
    given = ["--before", TEMPLATE[0], "--after", TEMPLATE[1], "--labels", *LABELS, "-o", str(tmp_path / "it")]

    def score() -> float:
        assert main([*command, *given]) == 0
        return float(fastroute.load(tmp_path / "it").score("the sum of x"))

    first, weights = score(), checkpoint / "model.safetensors"
    (made,) = cache.iterdir()
    graph = (made / "model.onnx").stat()
    assert score() == first
    assert (made / "model.onnx").stat().st_mtime_ns == graph.st_mtime_ns  # it was not exported again
    status, raw = weights.stat(), bytearray(weights.read_bytes())
    tail = np.frombuffer(bytes(raw[-4096:]), np.float32)
    raw[-4096:] = (-tail).tobytes()
    folder = checkpoint.stat()
    weights.write_bytes(raw)
    for path, stat in ((weights, status), (checkpoint, folder)):
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert score() != first
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.1}))
    score()
    assert len(list(cache.iterdir())) == 3


def test_what_is_no_decoder(tmp_path: Path) -> None:
    from fastroute.exporting.decoder import export_decoder

    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(20))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "pickled").mkdir()
    write_checkpoint(tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    for name in ("broken.gguf", "empty", "pickled", "nowhere", "nowhere.gguf"):
        with pytest.raises(DataError, match=name):
            export_decoder(tmp_path / name, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def write_gguf(path: Path) -> None:
    """A random llama of 300 byte-level tokens, as llama.cpp writes it."""
    pytest.importorskip("accelerate", reason="reading .gguf files needs the extra [train-llm]")
    gguf = pytest.importorskip("gguf", reason="reading .gguf files needs the extra [train-llm]")
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(letters), "\u0120h", "\u0120ha", "\u0120e"]
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_license("apache-2.0")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_token_merges(["\u0120 h", "\u0120h a", "\u0120 e"])
    for name, token in (("bos", 1), ("eos", 2), ("unk", 0), ("pad", 2)):
        getattr(writer, f"add_{name}_token_id")(token)

    def add(name: str, *shape: int) -> None:
        values = 1 + 0.1 * rng.standard_normal(shape) if len(shape) == 1 else 0.2 * rng.standard_normal(shape)
        writer.add_tensor(name, values.astype(np.float32))

    add("token_embd.weight", len(tokens), 32)
    add("output_norm.weight", 32)
    for layer in range(2):
        for part, shape in {
            "attn_norm": (32,), "attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32),
            "ffn_norm": (32,), "ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64),
        }.items():  # fmt: skip
            add(f"blk.{layer}.{part}.weight", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_with_its_tokenizer(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    arguments = ["train", "causal_llm", "--model", str(tmp_path / "tiny.gguf"), "--zero-shot", "--max-tokens", "64"]
    template = ["--before", "<|im_start|>", "--after", "<|im_end|>\\n is", "--labels", " ha", " e"]
    assert main([*arguments, *template, "--strong", "a", "--weak", "b", "-o", str(tmp_path / "it")]) == 0
    router = fastroute.load(tmp_path / "it")
    assert isinstance(router, CausalLlmRouter)
    assert router.template == ("<|im_start|>", "<|im_end|>\n is")
    assert len(router.tokenize("<|im_end|>")) == len("<|im_end|>")  # letters, and no end of the turn
    assert router.score("what is it") != router.score("who is it")
    training = json.loads((tmp_path / "it" / "router.json").read_bytes())["training"]
    assert training["model"]["licence"] == "apache-2.0"
    assert training["model"]["error"] <= 1e-5

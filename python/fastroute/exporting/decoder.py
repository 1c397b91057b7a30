"""A decoder as an ONNX graph from token ids to the hidden state at a prompt's last token."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import tempfile
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.artifact import atomic_file, safetensors
from fastroute.artifact.folder import checked_path
from fastroute.errors import DataError, InvalidArgumentError, MissingDependencyError
from fastroute.onnx import GRAPH_FILE, LABELS_FILE, TOKENIZER_FILE
from fastroute.onnx.arguments import checked_max_tokens
from fastroute.onnx.folder import graph_path, read_file

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["SAMPLES", "ExportedDecoder", "export_decoder", "export_facts", "is_exported", "source_digest"]

_FACTS_FILE: Final = "export.json"
_OPSET: Final = 18
_TOLERANCE: Final = 1e-4  # of the largest hidden state
_LEAST_CORRELATION: Final = 0.9
_USUAL_TOKENS: Final = 512
# What transformers may read beside a .gguf file.
_BESIDE_GGUF: Final = (
    "adapter_config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
# Prompts on which the export is checked and the range of activations is seen.
SAMPLES: Final = (
    "What is the capital of France?",
    "Prove that the square root of 2 is irrational.",
    "Write a Python function that sorts a list of pairs by the second element and removes duplicates.",
    "Which of these is a greenhouse gas?\nA. nitrogen\nB. oxygen\nC. carbon dioxide\nD. argon\nAnswer:",
    "A train goes 60 miles in 1.5 hours, then 40 miles in 2. What is its average speed? Explain step by step.",
    "Wer hat den Faust geschrieben, und wann?",
    "x^2 + 3x + 2 = 0",
    "Tell me a joke",
)


@dataclass(frozen=True, slots=True)
class ExportedDecoder:
    """What was exported.

    Attributes
    ----------
    name
        Of the checkpoint: its file, or its folder.
    sha256
        Of the checkpoint's file; of all weight files of a folder, one after another.
    licence
        What the checkpoint says; None where it does not.
    width
        Of a hidden state.
    parameters
        Numbers of the checkpoint, the table of output tokens left out where it is the input's.
    graph_bytes
        Size of the graph.
    error
        Largest difference of a hidden state to torch before quantisation, in parts of the largest one.
    correlation
        Smallest correlation of a sample's hidden state after quantisation with the one before it, less the samples'
        mean both; 1 where nothing was quantised.
    """

    name: str
    sha256: str
    licence: str | None
    width: int
    parameters: int
    graph_bytes: int
    error: float
    correlation: float


def export_decoder(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    template: tuple[str, str] = ("", ""),
    labels: Sequence[str] = (),
    max_tokens: int | None = None,
    quantise: bool = True,
) -> ExportedDecoder:
    """Write a decoder's graph, its tokenizer and its labels into a folder.

    Needs ``pip install 'fastroute[train-llm]'``.

    The graph has the inputs `input_ids` and `attention_mask`, (batch, length) int64 with padding on the right, no cache
    of keys and values, and the output `hidden`: the state after the last norm at the last token that is no padding,
    (batch, width) float32. A token never sees those after it, so padding on the right changes nothing.

    Parameters
    ----------
    path
        A .gguf file, or a local Hugging Face folder with safetensors.
    output
        Folder to write into.
    template
        Text before and after a prompt, for the samples on which the graph is checked.
    labels
        Texts of one token each; the rows of the table of output tokens that belong to them are kept, so that their
        logits can be told without the table.
    max_tokens
        Tokens that a prompt is to have with its template, to be refused before the graph is made; as many as the
        decoder has positions, 512 at most, where None.
    quantise
        Whether to write int8 (`fastroute.exporting.decoder_quantising`).

    Raises
    ------
    DataError
        The checkpoint can't be read, is no decoder, or its graph gives other hidden states than torch.
    InvalidArgumentError
        A label is not one token, or another label's; `max_tokens` are more than the decoder has positions, or no more
        than the template has.
    MissingDependencyError
        torch, transformers, onnx, onnxscript or gguf is not installed.
    """
    source, folder = checked_path(path, "path"), checked_path(output, "output")
    tokens = None if max_tokens is None else checked_max_tokens(max_tokens)
    torch, transformers = _imported(source)
    model, tokenizer = _read(transformers, torch, source)
    rows = _label_rows(model, tokenizer, labels)
    _check_lengths(source, model, tokenizer, template, tokens)
    folder.mkdir(parents=True, exist_ok=True)
    sequences = [
        tokenizer.encode("".join((template[0], each, template[1])), add_special_tokens=False).ids for each in SAMPLES
    ]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        plain = Path(scratch) / GRAPH_FILE
        _write_graph(torch, model, plain)
        expected = _by_torch(torch, model, sequences)
        error = _largest_error(plain.read_bytes(), sequences, expected, source)
        written, correlation = plain, 1.0
        if quantise:
            from fastroute.exporting.decoder_quantising import quantise_decoder

            written = Path(scratch) / "quantised.onnx"
            with _quiet():
                quantise_decoder(plain, written, sequences)
            correlation = _least_correlation(written.read_bytes(), sequences, expected, source)
        config = model.config.to_dict()
        known = ("model_type", "max_position_embeddings", "vocab_size", "pad_token_id", "hidden_size")
        done = ExportedDecoder(
            source.name,
            _sha256(source),
            _licence(source),
            int(expected.shape[1]),
            sum(each.numel() for each in model.parameters()),
            written.stat().st_size,
            error,
            correlation,
        )
        files = {
            TOKENIZER_FILE: tokenizer.to_str().encode(),
            "config.json": json.dumps({key: config.get(key) for key in known}, indent=2).encode(),
            LABELS_FILE: safetensors.encode(
                {"weight": rows, "bias": np.zeros(len(rows), np.float32)}, {"labels": json.dumps(list(labels))}
            ),
            _FACTS_FILE: json.dumps(asdict(done), indent=2).encode(),
        }
        for name, raw in files.items():
            with atomic_file(folder / name) as stream:
                stream.write(raw)
        written.replace(folder / GRAPH_FILE)  # last: with it the folder is whole
    return done


def is_exported(path: Path) -> bool:
    """Whether a folder holds a graph, which `export_decoder` writes last."""
    return path.is_dir() and graph_path(path) is not None


def export_facts(folder: Path) -> dict[str, Any]:
    """Read what `export_decoder` said of a folder; its name where it was another's work.

    Raises
    ------
    DataError
        The file of facts is no JSON object.
    """
    path = folder / _FACTS_FILE
    if not path.is_file():
        return {"name": folder.resolve().name}
    try:
        facts = json.loads(read_file(folder, path, most=1 << 16))
    except ValueError as error:
        raise DataError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(facts, dict):
        raise DataError(f"{path}: holds {type(facts).__name__}; a JSON object is needed")
    return facts


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep libraries from writing what is no error: they draw bars, warn of each other, and log every node."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _imported(source: Path) -> tuple[Any, Any]:
    try:
        import onnx  # noqa: F401 - asked for before minutes of work, not after
        import onnxscript  # noqa: F401
        import torch
        import transformers

        if source.suffix == ".gguf":
            import accelerate  # noqa: F401
            import gguf  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"exporting needs {error.name}: pip install 'fastroute[train-llm]'") from error
    return torch, transformers


def _read(transformers: Any, torch: Any, source: Path) -> tuple[Any, Any]:
    """Read the model in float32, and its tokenizer of the `tokenizers` package."""
    is_file = source.suffix == ".gguf"
    if not (source.is_file() if is_file else (source / "config.json").is_file()):
        raise DataError(
            f"{source}: is neither a .gguf file nor a folder with config.json, {TOKENIZER_FILE} and safetensors"
        )
    folder = source.parent if is_file else source
    # Nothing is fetched, and pickled weights are never read.
    given: dict[str, Any] = {"local_files_only": True, **({"gguf_file": source.name} if is_file else {})}
    try:
        with _quiet():
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=torch.float32,
                attn_implementation="eager",
                **({} if is_file else {"use_safetensors": True}),
                **given,
            )
            if is_file:
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **given).backend_tokenizer
            else:
                from tokenizers import Tokenizer

                tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
                tokenizer.no_padding()
                tokenizer.no_truncation()
    except MemoryError:
        raise
    except Exception as error:
        raise DataError(f"{source}: can't be read as a decoder: {error!s:.300}") from error
    return model.eval(), tokenizer


def _label_rows(model: Any, tokenizer: Any, labels: Sequence[str]) -> NDArray[np.float32]:
    ids: list[int] = []
    for label in labels:
        found = tokenizer.encode(label, add_special_tokens=False).ids
        if len(found) != 1:
            raise InvalidArgumentError(f"labels: found {label!r}, which is {len(found)} tokens, allowed: texts of one")
        if found[0] in ids:
            twin = labels[ids.index(found[0])]
            raise InvalidArgumentError(
                f"labels: found {twin!r} and {label!r}, which are one token, allowed: different ones"
            )
        ids += found
    table = model.get_output_embeddings().weight.detach()
    rows: NDArray[np.float32] = table[ids].numpy().astype(np.float32)
    return np.ascontiguousarray(rows.reshape(len(ids), table.shape[1]))


def _check_lengths(source: Path, model: Any, tokenizer: Any, template: tuple[str, str], max_tokens: int | None) -> None:
    """See that a template and a prompt after it have positions."""
    positions = model.config.to_dict().get("max_position_embeddings")
    known = positions if type(positions) is int and positions > 0 else None
    around = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in template)
    if max_tokens is None:
        most = min(_USUAL_TOKENS, known or _USUAL_TOKENS)
        if around >= most:
            raise InvalidArgumentError(f"template: found {around} tokens, allowed: fewer than the {most} of a sequence")
    elif known is not None and max_tokens > known:
        raise InvalidArgumentError(
            f"max_tokens: found {max_tokens}, allowed: {known} at most, for as many {source.name} has positions"
        )
    elif max_tokens <= around:
        raise InvalidArgumentError(f"max_tokens: found {max_tokens}, allowed: more than the {around} of the template")


def _write_graph(torch: Any, model: Any, path: Path) -> None:
    class LastState(torch.nn.Module):  # type: ignore[misc]
        """Hidden state at the last token that the mask has."""

        def __init__(self) -> None:
            super().__init__()
            self.decoder = model.base_model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            length = input_ids.shape[1]
            places = torch.arange(length)
            causal = torch.where(places[None, :] <= places[:, None], 0.0, -1e9)[None, None]
            states = self.decoder(
                input_ids=input_ids,
                attention_mask=causal.expand(input_ids.shape[0], 1, length, length),
                position_ids=places[None],
                use_cache=False,
            ).last_hidden_state
            return states[torch.arange(states.shape[0]), attention_mask.sum(dim=1) - 1]

    ids = torch.arange(14).reshape(2, 7) % int(model.config.vocab_size)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    open_extents = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            LastState().eval(),
            (ids, mask),
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            output_names=["hidden"],
            dynamic_shapes=(open_extents, open_extents),
            opset_version=_OPSET,
            verbose=False,
        )
        program.save(str(path), external_data=False)


def _by_torch(torch: Any, model: Any, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """Hidden states at the last tokens as torch has them, each sequence alone."""
    with torch.no_grad():
        states = [
            model.base_model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1].numpy()
            for ids in sequences
        ]
    return np.asarray(states, np.float32)


def _run(graph: bytes, sequences: Sequence[Sequence[int]], source: Path, *, together: bool) -> NDArray[np.float32]:
    from fastroute.onnx.batching import padded
    from fastroute.onnx.graph import check_graph
    from fastroute.onnx.session import GraphSession

    check_graph(graph, source=f"{source.name} as a graph")
    session = GraphSession(graph, source=source.name, output=("hidden",))
    if together:
        return session.run(*padded(sequences, 0))
    return np.concatenate([session.run(*padded([each], 0)) for each in sequences])


def _largest_error(
    graph: bytes, sequences: Sequence[Sequence[int]], expected: NDArray[np.float32], source: Path
) -> float:
    """In parts of the largest hidden state, of samples that pad each other."""
    found = _run(graph, sequences, source, together=True)
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error <= _TOLERANCE:
        raise DataError(
            f"{source}: its graph gives hidden states that differ from torch's by {error:.2g} of the largest; "
            f"a decoder that sees tokens after the last one, or a part of those before it, is not supported"
        )
    return error


def _least_correlation(
    graph: bytes, sequences: Sequence[Sequence[int]], expected: NDArray[np.float32], source: Path
) -> float:
    found = _run(graph, sequences, source, together=False)
    pairs = zip(found - found.mean(axis=0), expected - expected.mean(axis=0), strict=True)
    least = min(float(np.corrcoef(a, b)[0, 1]) for a, b in pairs)
    if not least >= _LEAST_CORRELATION:
        raise DataError(f"{source}: in int8 its hidden states correlate by {least:.3f} with float32; export it as that")
    return least


def source_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of what `export_decoder` makes of a path: names and contents of every file that it reads.

    Raises
    ------
    DataError
        A file can't be read.
    """
    source = checked_path(path, "path")
    if source.is_file():
        files = [source, *(source.parent / name for name in _BESIDE_GGUF)]
    else:
        files = [each for kind in ("json", "safetensors", "txt", "model", "jinja") for each in source.glob(f"*.{kind}")]
    digest = hashlib.sha256()
    try:
        for each in sorted({each for each in files if each.is_file()}):
            digest.update(json.dumps([each.name, _sha256(each)]).encode())
    except OSError as error:
        raise DataError(f"{error.filename or source}: can't be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _sha256(source: Path) -> str:
    files = [source] if source.is_file() else sorted(source.glob("*.safetensors"))
    digest = hashlib.sha256()
    for each in files:
        with each.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _licence(source: Path) -> str | None:
    """Read the licence in a .gguf file."""
    if source.suffix != ".gguf":
        return None
    import gguf

    field = gguf.GGUFReader(str(source)).get_field("general.license")
    return None if field is None else str(field.contents())[:100]

"""A local folder with a sequence classifier of transformers, read as hostile: no code of its own, no pickles, no links.

Every file is read once, from the folder and nowhere else, and what transformers gets are these bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastroute.errors import DataError, MissingDependencyError
from fastroute.exporting.packages import needed, quiet_transformers
from fastroute.onnx import TOKENIZER_FILE
from fastroute.onnx.folder import longest_sequence, read_file, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["Checkpoint", "Sources", "read_checkpoint"]

_CONFIG: Final = "config.json"
_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
# What a tokenizer of transformers may be made of; vocabularies are at least one of the last five.
_VOCABULARIES: Final = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model")
_TOKENIZER_FILES: Final = (
    TOKENIZER_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    *_VOCABULARIES,
)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n((?:.*\n)*?)---[ \t]*(?:\n|\Z)")
_LICENCE = re.compile(r"^license:[ \t]*([\w.+-]{1,64})[ \t]*$", re.MULTILINE)
_MOST_README: Final = 1 << 20
_ARCHITECTURE: Final = "ForSequenceClassification"
# Settings of where and how a checkpoint was made, none of which a model is made of.
_NOT_READ: Final = ("torch_dtype", "dtype", "attn_implementation", "transformers_version")


class Sources:
    """Files of a folder, and what they were: each is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, bytes] = {}
        self._described: dict[str, dict[str, Any]] = {}

    def has(self, name: str) -> bool:
        """Whether there is such a file, or a link of this name: what it leads to is `read`'s to judge."""
        path = self.folder / name
        return path.is_file() or path.is_symlink()

    def read(self, name: str, *, keep: bool = True) -> bytes:
        """Bytes of a file; they are kept but for large files."""
        if name in self._read:
            return self._read[name]
        raw = read_file(self.folder, self.folder / name)
        self._described[name] = {"file": name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        if keep:
            self._read[name] = raw
        return raw

    def described(self) -> list[dict[str, Any]]:
        """Name, size and SHA-256 of the files that were read, by name."""
        return [self._described[name] for name in sorted(self._described)]

    @property
    def licence(self) -> str | None:
        """Licence by the front matter of `README.md`, where it has one."""
        if not self.has("README.md"):
            return None
        raw = read_file(self.folder, self.folder / "README.md", most=_MOST_README)
        front = _FRONT_MATTER.match(raw.decode("utf-8", "replace").replace("\r\n", "\n"))
        found = _LICENCE.search(front[1]) if front else None
        return found[1] if found else None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A sequence classifier and its tokenizer.

    Attributes
    ----------
    sources
        The files that it was read from.
    config
        What `config.json` says.
    labels
        How many logits it has.
    max_tokens
        The longest sequence that the folder says the model is for, at most 512 where only positions tell.
    tokenizer
        Bytes of a `tokenizer.json`: the folder's, or what transformers makes of its vocabulary.
    reference
        The tokenizer of transformers for these files.
    """

    sources: Sources
    config: Mapping[str, Any]
    labels: int
    max_tokens: int
    tokenizer: bytes
    reference: Any

    @property
    def pad(self) -> int | None:
        """Id of padding by `config.json`."""
        pad = self.config.get("pad_token_id")
        return pad if type(pad) is int else None

    @property
    def licence(self) -> str | None:
        """Licence by the front matter of `README.md`, where it has one."""
        return self.sources.licence

    def model(self) -> torch.nn.Module:
        """Make the model, float32 on the processor.

        Raises
        ------
        DataError
            The weights are missing, malformed, pickled objects, or not all that the model has.
        """
        return _model(self.sources, dict(self.config))


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read all of a folder but its weights.

    Raises
    ------
    DataError
        A file is missing, malformed or leads out of the folder, the model is no sequence classifier, or it needs code
        of its own.
    MissingDependencyError
        An extra is not installed.
    """
    needed("torch")
    needed("transformers")
    if not folder.is_dir():
        raise DataError(f"path: {folder} is not a folder; give that of a sequence classifier of transformers")
    sources = Sources(folder)
    sources.read(_CONFIG)
    config = read_settings(folder, _CONFIG)
    _check_code(folder, config, read_settings(folder, "tokenizer_config.json"))
    labels = _labels(folder, config)
    if not any(map(sources.has, _WEIGHTS)):
        raise DataError(f"{folder}: neither {' nor '.join(_WEIGHTS)} is there; save the model in one file of weights")
    raw, reference = _tokenizer(sources)
    return Checkpoint(sources, config, labels, longest_sequence(folder, config), raw, reference)


def _check_code(folder: Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> None:
    for name, settings in ((_CONFIG, config), ("tokenizer_config.json", tokenizer)):
        if "auto_map" in settings:
            raise DataError(f"{folder / name}: auto_map asks for code of the checkpoint's own, which is never run")
    if "quantization_config" in config:
        raise DataError(f"{folder / _CONFIG}: the weights are quantised; give the float32 or float16 ones")


def _labels(folder: Path, config: Mapping[str, Any]) -> int:
    """How many labels a classifier has; see that it is one."""
    path, kinds = folder / _CONFIG, config.get("architectures")
    if not isinstance(kinds, list) or not any(isinstance(kind, str) and kind.endswith(_ARCHITECTURE) for kind in kinds):
        raise DataError(f"{path}: architectures is {kinds!r:.80}; one that ends in {_ARCHITECTURE} is needed")
    by_id, count = config.get("id2label"), config.get("num_labels")
    labels = len(by_id) if isinstance(by_id, dict) else 2 if count is None else count
    if type(labels) is not int or not 1 <= labels <= 3:
        raise DataError(f"{path}: has {labels!r:.40} labels; a router has 1, 2 or 3 (strong wins, tie, weak wins)")
    return labels


def _tokenizer(sources: Sources) -> tuple[bytes, Any]:
    """Return a `tokenizer.json` and the tokenizer of transformers, made of the folder's files and no others."""
    transformers = needed("transformers")
    if not any(sources.has(name) for name in (TOKENIZER_FILE, *_VOCABULARIES)):
        names = ", ".join((TOKENIZER_FILE, *_VOCABULARIES))
        raise DataError(f"{sources.folder}: has no tokenizer; one of {names} is needed")
    with tempfile.TemporaryDirectory(prefix="fastroute-") as folder, quiet_transformers(transformers):
        for name in (_CONFIG, *_TOKENIZER_FILES):
            if sources.has(name):
                (Path(folder) / name).write_bytes(sources.read(name))
        try:
            reference = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_fast=True
            )
            backend = getattr(reference, "backend_tokenizer", None)
            made = None if backend is None else backend.to_str().encode()
        except MemoryError:
            raise
        except ImportError as error:
            raise MissingDependencyError(
                f"{sources.folder}: reading its tokenizer needs a package: pip install sentencepiece protobuf "
                f"({error!s:.200})"
            ) from error
        except Exception as error:
            text = str(error).replace(folder, str(sources.folder))
            raise DataError(f"{sources.folder}: transformers reads no tokenizer from it: {text:.300}") from error
    if sources.has(TOKENIZER_FILE):
        return sources.read(TOKENIZER_FILE), reference
    if made is None:
        raise DataError(
            f"{sources.folder}: has no {TOKENIZER_FILE}, and transformers makes none of {type(reference).__name__}"
        )
    return made, reference


def _model(sources: Sources, config: dict[str, Any]) -> torch.nn.Module:
    torch, transformers = needed("torch"), needed("transformers")
    path, kind = sources.folder / _CONFIG, config.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise DataError(f"{path}: model_type is {kind!r:.60}, which the installed transformers does not know")
    with quiet_transformers(transformers):
        state = _weights(torch, sources)
        settings = {name: value for name, value in config.items() if name[:1] != "_" and name not in _NOT_READ}
        try:
            made = transformers.CONFIG_MAPPING[kind].from_dict(settings)
            model = transformers.AutoModelForSequenceClassification.from_config(made, trust_remote_code=False).float()
            missing, unknown = model.load_state_dict(_renamed(state), strict=False)
        except MemoryError:
            raise
        except Exception as error:
            raise DataError(f"{sources.folder}: the weights are not those of {path.name}: {error!s:.300}") from error
    if missing:
        raise DataError(
            f"{sources.folder}: the weights lack {len(missing)} tensors of the model, the first is {missing[0]!r:.120}"
        )
    # Tables of positions that older versions saved with the weights are worked out anew.
    rest = [name for name in unknown if not name.endswith("position_ids")]
    if rest:
        raise DataError(
            f"{sources.folder}: {len(rest)} tensors of the weights are not the model's, the first is {rest[0]!r:.120}"
        )
    evaluated: Any = model.eval()
    return evaluated


def _weights(torch: Any, sources: Sources) -> dict[str, Any]:
    """Tensors of a folder by name: safetensors where it has them."""
    name = next(name for name in _WEIGHTS if sources.has(name))
    raw = sources.read(name, keep=False)
    try:
        if name == _WEIGHTS[0]:
            found = needed("safetensors.torch").load(raw)
        else:
            found = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except (MemoryError, MissingDependencyError):
        raise
    except Exception as error:
        raise DataError(
            f"{sources.folder / name}: no file of tensors alone: {error!s:.300}; save_pretrained writes safetensors"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(values, torch.Tensor) for values in found.values()):
        raise DataError(f"{sources.folder / name}: holds no mapping from names to tensors")
    return found


def _renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    """Names as they are today: the first BERTs called the weights of a normalisation gamma and beta."""
    return {re.sub(r"LayerNorm\.(gamma|beta)$", _norm, name): values for name, values in state.items()}


def _norm(found: re.Match[str]) -> str:
    return "LayerNorm.weight" if found[1] == "gamma" else "LayerNorm.bias"

"""The encoder with a head on top, and the losses."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.errors import DataError
from fastroute.exporting.packages import needed, quiet_transformers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fastroute.onnx.tokenizer import TextTokenizer
    from fastroute.training.bert.samples import Samples

__all__ = [
    "CLASSES_OBJECTIVE",
    "SCORES_OBJECTIVE",
    "as_classifier",
    "check_vocabulary",
    "loss_of",
    "new_network",
    "outputs_of",
]

SCORES_OBJECTIVE: Final = "scores"
CLASSES_OBJECTIVE: Final = "classes"
_INSIDE = re.compile(r"(^|\.)(encoder|embeddings|transformer|layers?)\.")
_SMALL = 1e-6  # a probability is at least this far from 0 and 1


def new_network(folder: Path, columns: int, *, objective: str, rank: int, seed: int) -> Any:
    """Make a `torch.nn.ModuleDict` of the checkpoint's encoder and a new head.

    The head for scores is ``delta(m, x) = v_m . (W e(x)) + b_m`` of the mean e over the tokens' hidden states, with v_m
    of length `rank`; the one for classes is linear.

    Parameters
    ----------
    folder
        A local Hugging Face checkpoint.
    columns
        Models or classes.

    Raises
    ------
    DataError
        The folder has no such checkpoint with its weights in safetensors.
    MissingDependencyError
        torch or transformers is not installed.
    """
    torch = needed("torch")
    torch.manual_seed(seed)
    encoder = _pretrained(folder).to(torch.float32)
    width = int(encoder.config.hidden_size)
    layers = [torch.nn.Linear(width, columns)]
    if objective == SCORES_OBJECTIVE:
        layers = [torch.nn.Linear(width, rank, bias=False), torch.nn.Linear(rank, columns)]
    return torch.nn.ModuleDict({"encoder": encoder, "head": torch.nn.Sequential(*layers)})


def _pretrained(folder: Path) -> Any:
    transformers = needed("transformers")
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder}: has no config.json; give the folder of a Hugging Face checkpoint")
    with quiet_transformers(transformers):
        try:
            encoder, loading = transformers.AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
        except MemoryError:
            raise
        except Exception as error:  # of transformers and of safetensors, each with its own
            raise DataError(f"{folder}: transformers can't read it: {error!s:.300}") from error
    _check_complete(folder, loading)
    for name, values in encoder.state_dict().items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise DataError(f"{folder}: the tensor {name!r:.120} has NaN or infinity in it")
    return encoder


def _check_complete(folder: Path, loading: Mapping[str, Any]) -> None:
    """See that the weights are those of the configuration: what is missing would be random, what is left over lost."""
    # A pooler is not used, and a head of another task not needed.
    wrong = [name for name in loading["missing_keys"] if not name.startswith("pooler.")]
    wrong += [str(each[0]) for each in loading["mismatched_keys"]]
    wrong += [name for name in loading["unexpected_keys"] if _INSIDE.search(name) and not name.endswith("position_ids")]
    if wrong:
        raise DataError(
            f"{folder}: {len(wrong)} tensors of the encoder are missing, left over or of another shape than "
            f"config.json says; the first is {min(wrong)!r:.120}"
        )


def check_vocabulary(network: Any, tokenizer: TextTokenizer, folder: Path) -> None:
    """See that the ids of a tokenizer are those of the encoder.

    Raises
    ------
    DataError
        It is the tokenizer of another model.
    """
    tokenizer.check_vocabulary(int(network["encoder"].get_input_embeddings().num_embeddings), str(folder))


def as_classifier(network: Any) -> Any:
    """Return a `torch.nn.Module` that takes `input_ids` and `attention_mask` and has `logits`, for export."""
    torch = needed("torch")
    module: Any = torch.nn.Module

    class Classifier(module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.config = network["encoder"].config

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return SimpleNamespace(logits=outputs_of(self.network, input_ids, attention_mask))

    return Classifier()


def outputs_of(network: Any, ids: Any, mask: Any) -> Any:
    """Run a batch of token ids (n, length); the head's outputs (n, columns)."""
    hidden = network["encoder"](input_ids=ids, attention_mask=mask).last_hidden_state
    share = mask[:, :, None].to(hidden.dtype)
    return network["head"]((hidden * share).sum(1) / share.sum(1).clamp(min=1))


def loss_of(outputs: Any, samples: Samples, batch: NDArray[np.int64], *, objective: str) -> tuple[Any, float]:
    """Loss of a batch, summed over its samples, and the weight that it is to be divided by.

    For scores the cross-entropy of a score s and ``h + (1 - h) sigmoid(delta)``, where h is what a guess scores; for
    classes that of their probabilities and the softmax.
    """
    torch = needed("torch")
    spans = [np.arange(samples.begin[i], samples.begin[i + 1]) for i in batch.tolist()]
    at = np.concatenate(spans)
    row = np.repeat(np.arange(len(batch)), [len(span) for span in spans])
    found = outputs[torch.from_numpy(row), torch.from_numpy(samples.column[at])]
    target, guess, weight = (
        torch.from_numpy(values[at]).to(outputs.dtype) for values in (samples.target, samples.guess, samples.weight)
    )
    if objective == CLASSES_OBJECTIVE:
        logarithm = torch.log_softmax(outputs, dim=1)[torch.from_numpy(row), torch.from_numpy(samples.column[at])]
        return -(weight * target * logarithm).sum(), float(len(batch))
    right = (guess + (1 - guess) * torch.sigmoid(found)).clamp(_SMALL, 1 - _SMALL)
    entropy = -(target * torch.log(right) + (1 - target) * torch.log1p(-right))
    return (weight * entropy).sum(), float(len(batch))

"""Running a sentence encoder's ONNX graph for distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["OnnxEncoder"]

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class OnnxEncoder:
    """A sentence encoder exported to ONNX, run by ONNX Runtime on the CPU.

    The graph takes `input_ids`, `attention_mask` and, if it has one, `token_type_ids`, all int64 of shape
    (batch, length). The output named `sentence_embedding` is used if there is one, else the first.

    Parameters
    ----------
    path
        The `.onnx` file.

    Raises
    ------
    MissingDependencyError
        ONNX Runtime is not installed.
    DataError
        The file is not a graph that ONNX Runtime loads, or has other inputs.
    """

    vocab_size: int | None = None

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError(
                "reading an ONNX encoder needs onnxruntime: pip install 'fastroute[bert]'"
            ) from error
        self._path = path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone: its warnings would go to stderr
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise DataError(f"{path}: ONNX Runtime can't load it: {error}") from error
        self._inputs = {given.name for given in self._session.get_inputs()}
        if "input_ids" not in self._inputs or not self._inputs <= set(_INPUTS):
            raise DataError(
                f"{path}: the graph's inputs are {sorted(self._inputs)}; "
                f"input_ids is needed, attention_mask and token_type_ids are allowed"
            )
        outputs = [output.name for output in self._session.get_outputs()]
        self._output = "sentence_embedding" if "sentence_embedding" in outputs else outputs[0]

    def hidden_states(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run token sequences of one length, without padding.

        Parameters
        ----------
        ids
            (n, length) token ids.

        Returns
        -------
        numpy.ndarray
            float32: hidden states (n, length, hidden size), or (n, hidden size) if the graph pools.
        """
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        try:
            (output,) = self._session.run([self._output], {name: feeds[name] for name in self._inputs})
        except Exception as error:
            raise DataError(f"{self._path}: running the graph failed: {error}") from error
        states: NDArray[np.float32] = np.asarray(output, dtype=np.float32)
        pooled, hidden = states.ndim == 2 and len(states) == len(ids), states.shape[:2] == ids.shape
        if not (pooled or (states.ndim == 3 and hidden)):
            raise DataError(
                f"{self._path}: output {self._output!r} has shape {states.shape} for ids of shape "
                f"{ids.shape}; "
                f"(n, length, hidden) or (n, hidden) is needed"
            )
        return states

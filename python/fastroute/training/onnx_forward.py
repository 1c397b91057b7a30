"""Running a sentence encoder's ONNX graph for distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError
from fastroute.onnx.folder import read_file
from fastroute.onnx.graph import check_graph
from fastroute.onnx.session import import_onnxruntime, shared_session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["GraphForward"]


class GraphForward:
    """A sentence encoder exported to ONNX, run by ONNX Runtime on the CPU.

    The graph takes `input_ids`, `attention_mask` and, if it has one, `token_type_ids`, all of shape (batch, length).
    The output named `sentence_embedding` is used if there is one, else the first.

    Parameters
    ----------
    folder
        The encoder's.
    path
        The `.onnx` file in it.

    Raises
    ------
    MissingDependencyError
        ONNX Runtime is not installed.
    DataError
        The file is not a graph that ONNX Runtime loads, has other inputs, or refers to data elsewhere.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        import_onnxruntime()
        self._path = path
        graph = read_file(folder, path)
        self.vocab_size = check_graph(graph, source=str(path)).vocabulary
        self._session = shared_session(graph, source=str(path), output=("sentence_embedding",), device="cpu")

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
        states = self._session.run(ids, np.ones_like(ids))
        pooled, hidden = states.ndim == 2 and len(states) == len(ids), states.shape[:2] == ids.shape
        if not (pooled or (states.ndim == 3 and hidden)):
            raise DataError(
                f"{self._path}: output {self._session.output!r} has shape {states.shape} for ids of shape {ids.shape}; "
                f"(n, length, hidden) or (n, hidden) is needed"
            )
        return states

"""Graphs made smaller: int8 for processors, float16 for GPUs."""

from __future__ import annotations

import logging
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.exporting.packages import needed
from fastroute.onnx.graph import check_graph
from fastroute.onnx.session import import_onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["halved", "quantised"]

_SOURCE: Final = "graph"
_PREPARED: Final = ("onnx.quant.pre_process", "onnxruntime.quant")  # or else it advises what did not help


def quantised(graph: bytes) -> bytes:
    """Quantise a float32 graph to int8 for processors: a quarter of the size, and two to three times as fast.

    Weights of matrix products have one scale per column, tables of embeddings one scale; activations are quantised as
    they come. Not for a GPU, which has no such operators in ONNX Runtime; see `halved`.

    Parameters
    ----------
    graph
        An ONNX file that holds all of its weights, as `fastroute.exporting.encoder` gives it.

    Returns
    -------
    bytes
        An ONNX file. The same graph gives the same bytes.

    Raises
    ------
    MissingDependencyError
        An extra is not installed.
    InvalidTypeError, InvalidArgumentError
        `graph` is not bytes, or is quantised already.
    DataError
        It is no sound ONNX file.
    """
    facts = check_graph(_checked(graph), source=_SOURCE)
    if facts.quantised_by_batch:
        raise InvalidArgumentError("graph: is quantised already; give the float32 one")
    onnx = needed("onnx")
    import_onnxruntime()
    quantisation = needed("onnxruntime.quantization")
    with tempfile.TemporaryDirectory(prefix="fastroute-") as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        try:
            model = onnx.load_model_from_string(graph)
            onnx.helper.set_model_props(model, dict([_PREPARED]))
            quantisation.quantize_dynamic(model, path, weight_type=quantisation.QuantType.QInt8, per_channel=True)
            made = onnx.load_model(path, load_external_data=False)
        except MemoryError:
            raise
        except Exception as error:
            raise DataError(f"graph: can't be quantised: {error!s:.400}") from error
    return _written(made)


def halved(graph: bytes) -> bytes:
    """Store a float32 graph in float16, for GPUs: half of the size. Outputs stay float32.

    Parameters, returns and errors are those of `quantised`. A processor runs such a graph too, but slower than
    float32.
    """
    facts = check_graph(_checked(graph), source=_SOURCE)
    if facts.quantised_by_batch:
        raise InvalidArgumentError("graph: is quantised already; give the float32 one")
    onnx = needed("onnx")
    import_onnxruntime()
    float16 = needed("onnxruntime.transformers.float16")
    with _quiet():
        try:
            made = float16.convert_float_to_float16(onnx.load_model_from_string(graph), keep_io_types=True)
        except MemoryError:
            raise
        except Exception as error:
            raise DataError(f"graph: can't be stored in float16: {error!s:.400}") from error
    return _written(made)


def _checked(graph: object) -> bytes:
    if not isinstance(graph, bytes):
        raise InvalidTypeError(f"graph: found {type(graph).__name__}, allowed: the bytes of an ONNX file")
    return graph


def _written(model: Any) -> bytes:
    del model.metadata_props[:]
    made: bytes = model.SerializeToString(deterministic=True)
    check_graph(made, source=_SOURCE)
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what ONNX Runtime's tools log, by ``logging.warning``, which would also set up the root logger."""
    root, handler = logging.getLogger(), logging.NullHandler()

    def keep(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in Path(record.pathname).parts

    root.addHandler(handler)
    root.addFilter(keep)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(keep)
        root.removeHandler(handler)

"""Decoders in int8.

`quantize_dynamic` gives a whole tensor of activations one range. Decoders have a few activations that are hundreds of
times as large as the others, most of them before the last matrix of a layer, and at the first token; next to them the
others are rounded to nothing. So matrices that see such activations keep float ones, quantised in blocks of 32 by the
operator itself (MatMulNBits), and all others and the table of tokens go the usual way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["OUTLIER", "quantise_decoder"]

OUTLIER: Final = 16.0
"""Largest activation in parts of their root mean square from which a matrix keeps float activations."""
_BLOCK: Final = 32


def quantise_decoder(graph: Path, output: Path, sequences: Sequence[Sequence[int]]) -> int:
    """Quantise a graph that `export_decoder` wrote.

    Parameters
    ----------
    graph, output
        Files to read and to write.
    sequences
        Token ids of prompts on which the range of activations is seen.

    Returns
    -------
    int
        How many matrices keep float activations.

    Raises
    ------
    MissingDependencyError
        onnx is not installed, or ONNX Runtime is too old for matrices of 8 bits in blocks.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
    except ImportError as error:
        raise MissingDependencyError(
            f"quantising a decoder needs {error.name}: pip install 'fastroute[train-llm]'"
        ) from error
    model = onnx.load(str(graph))
    largest = _largest_activations(onnx, model, sequences)
    kept = [name for name, ratio in largest.items() if ratio > OUTLIER]
    if kept:
        settings = DefaultWeightOnlyQuantConfig(block_size=_BLOCK, is_symmetric=True, accuracy_level=4, bits=8)
        others = [name for name in largest if name not in set(kept)]
        quantiser = MatMulNBitsQuantizer(model, algo_config=settings, nodes_to_exclude=others)
        quantiser.process()
        model = quantiser.model.model
    between = output.with_suffix(".between.onnx")
    onnx.save(model, str(between))
    quantize_dynamic(
        str(between),
        str(output),
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gather"],
        nodes_to_exclude=kept,
    )
    between.unlink()
    return len(kept)


def _largest_activations(onnx: Any, model: Any, sequences: Sequence[Sequence[int]]) -> dict[str, float]:
    """Largest activation of each product with a matrix of weights, in parts of their root mean square."""
    from fastroute.onnx.session import import_onnxruntime

    weights = {each.name for each in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    seen = sorted({node.input[0] for node in products})
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in seen)
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ratios = dict.fromkeys(seen, 0.0)
    for ids in sequences:
        given = np.array([ids], np.int64)
        found = session.run(seen, {"input_ids": given, "attention_mask": np.ones_like(given)})
        for name, values in zip(seen, found, strict=True):
            spread = float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
            ratios[name] = max(ratios[name], float(np.abs(values).max()) / max(spread, 1e-30))
    return {node.name: ratios[node.input[0]] for node in products}

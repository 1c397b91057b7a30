"""Operators by name: which a graph may have, and what they tell of it."""

from __future__ import annotations

from typing import Final

__all__ = ["BY_BATCH", "BY_CHANCE", "EMBED", "MICROSOFT", "NO_END", "SAME_IDS", "SAME_ROWS", "SIZED"]

# Those of ONNX Runtime's own domain that quantisation and fusion of transformers use.
MICROSOFT: Final = frozenset(
    {
        "Attention",
        "BiasAdd",
        "BiasGelu",
        "BiasSoftmax",
        "DequantizeLinear",
        "DynamicQuantizeMatMul",
        "EmbedLayerNormalization",
        "FastGelu",
        "FusedGemm",
        "FusedMatMul",
        "FusedMatMulActivation",
        "GatedRelativePositionBias",
        "GatherBlockQuantized",
        "Gelu",
        "GemmFastGelu",
        "GroupQueryAttention",
        "MatMulInteger16",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "MultiHeadAttention",
        "PackedAttention",
        "PackedMultiHeadAttention",
        "QAttention",
        "QEmbedLayerNormalization",
        "QGemm",
        "QLinearAdd",
        "QLinearConcat",
        "QLinearMul",
        "QLinearReduceMean",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QLinearWhere",
        "QuantizeLinear",
        "QuickGelu",
        "RelativePositionBias",
        "RemovePadding",
        "RestorePadding",
        "RotaryEmbedding",
        "SimplifiedLayerNormalization",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
        "SparseAttention",
        "TransposeMatMul",
    }
)
# Those of ONNX itself that no encoder needs: without an end, or with another answer every time.
NO_END: Final = frozenset({"Loop", "Scan"})
BY_CHANCE: Final = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
# They quantise activations by the range of the whole batch, so that prompts would change each other's scores.
BY_BATCH: Final = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
# Their output is as large as a constant input says.
SIZED: Final = frozenset({"ConstantOfShape", "Expand", "Tile", "Range", "Pad", "Resize"})
# They leave token ids, or the rows of a table, what they are.
SAME_IDS: Final = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
SAME_ROWS: Final = frozenset({"Cast", "DequantizeLinear", "Identity"})
# They look up token ids, their first input, in a table, their third one.
EMBED: Final = frozenset({"EmbedLayerNormalization", "QEmbedLayerNormalization"})

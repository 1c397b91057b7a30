"""What an .onnx file holds, checked before ONNX Runtime sees it.

A graph may name files beside it (external data), addresses in memory, libraries of operators and programs that never
end. ONNX Runtime follows those that it knows; a router's graph needs none of them. So the file is read here first,
field by field, and anything but plain tensors and operators is refused. It does not import the `onnx` package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fastroute.onnx import operators
from fastroute.onnx.wire import BYTES, VARINT, Field, WireReader

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GraphFacts", "check_graph"]

_MAX_NESTING = 8
_MAX_RANK = 16
_MAX_ELEMENTS = 1 << 31  # of any tensor that a graph declares without holding it

# Bits of an element by TensorProto.DataType. Text and complex numbers are no part of an encoder.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 17: 8, 18: 8}
_BITS |= {19: 8, 20: 8, 21: 4, 22: 4, 23: 4}
_INT64 = 7

# By message, as in onnx.proto: its fields, those that are numbers and not bytes, and those that may be either (packed).
_FIELDS: dict[str, tuple[frozenset[int], frozenset[int], frozenset[int]]] = {
    "model": (frozenset({*range(1, 9), 14, 20, 25, 26}), frozenset({1, 5}), frozenset()),
    "graph": (frozenset({1, 2, 5, *range(10, 17)}), frozenset(), frozenset()),
    "node": (frozenset(range(1, 11)), frozenset(), frozenset()),
    "attribute": (frozenset({*range(1, 12), 13, 14, 15, *range(20, 24)}), frozenset({2, 3, 20}), frozenset({7, 8})),
    "tensor": (frozenset(range(1, 17)) - {15}, frozenset({2, 14}), frozenset({1})),
}

_EXTERNAL = (
    "refers to data outside of the file; save the model with all of its data in one file "
    "(onnx.save_model(..., save_as_external_data=False))"
)


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a router must know of a graph beside what a session says.

    Attributes
    ----------
    vocabulary
        Rows of the table that `input_ids` are looked up in; None where the graph does not show it.
    quantised_by_batch
        Whether activations are quantised by the range of a whole batch, as `quantize_dynamic` makes it.
    """

    vocabulary: int | None
    quantised_by_batch: bool


@dataclass(slots=True)
class _Node:
    operator: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Tensor:
    name: str = ""
    shape: tuple[int, ...] = ()
    values: list[int] | None = None  # of a short int64 one, such as a shape


@dataclass(slots=True)
class _Seen:
    """Tensors and nodes of a file; those of nested graphs too, whose names are the outer graph's or new."""

    tensors: dict[str, _Tensor] = field(default_factory=dict)
    nodes: list[_Node] = field(default_factory=list)


def check_graph(raw: bytes, *, source: str) -> GraphFacts:
    """Check an ONNX file; linear in its fields, and no tensor is copied.

    Parameters
    ----------
    raw
        The whole file.
    source
        Its name, for messages.

    Raises
    ------
    DataError
        It is no ONNX file; or it refers to data elsewhere, has operators that an encoder doesn't need, functions
        or training graphs of its own, or tensors of another size than it says.
    """
    if raw[4:8] == b"ORTM":
        # Such bytes would be taken for ONNX Runtime's own format, whatever else they are.
        raise WireReader(raw, source).fault("is in ONNX Runtime's own format; an ONNX graph is needed")
    walk = _Walk(WireReader(raw, source))
    walk.model()
    return GraphFacts(_vocabulary(walk.seen), any(node.operator in operators.BY_BATCH for node in walk.seen.nodes))


class _Walk:
    """One visit of a file. Every message has a table of the fields that it may have."""

    def __init__(self, reader: WireReader) -> None:
        self._reader = reader
        self.seen = _Seen()

    def model(self) -> None:
        graphs, versions = 0, 0
        for item in self._known("model", 0, self._reader.size):
            if item.number == 7:
                graphs += 1
                self._graph(item, 0)
            elif item.number == 8:
                versions += 1
            elif item.number == 14:
                self._metadata(item)
            elif item.number == 20:
                raise self._reader.fault("has a training graph; export it for inference")
            elif item.number == 25:
                raise self._reader.fault("has functions of its own; inline them (onnx.inliner.inline_local_functions)")
        if graphs != 1 or versions == 0:
            raise self._reader.fault(
                f"has {graphs} graphs and {versions} sets of operators: no ONNX file, or cut short"
            )
        self._check_sizes()

    def _graph(self, message: Field, depth: int) -> None:
        if depth > _MAX_NESTING:
            raise self._reader.fault(f"graphs nested deeper than {_MAX_NESTING}")
        for item in self._known("graph", message.begin, message.end):
            if item.number == 1:
                self._node(item, depth)
            elif item.number == 5:
                tensor = self._tensor(item)
                self.seen.tensors[tensor.name] = tensor
            elif item.number in (11, 12, 13):
                self._value(item)
            elif item.number == 15:
                raise self._reader.fault("has sparse tensors, which are not supported; store them as plain ones")

    def _node(self, message: Field, depth: int) -> None:
        node, constant = _Node(), None
        for item in self._known("node", message.begin, message.end):
            if item.number == 1:
                node.inputs.append(self._reader.text(item))
            elif item.number == 2:
                node.outputs.append(self._reader.text(item))
            elif item.number == 4:
                node.operator = self._reader.text(item)
            elif item.number == 5:
                constant = self._attribute(item, depth) or constant
            elif item.number == 7:
                node.domain = self._reader.text(item)
        self._check_operator(node)
        if node.operator == "Constant" and constant is not None and node.outputs:
            self.seen.tensors[node.outputs[0]] = constant
        self.seen.nodes.append(node)

    def _check_operator(self, node: _Node) -> None:
        if node.domain in ("", "ai.onnx"):
            if node.operator in operators.NO_END:
                raise self._reader.fault(f"operator {node.operator} may run without end; an encoder has none")
            if node.operator in operators.BY_CHANCE:
                raise self._reader.fault(f"operator {node.operator} gives another answer every time")
            if not node.operator:
                raise self._reader.fault("has a node without an operator")
        elif node.domain != "com.microsoft" or node.operator not in operators.MICROSOFT:
            raise self._reader.fault(
                f"operator {node.operator!r:.60} of domain {node.domain!r:.60}; those of ONNX are allowed, and of "
                f"com.microsoft those that quantisation and fusion of transformers use"
            )

    def _attribute(self, message: Field, depth: int) -> _Tensor | None:
        """Check an attribute of a node; its tensor, if it has one."""
        found, given = None, set()
        for item in self._known("attribute", message.begin, message.end):
            if item.number in (5, 6) and item.number in given:
                raise self._reader.fault("an attribute of a node has two values, which would be merged into one")
            given.add(item.number)
            if item.number in (5, 10):
                found = self._tensor(item)
            elif item.number in (6, 11):
                self._graph(item, depth + 1)
            elif item.number in (22, 23):
                raise self._reader.fault("has sparse tensors, which are not supported; store them as plain ones")
        return found

    def _tensor(self, message: Field) -> _Tensor:
        reader, tensor, kind = self._reader, _Tensor(), 0
        shape: list[int] = []
        holders: list[Field] = []
        external = False
        for item in self._known("tensor", message.begin, message.end):
            if item.number == 1:
                if len(shape) >= _MAX_RANK or item.end - item.begin > 10 * _MAX_RANK:
                    raise reader.fault(f"a tensor has more than {_MAX_RANK} dimensions")
                shape += reader.integers(item)
            elif item.number == 2:
                kind = item.value
            elif item.number == 8:
                tensor.name = reader.text(item)
            elif item.number in (4, 5, 6, 7, 9, 10, 11):
                holders.append(item)
            elif item.number == 13 or (item.number == 14 and item.value != 0):
                external = True
            elif item.number == 3:
                raise reader.fault(f"tensor {tensor.name!r:.80} is a segment of another; store it whole")
        if external:
            raise reader.fault(f"tensor {tensor.name!r:.80} {_EXTERNAL}")
        tensor.shape = tuple(shape)
        self._check_tensor(tensor, kind, holders)
        return tensor

    def _check_tensor(self, tensor: _Tensor, kind: int, holders: list[Field]) -> None:
        reader, name = self._reader, f"tensor {tensor.name!r:.80}"
        if kind not in _BITS:
            raise reader.fault(f"{name} has elements of type {kind}, which no encoder needs")
        if any(not 0 <= extent < 1 << 40 for extent in tensor.shape):
            raise reader.fault(f"{name} has the shape {tensor.shape!r:.80}")
        count = math.prod(tensor.shape)
        if len(holders) > 1:
            raise reader.fault(f"{name} has its data in several pieces")
        bits = self._bits_held(holders[0], kind) if holders else 0
        if not count * _BITS[kind] <= bits < count * _BITS[kind] + 8:  # of a last byte, some bits may be left
            raise reader.fault(f"{name} of shape {tensor.shape} needs {count * _BITS[kind]} bits; the file has {bits}")
        if kind == _INT64 and count <= _MAX_RANK and holders:
            holder = holders[0]
            raw = holder.number == 9
            tensor.values = np.frombuffer(reader.bytes(holder), "<i8").tolist() if raw else reader.integers(holder)

    def _bits_held(self, holder: Field, kind: int) -> int:
        """How many bits of elements a field of a tensor holds."""
        if holder.number in (4, 9, 10):  # floats, raw data, doubles
            return (holder.end - holder.begin) * 8
        # Varints end at a byte below 128. Two elements of 4 bits share one.
        ends = int(np.count_nonzero(np.frombuffer(self._reader.bytes(holder), np.uint8) < 0x80))
        return ends * max(_BITS[kind], 8)

    def _value(self, message: Field) -> None:
        """Check a declared type: value -> type (2) -> tensor (1) -> shape (2) -> extent (1) -> number (1)."""
        spans = [message]
        for number in (2, 1, 2):
            spans = [item for span in spans for item in self._children(span) if item.number == number]
        for shape in spans:
            extents = [
                item.value
                for extent in self._children(shape)
                for item in self._children(extent)
                if item.number == 1 and item.wire == VARINT
            ]
            if len(extents) > _MAX_RANK or math.prod(max(extent, 1) for extent in extents) > _MAX_ELEMENTS:
                raise self._reader.fault(f"declares a value of shape {extents!r:.80}")

    def _metadata(self, message: Field) -> None:
        for item in self._children(message):
            if item.number == 1 and self._reader.text(item) == "ort_config":
                raise self._reader.fault("its metadata has settings of a session (ort_config), which are not allowed")

    def _check_sizes(self) -> None:
        for node in self.seen.nodes:
            if node.operator not in operators.SIZED:
                continue
            for name in node.inputs:
                tensor = self.seen.tensors.get(name)
                values = (tensor.values if tensor is not None else None) or []
                if math.prod(max(abs(value), 1) for value in values) > _MAX_ELEMENTS:
                    raise self._reader.fault(f"operator {node.operator} is asked for a size of {values!r:.80}")

    def _known(self, message: str, begin: int, end: int) -> Iterator[Field]:
        known, numbers, either = _FIELDS[message]
        for item in self._reader.fields(begin, end):
            if item.number not in known:
                raise self._reader.fault(f"field {item.number} of a {message} is unknown: no ONNX file, or a later one")
            # protobuf skips a field of another wire type, so that it would not be what is read here
            if item.number not in either and (item.wire == BYTES) == (item.number in numbers):
                raise self._reader.fault(f"field {item.number} of a {message} has wire type {item.wire}")
            yield item

    def _children(self, message: Field) -> Iterator[Field]:
        return self._reader.fields(message.begin, message.end) if message.wire == BYTES else iter(())


def _vocabulary(seen: _Seen) -> int | None:
    """Rows of the table that `input_ids` are looked up in; the fewest where there are several."""
    ids, rows = {"input_ids"}, {name: tensor.shape for name, tensor in seen.tensors.items()}
    found = []
    for node in seen.nodes:  # in an order in which inputs come first
        given = node.inputs
        if node.operator in operators.SAME_IDS and given and given[0] in ids:
            ids.update(node.outputs[:1])
        elif node.operator in operators.SAME_ROWS and given and given[0] in rows:
            rows.update(dict.fromkeys(node.outputs[:1], rows[given[0]]))
        elif node.operator == "Gather" and len(given) == 2 and given[1] in ids and rows.get(given[0]):
            found.append(rows[given[0]][0])
        elif node.operator in operators.EMBED and len(given) > 2 and given[0] in ids and rows.get(given[2]):
            found.append(rows[given[2]][0])
    return min(found, default=None)

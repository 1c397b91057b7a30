"""The safetensors format: a JSON header, then the tensors' bytes, without a hole.

Layout: header length (unsigned 64-bit, little-endian), header, data. The header maps each name to `dtype`,
`shape` and `data_offsets` (begin and end within the data), and `__metadata__` to strings. It begins with `{`
and may end in spaces. The data is covered exactly: no hole, no overlap, nothing after the last tensor.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.artifact import strict_json
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

__all__ = ["decode", "decode_metadata", "encode", "expect_tensor"]

MAX_RANK = 8
MAX_NAME = 256
DATA_ALIGNMENT = 64

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_CODES = {np.dtype(stored): code for code, stored in _DTYPES.items() if code != "BF16"}
_METADATA = "__metadata__"
_PREFIX = 8
_MAX_TENSOR_BYTES = 2**48
_FINITE_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class _Entry:
    code: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(_DTYPES[self.code])


def decode(
    data: bytes | bytearray | memoryview, *, source: str, finite: bool = True, bfloat16: bool = False
) -> dict[str, NDArray[Any]]:
    """Open every tensor of a safetensors file.

    Parameters
    ----------
    data
        The whole file. The arrays are read-only views of it; a tensor that starts at an address unfit for
        its dtype is copied instead.
    source
        The file's name, for messages.
    finite
        Refuse NaN and infinity in floating-point tensors.
    bfloat16
        Accept BF16 tensors and widen them to float32, which takes twice their size.

    Returns
    -------
    dict
        Name to array, in the order of the data.

    Raises
    ------
    ArtifactCorruptError
        The file breaks a rule of the format; nothing is allocated for its tensors before all are checked.
    """
    view = memoryview(data).cast("B")
    entries, start = _entries(view, source)
    _check_coverage(entries, view.nbytes - start, source)
    tensors = {}
    for name, entry in entries.items():
        if entry.code == "BF16" and not bfloat16:
            raise ArtifactCorruptError(f"{source}: tensor {name!r} is BF16; convert it to F32 or F16")
        tensors[name] = _tensor(view, start, entry, f"{source}: tensor {name!r}", finite=finite)
    return tensors


def decode_metadata(data: bytes | bytearray | memoryview, *, source: str) -> dict[str, str]:
    """Read the `__metadata__` of a safetensors file; empty where it has none. Raises as `decode` does."""
    header, _ = _header(memoryview(data).cast("B"), source)
    return _metadata(header, source)


def encode(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> bytes:
    """Write tensors as a safetensors file; equal arguments give equal bytes.

    Tensors are laid out by descending item size, then by name, from a multiple of 64 bytes on, so that each
    is aligned for its dtype.

    Raises
    ------
    InvalidTypeError
        A value is no NumPy array or has a dtype that the format lacks.
    InvalidArgumentError
        NaN or infinity, or a name, shape or number of tensors that `decode` would refuse.
    """
    arrays = {name: _storable(name, array) for name, array in tensors.items()}
    ordered = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, Any] = {} if metadata is None else {_METADATA: dict(metadata)}
    end = 0
    for name in ordered:
        array = arrays[name]
        begin, end = end, end + array.nbytes
        code = _CODES[array.dtype]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(_PREFIX + len(text)) % DATA_ALIGNMENT)
    prefix = len(text).to_bytes(_PREFIX, "little") + text
    try:
        _entries(memoryview(prefix), "tensors")
    except ArtifactCorruptError as error:
        raise InvalidArgumentError(str(error)) from error
    return b"".join([prefix, *(arrays[name].tobytes() for name in ordered)])


def expect_tensor(
    tensors: Mapping[str, NDArray[Any]],
    name: str,
    *,
    source: str,
    dtype: DTypeLike,
    shape: Sequence[int | None],
) -> NDArray[Any]:
    """Fetch a tensor of a given dtype and shape; `None` stands for any extent.

    Raises
    ------
    ArtifactCorruptError
        It is missing or is another one than expected.
    """
    if name not in tensors:
        raise ArtifactCorruptError(f"{source}: tensor {name!r} is missing; found {_listed(tensors)}")
    tensor, wanted = tensors[name], np.dtype(dtype)
    fits = len(shape) == tensor.ndim and all(
        extent in (None, found) for extent, found in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype != wanted or not fits:
        allowed = ", ".join("any" if extent is None else str(extent) for extent in shape)
        raise ArtifactCorruptError(
            f"{source}: tensor {name!r} is {tensor.dtype} of shape {tensor.shape}, "
            f"expected {wanted} of shape ({allowed})"
        )
    return tensor


def _listed(tensors: Mapping[str, NDArray[Any]]) -> str:
    names = ", ".join(repr(name) for name in list(tensors)[:8])
    return f"{names}{', ...' if len(tensors) > 8 else ''}" if names else "none"


def _header(view: memoryview, source: str) -> tuple[dict[str, Any], int]:
    if view.nbytes < _PREFIX:
        raise ArtifactCorruptError(f"{source}: {view.nbytes} bytes is too short for a safetensors file")
    length = int.from_bytes(view[:_PREFIX], "little")
    if length > strict_json.MAX_BYTES:
        raise ArtifactCorruptError(f"{source}: header of {length} bytes; at most {strict_json.MAX_BYTES} are allowed")
    start = _PREFIX + length
    if start > view.nbytes:
        raise ArtifactCorruptError(
            f"{source}: header of {length} bytes, but only {view.nbytes - _PREFIX} follow its length"
        )
    text = bytes(view[_PREFIX:start])
    if not text.startswith(b"{") or not text.rstrip(b" ").endswith(b"}"):
        raise ArtifactCorruptError(f"{source}: the header must begin with '{{' and end with '}}', then spaces only")
    return strict_json.parse_object(text, source=f"{source}: header"), start


def _metadata(header: Mapping[str, Any], source: str) -> dict[str, str]:
    metadata = header.get(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(item, str) for item in metadata.values()):
        raise ArtifactCorruptError(f"{source}: {_METADATA} must map strings to strings")
    return metadata


def _entries(view: memoryview, source: str) -> tuple[dict[str, _Entry], int]:
    """Tensors in the order of their bytes, and where the data starts."""
    header, start = _header(view, source)
    _metadata(header, source)
    entries = {name: _entry(value, name, source) for name, value in header.items() if name != _METADATA}
    in_order = sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end))
    return dict(in_order), start


def _entry(value: Any, name: str, source: str) -> _Entry:
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ArtifactCorruptError(f"{source}: tensor name {name[:80]!r} must be 1 to {MAX_NAME} printable characters")
    label = f"{source}: tensor {name!r}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ArtifactCorruptError(f"{label} must have exactly the keys 'dtype', 'shape' and 'data_offsets'")
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise ArtifactCorruptError(f"{label} has dtype {str(code)[:40]!r}, none of {', '.join(_DTYPES)}")
    if not _are_counts(shape) or len(shape) > MAX_RANK:
        raise ArtifactCorruptError(f"{label}: 'shape' must be a list of at most {MAX_RANK} non-negative integers")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise ArtifactCorruptError(f"{label}: 'data_offsets' must be two non-negative integers")
    entry = _Entry(code, tuple(shape), *offsets)
    _check_extent(entry, label)
    return entry


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in value
    )


def _check_extent(entry: _Entry, label: str) -> None:
    # NumPy multiplies all extents but the zeros, so an empty tensor may still be too large for it.
    if math.prod(max(extent, 1) for extent in entry.shape) * entry.dtype.itemsize > _MAX_TENSOR_BYTES:
        raise ArtifactCorruptError(f"{label} of shape {entry.shape} is too large")
    size = math.prod(entry.shape) * entry.dtype.itemsize
    if entry.end - entry.begin != size:
        raise ArtifactCorruptError(
            f"{label}: {entry.code} of shape {entry.shape} takes {size} bytes, "
            f"'data_offsets' are {entry.begin} to {entry.end}"
        )


def _check_coverage(entries: Mapping[str, _Entry], size: int, source: str) -> None:
    end = 0
    for name, entry in entries.items():
        if entry.begin != end:
            kind = "an overlap" if entry.begin < end else "a hole"
            raise ArtifactCorruptError(
                f"{source}: {kind} before tensor {name!r}: it begins at {entry.begin}, expected {end}"
            )
        end = entry.end
    if end != size:
        raise ArtifactCorruptError(f"{source}: the tensors take {end} bytes, {size} follow the header")


def _tensor(view: memoryview, start: int, entry: _Entry, label: str, *, finite: bool) -> NDArray[Any]:
    array: NDArray[Any] = np.ndarray(entry.shape, entry.dtype, buffer=view, offset=start + entry.begin)
    if entry.code == "BF16":  # the upper half of a float32
        wide = array.astype(np.uint32)
        wide <<= 16
        array = wide.view(np.float32)
    elif not array.flags.aligned:
        array = array.copy()
    if entry.code == "BOOL" and array.view(np.uint8).max(initial=0) > 1:
        raise ArtifactCorruptError(f"{label} is BOOL and holds a byte other than 0 and 1")
    if finite and not _is_finite(array):
        raise ArtifactCorruptError(f"{label} holds NaN or infinity; every value must be finite")
    array.flags.writeable = False
    return array


def _is_finite(array: NDArray[Any]) -> bool:
    if array.dtype.kind != "f":
        return True
    flat = array.reshape(-1)  # in chunks: the temporary must stay small beside the tensor
    return all(
        bool(np.isfinite(flat[first : first + _FINITE_CHUNK]).all()) for first in range(0, flat.size, _FINITE_CHUNK)
    )


def _storable(name: str, array: Any) -> NDArray[Any]:
    if not isinstance(array, np.ndarray):
        raise InvalidTypeError(f"tensors[{name!r}]: {type(array).__name__} is not a NumPy array")
    stored = array.dtype.newbyteorder("<")
    if stored not in _CODES:
        raise InvalidTypeError(f"tensors[{name!r}]: dtype {array.dtype} is none of {', '.join(map(str, _CODES))}")
    if not _is_finite(array):
        raise InvalidArgumentError(f"tensors[{name!r}]: holds NaN or infinity; every value must be finite")
    return array.astype(stored, copy=False)

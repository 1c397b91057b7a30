"""The safetensors codec: round trips, layout, views instead of copies, and what callers may expect."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastroute.artifact.safetensors import decode, decode_metadata, encode, expect_tensor
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, InvalidTypeError

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda code: hnp.arrays(
        np.dtype(code),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
        elements={"allow_nan": False, "allow_infinity": False} if code[0] == "f" else None,
    )
)
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40).filter(
    lambda name: name != "__metadata__" and name.isprintable()
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, ARRAYS, max_size=6), st.dictionaries(st.text("abc"), st.text("xyz")))
def test_round_trip(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    data = encode(tensors, metadata)
    found = decode(data, source="w")
    assert set(found) == set(tensors)
    for name, array in tensors.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
    assert decode_metadata(data, source="w") == metadata
    assert encode(dict(reversed(tensors.items())), metadata) == data


def test_any_memory_layout_and_byte_order_is_stored_alike() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    plain = encode({"a": array})
    assert encode({"a": np.asfortranarray(array)}) == plain
    assert encode({"a": array.astype(">f4")}) == plain
    assert encode({"a": np.repeat(array, 2, axis=1)[:, ::2]}) == plain


def test_the_data_starts_at_a_multiple_of_64_and_large_items_come_first() -> None:
    for count in range(40):
        data = encode({"a" * (count + 1): np.ones(3, np.int8), "z": np.ones(3, np.float64)})
        assert (8 + struct.unpack_from("<Q", data)[0]) % 64 == 0
        assert next(iter(decode(data, source="w"))) == "z"


def test_arrays_are_read_only_views_of_the_file() -> None:
    data = encode({"a": np.arange(6, dtype=np.float32), "b": np.arange(6, dtype=np.int8)})
    whole = np.frombuffer(data, np.uint8)
    for array in decode(data, source="w").values():
        assert np.shares_memory(array, whole)
        assert array.flags.aligned
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_views_of_a_writable_buffer_are_read_only_too() -> None:
    array = decode(bytearray(encode({"a": np.arange(6)})), source="w")["a"]
    assert not array.flags.writeable


def crafted(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_a_tensor_at_an_odd_address_is_copied() -> None:
    values = np.array([1.5, -2.5], np.float32)
    header = {
        "pad": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "odd": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
    }
    odd = decode(crafted(header, b"\0" + values.tobytes()), source="w")["odd"]
    shifted = decode(crafted({**header, "__metadata__": {"a": "b"}}, b"\0" + values.tobytes()), source="w")
    for array in (odd, shifted["odd"]):
        assert array.tolist() == [1.5, -2.5]
        assert array.flags.aligned
        assert not array.flags.writeable


def test_tensors_come_in_the_order_of_their_bytes_whatever_the_header_says() -> None:
    header = {
        "second": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
        "empty": {"dtype": "U8", "shape": [2, 0], "data_offsets": [1, 1]},
        "first": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
    }
    found = decode(crafted(header, b"abc"), source="w")
    assert [(name, array.tobytes()) for name, array in found.items()] == [
        ("first", b"a"),
        ("empty", b""),
        ("second", b"bc"),
    ]


def test_an_empty_file_of_tensors() -> None:
    assert decode(encode({}), source="w") == {}
    assert decode_metadata(encode({}), source="w") == {}


class TestBfloat16:
    VALUES = np.array([1.0, -2.5, 3.140625, 0.0, 1e30], np.float32)

    def stored(self, bits: np.ndarray) -> bytes:
        size = 2 * bits.size
        return crafted({"a": {"dtype": "BF16", "shape": [bits.size], "data_offsets": [0, size]}}, bits.tobytes())

    def test_it_is_refused_unless_asked_for(self) -> None:
        with pytest.raises(ArtifactCorruptError, match="w: tensor 'a' is BF16; convert it to F32 or F16"):
            decode(self.stored(np.zeros(3, "<u2")), source="w")

    def test_it_widens_to_float32(self) -> None:
        bits = (self.VALUES.view(np.uint32) >> 16).astype("<u2")
        array = decode(self.stored(bits), source="w", bfloat16=True)["a"]
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, self.VALUES, rtol=2**-7)
        assert array[:4].tolist() == self.VALUES[:4].tolist()
        assert not array.flags.writeable

    def test_its_infinity_is_found(self) -> None:
        with pytest.raises(ArtifactCorruptError, match="holds NaN or infinity"):
            decode(self.stored(np.array([0x7F80], "<u2")), source="w", bfloat16=True)


class TestFinite:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("at", [0, 65_535, 65_536, 100_000])
    def test_one_bad_value_anywhere_is_found(self, dtype: Any, bad: float, at: int) -> None:
        array = np.zeros(100_001, dtype)
        data = bytearray(encode({"a": array}))
        data[-array.nbytes :] = np.where(np.arange(array.size) == at, dtype(bad), array).tobytes()
        with pytest.raises(ArtifactCorruptError, match="w: tensor 'a' holds NaN or infinity"):
            decode(data, source="w")
        assert not np.isfinite(decode(data, source="w", finite=False)["a"][at])

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_it_is_not_written_either(self, bad: float) -> None:
        with pytest.raises(InvalidArgumentError, match=r"tensors\['a'\]: holds NaN or infinity"):
            encode({"a": np.array([1.0, bad])})


class TestEncodeRefuses:
    @pytest.mark.parametrize("dtype", ["O", "U3", "S3", "c16", "M8[s]", "f4,i4"])
    def test_a_dtype_that_the_format_lacks(self, dtype: str) -> None:
        with pytest.raises(InvalidTypeError, match=r"tensors\['a'\]: dtype"):
            encode({"a": np.zeros(2, dtype)})

    def test_what_is_no_array(self) -> None:
        bad: Any = [1.0]
        with pytest.raises(InvalidTypeError, match=r"tensors\['a'\]: list is not a NumPy array"):
            encode({"a": bad})

    @pytest.mark.parametrize("name", ["", "a\nb", "x" * 257, "__metadata__"])
    def test_a_name_that_decode_refuses(self, name: str) -> None:
        with pytest.raises(InvalidArgumentError, match=r"^tensors"):
            encode({name: np.zeros(2)})

    def test_a_rank_that_decode_refuses(self) -> None:
        with pytest.raises(InvalidArgumentError, match="at most 8"):
            encode({"a": np.zeros((1,) * 9)})

    def test_more_tensors_than_decode_reads(self) -> None:
        with pytest.raises(InvalidArgumentError, match="too many JSON values"):
            encode({f"t{index}": np.zeros(1) for index in range(2000)})

    def test_400_tensors_are_fine(self) -> None:
        assert len(decode(encode({f"encoder.layer.{i}.weight": np.ones(1) for i in range(400)}), source="w")) == 400


TENSORS = {"a": np.zeros((3, 4), np.float32)}


class TestExpectTensor:
    @pytest.mark.parametrize("shape", [(3, 4), (None, 4), (3, None), (None, None)])
    def test_it_fits(self, shape: tuple[int | None, ...]) -> None:
        assert expect_tensor(TENSORS, "a", source="w", dtype=np.float32, shape=shape) is TENSORS["a"]

    @pytest.mark.parametrize("shape", [(3,), (3, 5), (4, 4), (3, 4, 1), (None,), ()])
    def test_another_shape(self, shape: tuple[int | None, ...]) -> None:
        with pytest.raises(ArtifactCorruptError, match=r"w: tensor 'a' is float32 of shape \(3, 4\), expected"):
            expect_tensor(TENSORS, "a", source="w", dtype=np.float32, shape=shape)

    @pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int8, ">f4"])
    def test_another_dtype(self, dtype: Any) -> None:
        with pytest.raises(ArtifactCorruptError, match=r"is float32 of shape \(3, 4\), expected"):
            expect_tensor(TENSORS, "a", source="w", dtype=dtype, shape=(3, 4))

    def test_it_is_missing(self) -> None:
        with pytest.raises(ArtifactCorruptError, match="w: tensor 'b' is missing; found 'a'"):
            expect_tensor(TENSORS, "b", source="w", dtype=np.float32, shape=())


class TestAgainstTheReferencePackage:
    @pytest.fixture
    def reference(self) -> Any:
        return pytest.importorskip("safetensors.numpy")

    def tensors(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(3)
        shapes = [(), (5,), (3, 0, 2), (2, 3, 4)]
        return {
            f"{code}.{len(shape)}": np.asarray(rng.integers(0, 2, shape)).astype(code)
            for code in DTYPES
            for shape in shapes
        }

    def test_it_reads_ours(self, reference: Any) -> None:
        tensors = self.tensors()
        self.assert_same(reference.load(encode(tensors, {"a": "b"})), tensors)

    def test_we_read_its(self, reference: Any) -> None:
        tensors = self.tensors()
        data = reference.save(tensors, {"a": "b"})
        self.assert_same(decode(data, source="w"), tensors)
        assert decode_metadata(data, source="w") == {"a": "b"}

    def assert_same(self, found: Any, expected: dict[str, np.ndarray]) -> None:
        assert set(found) == set(expected)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)

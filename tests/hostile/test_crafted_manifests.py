"""Scorecard 14, first half: manifests that are wrong in one way each, and the message that says which."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fastroute.artifact import ROUTER, read_artifact
from fastroute.errors import ArtifactCorruptError, ArtifactError, ArtifactNotFoundError, ArtifactVersionError

ZEROS = "0" * 64
DIGEST = hashlib.sha256(b"hi").hexdigest()
GOOD_FILE = {"size": 2, "sha256": DIGEST}
GOOD = {
    "format": ROUTER,
    "format_version": 1,
    "kind": "mf",
    "name": "n",
    "files": {"a": GOOD_FILE},
    "sha256": ZEROS,
}


def sealed(text: str) -> bytes:
    return text.replace(ZEROS, hashlib.sha256(text.encode()).hexdigest(), 1).encode()


def having(**changes: Any) -> bytes:
    """A sealed manifest with some keys changed; `...` takes one away."""
    return sealed(json.dumps({key: value for key, value in {**GOOD, **changes}.items() if value is not ...}))


def listing(name: str, value: Any = GOOD_FILE) -> bytes:
    return having(files={"a": GOOD_FILE, name: value})


def with_entry(**changes: Any) -> bytes:
    entry = {key: value for key, value in {**GOOD_FILE, **changes}.items() if value is not ...}
    return having(files={"a": entry})


def extra(text: str) -> bytes:
    """A sealed manifest with a piece of JSON text spliced in as a member."""
    return sealed(json.dumps(GOOD).replace('"kind"', f'{text}, "kind"', 1))


NOT_JSON = "not valid JSON in UTF-8"
NOT_PLAIN = "is not allowed; a plain name"
OTHER_TYPES: list[Any] = [None, True, 1, 1.5, "text", [], {}]

TEXTS = [
    ("empty", b"", NOT_JSON),
    ("one space", b" ", NOT_JSON),
    ("null byte", b"\0", NOT_JSON),
    ("open brace", b"{", NOT_JSON),
    ("open string", b'{"', NOT_JSON),
    ("no value", b'{"format":', NOT_JSON),
    ("trailing comma", b'{"format": 1,}', NOT_JSON),
    ("two objects", b"{}{}", NOT_JSON),
    ("comment", b"{/* */}", NOT_JSON),
    ("single quotes", b"{'format': 1}", NOT_JSON),
    ("bare key", b"{format: 1}", NOT_JSON),
    ("hex number", b'{"a": 0x10}', NOT_JSON),
    ("leading zero", b'{"a": 01}', NOT_JSON),
    ("plus sign", b'{"a": +1}', NOT_JSON),
    ("bad escape", b'{"a": "\\x41"}', NOT_JSON),
    ("cut escape", b'{"a": "\\u00"}', NOT_JSON),
    ("raw newline in a string", b'{"a": "\n"}', NOT_JSON),
    ("raw NUL in a string", b'{"a": "\0"}', NOT_JSON),
    ("latin-1", '{"a": "ä"}'.encode("latin-1"), NOT_JSON),
    ("utf-16", '{"a": 1}'.encode("utf-16"), NOT_JSON),
    ("utf-32", '{"a": 1}'.encode("utf-32"), NOT_JSON),
    ("byte order mark", b"\xef\xbb\xbf{}", NOT_JSON),
    ("overlong utf-8", b'{"a": "\xc0\xaf"}', NOT_JSON),
    ("surrogate in utf-8", b'{"a": "\xed\xa0\x80"}', NOT_JSON),
    ("yaml", b"format: fastroute-router\n", NOT_JSON),
    ("xml", b'<?xml version="1.0"?>', NOT_JSON),
    ("an array", b"[]", "expected a JSON object, found list"),
    ("a string", b'"x"', "expected a JSON object, found str"),
    ("a number", b"1", "expected a JSON object, found int"),
    ("null", b"null", "expected a JSON object, found NoneType"),
    ("true", b"true", "expected a JSON object, found bool"),
    ("too long", b"{" + b" " * (256 * 1024) + b"}", "a manifest has at most 262144"),
    ("deep arrays", b"[" * 5000, "nested deeper than 32 levels"),
    ("deep objects", b'{"a":' * 1000, "nested deeper than 32 levels"),
    ("33 levels", b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", "nested deeper than 32 levels"),
    ("bomb of empty arrays", b"[" + b"[]," * 80_000 + b"[]]", "too many JSON values"),
    ("bomb of objects", b"[" + b'{"a":{}},' * 20_000 + b"{}]", "too many JSON values"),
    ("bomb of keys", b"{" + b'"k":1,' * 30_000 + b'"k":1}', "too many JSON values"),
    ("bomb of numbers", b"[" + b"1," * 100_000 + b"1]", "too many JSON values"),
    (
        "wide text",
        ('{"a":"' + "x" * 200_000 + '\\ud83d\\ude00"}').encode(),
        "too many JSON values or non-ASCII",
    ),
    ("wide raw text", ('{"a":"' + "x" * 200_000 + '😀"}').encode(), "too many JSON values or non-ASCII"),
]

MEMBERS = [
    ("key twice", '"format": "x"', "key 'format' occurs twice"),
    ("key twice by escape", '"form\\u0061t": "x"', "key 'format' occurs twice"),
    ("inner key twice", '"x": {"a": 1, "a": 1}', "key 'a' occurs twice"),
    ("key twice in a list", '"x": [[{"b": 1, "b": 2}]]', "key 'b' occurs twice"),
    ("empty key twice", '"": 1, "": 2', "key '' occurs twice"),
    ("NaN", '"x": NaN', "NaN is not a JSON number"),
    ("Infinity", '"x": [Infinity]', "Infinity is not a JSON number"),
    ("-Infinity", '"x": {"y": -Infinity}', "-Infinity is not a JSON number"),
    ("float overflow", '"x": 1e999', "beyond the range of a double"),
    ("negative float overflow", '"x": -1.5e400', "beyond the range of a double"),
    ("2**64", '"x": 18446744073709551616', "does not fit 64 bits"),
    ("-2**63-1", '"x": -9223372036854775809', "does not fit 64 bits"),
    ("5,000 digits", f'"x": {"9" * 5000}', "does not fit 64 bits"),
    ("200,000 digits", f'"x": {"9" * 200_000}', "does not fit 64 bits"),
    ("high surrogate", '"x": "\\ud800"', "half of a surrogate pair"),
    ("low surrogate", '"x": ["\\udc00"]', "half of a surrogate pair"),
    ("surrogate key", '"\\ud800": 1', "half of a surrogate pair"),
    ("reversed pair", '"x": "\\ude00\\ud83d"', "half of a surrogate pair"),
]

FORMATS = [
    ("no format", having(format=...), "key 'format' is missing"),
    ("unknown format", having(format="pickle"), "key 'format' is 'pickle', expected 'fastroute-router'"),
    ("format in capitals", having(format="FASTROUTE-ROUTER"), "expected 'fastroute-router'"),
    ("format with a space", having(format="fastroute-router "), "expected 'fastroute-router'"),
    *[(f"format {v!r}", having(format=v), "key 'format' is") for v in (1, [ROUTER], {ROUTER: 1}, True)],
    ("very long format", having(format="x" * 10_000), "..., expected 'fastroute-router'"),
    ("no version", having(format_version=...), "key 'format_version' is missing"),
    *[
        (f"version {v!r}", having(format_version=v), "expected an integer of 1 or more")
        for v in (0, -1, True, False, "1", 1.0, 1.5, [1], {}, None)
    ],
]

SEALS = [
    ("no seal", having(sha256=...), "key 'sha256' is missing"),
    *[(f"seal {v!r}", having(sha256=v), "expected 64 lower-case hex digits") for v in OTHER_TYPES[1:]],
    ("short seal", having(sha256="a" * 63), "expected 64 lower-case hex digits"),
    ("long seal", having(sha256="a" * 65), "expected 64 lower-case hex digits"),
    ("seal with a newline", having(sha256="a" * 64 + "\n"), "expected 64 lower-case hex digits"),
    ("seal in capitals", having(sha256="A" * 64), "expected 64 lower-case hex digits"),
    ("seal not hex", having(sha256="g" * 64), "expected 64 lower-case hex digits"),
    ("seal in other digits", having(sha256="٣" * 64), "expected 64 lower-case hex digits"),
    ("unsealed", json.dumps(GOOD).encode(), "the manifest was altered"),
    ("wrong seal", having(sha256="a" * 64), "the manifest was altered"),
    ("changed after sealing", having().replace(b'"mf"', b'"fm"'), "the manifest was altered"),
    ("spaces after sealing", having() + b" ", "the manifest was altered"),
    ("seal twice", having(copy="b" * 64, sha256="b" * 64), "must occur in the file once"),
    (
        "seal by escapes",
        having(sha256="a" * 64).replace(b"a" * 64, b"\\u0061" * 64),
        "must occur in the file once",
    ),
]

TITLES = [
    (f"{key}: {label}", having(**{key: value}), f"key '{key}' is")
    for key in ("kind", "name")
    for label, value in [
        ("missing", ...),
        ("empty", ""),
        ("too long", "x" * 257),
        ("newline", "a\nb"),
        ("escape sequence", "\x1b[2J"),
        ("right-to-left override", "a\u202eb"),
        ("NUL", "a\0b"),
        *[(type(v).__name__, v) for v in OTHER_TYPES if not isinstance(v, str)],
    ]
]

NAMES = [
    (f"file name {name[:30]!r}", listing(name), NOT_PLAIN)
    for name in [
        "", ".", "..", ".hidden", "../a", "../../etc/passwd", "/etc/passwd", "/", "a/b", "a/", "./a", "a//b",
        "a/../b", "a\\b", "..\\b", "C:\\b", "\\\\host\\share", "a\0", "a\0b", "\0", "a\nb", "a\r", "a\tb",
        "\x7f", "\x1b[0m", "a\u202eb", "a\u2028b", "\ufeffa",
    ]
]  # fmt: skip

LISTS = [
    ("no files", having(files=...), "key 'files' is missing"),
    *[(f"files {v!r}", having(files=v), "key 'files' is") for v in OTHER_TYPES if not isinstance(v, dict)],
    ("files as pairs", having(files=[["a", GOOD_FILE]]), "expected an object"),
    ("65 files", having(files={f"f{i}": GOOD_FILE for i in range(65)}), "lists 65 files, at most 64"),
    ("256-byte name", listing("x" * 256), "is over 255 bytes long"),
    ("256-byte name of umlauts", listing("ü" * 128), "is over 255 bytes long"),
    ("lists itself", listing("router.json"), "lists itself under 'files'"),
    *[(f"entry {v!r}", listing("b", v), "expected the keys 'size' and 'sha256'") for v in OTHER_TYPES],
    ("entry without size", with_entry(size=...), "expected the keys 'size' and 'sha256'"),
    ("entry without digest", with_entry(sha256=...), "expected the keys 'size' and 'sha256'"),
    ("entry with more", with_entry(mode=0o777), "expected the keys 'size' and 'sha256'"),
    *[
        (f"size {v!r}", with_entry(size=v), "expected an integer from 0 to 2147483648")
        for v in (-1, True, "2", 2.0, None, [2], {}, 2**31 + 1, 2**63, 2**64 - 1)
    ],
    *[
        (f"digest {str(v)[:9]!r} of {len(str(v))}", with_entry(sha256=v), "expected 64 lower-case hex digits")
        for v in (None, 1, [], "", DIGEST[:-1], DIGEST + "0", DIGEST.upper(), "md5:" + DIGEST, "x" * 64)
    ],
]

DISK = [
    ("size too large", with_entry(size=3), "2 bytes, its manifest says 3"),
    ("size too small", with_entry(size=1), "2 bytes, its manifest says 1"),
    ("size zero", with_entry(size=0), "2 bytes, its manifest says 0"),
    ("size of 2 GiB", with_entry(size=2**31), "2 bytes, its manifest says 2147483648"),
    ("another digest", with_entry(sha256="c" * 64), f"SHA-256 is {DIGEST}, its manifest says cccc"),
]

CORRUPT = [
    *TEXTS,
    *[(n, extra(t), f) for n, t, f in MEMBERS],
    *FORMATS,
    *SEALS,
    *TITLES,
    *NAMES,
    *LISTS,
    *DISK,
]


def read(folder: Path, manifest: bytes) -> None:
    (folder / "a").write_bytes(b"hi")
    (folder / "router.json").write_bytes(manifest)
    read_artifact(folder, format=ROUTER)


def test_the_pattern_itself_is_sound(tmp_path: Path) -> None:
    read(tmp_path, having())
    read(tmp_path, extra('"x": [1e308, -9223372036854775808, 18446744073709551615, "\\ud83d\\ude00"]'))
    read(tmp_path, extra('"x": ' + "[" * 31 + "]" * 31))
    read(tmp_path, extra('"x": "' + "[{" * 500 + '\\"[[[\\\\"'))


def test_enough_are_crafted() -> None:
    names = [name for name, _, _ in CORRUPT]
    assert len(set(names)) == len(names) >= 150


@pytest.mark.parametrize(("manifest", "fragment"), [pytest.param(m, f, id=ascii(n)) for n, m, f in CORRUPT])
def test_it_is_refused_with_the_reason(tmp_path: Path, manifest: bytes, fragment: str) -> None:
    with pytest.raises(ArtifactCorruptError, match=re.escape(fragment)) as caught:
        read(tmp_path, manifest)
    assert type(caught.value) is ArtifactCorruptError
    assert str(caught.value).startswith(str(tmp_path))
    assert len(str(caught.value)) < len(str(tmp_path)) + 400
    assert str(caught.value).isprintable()


OTHERS: list[tuple[str, bytes, type[ArtifactError], str]] = [
    (
        "later version",
        having(format_version=2),
        ArtifactVersionError,
        "version 2, this fastroute reads up to 1",
    ),
    (
        "later version, no seal",
        having(format_version=9, sha256=...),
        ArtifactVersionError,
        "upgrade fastroute",
    ),
    ("version 2**64-1", having(format_version=2**64 - 1), ArtifactVersionError, "upgrade fastroute"),
    ("an encoder", having(format="fastroute-encoder"), ArtifactError, "holds a fastroute-encoder, expected"),
    ("missing file", listing("b"), ArtifactNotFoundError, "b: not found"),
    ("file named like a drive", listing("C:"), ArtifactNotFoundError, "C:: not found"),
    ("~", listing("~"), ArtifactNotFoundError, "~: not found"),
    ("$HOME", listing("$HOME"), ArtifactNotFoundError, "$HOME: not found"),
]


@pytest.mark.parametrize(("manifest", "error", "fragment"), [pytest.param(m, e, f, id=n) for n, m, e, f in OTHERS])
def test_it_is_refused_as_what_it_is(
    tmp_path: Path, manifest: bytes, error: type[ArtifactError], fragment: str
) -> None:
    with pytest.raises(error, match=re.escape(fragment)) as caught:
        read(tmp_path, manifest)
    assert type(caught.value) is error


def test_a_lifted_recursion_limit_does_not_help_a_deep_manifest(tmp_path: Path) -> None:
    import sys

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        with pytest.raises(ArtifactCorruptError, match="nested deeper than 32 levels"):
            read(tmp_path, b"[" * 8_000)
    finally:
        sys.setrecursionlimit(before)

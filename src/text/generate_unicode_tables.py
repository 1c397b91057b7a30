"""Write ``unicode_tables.cpp``: what BERT's normaliser and pre-tokeniser know about every code point.

The behaviour to match is that of the ``tokenizers`` wheel, whose parts follow three different versions of
Unicode. So the tables are read off the wheel itself, one code point at a time, and not off Python's
``unicodedata`` (which only supplies one example character for each combining class).

Run::

    python src/text/generate_unicode_tables.py > src/text/unicode_tables.cpp
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable
from importlib.metadata import version

from tokenizers import normalizers, pre_tokenizers

# Bits of a property byte; unicode_tables.h has the same names.
CONTROL, SPACE, CJK, PUNCTUATION, NONSPACING, DECOMPOSES, LOWERCASES, NON_STARTER = (1 << i for i in range(8))

BLOCK = 256
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic, not by table
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def bert(**switched_on: bool) -> Callable[[str], str]:
    """Return BERT's normaliser with only the named steps."""
    steps = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**(steps | switched_on)).normalize_str


clean = bert(clean_text=True)
isolate_cjk = bert(handle_chinese_chars=True)
lowercase = bert(lowercase=True)
strip_accents = bert(strip_accents=True)
decompose: Callable[[str], str] = normalizers.NFD().normalize_str
pre_tokenize = pre_tokenizers.BertPreTokenizer().pre_tokenize_str


def combining_classes(candidates: Iterable[int]) -> dict[int, int]:
    """Find each candidate's canonical combining class from how the wheel orders it among known marks."""

    def swaps(first: str, second: str) -> bool:
        return first != second and decompose(first + second) == second + first

    overlay = "\u0334"  # class 1, the lowest: every mark of a higher class sorts after it
    iota = "\u0345"  # class 240, the highest
    examples = {1: overlay}
    for c in CODE_POINTS:
        if swaps(chr(c), overlay):
            examples.setdefault(unicodedata.combining(chr(c)), chr(c))

    classes = {}
    for c in candidates:
        mark = chr(c)
        if not swaps(mark, overlay) and not swaps(iota, mark):
            continue  # a starter
        before = {k for k, example in examples.items() if swaps(mark, example)}
        after = {k for k, example in examples.items() if swaps(example, mark)}
        same = examples.keys() - before - after
        if len(same) != 1:
            raise SystemExit(f"U+{c:04X}: its combining class is one that no known mark has")
        classes[c] = same.pop()
    return classes


def survey() -> tuple[dict[int, int], dict[int, str], dict[int, str], dict[int, int]]:
    """Return properties, decompositions, lowercase forms and combining classes, by code point."""
    properties: dict[int, int] = {}
    decompositions: dict[int, str] = {}
    lowercased: dict[int, str] = {}
    for c in CODE_POINTS:
        s = chr(c)
        pieces = pre_tokenize(f"a{s}a")
        bits = 0
        bits |= CONTROL if clean(f"a{s}a") == "aa" else 0
        bits |= SPACE if len(pieces) == 2 else 0
        bits |= PUNCTUATION if len(pieces) == 3 else 0
        bits |= CJK if isolate_cjk(s) != s else 0
        bits |= NONSPACING if decompose(s) == s and strip_accents(s) == "" else 0
        if lowercase(s) != s:
            bits |= LOWERCASES
            lowercased[c] = lowercase(s)
        if decompose(s) != s and c not in HANGUL:
            bits |= DECOMPOSES
            decompositions[c] = decompose(s)
        properties[c] = bits
    unaffected = (c for c in CODE_POINTS if c >= 0x300 and c not in HANGUL and not properties[c] & (CJK | DECOMPOSES))
    classes = combining_classes(unaffected)
    for c in classes:
        properties[c] |= NON_STARTER
    return properties, decompositions, lowercased, classes


def rows(values: Iterable[object], per_row: int = 24) -> str:
    """Lay values out as lines of a C++ initialiser."""
    items = [str(v) for v in values]
    return "\n".join("    " + ",".join(items[i : i + per_row]) + "," for i in range(0, len(items), per_row))


def main() -> None:
    """Write the tables to standard output."""
    properties, decompositions, lowercased, classes = survey()

    blocks: dict[tuple[int, ...], int] = {}
    index = []
    for start in range(0, 0x110000, BLOCK):
        block = tuple(properties.get(c, 0) for c in range(start, start + BLOCK))
        index.append(blocks.setdefault(block, len(blocks)))
    if len(blocks) > 256:
        raise SystemExit("more distinct blocks than a byte can number")

    pool: list[int] = []

    def entries(mappings: dict[int, str]) -> list[str]:
        out = []
        for c, target in sorted(mappings.items()):
            out.append(f"{{{c:#x},{len(pool)},{len(target)}}}")
            pool.extend(map(ord, target))
        return out

    decomposition_entries = entries(decompositions)
    lowercase_entries = entries(lowercased)

    ranges: list[list[int]] = []
    for c, value in sorted(classes.items()):
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == value:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, value])

    print(
        f"""// Generated by generate_unicode_tables.py from tokenizers {version("tokenizers")}: edit that, not this.
// clang-format off
#include "text/unicode_tables.h"

namespace fastroute::text::unicode_data {{

const uint8_t kBlockIndex[{len(index)}] = {{
{rows(index)}
}};

const uint8_t kBlocks[{len(blocks)}][{BLOCK}] = {{"""
    )
    for block in blocks:
        print("  {\n" + rows(block, 64) + "\n  },")
    print(
        f"""}};

const Mapping kDecompositions[{len(decomposition_entries)}] = {{
{rows(decomposition_entries, 8)}
}};
const size_t kDecompositionCount = {len(decomposition_entries)};

const Mapping kLowercase[{len(lowercase_entries)}] = {{
{rows(lowercase_entries, 8)}
}};
const size_t kLowercaseCount = {len(lowercase_entries)};

const char32_t kMappedCodePoints[{len(pool)}] = {{
{rows((f"{c:#x}" for c in pool), 16)}
}};

const CombiningRange kCombiningRanges[{len(ranges)}] = {{
{rows((f"{{{a:#x},{b:#x},{v}}}" for a, b, v in ranges), 8)}
}};
const size_t kCombiningRangeCount = {len(ranges)};

}}  // namespace fastroute::text::unicode_data"""
    )
    print(f"{len(blocks)} blocks, {len(pool)} mapped code points, {len(ranges)} ranges", file=sys.stderr)


if __name__ == "__main__":
    main()

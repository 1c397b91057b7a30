"""`FASTROUTE_SIMD` and `FASTROUTE_NUM_THREADS`: the same bits at every level, bad values refused."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

import fastroute

Run = Callable[..., subprocess.CompletedProcess[str]]

LEVELS = ["scalar", "avx2", "avx512"]

# Hashes of scores of texts, scores of embeddings, embeddings and logits.
HASHES = """
    import hashlib, random, sys
    import numpy as np
    import fastroute

    rng = random.Random(1)
    pools = ["abcdefgh the of prove sum 2 . ", "\\u4e2d\\u00e9\\u0301\\u302e\\uac00 x", "[MASK] [", "\\U0001f600 a\\0b"]
    texts = ["".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(60))) for _ in range(4000)]
    texts += ["word " * 1000, ""]
    print(fastroute.info().simd)
    for name in (sys.argv[1], "mf"):
        router = fastroute.load(name)
        rows = np.random.default_rng(1).standard_normal((3000, router.encoder.dim)).astype(np.float32)
        rows[:1000] *= 1e-38
        rows[1000:1500] *= 1e30
        embedded = router.encoder.embed(texts)
        found = router.score(texts), router.score_embeddings(rows), embedded, router.score_models(texts)
        assert all(np.isfinite(values).all() for values in found)
        assert float(found[0].std()) > 0.001
        print(*(hashlib.sha256(values.tobytes()).hexdigest() for values in found))
    experts = fastroute.load("experts")
    found = experts.score(texts), experts.gain(texts)
    assert float(found[0].std()) > 0.001
    print(*(hashlib.sha256(values.tobytes()).hexdigest() for values in found))
    words = [" ".join(rng.choices("how prove sum of the story code why apples".split(), k=6)) for _ in range(300)]
    pairs = [("large", "small") if i % 3 else ("small", "medium") for i in range(300)]
    battles = {
        "prompt": words,
        "model_a": [a for a, _ in pairs],
        "model_b": [b for _, b in pairs],
        "winner": [rng.choice(["model_a", "model_b", "tie"]) for _ in words],
    }
    router = fastroute.routers.SimilarityWeightedRouter("large", "small", tiers=3).fit(battles)
    rows = np.random.default_rng(1).standard_normal((70, router.encoder.dim)).astype(np.float32)
    found = router.score(texts[::50]), router.score_embeddings(rows)
    assert float(found[0].std()) > 0
    print(*(hashlib.sha256(values.tobytes()).hexdigest() for values in found))
    index = router._index
    options = {"neighbours": 20, "base": 100.0, "shrinkage": 1.0, "guard": 0.1}
    gains = np.linspace(-1, 1, index.size, dtype=np.float32)
    scorer = fastroute._core.NearestGains(index, gains, router.encoder.native, **options)
    options = {"strong": 0, "weak": 2, "base": 100.0, "normalised": True, "neighbours": 40, "shrinkage": 1.0}
    near = fastroute._core.SimilarityWeighted(index, router._counts, router.encoder.native, **options)
    nearest = index.nearest(rows, 50)
    found = *nearest, scorer.score(texts[::50]), scorer.explain_neighbours(*nearest), near.score(words)
    assert float(found[4].std()) > 0
    assert float(found[2].std()) > 0
    print(*(hashlib.sha256(values.tobytes()).hexdigest() for values in found))
    core = fastroute._core
    count, dim = 300, 70
    means = np.random.default_rng(2).uniform(-0.1, 0.1, (6, dim)).astype(np.float32)
    factors = np.random.default_rng(3).uniform(-0.1, 0.1, (6, 5, dim)).astype(np.float32)
    cells = np.array([1, 2, 4, 6, 8, 9], np.uint16)
    rows = np.random.default_rng(4).standard_normal((count, dim)).astype(np.float32) + 1
    codes, _, scales = core.quantise_rows(rows)
    counts = core.BattleCounts(3, np.arange(count + 1), np.repeat(cells, count // 6), np.ones(count, np.float32))
    found = []
    for normalised, rank in ((True, 0), (False, 5)):
        scorer = core.SimilarityWeighted(
            core.SimilarityIndex(codes, scales), counts, None, strong=0, weak=2, base=30, normalised=normalised,
            moments=core.BattleMoments(cells, means, factors[:, :rank].copy()),
        )
        found.append(scorer.score_embeddings(rows[:100]))
    found += [scorer.approximate_embeddings(rows[:100]), scorer.score_embeddings_near(rows[:100], 0.5, 0.01)]
    assert all(float(values.std()) > 0 for values in found)
    print(*(hashlib.sha256(values.tobytes()).hexdigest() for values in found))
"""


def test_every_level_gives_the_same_bits(run_script: Run) -> None:
    best = LEVELS.index(fastroute.info().simd)
    hashes = set()
    for level in LEVELS:
        ended = run_script(HASHES, env={"FASTROUTE_SIMD": level})
        assert ended.returncode == 0, ended.stderr
        used, *lines = ended.stdout.split("\n")
        assert used == LEVELS[min(best, LEVELS.index(level))]
        hashes.add("\n".join(lines))
    assert len(hashes) == 1


def test_every_number_of_threads_gives_the_same_bits(run_script: Run) -> None:
    hashes = set()
    for threads in ("1", "2", "4", "8"):
        ended = run_script(HASHES, env={"FASTROUTE_NUM_THREADS": threads})
        assert ended.returncode == 0, ended.stderr
        hashes.add(ended.stdout)
    assert len(hashes) == 1


FIRST_USE = """
    import sys
    import fastroute
    try:
        fastroute.info()
        fastroute.load(sys.argv[1]).score(["prove that"] * 1000)
    except fastroute.errors.InvalidArgumentError as error:
        sys.exit(f"refused: {error}")
"""


@pytest.mark.parametrize("value", ["avx", "AVX2", " avx2", "sse2", "avx512f", "neon", "2", "scalar ", "\u00e9"])
def test_levels_that_are_none(run_script: Run, value: str) -> None:
    ended = run_script(FIRST_USE, env={"FASTROUTE_SIMD": value})
    assert ended.returncode == 1
    expected = f"refused: environment variable FASTROUTE_SIMD: found '{value}', allowed: scalar, avx2, avx512"
    assert ended.stderr.strip() == expected


@pytest.mark.parametrize(
    "value", ["0", "-1", "1025", "two", "2.0", "2 ", " 2", "+2", "0x2", "1e1", "9" * 30, "2,", "-0"]
)
def test_numbers_of_threads_that_are_none(run_script: Run, value: str) -> None:
    ended = run_script(FIRST_USE, env={"FASTROUTE_NUM_THREADS": value})
    assert ended.returncode == 1
    found = rf"refused: environment variable FASTROUTE_NUM_THREADS: found '?{re.escape(value)}'?, allowed: "
    assert re.match(found, ended.stderr)
    assert "1 to 1024" in ended.stderr


@pytest.mark.parametrize("name", ["FASTROUTE_SIMD", "FASTROUTE_NUM_THREADS"])
def test_empty_is_as_good_as_unset(run_script: Run, name: str) -> None:
    assert run_script(FIRST_USE, env={name: ""}).returncode == 0


def test_the_number_of_threads_is_read(run_script: Run) -> None:
    script = "import fastroute; print(fastroute.info().threads)"
    assert run_script(script, env={"FASTROUTE_NUM_THREADS": "7"}).stdout == "7\n"
    assert run_script(script, env={"FASTROUTE_NUM_THREADS": "1024"}).stdout == "1024\n"

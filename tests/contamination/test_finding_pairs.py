"""`find_pairs`: what is a pair and what is none."""

from __future__ import annotations

import itertools
import json
import random
import re
import unicodedata

import numpy as np
import pytest

from fastroute.contamination import METHODS, find_pairs, read_eval_set
from fastroute.encoders import load_encoder
from fastroute.errors import InvalidArgumentError, InvalidTypeError

STEM = "How many of the nine planets are larger than the fourth one"
OPTIONS = "\nA. two\nB. three\nC. four\nD. five\nAnswer:"


def found(train, evaluation, **options):
    return {
        (p.train, p.evaluation): (p.method, round(p.similarity, 4)) for p in find_pairs(train, evaluation, **options)
    }


class TestExact:
    @pytest.mark.parametrize(
        "text", ["Hello World", "hello  world", "\thello\nWORLD ", "ｈｅｌｌｏ world", "hello\u00a0world"]
    )
    def test_case_space_and_forms_do_not_matter(self, text):
        assert found([text], ["Hello world"], methods=["exact"]) == {(0, 0): ("exact", 1.0)}

    @pytest.mark.parametrize("text", ["Hello, world", "Hello worlds", "Helloworld"])
    def test_anything_else_does(self, text):
        assert not found([text], ["Hello world"], methods=["exact"])

    def test_every_pair_of_copies(self):
        assert list(found(["a", "b", "A"], ["A", "c", "a "], methods=["exact"])) == [(0, 0), (0, 2), (2, 0), (2, 2)]

    def test_empty_texts_are_like_no_other(self):
        assert not found(["", " \n", "?"], ["", "\t", "!"])


class TestNear:
    @pytest.mark.parametrize(
        ("train", "evaluation"),
        [
            (STEM, STEM + OPTIONS),
            (f"Choose well.\n\nQuestion: {STEM}?\n\nOptions:\nA. one\nB. none\n\nExplain your choice.", STEM + OPTIONS),
            (f"{STEM}. Which is right? (A) 2 (B) 3", STEM + OPTIONS),
            (STEM.upper() + "?!", f"«{STEM}»"),
            ("a " * 40 + STEM, STEM),
        ],
    )
    @pytest.mark.parametrize("turned", [False, True])
    def test_a_question_in_other_surroundings(self, train, evaluation, turned):
        pair = (evaluation, train) if turned else (train, evaluation)
        assert found([pair[0]], [pair[1]], methods=["near"]) == {(0, 0): ("near", 1.0)}

    def test_the_share_of_runs(self):
        words = [f"w{i}" for i in range(20)]
        changed = [*words[:14], "x", *words[15:]]
        # of 13 runs of eight words those at 0 to 6 are left
        assert found([" ".join(changed)], [" ".join(words)], methods=["near"]) == {(0, 0): ("near", round(7 / 13, 4))}
        assert found([" ".join(changed)], [" ".join(words)], methods=["near"], containment=7 / 13)
        assert not found([" ".join(changed)], [" ".join(words)], methods=["near"], containment=0.54)

    def test_options_alone_are_no_pair(self):
        shared = (
            "\nA. it is the case that all are equal to one another\nB. it is not the case at all that any are equal"
        )
        first, second = (
            "What does the first law of motion say about bodies?",
            "Who wrote the charter of the united league?",
        )
        assert not found([first + shared], [second + shared], methods=["near"])

    @pytest.mark.parametrize(("count", "is_pair"), [(5, False), (6, True), (7, True), (8, True)])
    def test_short_questions_are_one_run(self, count, is_pair):
        stem = " ".join(STEM.split()[:count])
        assert bool(found([stem], [f"Well then: {stem} " + OPTIONS], methods=["near"])) == is_pair

    def test_signs_count_as_words(self):
        assert found(["Compute 52 + 6 * 2."], ["Compute 52 + 6 * 2." + OPTIONS], methods=["near"])
        assert not found(["Compute 52 * 6 + 2."], ["Compute 52 + 6 * 2." + OPTIONS], methods=["near"])

    def test_a_hyphen_at_the_end_of_a_line(self):
        assert found([STEM.replace("four", "four-\n")], [STEM.replace("four", "four-")], methods=["near"]) == {
            (0, 0): ("near", 1.0)
        }

    def test_against_a_plain_search(self):
        """All pairs of random texts, one by one."""
        generator = random.Random(1)

        def text():
            length = generator.randrange(0, 14)
            start = generator.randrange(0, 12)
            return [f"w{start + i}" if generator.random() < 0.93 else "x" for i in range(length)]

        def share(asked, whole):
            size = min(8, len(asked))
            runs = {tuple(asked[i : i + size]) for i in range(len(asked) - size + 1)}
            held = {tuple(whole[i : i + size]) for i in range(len(whole) - size + 1)}
            return len(runs & held) / len(runs) if len(asked) >= 6 else 0.0

        train, evaluation = ([text() for _ in range(150)] for _ in range(2))
        expected = {}
        for (i, a), (j, b) in itertools.product(enumerate(train), enumerate(evaluation)):
            best = max(share(a, b), share(b, a))
            if best >= 0.5:
                expected[i, j] = ("near", round(best, 4))
        joined = [[" ".join(words) for words in texts] for texts in (train, evaluation)]
        assert len(expected) > 100
        assert found(*joined, methods=["near"]) == expected

    def test_blocks_change_nothing(self, monkeypatch):
        from fastroute.contamination import near

        train = [f"{STEM} {i % 7} {STEM}" for i in range(60)]
        whole = found(train, train, methods=["near"], containment=0.3)
        monkeypatch.setattr(near, "_BLOCK", 100)
        assert len(whole) == 3600
        assert found(train, train, methods=["near"], containment=0.3) == whole


class TestSemantic:
    def test_word_order_and_signs_do_not_matter(self):
        pair = "Explain how photosynthesis works in green plants", "In green plants, explain how photosynthesis works!"
        assert found(pair[:1], pair[1:], methods=["semantic"])[0, 0][1] > 0.95

    def test_common_words_alone_are_no_pair(self):
        train = ["Suppose $g(x)=3x+4$. What is $g(2)$?", "What is the best way to cook rice?"]
        evaluation = ["Suppose $h(y)=y^2-7$. Find the range of $h$.", "What is the best way to learn chess?"]
        assert not found(train, evaluation, methods=["semantic"])

    def test_a_pair_does_not_depend_on_the_other_texts(self):
        pair = "Name three rivers of Asia.", "Name three rivers in Asia."
        alone = found(pair[:1], pair[1:], methods=["semantic"], cosine=0.8)
        among = found([pair[0], *map(str, range(50))], [pair[1], "Why?"], methods=["semantic"], cosine=0.8)
        assert alone
        assert among[0, 0] == alone[0, 0]

    def test_faiss_and_numpy_give_the_same_pairs(self):
        pytest.importorskip("faiss")
        generator = random.Random(2)
        vocabulary = ["river", "stone", "bread", "law", "music", "atom", "king", "the", "of", "why"]
        train, evaluation = (
            [" ".join(generator.choices(vocabulary, k=generator.randrange(0, 7))) for _ in range(1500)]
            for _ in range(2)
        )
        options = {"methods": ["semantic"], "cosine": 0.9}
        first, second = (find_pairs(train, evaluation, engine=engine, **options) for engine in ("numpy", "faiss"))
        assert len(first) > 1000
        assert first == second

    def test_the_cosine_is_the_one_of_the_embeddings(self):
        from fastroute.contamination.background import EVERYDAY_PROMPTS

        encoder = load_encoder()
        texts = "Name three rivers of Asia.", "Name three lakes of Africa."
        centre = encoder.embed(list(EVERYDAY_PROMPTS)).mean(axis=0, dtype=np.float64)
        a, b = encoder.embed(list(texts)).astype(np.float64) - centre
        cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        (pair,) = find_pairs(texts[:1], texts[1:], methods=["semantic"], cosine=cosine - 1e-9, engine="numpy")
        assert pair.similarity == pytest.approx(cosine, abs=1e-12)
        assert not find_pairs(texts[:1], texts[1:], methods=["semantic"], cosine=cosine + 1e-9, engine="numpy")


class TestAll:
    def test_a_pair_is_listed_once_under_its_surest_method(self):
        pairs = find_pairs([STEM, f"{STEM}?"], [STEM])
        assert [(p.train, p.method) for p in pairs] == [(0, "exact"), (1, "near")]
        assert [p.method for p in find_pairs([STEM], [STEM], methods=["semantic", "near"])] == ["near"]
        assert METHODS == ("exact", "near", "semantic")

    def test_nothing_to_compare(self):
        assert find_pairs([], ["a"]) == find_pairs(["a"], []) == find_pairs([], []) == ()

    def test_odd_characters(self):
        text = f"\ud800 {STEM} \0 \u202e 🙂"
        assert found([text], [text]) == {(0, 0): ("exact", 1.0)}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"methods": []}, "methods: found [], allowed: one or more of exact, near, semantic"),
            ({"methods": ["fuzzy"]}, "methods: found ['fuzzy']"),
            ({"cosine": 0.0}, "cosine: found 0.0, allowed: above 0, up to 1"),
            ({"cosine": float("nan")}, "cosine: found nan"),
            ({"containment": 1.01}, "containment: found 1.01"),
            ({"engine": "gpu"}, "engine: found 'gpu'"),
        ],
    )
    def test_wrong_arguments(self, options, message):
        with pytest.raises(InvalidArgumentError) as caught:
            find_pairs(["a"], ["b"], **options)
        assert message in str(caught.value)

    def test_wrong_types(self):
        with pytest.raises(InvalidTypeError, match="train: found str"):
            find_pairs("abc", ["b"])
        with pytest.raises(InvalidTypeError, match="evaluation: item 1 is NoneType"):
            find_pairs(["a"], ["b", None])


@pytest.mark.data
@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "mt_bench"])
def test_every_pair_of_routellms_lists(data_pack, name):
    lines = (data_pack / "routellm_evals" / name / "contaminated_prompts.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    pairs = found(
        [row["train_prompt"] for row in rows], [row["eval_prompt"] for row in rows], methods=["exact", "near"]
    )
    assert len(rows) >= 5
    assert [i for i in range(len(rows)) if (i, i) not in pairs] == []


@pytest.mark.data
def test_every_flagged_prompt_whose_question_stands_in_mmlu(data_pack):
    """Stems of six words or more are looked for letter by letter in all prompts of MMLU that are there."""
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(data_pack / "outcomes.parquet", columns=["prompt", "overlap"])
    flagged = [p for p, o in dict(zip(*table.to_pydict().values(), strict=True)).items() if "mmlu" in o]
    mmlu = read_eval_set(data_pack / "routellm_evals" / "mmlu").prompts

    def plain(text):
        return " ".join(unicodedata.normalize("NFKC", text).casefold().split())

    def stem(prompt):
        asked = re.split(r"\n\s*A[.)] |\(A\)", prompt, maxsplit=1)[0]
        return plain(re.sub(r"\s*Options:\s*$", "", asked.rpartition("Question:")[2]))

    haystack = "\n".join(map(plain, mmlu))
    stems = [stem(prompt) for prompt in flagged]
    verbatim = [i for i, text in enumerate(stems) if len(text.split()) >= 6 and text in haystack]
    hit = {pair.train for pair in find_pairs(flagged, list(dict.fromkeys(mmlu)), methods=["exact", "near"])}
    assert len(verbatim) > 3000
    assert [stems[i] for i in verbatim if i not in hit] == []

"""The tables of docs/results.md: ``python benchmarks/quality.py ../shared/data [TABLE ...]``.

Trains what each row needs, measures it and prints Markdown; needs ``pip install '.[train,eval]'`` and the data pack.
Evaluation files are for reporting: nothing here chooses anything. ``--minilm FILE`` gives embeddings of the prompts by
all-MiniLM-L6-v2 (an .npz with `prompts` and `embeddings`) for the row that needs them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import fastroute
from fastroute.builtin import STRONG, WEAK
from fastroute.calibration import calibrate_cascade
from fastroute.cli.train.gold import read_gold
from fastroute.evaluation import Benchmark, evaluate, read_benchmark, read_outcomes, without_gold_prompts
from fastroute.routers import ExpertsRouter, KnnRouter, RandomRouter, Router, SimilarityWeightedRouter
from fastroute.tables import as_table
from fastroute.training.battles import Battles, fewer_prompts, mix_battles
from fastroute.training.comparisons import Plan, read_plan
from fastroute.training.outcomes import battles_from_outcomes
from fastroute.training.preferences import battles_from_preferences
from fastroute.training.scores import as_outcomes
from fastroute.training.splits import fold_of, held_out

BENCHMARKS = ("mt-bench", "mmlu", "gsm8k")
LLAMA = "meta-llama-3.1-70b-instruct"
TURBO = "gpt-4-turbo-2024-04-09"


class Length(RandomRouter):
    """The baseline that knows how long a prompt is and nothing else."""

    def score(self, prompts: Any) -> Any:
        return np.array([len(prompt) for prompt in prompts], np.float32)


class Stored:
    """An encoder whose embeddings were worked out before."""

    name, sha256 = "all-MiniLM-L6-v2", "0" * 64

    def __init__(self, file: Path) -> None:
        with np.load(file, allow_pickle=False) as stored:
            self._embeddings = stored["embeddings"].astype(np.float32)
            self._row = {prompt: row for row, prompt in enumerate(stored["prompts"].tolist())}
        self.dim = self._embeddings.shape[1]

    def embed(self, prompts: Iterable[str]) -> np.ndarray:
        return np.ascontiguousarray(self._embeddings[[self._row[prompt] for prompt in prompts]])


class Tables:
    def __init__(self, data: Path, minilm: Path | None) -> None:
        self.data, self.minilm = data, minilm
        self.tables = {
            name: pq.read_table(data / f"{name}.parquet") for name in ("outcomes", "judge_scores", "preferences")
        }
        self.plan = read_plan("open-data")

    def train(
        self, *, plan: Plan | None = None, encoder: Any = None, gold: Any = (), strong: str = STRONG, **changed: Any
    ) -> ExpertsRouter:
        router = ExpertsRouter(strong) if encoder is None else ExpertsRouter(encoder=encoder)
        return router.fit(**{**self.tables, **changed}, plan=plan or self.plan, gold=gold)

    def without(self, *domains: str) -> Plan:
        return replace(self.plan, domains={k: v for k, v in self.plan.domains.items() if k not in domains})

    def gold(self, seed: int = 0) -> Any:
        return read_gold([f"mmlu={self.data / 'routellm_evals'}"], strong=STRONG, weak=WEAK, size=1500, seed=seed)

    def benchmark(self, name: str) -> Benchmark:
        return read_benchmark(name, self.data / "routellm_evals")

    # The tables.

    def routers(self) -> None:
        """Every built-in router, the length baseline, gold."""
        gold = self.train(gold=self.gold())
        routers = {
            name: fastroute.load(name) for name in ("experts", *sorted(set(fastroute.info().routers) - {"experts"}))
        }
        self._rows({**routers, "prompt length": Length(), "random, seed 0": RandomRouter()})
        print("\nwith 1,500 gold labels of MMLU, on the other questions:")
        self._rows({"experts + gold": gold, "experts": routers["experts"]})
        values = []
        for seed in range(1, 6):
            drawn = self.train(gold=self.gold(seed))
            benchmark = without_gold_prompts(self.benchmark("mmlu"), {"gold": drawn})
            (result, *_), _ = _measure(benchmark, {"gold": drawn})
            values.append(result.metrics["apgr"].value)
        print(f"\nother draws of the 1,500 (seeds 1 to 5): {', '.join(f'{value:.3f}' for value in values)}")

    def ablations(self) -> None:
        """What each source of labels and each choice is worth."""
        chat = replace(self.plan, tiers={k: v for k, v in self.plan.tiers.items() if k != "chat"})
        routers: dict[str, Router] = {
            "experts": fastroute.load("experts"),
            # Of the tier's models one that was scored elsewhere; the tier and the scores are the same.
            "no judge scores": self.train(plan=chat, judge_scores=None, strong="gpt-4-0314"),
            "no GSM8K-train": self.train(plan=self.without("grade-school maths")),
        }
        if self.minilm is not None:
            routers["MiniLM in place of the static table"] = self.train(encoder=Stored(self.minilm))
        self._rows(routers)

    def pairs(self) -> None:
        """Other pairs of models, on prompts that training did not see."""
        outcomes = self.tables["outcomes"]
        held = pa.array(fold_of(tuple(outcomes["prompt_id"].to_pylist()), 1) == 0)
        clean = pc.equal(outcomes["overlap"], "")
        router = self.train(outcomes=outcomes.filter(pc.invert(held)))
        for benchmark, strong in (("mmlu_pro", LLAMA), ("cruxeval_o", TURBO)):
            rows = pc.and_(pc.and_(held, clean), pc.equal(outcomes["benchmark"], benchmark))
            file = Path(f"{benchmark}-held-out.parquet")
            pq.write_table(outcomes.filter(rows).select(["prompt", "model", "score", "benchmark"]), file)
            questions = read_outcomes(file, strong=strong, weak=WEAK)
            file.unlink()
            print(f"\n{benchmark}: {strong} against {WEAK}, {len(questions.prompts)} held-out prompts")
            results, differences = _measure(
                questions, {"experts": router, "mf": fastroute.load("mf"), "prompt length": Length()}
            )
            _print([(result.name, [_figures(result)]) for result in results], [""])
            print("; ".join(differences))

    def guard(self) -> None:
        """What gold of MMLU does to a domain that nothing in training showed."""
        outcomes = self.tables["outcomes"]
        cases = (
            ("professional multiple choice", "mmlu_pro", LLAMA, WEAK),
            ("easy multiple choice", "arc_challenge", "llama-3.1-8b-instruct", "llama-3.2-1b-instruct"),
            ("commonsense", "winogrande", "llama-3.1-8b-instruct", "llama-3.2-1b-instruct"),
            ("grade-school maths", "llmrouter:gsm8k", "qwen2.5-7b-instruct", "mistral-7b-instruct-v0.3"),
        )
        print("| held-out domain | prompts | gate open for | APGR without gold | with gold | difference |")
        print("|---|---|---|---|---|---|")
        for domain, benchmark, strong, weak in cases:
            plan = self.without(domain)
            rows = pc.and_(pc.equal(outcomes["overlap"], ""), pc.equal(outcomes["benchmark"], benchmark))
            file = Path("third-set.parquet")
            pq.write_table(outcomes.filter(rows).select(["prompt", "model", "score"]), file)
            questions = read_outcomes(file, strong=strong, weak=weak)
            file.unlink()
            with_gold, without = self.train(plan=plan, gold=self.gold()), self.train(plan=plan)
            changed = float(np.mean(with_gold.gain(questions.prompts) != without.gain(questions.prompts)))
            (second, first, *_), (difference, *_) = _measure(questions, {"with": with_gold, "without": without})
            line = [benchmark, f"{len(questions.prompts):,}", f"{changed:.1%}", _figures(first), _figures(second)]
            print(f"| {' | '.join(line)} | {difference.split(': ')[1]} |")

    def similar(self) -> None:
        """What similar prompts say: battles of two kinds, temperatures, neighbours."""
        scored = self._battles()
        voted = battles_from_preferences(self.tables["preferences"])

        def elo(battles: Battles, **settings: Any) -> Router:
            return SimilarityWeightedRouter(**settings).fit(battles, keep=None)

        def near(**settings: Any) -> Router:
            tables = {name: self.tables[name] for name in ("outcomes", "judge_scores")}
            made = KnnRouter(**{"neighbours": 1000, "base": 1e18, "shrinkage": 30, "guard": 1, **settings})
            return made.fit(**tables, plan=self.plan, keep=None)

        self._rows(
            {
                "sw_ranking": fastroute.load("sw_ranking"),
                "the same, base 10 (RouteLLM's)": elo(scored, base=10),
                "the same, base 1e6": elo(scored, base=1e6),
                "the same, nearest 1,000 prompts": elo(scored, base=1e3, neighbours=1000),
                "the same, nearest 100, shrinkage 10": elo(scored, base=1e3, neighbours=100, shrinkage=10),
                "battles of preferences alone, base 10": elo(voted, base=10),
                "battles of preferences alone, base 1e6": elo(voted, base=1e6),
            }
        )
        print()
        self._rows(
            {
                "knn": fastroute.load("knn"),
                "knn, all 26,210 prompts": near(),
                "the same, 100 neighbours": near(neighbours=100),
                "the same, 30 neighbours": near(neighbours=30),
                "the same, 100 alike, no shrinkage, no guard": near(neighbours=100, base=1, shrinkage=0, guard=0),
            }
        )

    def bert(self) -> None:
        """Mean APGR of tasks on the fifth of the prompts that the built-in bert's encoder has not seen."""
        router = fastroute.load("bert")
        assert isinstance(router, ExpertsRouter)
        static = ExpertsRouter().fit(**self.tables, plan=self.plan, unseen=lambda keys: held_out(keys, 0.2, 0))
        for name, metrics in (("static table", static.metrics), ("bert", router.metrics)):
            print(f"{name}: {metrics['held_out_apgr']:.3f} of {sum(t['prompts'] for t in metrics['tasks']):,} prompts")
        print("all-MiniLM-L6-v2 as it is: the command that `fastroute inspect bert` shows, with --passes 0")

    def cascade(self) -> None:
        """What reaches bert, and agrees with it, on prompts that touch an evaluation set: none was trained on."""
        outcomes = self.tables["outcomes"]
        clean = pc.equal(outcomes["overlap"], "")
        known = sorted(set(outcomes.filter(clean)["prompt"].to_pylist()))
        unknown = sorted(set(outcomes.filter(pc.invert(clean))["prompt"].to_pylist()) - set(known))
        draw = np.random.default_rng(0)
        unknown = [unknown[i] for i in draw.permutation(len(unknown))[:4000]]
        known = [known[i] for i in draw.permutation(len(known))[:12_000]]
        bert = fastroute.load("bert")
        taught = [*bert.score(known).tolist(), *[0.5] * len(known)]
        models = [bert.strong] * len(known) + [bert.weak] * len(known)
        student = ExpertsRouter().fit({"prompt": known * 2, "model": models, "score": taught}, clusters=8)
        scores = bert.score(unknown)
        for name, first in (("experts", fastroute.load("experts")), ("experts, trained on bert's scores", student)):
            firsts = first.score(unknown)
            found = calibrate_cascade(firsts, scores, disagreement=0.02).record()
            reach, agree = (f"{found[key]:.1%}" for key in ("escalated", "agreement"))
            print(f"{name}: correlation {np.corrcoef(firsts, scores)[0, 1]:.3f}; {reach} reach bert, {agree} agree")

    def _battles(self) -> Battles:
        """As the recorded command of the built-in sw_ranking makes them."""
        scored = battles_from_outcomes(self.tables["outcomes"])
        judged = battles_from_outcomes(as_outcomes(as_table(self.tables["judge_scores"], "judge_scores")))
        return fewer_prompts(mix_battles(judged, scored), 12000)

    def _rows(self, routers: Mapping[str, Router]) -> None:
        cells: dict[str, list[str]] = {name: [] for name in routers}
        titles = []
        for name in BENCHMARKS:
            benchmark = without_gold_prompts(self.benchmark(name), routers)
            titles.append(f"{name} ({len(benchmark.prompts):,})")
            results, differences = _measure(benchmark, routers)
            for result in results:
                cells[result.name].append(_figures(result))
            print(f"{name}: {'; '.join(differences)}")
        _print(list(cells.items()), titles)


def _measure(benchmark: Benchmark, routers: Mapping[str, Router]) -> tuple[list[Any], list[str]]:
    found = evaluate(benchmark, routers)
    results = [result for result in found.routers if result.name in routers]
    differences = [
        f"{each.first} less {each.second}: {each.apgr.value:+.3f} [{each.apgr.low:+.3f}, {each.apgr.high:+.3f}]"
        for each in found.differences
    ]
    return results, differences


def _figures(result: Any) -> str:
    apgr = result.metrics["apgr"]
    return f"{apgr.value:.3f} [{apgr.low:.3f}, {apgr.high:.3f}]"


def _print(rows: list[tuple[str, list[str]]], titles: list[str]) -> None:
    print(f"| router | {' | '.join(title or 'APGR' for title in titles)} |\n|{'---|' * (len(titles) + 1)}")
    for name, cells in rows:
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("tables", nargs="*", default=["routers", "similar", "ablations", "pairs", "guard"])
    parser.add_argument("--minilm", type=Path)
    args = parser.parse_args()
    tables = Tables(args.data, args.minilm)
    print(json.dumps({"fastroute": fastroute.__version__, "numpy": np.__version__}))
    for name in args.tables:
        table: Callable[[], None] = getattr(tables, name)
        print(f"\n## {name}: {table.__doc__}\n", flush=True)
        table()


if __name__ == "__main__":
    main()

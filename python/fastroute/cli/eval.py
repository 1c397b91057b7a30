"""``fastroute eval``: routers on a benchmark, with intervals."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.exits import DONE
from fastroute.cli.parsing import add_command, positive_number, price, unit_interval, whole_number

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from fastroute.cli.parsing import Subparsers
    from fastroute.evaluation import Benchmark, Estimate, Evaluation, RouterResult
    from fastroute.routers import Router

_DESCRIPTION = """\
Measure routers on questions that both models of a pair answered. The table has RouteLLM's metrics and the
cheapest share of strong calls, and dollars per 1,000 requests, that keep 95% of the strong model's quality; in
brackets are 95% bootstrap intervals over questions. Random, the oracle (which knows the results), always-strong
and always-weak are always shown, and beside them the figures of RouteLLM's paper. A router is marked (gold) where
its artifact says that it was trained with gold labels of the benchmark, and (file) where on one of its files; the
questions of its gold labels are left out, for all routers.

--data is RouteLLM's folder routellm/evals, or a checkout of its repository; for --benchmark outcomes a
file (.parquet, .jsonl, .csv, .tsv) with prompt, model, score and, where there are, cost and domain (or benchmark).
"""

_EXAMPLES = """
fastroute eval --benchmark mmlu --data RouteLLM/routellm/evals --routers experts mf --plot mmlu.png
fastroute eval --benchmark mt-bench --data RouteLLM/routellm/evals --routers experts my-router/ --json
fastroute eval --benchmark outcomes --data scores.parquet --strong gpt-4 --weak mixtral-8x7b --routers all
"""

_IMAGES = {".png": "png", ".svg": "svg"}
_BENCHMARKS = ("mmlu", "gsm8k", "mt-bench", "outcomes")
_ALL = "all"
_RANDOM = "random"


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "eval",
        run,
        summary="measure routers on a benchmark, with intervals",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("--benchmark", required=True, choices=_BENCHMARKS, help="which questions")
    parser.add_argument("--data", required=True, metavar="DIR|FILE", help="folder of the benchmark; a file of outcomes")
    parser.add_argument(
        "--routers",
        nargs="+",
        default=["experts"],
        metavar="NAME|PATH",
        help="built-in routers or artifacts; all: every built-in one (default: experts)",
    )
    pair = parser.add_argument_group("models and prices")
    pair.add_argument("--strong", metavar="MODEL", help="strong model, as the data calls it (default: GPT-4-1106)")
    pair.add_argument("--weak", metavar="MODEL", help="weak model, as the data calls it (default: Mixtral-8x7B)")
    pair.add_argument("--strong-dollars", type=price, metavar="D", help="price of an answer (default: 0.00887)")
    pair.add_argument("--weak-dollars", type=price, metavar="D", help="price of an answer (default: 0.0000862)")
    pair.add_argument("--router-dollars", type=price, metavar="D", help="price of a decision (default: 1e-9)")
    measured = parser.add_argument_group("measuring")
    measured.add_argument(
        "--keep", type=unit_interval, default=0.95, metavar="Q", help="part of the strong quality (default: 0.95)"
    )
    measured.add_argument(
        "--resamples", type=positive_number, default=2000, metavar="N", help="bootstrap (default: 2000)"
    )
    measured.add_argument("--seed", type=whole_number, default=0, metavar="N", help="bootstrap and random (default: 0)")
    measured.add_argument(
        "--per-domain", action="store_true", help="a line per subject or category (always for outcomes)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")
    output.add_argument("--csv", metavar="FILE", help="write every metric to this file too")
    output.add_argument("--plot", metavar="FILE", help="draw quality against strong calls and dollars: .png or .svg")


def run(args: argparse.Namespace) -> int:
    """Measure, then write the files and print."""
    from fastroute.artifact import atomic_file
    from fastroute.errors import MissingDependencyError
    from fastroute.training.progress import progress_bar

    image = None if args.plot is None else _image(args.plot)
    try:
        import numba  # noqa: F401 - asked for before minutes of work, not after
        import pyarrow as pa  # noqa: F401

        if image is not None:
            import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"fastroute eval needs {error.name}: pip install 'fastroute[eval]'") from error
    from fastroute.evaluation import evaluate, without_gold_prompts
    from fastroute.evaluation.metrics import ROUTER_DOLLARS

    benchmark = _read(args)
    routers, manifests = _load(args, benchmark)
    benchmark = without_gold_prompts(benchmark, routers)
    with progress_bar("resampling") as progress:
        evaluation = evaluate(
            benchmark,
            routers,
            manifests=manifests,
            keep=args.keep,
            router_dollars=ROUTER_DOLLARS if args.router_dollars is None else args.router_dollars,
            resamples=args.resamples,
            seed=args.seed,
            domains=args.per_domain or args.benchmark == "outcomes",
            progress=progress,
        )
    if image is not None:
        from fastroute.evaluation.plots import plot_evaluation

        drawn = io.BytesIO()
        plot_evaluation(evaluation, drawn, image=image)
        with atomic_file(args.plot) as stream:
            stream.write(drawn.getvalue())
    if args.csv is not None:
        with atomic_file(args.csv) as stream:
            stream.write(_as_csv(evaluation).encode())
    print(json.dumps(_as_json(evaluation), indent=2, ensure_ascii=False) if args.json else _as_text(evaluation))
    for note in evaluation.notes:
        print(f"fastroute: note: {note}", file=sys.stderr)
    return DONE


def _read(args: argparse.Namespace) -> Benchmark:
    from fastroute.errors import InvalidArgumentError
    from fastroute.evaluation import read_benchmark, read_outcomes

    prices = {"strong_dollars": args.strong_dollars, "weak_dollars": args.weak_dollars}
    given = {name: price for name, price in prices.items() if price is not None}
    if args.benchmark != "outcomes":
        return read_benchmark(args.benchmark, args.data, strong=args.strong, weak=args.weak, **given)
    for option in ("strong", "weak"):
        if getattr(args, option) is None:
            raise InvalidArgumentError(f"--{option}: needed with --benchmark outcomes: a name in the column 'model'")
    return read_outcomes(args.data, strong=args.strong, weak=args.weak, **given)


def _load(args: argparse.Namespace, benchmark: Benchmark) -> tuple[dict[str, Router], dict[str, Mapping[str, Any]]]:
    """Load routers for the pair that is measured, where they know it."""
    import fastroute
    from fastroute import builtin
    from fastroute.artifact import ROUTER, read_artifact
    from fastroute.errors import UnknownModelError
    from fastroute.loading import locate
    from fastroute.routers import RandomRouter

    names: list[str] = []
    for name in args.routers:
        names += [*builtin.routers(), _RANDOM] if name == _ALL else [name]
    routers: dict[str, Router] = {}
    manifests: dict[str, Mapping[str, Any]] = {}
    for name in dict.fromkeys(names):
        if name == _RANDOM:
            routers[name] = RandomRouter(benchmark.strong, benchmark.weak, seed=args.seed)
            continue
        manifests[name] = read_artifact(locate(name), format=ROUTER).manifest
        try:
            routers[name] = fastroute.load(name, strong=benchmark.strong, weak=benchmark.weak)
        except UnknownModelError:
            routers[name] = fastroute.load(name)
    return routers, manifests


def _as_text(evaluation: Evaluation) -> str:
    from fastroute.evaluation.paper import PAPER

    dropped = f", {evaluation.dropped:,} contaminated left out" if evaluation.dropped else ""
    parts = [
        f"{evaluation.benchmark}: {evaluation.questions:,} questions{dropped}; "
        f"{evaluation.strong} (strong), {evaluation.weak} (weak)\n"
        f"[95% intervals over questions, {evaluation.resamples:,} resamples, seed {evaluation.seed}]",
        _table(_router_lines(evaluation)),
        _table(_threshold_lines(evaluation)),
        _table(_saving_lines(evaluation)),
    ]
    if evaluation.benchmark in PAPER:
        lines = [["RouteLLM's paper (whole benchmark)", "trained on", "APGR", "CPT(50%)", "CPT(80%)"]]
        lines += [
            [row.router, row.training or "-", f"{row.apgr:.3f}", f"{row.cpt_50:.2%}", f"{row.cpt_80:.2%}"]
            for row in PAPER[evaluation.benchmark]
        ]
        parts.append(_table(lines, left=2))
    if evaluation.domains:
        parts.append(_table(_domain_lines(evaluation)))
    compared = [
        f"APGR of {each.first} less that of {each.second}: {_number(each.apgr, '{:+.3f}')}"
        for each in evaluation.differences
    ]
    parts += ["\n".join(compared)] if compared else []
    marked = sorted({mark for result in evaluation.routers for mark in result.marks})
    meaning = {
        "gold": "(gold): trained with gold labels of this benchmark; don't compare with routers that were not",
        "file": "(file): trained on a file of this benchmark",
    }
    parts += ["\n".join(meaning[mark] for mark in marked)] if marked else []
    return "\n\n".join(parts)


def _router_lines(evaluation: Evaluation) -> Iterator[list[str]]:
    keep = f"{evaluation.keep:.0%}"
    yield ["router", "APGR", "apgr_10", "CPT(50%)", "CPT(80%)", f"calls for {keep}", "$/1,000", "cost saved"]
    for result in evaluation.routers:
        m = result.metrics
        yield [
            _name(result),
            _number(m["apgr"]),
            _plain_number(m["apgr_10"], "{:.3f}"),
            _share(m["cpt_50"]),
            _share(m["cpt_80"]),
            _share(m["keep_share"]),
            _plain_number(m["keep_dollars"], "{:.2f}", 1000),
            _share(m["keep_reduction"]),
        ]


def _threshold_lines(evaluation: Evaluation) -> Iterator[list[str]]:
    yield ["at its threshold", "threshold", "strong calls", "quality", "PGR", "$/1,000"]
    for result in evaluation.routers:
        m = result.metrics
        if result.threshold is not None:
            yield [
                _name(result),
                f"{result.threshold:.4g}",
                _share(m["threshold_share"]),
                _number(m["threshold_quality"]),
                _plain_number(m["threshold_pgr"], "{:.3f}"),
                _plain_number(m["threshold_dollars"], "{:.2f}", 1000),
            ]
    for fixed, calls, recovered in zip(evaluation.fixed, ("100.0%", "0.0%"), ("1.000", "0.000"), strict=True):
        yield [fixed.name, "-", calls, _number(fixed.quality), recovered, _plain_number(fixed.dollars, "{:.2f}", 1000)]


def _saving_lines(evaluation: Evaluation) -> Iterator[list[str]]:
    yield ["saving against random", "calls, CPT(50%)", "calls, CPT(80%)", "$, CPT(50%)", "$, CPT(80%)", "AUC"]
    for result in evaluation.routers:
        m = result.metrics
        savings = ("saving_50", "saving_80", "dollar_saving_50", "dollar_saving_80")
        yield [_name(result), *(_number(m[name], "{:.2f}") for name in savings), _number(m["auc"])]


def _domain_lines(evaluation: Evaluation) -> Iterator[list[str]]:
    names = [result.name for result in evaluation.routers]
    yield ["domain", "questions", "weak", "strong", *(f"APGR {name}" for name in names)]
    for domain in evaluation.domains:
        yield [
            domain.domain or "(none)",
            f"{domain.questions:,}",
            _plain_number(domain.weak_quality, "{:.3f}"),
            _plain_number(domain.strong_quality, "{:.3f}"),
            *(_number(domain.metrics[name]["apgr"]) for name in names),
        ]


def _table(lines: Iterator[list[str]] | Sequence[list[str]], *, left: int = 1) -> str:
    rows = list(lines)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _name(result: RouterResult) -> str:
    return result.name + "".join(f" ({mark})" for mark in result.marks)


def _number(estimate: Estimate, form: str = "{:.3f}") -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{form.format(estimate.value)} [none]"
    return f"{form.format(estimate.value)} [{form.format(estimate.low)}, {form.format(estimate.high)}]"


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1%} [none]"
    return f"{estimate.value:.1%} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _plain_number(estimate: Estimate, form: str, scale: float = 1) -> str:
    return "-" if estimate.value is None else form.format(estimate.value * scale)


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Plain values; curves and bands are for the plot."""
    from fastroute.evaluation.paper import PAPER

    plain = {
        name: getattr(evaluation, name)
        for name in ("benchmark", "strong", "weak", "questions", "dropped", "resamples", "seed", "keep", "notes")
    }
    routers = [
        {
            "name": result.name,
            "kind": result.kind,
            "artifact": result.artifact,
            "threshold": result.threshold,
            "strong": result.strong,
            "weak": result.weak,
            "marks": list(result.marks),
            "metrics": {name: asdict(estimate) for name, estimate in result.metrics.items()},
        }
        for result in evaluation.routers
    ]
    return {
        **plain,
        "notes": list(evaluation.notes),
        "fixed": [asdict(fixed) for fixed in evaluation.fixed],
        "routers": routers,
        "differences": [asdict(difference) for difference in evaluation.differences],
        "domains": [asdict(domain) for domain in evaluation.domains],
        "paper": [asdict(row) for row in PAPER.get(evaluation.benchmark, ())],
    }


def _as_csv(evaluation: Evaluation) -> str:
    """One line per figure: empty where it is not defined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["benchmark", "domain", "router", "marks", "metric", "value", "low", "high"])

    def write(domain: str, router: str, marks: Sequence[str], metric: str, estimate: Estimate) -> None:
        ends = ["" if end is None else repr(end) for end in (estimate.value, estimate.low, estimate.high)]
        writer.writerow([evaluation.benchmark, domain, router, " ".join(marks), metric, *ends])

    for fixed in evaluation.fixed:
        write("", fixed.name, (), "quality", fixed.quality)
        write("", fixed.name, (), "dollars", fixed.dollars)
    marks = {result.name: result.marks for result in evaluation.routers}
    for result in evaluation.routers:
        for metric, estimate in result.metrics.items():
            write("", result.name, result.marks, metric, estimate)
    for domain in evaluation.domains:
        for router, metrics in domain.metrics.items():
            for metric, estimate in metrics.items():
                write(domain.domain, router, marks[router], metric, estimate)
    return text.getvalue()


def _image(path: str) -> str:
    from fastroute.errors import InvalidArgumentError

    suffix = Path(path).suffix.lower()
    if suffix not in _IMAGES:
        raise InvalidArgumentError(f"--plot: found {path!r}; allowed: a name that ends in {', '.join(_IMAGES)}")
    return _IMAGES[suffix]

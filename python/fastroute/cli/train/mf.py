"""``fastroute train mf``: matrix factorization."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.train.recorded import recorded

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers
    from fastroute.tables import Table
    from fastroute.training.battles import Battles
    from fastroute.training.scores import Scores

_EXAMPLES = """
fastroute train mf --preferences preferences.parquet --outcomes outcomes.parquet -o my-router
fastroute train mf --preferences votes.jsonl --strong my-large --weak my-small -o my-router --seed 7
fastroute train mf --objective outcomes --outcomes graded.csv --strong my-large --weak my-small -o my-router
"""


def add_parser(kinds: Subparsers) -> None:
    """Add the kind of router to ``fastroute train``."""
    parser = kinds.add_parser(
        "mf",
        help="matrix factorization",
        description=(
            "Matrix factorization of battles (RouteLLM, arXiv 2406.18665, section 4.1) or of outcomes.\n\n"
            "Preferences have the columns model_a, model_b, winner (model_a, model_b or tie) and\n"
            "prompt; outcomes have prompt, model and score (0 to 1, or true and false); judge scores have\n"
            "prompt, model and score (1 to 10). Files are .parquet, .jsonl, .csv or .tsv. Also read where\n"
            "they are there: prompt_id (prompts are split by it), source, benchmark, judge, guess (what a\n"
            "guess scores), and overlap (rows that name an evaluation set there are left out).\n\n"
            "The objective says what the data are taken for. battles: who wins; models that were scored\n"
            "on one prompt fight by the difference. outcomes: who is right, with an allowance for guesses\n"
            "where a prompt has lettered options; preferences are learned from besides."
        ),
        epilog="examples:\n" + "".join(f"  {line}\n" for line in _EXAMPLES.strip().splitlines()),
    )
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from inspect import signature

    from fastroute.routers import MatrixFactorizationRouter
    from fastroute.routers.matrix_factorization import OBJECTIVES

    defaults = {name: p.default for name, p in signature(MatrixFactorizationRouter).parameters.items()}

    def add(group: argparse._ArgumentGroup, name: str, metavar: str, text: str) -> None:
        default = defaults[name]
        option = f"--{name.replace('_', '-')}"
        group.add_argument(
            option,
            type=type(default),
            default=default,
            metavar=metavar,
            help=f"{text} (default: %(default)s)",
        )

    data = parser.add_argument_group("data (one of them at least)")
    data.add_argument("--preferences", metavar="P", help="battles")
    data.add_argument("--outcomes", metavar="O", help="scores of models on prompts")
    data.add_argument("--judge-scores", metavar="J", help="scores of models on prompts by judges, 1 to 10")
    router = parser.add_argument_group("router")
    router.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    add(router, "strong", "MODEL", "strong model of the pair")
    add(router, "weak", "MODEL", "weak model of the pair")
    add(router, "encoder", "NAME|PATH", "static encoder")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--objective",
        choices=OBJECTIVES,
        default=defaults["objective"],
        help="what the data are taken for (default: %(default)s)",
    )
    add(training, "rank", "R", "length of a model's vector")
    add(training, "epochs", "N", "passes over the prompts, at most")
    add(training, "learning_rate", "X", "of AdamW")
    add(training, "weight_decay", "X", "of AdamW")
    add(training, "validation_fraction", "F", "share of prompts held out")
    add(training, "patience", "N", "epochs without progress before training stops")
    add(training, "seed", "N", "of the split, the start and the order of prompts")


_FILES = ("preferences", "outcomes", "judge_scores")
_SETTINGS = ("objective", "rank", "epochs", "learning_rate", "weight_decay", "validation_fraction", "patience", "seed")


def run(args: argparse.Namespace) -> int:
    """Train and write."""
    from fastroute.errors import InvalidArgumentError
    from fastroute.routers import MatrixFactorizationRouter
    from fastroute.training.progress import progress_bar
    from fastroute.training.scores import Scores

    if all(getattr(args, name) is None for name in _FILES):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in _FILES)
        raise InvalidArgumentError(f"{options}: found none; at least one is needed")
    if args.objective == "outcomes" and args.outcomes is None and args.judge_scores is None:
        raise InvalidArgumentError("--outcomes, --judge-scores: found neither, needed for --objective outcomes")
    settings = {name: getattr(args, name) for name in _SETTINGS}
    router = MatrixFactorizationRouter(args.strong, args.weak, encoder=args.encoder, **settings)
    data = _scores(args) if args.objective == "outcomes" else _battles(args)
    dropped = "".join(f", {count:,} rows left out: {reason}" for reason, count in data.dropped.items() if count)
    what = ", ".join(f"{count:,} {name}" for name, count in data.counts().items())
    _say(f"{what} of {len(data.models)} models on {len(data.prompt_keys):,} prompts{dropped}")
    given = {"outcomes": data} if isinstance(data, Scores) else {"battles": data}
    with progress_bar("train") as progress:
        router.fit(**given, provenance=_provenance(args), progress=progress)
    sha256 = router.save(args.output)
    metrics = router.metrics
    _say(
        f"{args.output}: held-out loss {metrics['validation_loss']:.4f}, "
        f"accuracy {metrics['validation_accuracy']:.1%} (epoch {metrics['epoch']}), sha256 {sha256}"
    )
    return 0


def _battles(args: argparse.Namespace) -> Battles:
    """Take all as battles. Judges say, next to answer keys, what preferences do."""
    from fastroute.training.battles import join_battles, mix_battles
    from fastroute.training.outcomes import battles_from_outcomes

    preferences, outcomes, judged = _tables(args)
    scored = None if outcomes is None else battles_from_outcomes(outcomes, seed=args.seed, name=outcomes.name)
    if judged is not None:
        fought = battles_from_outcomes(judged, seed=args.seed, name=judged.name)
        preferences = fought if preferences is None else join_battles(preferences, fought)
    return mix_battles(preferences, scored)


def _scores(args: argparse.Namespace) -> Scores:
    """Take outcomes and judges' scores as scores, and preferences as battles besides."""
    from fastroute.training.scores import join_scores, scores_from_outcomes, scores_with_battles

    preferences, outcomes, judged = _tables(args)
    parts = [scores_from_outcomes(table, name=table.name) for table in (outcomes, judged) if table is not None]
    scores = parts[0] if len(parts) == 1 else join_scores(*parts)
    return scores if preferences is None else scores_with_battles(scores, preferences)


def _tables(args: argparse.Namespace) -> tuple[Battles | None, Table | None, Table | None]:
    from fastroute.tables import read_table
    from fastroute.training.outcomes import OUTCOME_COLUMNS
    from fastroute.training.preferences import PREFERENCE_COLUMNS, battles_from_preferences
    from fastroute.training.scores import JUDGEMENT_COLUMNS, as_outcomes

    preferences = outcomes = judged = None
    if args.preferences is not None:
        table = read_table(args.preferences, PREFERENCE_COLUMNS)
        preferences = battles_from_preferences(table, name=args.preferences)
    if args.outcomes is not None:
        outcomes = read_table(args.outcomes, OUTCOME_COLUMNS)
    if args.judge_scores is not None:
        judged = as_outcomes(read_table(args.judge_scores, JUDGEMENT_COLUMNS), name=args.judge_scores)
    return preferences, outcomes, judged


def _provenance(args: argparse.Namespace) -> dict[str, Any]:
    files = {name: getattr(args, name) for name in _FILES}
    options = {"strong": args.strong, "weak": args.weak, "encoder": Path(args.encoder).name}
    options |= {name: getattr(args, name) for name in _SETTINGS}
    return recorded("mf", files, options, args.output)


def _say(message: str) -> None:
    print(message, file=sys.stderr)

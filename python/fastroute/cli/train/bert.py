"""``fastroute train bert``: fine-tune a local BERT-like encoder on scores, or on battles."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import positive_number, unit_interval, whole_number
from fastroute.cli.train.domains import add_domains, add_score_range, outcome_tables
from fastroute.cli.train.held_out_table import held_out_table
from fastroute.cli.train.recorded import recorded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from fastroute.cli.parsing import Subparsers
    from fastroute.routers import BertRouter, ExpertsRouter
    from fastroute.training.bert.descent import Settings

_DESCRIPTION = """\
Fine-tune a local BERT-like encoder on the CPU, export it to ONNX, check and quantise it, and write
the router. Needs pip install 'fastroute[train-bert]'; nothing is downloaded.

The model is the folder of a Hugging Face checkpoint: config.json, model.safetensors,
tokenizer.json. Its licence is yours to mind.

With --outcomes, --judge-scores or both it learns which of many models are right, and the experts
head is put on its embedding ('fastroute train experts' says what the data are). With --preferences
alone it learns who wins, as RouteLLM's classifier does: strong model wins, tie, weak model wins.

14,000 prompts take a quarter of an hour on one thread for a model of 6 layers. The state is kept
in OUTPUT.checkpoint until the router is written; after an interruption, --resume goes on from it.
"""

_EXAMPLES = """
fastroute train bert --model all-MiniLM-L6-v2/ --outcomes graded.csv --strong my-large --weak my-small -o my-bert
fastroute train bert --model all-MiniLM-L6-v2/ --preferences votes.jsonl --strong my-large --weak my-small -o my-bert
fastroute train bert --model all-MiniLM-L6-v2/ --outcomes outcomes.parquet --judge-scores judge_scores.parquet \\
    --preferences preferences.parquet --plan open-data -o bert
fastroute train bert --resume --model all-MiniLM-L6-v2/ --outcomes graded.csv --strong a --weak b -o my-bert
"""

_FILES = ("outcomes", "judge_scores", "preferences")
_PACKAGES = ("fastroute", "numpy", "torch", "transformers", "onnx", "onnxruntime", "tokenizers", "scikit-learn")


def add_parser(kinds: Subparsers) -> None:
    """Add the kind of router to ``fastroute train``."""
    from fastroute.builtin import STRONG, WEAK
    from fastroute.exporting import PRECISIONS

    parser = kinds.add_parser(
        "bert",
        help="a fine-tuned transformer",
        description=_DESCRIPTION,
        epilog="examples:\n" + "".join(f"  {line}\n" for line in _EXAMPLES.strip().splitlines()),
    )
    data = parser.add_argument_group("data (at least one)")
    data.add_argument("--outcomes", metavar="O", help="scores of models on prompts, or your own labels")
    data.add_argument("--judge-scores", metavar="J", help="marks from 1 to 10 that a judge gave")
    data.add_argument("--preferences", metavar="P", help="battles; next to scores only their prompts count")
    add_score_range(data)
    add_domains(parser)
    router = parser.add_argument_group("router")
    router.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    router.add_argument("--model", metavar="DIR", required=True, help="local Hugging Face checkpoint to start from")
    router.add_argument("--strong", metavar="MODEL", default=STRONG, help="strong model (default: %(default)s)")
    router.add_argument("--weak", metavar="MODEL", default=WEAK, help="weak model (default: %(default)s)")
    router.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="int8",
        help="int8 for processors, fp16 for GPUs, fp32 for both (default: int8)",
    )
    router.add_argument(
        "--routed-tokens",
        metavar="N",
        type=positive_number,
        help="tokens of a prompt that count when it is routed (default: all positions, 512 at most)",
    )
    tuning = parser.add_argument_group("fine-tuning")
    tuning.add_argument(
        "--prompts", metavar="N", type=positive_number, default=14_000, help="prompts drawn for a pass (default: 14000)"
    )
    tuning.add_argument(
        "--passes", metavar="N", type=whole_number, default=1, help="passes; 0 leaves the encoder as it is (default: 1)"
    )
    tuning.add_argument("--batch", metavar="N", type=positive_number, default=16, help="prompts per step (default: 16)")
    tuning.add_argument(
        "--max-tokens",
        metavar="N",
        type=positive_number,
        default=128,
        help="tokens of a prompt to train on (default: 128)",
    )
    tuning.add_argument(
        "--encoder-rate", metavar="R", type=float, default=6e-5, help="learning rate of the encoder (default: 6e-05)"
    )
    tuning.add_argument(
        "--head-rate", metavar="R", type=float, default=3e-3, help="learning rate of the head (default: 0.003)"
    )
    tuning.add_argument(
        "--validation",
        metavar="SHARE",
        type=unit_interval,
        default=0.1,
        help="share of the prompts kept for the figures (default: 0.1)",
    )
    tuning.add_argument("--threads", metavar="N", type=positive_number, default=1, help="threads of torch (default: 1)")
    tuning.add_argument(
        "--seed", metavar="N", type=whole_number, default=0, help="of draws, order and start (default: 0)"
    )
    tuning.add_argument("--checkpoint", metavar="FILE", help="where to keep the state (default: OUTPUT.checkpoint)")
    tuning.add_argument(
        "--save-every", metavar="N", type=positive_number, default=200, help="steps between states (default: 200)"
    )
    tuning.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    record = parser.add_argument_group("for the record")
    record.add_argument("--licence", metavar="L", help="licence of the model's weights")
    record.add_argument("--package", metavar="NAME", help="where the model came from")
    parser.add_argument("--json", action="store_true", help="print the figures on held-out prompts as JSON")


def run(args: argparse.Namespace) -> int:
    """Train and write."""
    from fastroute.artifact import ROUTER, check_replaceable
    from fastroute.training.bert.descent import Settings

    scored = _checked(args)
    settings = Settings(
        prompts=args.prompts,
        passes=args.passes,
        batch=args.batch,
        max_tokens=args.max_tokens,
        encoder_rate=args.encoder_rate,
        head_rate=args.head_rate,
        seed=args.seed,
        threads=args.threads,
    )
    check_replaceable(args.output, format=ROUTER)
    checkpoint = Path(args.checkpoint or f"{args.output.rstrip('/')}.checkpoint")
    router = (_experts if scored else _classifier)(args, settings, checkpoint)
    sha256 = router.save(args.output)
    if settings.passes:  # or else nothing was kept
        checkpoint.unlink(missing_ok=True)
    metrics = dict(router.metrics)
    if args.json:
        print(json.dumps(metrics, indent=2))
    else:
        print(_as_text(metrics, args.precision, scored=scored), file=sys.stderr)
    print(f"{args.output}: threshold {router.threshold:.4f}, sha256 {sha256}", file=sys.stderr)
    return 0


def _checked(args: argparse.Namespace) -> bool:
    """Check what the options say together; whether there are scores to learn from."""
    from fastroute.errors import InvalidArgumentError

    if all(getattr(args, name) is None for name in _FILES):
        raise InvalidArgumentError("--outcomes, --judge-scores, --preferences: found none; at least one is needed")
    scored = args.outcomes is not None or args.judge_scores is not None
    for option in ("plan", "domain_column", "clusters"):
        if getattr(args, option) is not None and not scored:
            raise InvalidArgumentError(f"--{option.replace('_', '-')}: goes with --outcomes or --judge-scores")
    if not 0 < args.validation < 1:
        raise InvalidArgumentError(f"--validation: found {args.validation}, allowed: above 0 and below 1")
    return scored


def _experts(args: argparse.Namespace, settings: Settings, checkpoint: Path) -> ExpertsRouter:
    from fastroute.training.bert.fit import fine_tune_experts

    return fine_tune_experts(
        args.model,
        **outcome_tables(args),
        plan=args.plan,
        domain_column=args.domain_column,
        clusters=args.clusters,
        score_range=(args.score_range[0], args.score_range[1]),
        **_shared(args, settings, checkpoint),
    )


def _classifier(args: argparse.Namespace, settings: Settings, checkpoint: Path) -> BertRouter:
    from fastroute.tables import read_table
    from fastroute.training.bert.fit import fine_tune_classifier
    from fastroute.training.preferences import PREFERENCE_COLUMNS, battles_from_preferences

    battles = battles_from_preferences(read_table(args.preferences, PREFERENCE_COLUMNS))
    return fine_tune_classifier(args.model, battles, **_shared(args, settings, checkpoint))


def _shared(args: argparse.Namespace, settings: Settings, checkpoint: Path) -> dict[str, Any]:
    from fastroute.training.progress import progress_bar

    return {
        "strong": args.strong,
        "weak": args.weak,
        "settings": settings,
        "routed_tokens": args.routed_tokens,
        "precision": args.precision,
        "validation_fraction": args.validation,
        "checkpoint": checkpoint,
        "save_every": args.save_every,
        "resume": args.resume,
        "provenance": _provenance(args),
        "bars": progress_bar,
    }


def _as_text(metrics: Mapping[str, Any], precision: str, *, scored: bool) -> str:
    if scored:
        table = held_out_table(metrics)
    else:
        apgr = metrics["held_out_apgr"]
        battles = f"{metrics['tasks'][0]['prompts']:,} prompts of battles"
        table = f"APGR on {battles}, held out: {'-' if apgr is None else f'{apgr:.3f}'} (random: 0.5)"
    alike = metrics["quantisation"]
    return (
        f"{table}\nexport: within {metrics['export']['largest_difference']:.1e} of torch; {precision} decides as fp32 "
        f"does for {alike['equal_decisions']:.1%} of {alike['prompts']:,} held-out prompts"
    )


def _provenance(args: argparse.Namespace) -> dict[str, Any]:
    from fastroute.training.bert.fit import describe_checkpoint

    files = {name: getattr(args, name) for name in _FILES}
    options: dict[str, object] = {
        "model": Path(args.model).resolve().name,
        "score_range": args.score_range if args.score_range != [0.0, 1.0] else None,
        "plan": args.plan if args.plan is None else Path(args.plan).name,
        "domain_column": args.domain_column,
        "clusters": args.clusters,
        "licence": args.licence,
        "package": args.package,
        "strong": args.strong,
        "weak": args.weak,
    }
    for name, usual in (
        ("precision", "int8"),
        ("routed_tokens", None),
        ("prompts", 14_000),
        ("passes", 1),
        ("batch", 16),
        ("max_tokens", 128),
        ("encoder_rate", 6e-5),
        ("head_rate", 3e-3),
        ("validation", 0.1),
        ("threads", 1),
    ):
        if getattr(args, name) != usual:
            options[name] = getattr(args, name)
    options["seed"] = args.seed
    described = recorded("bert", files, options, args.output, packages=_PACKAGES)
    said = {name: getattr(args, name) for name in ("licence", "package") if getattr(args, name) is not None}
    return described | {"model": describe_checkpoint(args.model) | said}

"""``fastroute export-bert``: a router of a sequence classifier of transformers, such as RouteLLM's checkpoint."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import add_command, positive_number, printable, unit_interval

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from fastroute.cli.parsing import Subparsers
    from fastroute.routers import BertRouter

_DESCRIPTION = """\
Export a sequence classifier of transformers to ONNX, compare it with itself in torch, quantise it,
and write a bert router that needs neither. FOLDER is a local copy of the checkpoint: config.json,
model.safetensors, and tokenizer.json or a vocabulary. Nothing is downloaded, and no code of the
checkpoint is run. Needs pip install 'fastroute[train-bert]'.

Three labels are those of RouteLLM (strong model wins, tie, weak model wins).
"""

_EXAMPLES = """
fastroute export-bert bert_gpt4_augmented/ -o routellm-bert
fastroute export-bert my-classifier/ -o my-router --strong my-large --weak my-small --threshold 0.4
fastroute export-bert my-classifier/ -o my-router --precision fp16 --prompts prompts.txt
fastroute route --router routellm-bert 'What is 2 + 2?'
"""
_HEADS = ("binary", "three_class", "regression")
# Below these, int8 has changed what the router says; the artifact has the figures.
_ALIKE = 0.98
_SAME_DECISIONS = 0.95
# Where a side's scores are all equal no correlation says it: what is more than rounding does.
_SAME_SCORES = 5e-5


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    from fastroute.exporting import PRECISIONS

    parser = add_command(
        subparsers,
        "export-bert",
        run,
        summary="make a router of a sequence classifier of transformers",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of the checkpoint")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    for role in ("strong", "weak"):
        parser.add_argument(f"--{role}", metavar="MODEL", help=f"{role} model (default: that of RouteLLM's pair)")
    parser.add_argument("--head", choices=_HEADS, help="what the logits mean (default: by their number)")
    parser.add_argument(
        "--threshold", type=unit_interval, default=0.5, metavar="T", help="threshold (default: %(default)s)"
    )
    parser.add_argument(
        "--max-tokens", type=positive_number, metavar="N", help="tokens of a prompt that count (default: the model's)"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="int8",
        help="int8 for processors, fp16 for GPUs (default: %(default)s)",
    )
    parser.add_argument(
        "--prompts", metavar="FILE", help="text file, a prompt a line, to compare on (default: a built-in set)"
    )
    parser.add_argument("--json", action="store_true", help="print what was written and measured as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Export and write."""
    from fastroute.exporting.bert import export_bert

    pair = {name: getattr(args, name) for name in ("strong", "weak") if getattr(args, name) is not None}
    router = export_bert(
        args.folder,
        **pair,
        head=args.head,
        threshold=args.threshold,
        max_tokens=args.max_tokens,
        precision=args.precision,
        prompts=None if args.prompts is None else _prompts(Path(args.prompts)),
        training={"command": _command(args)},
    )
    sha256 = router.save(args.output)
    if args.json:
        import json

        written = {"path": args.output, "sha256": sha256, "precision": args.precision, "head": router.head.manifest()}
        print(json.dumps({**written, "max_tokens": router.max_tokens, "metrics": router.metrics}, indent=2))
    _report(args, router, sha256)
    return 0


def _prompts(path: Path) -> list[str]:
    """Lines of a text file that are not empty."""
    from fastroute.errors import DataError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"--prompts: {path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"--prompts: {path} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    found = [line for line in lines if line.strip()]
    if not found:
        raise DataError(f"--prompts: {path} has no prompt in it; one a line is needed")
    return found


def _report(args: argparse.Namespace, router: BertRouter, sha256: str) -> None:
    export, smaller = router.metrics["export"], router.metrics.get("quantisation")
    _say(
        f"  graph against torch, {export['sequences']} prompts: logits differ by {export['largest_difference']:.1e} "
        f"at most"
    )
    if smaller is not None:
        _say(
            f"  {args.precision} against fp32, {smaller['prompts']} prompts: correlation "
            f"{_figure(smaller['correlation'])}, of ranks {_figure(smaller['rank_correlation'])}, same decision at "
            f"{smaller['threshold']:g} for {smaller['equal_decisions']:.1%}, scores differ by "
            f"{smaller['largest_difference']:.4f} at most"
        )
        if _changed(smaller):
            _say(f"  note: {args.precision} changes the scores; calibrate on this router, or give --precision fp32")
    if args.precision == "fp16":
        _say("  note: float16 is for a GPU, fastroute.load(..., device='cuda'); a processor runs int8 faster")
    _say(f"{args.output}: bert router, {router.head.kind}, {router.max_tokens} tokens, sha256 {sha256}")


def _changed(smaller: Mapping[str, Any]) -> bool:
    """Whether a smaller graph says something else than float32 did."""
    correlation = smaller["correlation"]
    other = smaller["largest_difference"] >= _SAME_SCORES if correlation is None else correlation < _ALIKE
    return other or bool(smaller["equal_decisions"] < _SAME_DECISIONS)


def _figure(value: float | None) -> str:
    return "undefined (all scores are equal)" if value is None else f"{value:.4f}"


def _command(args: argparse.Namespace) -> str:
    """Spell out the command that repeats this, without the folders of this machine."""
    words = ["fastroute", "export-bert", Path(args.folder).resolve().name, "-o", Path(args.output).resolve().name]
    options: dict[str, Any] = {
        "strong": args.strong,
        "weak": args.weak,
        "head": args.head,
        "threshold": args.threshold,
        "max-tokens": args.max_tokens,
        "precision": args.precision,
        "prompts": None if args.prompts is None else Path(args.prompts).name,
    }
    for name, value in options.items():
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(words)


def _say(message: str) -> None:
    print(printable(message), file=sys.stderr)

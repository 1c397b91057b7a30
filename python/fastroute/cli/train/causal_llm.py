"""``fastroute train causal_llm``: a small language model reads the prompt, and its last state is classified."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import printable
from fastroute.cli.train.recorded import recorded
from fastroute.cli.train.scored_data import FILES, USUAL_RANGE, add_scored_data, read_scored_data

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from fastroute.cli.parsing import Subparsers
    from fastroute.routers import CausalLlmRouter

_DESCRIPTION = """\
Make a classifier of a decoder such as SmolLM2: the prompt is put into a template, and the hidden
state at its last token gets a softmax over labels. The decoder stays as it is; the labels are
trained on scores of models. With --zero-shot they are the decoder's own tokens for the labels, and
data only choose the threshold.

--model is a .gguf file or a Hugging Face folder with safetensors, which are exported to ONNX in
int8 (needs pip install 'fastroute[train-llm]'), or a folder that was exported before.

Outcomes and judge scores are as for fastroute train knn. A run over 4,000 prompts takes minutes to
an hour on one thread; with --cache a run that was stopped goes on where it was.
"""

_EXAMPLES = """
fastroute train causal_llm --model SmolLM2-135M-Instruct.Q4_1.gguf --outcomes graded.csv --strong a --weak b -o my-llm
fastroute train causal_llm --model exported/ --zero-shot --strong a --weak b -o my-llm
"""
_HEADS = ("three_class", "binary")
_PROMPTS = 4000
# Options by the names of the arguments that they are given to.
_ARGUMENTS = (
    *FILES,
    "cache",
    "domain_column",
    "head",
    "labels",
    "max_tokens",
    "plan",
    "score_range",
    "seed",
    "strong",
    "weak",
)
_PACKAGES = ("fastroute", "numpy", "onnxruntime", "tokenizers")
_EXPORTING = ("torch", "transformers", "onnx", "onnxscript")


def add_parser(kinds: Subparsers) -> None:
    """Add the kind of router to ``fastroute train``."""
    from fastroute.builtin import STRONG, WEAK
    from fastroute.cli.parsing import positive_number, whole_number
    from fastroute.routers.causal_llm import LABELS

    parser = kinds.add_parser(
        "causal_llm",
        help="a small language model as a classifier",
        description=_DESCRIPTION,
        epilog="examples:\n" + "".join(f"  {line}\n" for line in _EXAMPLES.strip().splitlines()),
    )
    data = parser.add_argument_group("data (one of them at least, but for --zero-shot)")
    add_scored_data(data)
    data.add_argument(
        "--prompts",
        type=positive_number,
        metavar="N",
        help=f"draw this many, from each task by the root of its size (default: {_PROMPTS})",
    )
    router = parser.add_argument_group("router")
    router.add_argument("--model", metavar="PATH", required=True, help="the decoder: .gguf, a folder, or one exported")
    router.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    for role, default in (("strong", STRONG), ("weak", WEAK)):
        router.add_argument(f"--{role}", metavar="MODEL", default=default, help=f"{role} model (default: %(default)s)")
    router.add_argument("--before", metavar="TEXT", help="text before a prompt; \\n is a new line (default: ChatML)")
    router.add_argument("--after", metavar="TEXT", help="text after a prompt (default: ChatML with a question)")
    router.add_argument(
        "--labels",
        metavar="TEXT",
        nargs=2,
        help=f"tokens of --zero-shot, of which the first says that the strong model is needed "
        f"(default: '{LABELS[0]}' '{LABELS[1]}')",
    )
    router.add_argument(
        "--max-tokens", type=positive_number, metavar="N", help="of a prompt with the template (default: 512)"
    )
    training = parser.add_argument_group("training")
    training.add_argument("--zero-shot", action="store_true", help="leave the labels what they are to the decoder")
    training.add_argument(
        "--head",
        choices=_HEADS,
        help=f"labels to train (default: {_HEADS[0]})",
    )
    training.add_argument("--cache", metavar="DIR", help="keep the exported decoder and hidden states here")
    training.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of what is drawn, and of folds")
    parser.add_argument("--json", action="store_true", help="print the figures on held-out prompts as JSON")


def run(args: argparse.Namespace) -> int:
    """Export the decoder, train its labels, and write."""
    from fastroute.routers import CausalLlmRouter
    from fastroute.routers.causal_llm import LABELS, TEMPLATE
    from fastroute.training.progress import progress_bar

    with _by_option(args) as places:
        _check_options(args)
        before, after = (
            default if given is None else given.replace("\\n", "\n")
            for given, default in zip((args.before, args.after), TEMPLATE, strict=True)
        )
        tables = read_scored_data(args)
        fitted = None if _untaught(args) else _fit_settings(args)
        _check_before_export(args, (before, after), tables, fitted)
        labels = LABELS if args.labels is None else tuple(args.labels)
        with _exported(args, (before, after), labels) as (folder, model):
            places[str(folder)] = args.model
            provenance = _provenance(args, model)
            router = CausalLlmRouter.from_folder(
                folder,
                args.strong,
                args.weak,
                template=(before, after),
                max_tokens=args.max_tokens,
                provenance=provenance,
            )
        if fitted is not None:
            with progress_bar("read") as progress:
                router.fit(
                    **tables,
                    **fitted,
                    head=args.head or _HEADS[0],
                    zero_shot=args.zero_shot,
                    cache=args.cache,
                    provenance=provenance,
                    progress=progress,
                )
        sha256 = router.save(args.output)
    if args.json:
        import json

        print(json.dumps(dict(router.metrics), indent=2))
    else:
        _report(router)
    _say(f"{args.output}: labels {', '.join(router.labels)}, threshold {router.threshold:.4f}, sha256 {sha256}")
    return 0


@contextmanager
def _by_option(args: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Make errors name options instead of arguments, and instead of folders what they are keys to in the mapping."""
    from fastroute.errors import FastrouteError

    options = {name: f"--{name.replace('_', '-')}" for name in _ARGUMENTS}
    options |= {"strong, weak": "--strong, --weak", "template": "--before, --after", "most_prompts": "--prompts"}
    if args.outcomes is None and args.judge_scores is not None:
        options["outcomes"] = "--judge-scores"
    places: dict[str, str] = {}
    try:
        yield places
    except FastrouteError as error:
        argument, colon, rest = str(error).partition(":")
        said = f"{options.get(argument, argument)}{colon}{rest}"
        if argument == args.plan:
            said = f"--plan: {error}"
        for place, name in places.items():
            said = said.replace(place, name)
        if said == str(error):
            raise
        raise type(error)(said) from error


def _untaught(args: argparse.Namespace) -> bool:
    return all(getattr(args, name) is None for name in FILES)


def _check_options(args: argparse.Namespace) -> None:
    """See that every option that was given does something."""
    from fastroute.errors import InvalidArgumentError
    from fastroute.exporting.decoder import is_exported

    if _untaught(args):
        if not args.zero_shot:
            raise InvalidArgumentError("--outcomes, --judge-scores: found neither; at least one is needed")
        for name in ("plan", "domain_column", "prompts", "score_range"):
            if getattr(args, name) not in (None, USUAL_RANGE):
                raise InvalidArgumentError(
                    f"--{name.replace('_', '-')}: goes with --outcomes or --judge-scores, of which there is neither"
                )
    if args.zero_shot and args.head is not None:
        raise InvalidArgumentError("--head: says which labels to train, and --zero-shot trains none")
    if args.labels is not None and is_exported(Path(args.model)):
        raise InvalidArgumentError(f"--labels: {args.model} is exported, and has its labels already")
    if args.labels is not None and args.labels[0] == args.labels[1]:
        raise InvalidArgumentError(f"--labels: found {args.labels[0]!r} twice, allowed: different ones")


def _fit_settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "plan": args.plan,
        "domain_column": args.domain_column,
        "score_range": (args.score_range[0], args.score_range[1]),
        "most_prompts": args.prompts or _PROMPTS,
        "seed": args.seed,
    }


def _check_before_export(
    args: argparse.Namespace, template: tuple[str, str], tables: dict[str, Any], fitted: dict[str, Any] | None
) -> None:
    """Say what is wrong with the data, the models and the output before minutes of work, not after."""
    from fastroute.artifact import ROUTER, check_replaceable
    from fastroute.errors import ArtifactError
    from fastroute.routers.base import different_models
    from fastroute.routers.causal_llm import checked_template
    from fastroute.training.causal_llm import pair_scores

    try:
        check_replaceable(args.output, format=ROUTER)
    except ArtifactError as error:
        raise type(error)(f"--output: {error}") from error
    different_models(args.strong, args.weak)
    checked_template(template)
    if fitted is not None:
        pair_scores(**tables, pair=(args.strong, args.weak), **fitted)


@contextmanager
def _exported(
    args: argparse.Namespace, template: tuple[str, str], labels: tuple[str, ...]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder with the exported decoder, and what is known of it."""
    import hashlib
    import json

    from fastroute.exporting.decoder import export_decoder, export_facts, is_exported, source_digest

    source = Path(args.model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = source
        if not is_exported(source):
            said = [source.name, source_digest(source), template, labels]
            key = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
            folder = Path(scratch if args.cache is None else args.cache) / f"exported-{key}"
            if not is_exported(folder):
                _say(f"{args.model}: exporting to ONNX")
                done = export_decoder(source, folder, template=template, labels=labels, max_tokens=args.max_tokens)
                _say(
                    f"  {done.graph_bytes / 1e6:.0f} MB, within {done.error:.1g} of torch before int8, correlation "
                    f"{done.correlation:.3f} after it"
                )
        yield folder, export_facts(folder)


def _report(router: CausalLlmRouter) -> None:
    for one in router.metrics.get("tried", ()):
        _say(f"  l2 {one['l2']:g}: held-out loss {one['held_out_loss']:.5f}")
    if "held_out_apgr" in router.metrics:
        area = router.metrics["held_out_apgr"]
        said = "nothing can be gained on held-out prompts" if area is None else f"held-out APGR {area:.4f}"
        own = router.metrics.get("before_apgr")
        _say(said + ("" if own is None else f", of the decoder's own labels {own:.4f}") + " (random: 0.5)")


def _provenance(args: argparse.Namespace, model: dict[str, Any]) -> dict[str, Any]:
    files = {name: getattr(args, name) for name in FILES}
    options: dict[str, object] = {
        "model": Path(args.model).name,
        "score_range": args.score_range if args.score_range != USUAL_RANGE else None,
        "plan": args.plan if args.plan is None else Path(args.plan).name,
        "domain_column": args.domain_column,
        "prompts": None if _untaught(args) else args.prompts or _PROMPTS,
        "strong": args.strong,
        "weak": args.weak,
        "before": args.before,
        "after": args.after,
        "labels": args.labels,
        "max_tokens": args.max_tokens,
        "zero_shot": args.zero_shot,
        "head": None if args.zero_shot else args.head or _HEADS[0],
        "seed": args.seed,
    }
    made = recorded("causal_llm", files, options, args.output, packages=(*_PACKAGES, *_there(_EXPORTING)))
    return {**made, "model": model}


def _there(packages: tuple[str, ...]) -> list[str]:
    from importlib.util import find_spec

    return [name for name in packages if find_spec(name) is not None]


def _say(message: str) -> None:
    print(printable(message), file=sys.stderr)

"""``fastroute train causal_llm``: a small language model reads the prompt, and its last state is classified."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import printable
from fastroute.cli.train.recorded import recorded

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
_FILES = ("outcomes", "judge_scores")
_PACKAGES = ("fastroute", "numpy", "onnxruntime", "tokenizers")
_EXPORTING = ("torch", "transformers", "onnx", "onnxscript")


def add_parser(kinds: Subparsers) -> None:
    """Add the kind of router to ``fastroute train``."""
    from fastroute.cli.parsing import positive_number, whole_number
    from fastroute.routers.base import STRONG, WEAK
    from fastroute.routers.causal_llm import LABELS

    parser = kinds.add_parser(
        "causal_llm",
        help="a small language model as a classifier",
        description=_DESCRIPTION,
        epilog="examples:\n" + "".join(f"  {line}\n" for line in _EXAMPLES.strip().splitlines()),
    )
    data = parser.add_argument_group("data (one of them at least, but for --zero-shot)")
    data.add_argument("--outcomes", metavar="O", help="scores of models on prompts, or your own labels")
    data.add_argument("--judge-scores", metavar="J", help="marks from 1 to 10 that a judge gave")
    data.add_argument(
        "--score-range",
        metavar=("LOW", "HIGH"),
        nargs=2,
        type=float,
        default=[0.0, 1.0],
        help="worst and best score of the outcomes (default: 0 1)",
    )
    data.add_argument(
        "--prompts",
        type=positive_number,
        default=4000,
        metavar="N",
        help="draw this many, from each task by the root of its size (default: %(default)s)",
    )
    chosen = data.add_mutually_exclusive_group()
    chosen.add_argument(
        "--plan", metavar="NAME|FILE", help="which models stand for the pair: open-data, or a JSON file"
    )
    chosen.add_argument("--domain-column", metavar="NAME", help="column of the outcomes that names the task")
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
        choices=("three_class", "binary"),
        default="three_class",
        help="labels to train (default: %(default)s)",
    )
    training.add_argument("--cache", metavar="DIR", help="keep the exported decoder and hidden states here")
    training.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of what is drawn, and of folds")


def run(args: argparse.Namespace) -> int:
    """Export the decoder, train its labels, and write."""
    from fastroute.errors import InvalidArgumentError
    from fastroute.exporting.decoder import is_exported
    from fastroute.routers import CausalLlmRouter
    from fastroute.routers.causal_llm import LABELS, TEMPLATE
    from fastroute.tables import read_table
    from fastroute.training.comparisons.tasks import JUDGE_SCORE_COLUMNS
    from fastroute.training.outcomes import OUTCOME_COLUMNS
    from fastroute.training.progress import progress_bar

    untaught = all(getattr(args, name) is None for name in _FILES)
    if untaught and not args.zero_shot:
        raise InvalidArgumentError("--outcomes, --judge-scores: found neither; at least one is needed")
    if args.labels is not None and is_exported(Path(args.model)):
        raise InvalidArgumentError(f"--labels: {args.model} is exported, and has its labels already")
    template = tuple(
        default if given is None else given.replace("\\n", "\n")
        for given, default in zip((args.before, args.after), TEMPLATE, strict=True)
    )
    labels = LABELS if args.labels is None else tuple(args.labels)
    columns = {
        "outcomes": (*OUTCOME_COLUMNS, *([args.domain_column] if args.domain_column else ())),
        "judge_scores": JUDGE_SCORE_COLUMNS,
    }
    tables = {
        name: None if getattr(args, name) is None else read_table(getattr(args, name), wanted)
        for name, wanted in columns.items()
    }
    with _exported(args, (template[0], template[1]), labels) as (folder, model):
        provenance = _provenance(args, model)
        router = CausalLlmRouter.from_folder(
            folder,
            args.strong,
            args.weak,
            template=(template[0], template[1]),
            max_tokens=args.max_tokens,
            provenance=provenance,
        )
    if not untaught:
        with progress_bar("read") as progress:
            router.fit(
                tables["outcomes"],
                judge_scores=tables["judge_scores"],
                plan=args.plan,
                domain_column=args.domain_column,
                score_range=(args.score_range[0], args.score_range[1]),
                head=args.head,
                most_prompts=args.prompts,
                zero_shot=args.zero_shot,
                seed=args.seed,
                cache=args.cache,
                provenance=provenance,
                progress=progress,
            )
    sha256 = router.save(args.output)
    _report(router)
    _say(f"{args.output}: labels {', '.join(router.labels)}, threshold {router.threshold:.4f}, sha256 {sha256}")
    return 0


@contextmanager
def _exported(
    args: argparse.Namespace, template: tuple[str, str], labels: tuple[str, ...]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder with the exported decoder, and what is known of it."""
    import hashlib
    import json

    from fastroute.exporting.decoder import export_decoder, export_facts, is_exported

    source = Path(args.model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = source
        if not is_exported(source):
            stat = source.stat() if source.exists() else None
            said = [str(source.resolve()), stat and [stat.st_size, stat.st_mtime_ns], template, labels]
            key = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
            folder = Path(scratch if args.cache is None else args.cache) / f"exported-{key}"
            if not is_exported(folder):
                _say(f"{args.model}: exporting to ONNX")
                done = export_decoder(source, folder, template=template, labels=labels)
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
    files = {name: getattr(args, name) for name in _FILES}
    options: dict[str, object] = {
        "model": Path(args.model).name,
        "score_range": args.score_range if args.score_range != [0.0, 1.0] else None,
        "plan": args.plan if args.plan is None else Path(args.plan).name,
        "domain_column": args.domain_column,
        "prompts": args.prompts,
        "strong": args.strong,
        "weak": args.weak,
        "before": args.before,
        "after": args.after,
        "labels": args.labels,
        "max_tokens": args.max_tokens,
        "zero_shot": args.zero_shot,
        "head": args.head,
        "seed": args.seed,
    }
    made = recorded("causal_llm", files, options, args.output, packages=(*_PACKAGES, *_there(_EXPORTING)))
    return {**made, "model": model}


def _there(packages: tuple[str, ...]) -> list[str]:
    from importlib.util import find_spec

    return [name for name in packages if find_spec(name) is not None]


def _say(message: str) -> None:
    print(printable(message), file=sys.stderr)

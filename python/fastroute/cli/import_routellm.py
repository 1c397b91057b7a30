"""``fastroute import-routellm``: a router of what RouteLLM has published, from local files."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastroute.cli.parsing import add_command, positive_number, printable, unit_interval

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers
    from fastroute.encoders import Encoder
    from fastroute.routers import MatrixFactorizationRouter, SimilarityWeightedRouter

_DESCRIPTION = """\
Make a router of RouteLLM's files, which lie on this machine. Nothing is downloaded, and nothing is
sent before a prompt is scored.

mf: CHECKPOINT is a folder with config.json and model.safetensors (or pytorch_model.bin), or the file
of the weights. A torch file needs torch, and is read as tensors alone.

sw_ranking: --battles and --embeddings are data sets: a folder of Parquet files, a folder that
datasets.save_to_disk wrote, or one file. Battles have model_a, model_b, prompt, winner_model_a and
winner_model_b, as RouteLLM's arena_battle_datasets; embeddings have a row for each battle whose first
turn has 16 characters or more, as its arena_embedding_datasets. Needs pip install 'fastroute[batch]'.

Both read prompts as OpenAI's text-embedding-3-small does, one request for a prompt, with the key in
OPENAI_API_KEY. A saved router asks that host only if FASTROUTE_ENDPOINT_HOSTS lists it.
bert: fastroute export-bert. causal_llm: docs/routellm.md.
"""

_EXAMPLES = """
fastroute import-routellm mf_gpt4_augmented/ -o routellm-mf
fastroute import-routellm mf.pt -o routellm-mf --strong gpt-4-0613 --weak llama-2-70b-chat --threshold 0.3
fastroute import-routellm mf_gpt4_augmented/ -o routellm-mf --encoder none
fastroute import-routellm --battles arena/ judged/ --embeddings arena-vectors/ judged-vectors/ -o routellm-sw
FASTROUTE_ENDPOINT_HOSTS=api.openai.com fastroute route --router routellm-mf 'What is 2 + 2?'
"""
_NONE = "none"
_OPENAI = "openai"


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "import-routellm",
        run,
        summary="make a router of RouteLLM's checkpoint of mf, or battles of sw_ranking",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="folder or file of weights, for mf")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    for name in ("battles", "embeddings"):
        parser.add_argument(f"--{name}", nargs="+", metavar="PATH", help=f"data sets of {name}, for sw_ranking")
    for role in ("strong", "weak"):
        parser.add_argument(f"--{role}", metavar="MODEL", help=f"{role} model (default: that of RouteLLM's pair)")
    parser.add_argument(
        "--threshold", type=unit_interval, default=0.5, metavar="T", help="threshold (default: %(default)s)"
    )
    parser.add_argument(
        "--encoder",
        default=_OPENAI,
        metavar="E",
        help="openai: text-embedding-3-small; none: embeddings alone; or an encoder's name or folder "
        "(default: %(default)s)",
    )
    parser.add_argument("--base-url", metavar="URL", help="API that gives the embeddings (default: OpenAI's)")
    parser.add_argument("--key-env", metavar="NAME", help="variable of its key (default: OPENAI_API_KEY for OpenAI)")
    parser.add_argument("--models", metavar="FILE", help="text file, a name a line, for the rows of another mf")
    parser.add_argument("--tiers", type=positive_number, metavar="N", help="tiers of sw_ranking (default: 10)")
    parser.add_argument(
        "--keep",
        choices=("prompts", "battles", _NONE),
        help="what the artifact of sw_ranking has for explanations (default: prompts)",
    )
    parser.add_argument("--licence", metavar="L", help="licence of the files (default: what README.md says)")
    parser.add_argument("--json", action="store_true", help="print what was written as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Import and write."""
    from fastroute.artifact import ROUTER, check_replaceable

    _check(args)
    check_replaceable(args.output, format=ROUTER)
    router = _sw_ranking(args) if args.checkpoint is None else _mf(args)
    sha256 = router.save(args.output)
    if args.json:
        import json

        written = {"path": args.output, "sha256": sha256, "router": router.kind, "models": list(router.models)}
        pair = {"strong": router.strong, "weak": router.weak, "threshold": router.threshold}
        print(json.dumps({**written, **pair, "encoder": router.encoder and router.encoder.name}, indent=2))
    _report(args, router, sha256)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    from fastroute.errors import InvalidArgumentError

    data = args.battles is not None, args.embeddings is not None
    if (args.checkpoint is not None) == any(data) or data[0] != data[1]:
        raise InvalidArgumentError(
            "CHECKPOINT, --battles, --embeddings: allowed: CHECKPOINT alone, or both of the others"
        )
    others = ("tiers", "keep") if args.checkpoint is not None else ("models",)
    for name in others:
        if getattr(args, name) is not None:
            kind = "sw_ranking, which --battles gives" if args.checkpoint is not None else "mf, which CHECKPOINT gives"
            raise InvalidArgumentError(f"--{name}: is for {kind}")
    if args.encoder != _OPENAI and (args.base_url is not None or args.key_env is not None):
        raise InvalidArgumentError(f"--base-url, --key-env: are for --encoder {_OPENAI}, found {args.encoder!r:.80}")


def _mf(args: argparse.Namespace) -> MatrixFactorizationRouter:
    from fastroute.importing import import_matrix_factorization

    models = None if args.models is None else _lines(Path(args.models))
    return import_matrix_factorization(args.checkpoint, models=models, **_given(args))


def _sw_ranking(args: argparse.Namespace) -> SimilarityWeightedRouter:
    from fastroute.importing import import_sw_ranking

    more: dict[str, Any] = {} if args.tiers is None else {"tiers": args.tiers}
    if args.keep is not None:
        more["keep"] = None if args.keep == _NONE else args.keep
    return import_sw_ranking(args.battles, args.embeddings, **more, **_given(args))


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments that both imports take."""
    pair = {name: getattr(args, name) for name in ("strong", "weak") if getattr(args, name) is not None}
    return {
        **pair,
        "encoder": _encoder(args),
        "threshold": args.threshold,
        "licence": args.licence,
        "training": {"command": _command(args)},
    }


def _encoder(args: argparse.Namespace) -> Encoder | str | None:
    if args.encoder != _OPENAI:
        return None if args.encoder == _NONE else str(args.encoder)
    from fastroute.encoders import OpenAIEncoder
    from fastroute.importing.origin import EMBEDDINGS

    if args.base_url is None and args.key_env is None:
        return EMBEDDINGS
    # A key goes only to whom it was meant for: to another API none goes that nobody named.
    where = {} if args.base_url is None else {"base_url": args.base_url}
    return OpenAIEncoder(EMBEDDINGS, key_env=args.key_env, **where)


def _lines(path: Path) -> list[str]:
    """Lines of a text file that are not empty."""
    from fastroute.errors import DataError

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"--models: {path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"--models: {path} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _report(
    args: argparse.Namespace, router: MatrixFactorizationRouter | SimilarityWeightedRouter, sha256: str
) -> None:
    from fastroute.encoders import OpenAIEncoder
    from fastroute.routers import SimilarityWeightedRouter

    if isinstance(router, SimilarityWeightedRouter) and router.constant:
        _say("  note: every prompt gets the same score; the two models are of one tier, or one's never loses")
    if router.encoder is None:
        _say("  note: no encoder: the router scores embeddings (score_embeddings), not text")
    elif isinstance(router.encoder, OpenAIEncoder):
        url = router.encoder.base_url
        host = urlsplit(url).hostname or ""
        _say(f"  note: prompts go to {url}, if the variable FASTROUTE_ENDPOINT_HOSTS lists {host}")
    _say(
        f"{args.output}: {router.kind} router, {len(router.models)} models, {router.strong} over {router.weak} at "
        f"{router.threshold:g}, sha256 {sha256}"
    )


def _command(args: argparse.Namespace) -> str:
    """Spell out the command that repeats this, without the folders of this machine."""
    words = ["fastroute", "import-routellm"]
    words += [] if args.checkpoint is None else [Path(args.checkpoint).resolve().name]
    for name in ("battles", "embeddings"):
        paths = getattr(args, name)
        words += [] if paths is None else [f"--{name}", *(Path(path).resolve().name for path in paths)]
    words += ["-o", Path(args.output).resolve().name]
    options: dict[str, Any] = {
        "strong": args.strong,
        "weak": args.weak,
        "threshold": args.threshold,
        "encoder": Path(args.encoder).name,
        "base-url": args.base_url,
        "key-env": args.key_env,
        "models": None if args.models is None else Path(args.models).name,
        "tiers": args.tiers,
        "keep": args.keep,
        "licence": args.licence,
    }
    for name, value in options.items():
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(words)


def _say(message: str) -> None:
    print(printable(message), file=sys.stderr)

"""``fastroute distill``: a static encoder from a local sentence encoder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastroute.cli.parsing import add_command

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers

_EXAMPLES = """
fastroute distill all-MiniLM-L6-v2/ -o static-minilm-l6
fastroute distill my-bert/ -o my-encoder --dims 128 --max-tokens 256
fastroute train mf --preferences battles.parquet --encoder my-encoder -o my-router
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "distill",
        run,
        summary="make a static encoder from a local sentence encoder",
        description=(
            "Run every token of ENCODER's vocabulary through it once and keep the vectors: an int8 table that embeds\n"
            "a prompt in microseconds. ENCODER is a folder with a BERT in safetensors or ONNX form and its tokenizer."
        ),
        examples=_EXAMPLES,
    )
    parser.add_argument("encoder", metavar="ENCODER", help="folder of the sentence encoder")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    parser.add_argument(
        "--dims",
        type=int,
        default=256,
        metavar="N",
        help="dimensions kept by PCA; 0 keeps all (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=512,
        metavar="N",
        help="tokens of a prompt that count (default: %(default)s)",
    )
    parser.add_argument("--name", metavar="NAME", help="name in the artifact (default: that of DIR)")
    parser.add_argument(
        "--package",
        metavar="P",
        help="where the encoder comes from, for the record, such as a package and version",
    )
    parser.add_argument("--licence", metavar="L", help="licence of the encoder's weights, for the record")


def run(args: argparse.Namespace) -> int:
    """Distil and write."""
    from fastroute.artifact import ENCODER, safetensors, write_artifact
    from fastroute.encoders.static import TABLE_FILE, TOKENIZER_FILE
    from fastroute.training.distill import distill
    from fastroute.training.progress import progress_bar

    with progress_bar("distil") as progress:
        table = distill(args.encoder, dims=args.dims or None, max_tokens=args.max_tokens, progress=progress)
    folder = Path(args.output)
    name = args.name or folder.resolve().name
    provenance = table.provenance | {"command": _command(args), "package": args.package, "licence": args.licence}
    sha256 = write_artifact(
        folder,
        format=ENCODER,
        manifest={
            "kind": "static",
            "name": name,
            "dim": table.embedding.shape[1],
            "vocabulary": len(table.tokens),
            "max_tokens": table.max_tokens,
            "pooling": "mean",
            "provenance": {key: value for key, value in provenance.items() if value is not None},
        },
        files={
            TABLE_FILE: safetensors.encode({"embedding": table.embedding, "scale": table.scale}),
            TOKENIZER_FILE: table.tokenizer_json(),
        },
    )
    tokens, dims = table.embedding.shape
    print(f"{folder}: static encoder {name!r}, {tokens:,} tokens x {dims}, sha256 {sha256}", file=sys.stderr)
    return 0


def _command(args: argparse.Namespace) -> str:
    """Spell out the command that repeats this, without the folders of this machine."""
    words = ["fastroute", "distill", Path(args.encoder).resolve().name, "-o", Path(args.output).resolve().name]
    words += ["--dims", str(args.dims), "--max-tokens", str(args.max_tokens)]
    for option in ("name", "package", "licence"):
        value = getattr(args, option)
        words += [] if value is None else [f"--{option}", value]
    return shlex.join(words)

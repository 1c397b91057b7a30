"""``fastroute serve``: a proxy that routes each request to one of two models."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from fastroute.cli.exits import DONE
from fastroute.cli.parsing import add_command, printable

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers

_PATIENCE: Final = 1.0  # seconds for routers to return, once all requests are answered
_EXAMPLES = """
fastroute serve --config fastroute.yaml
fastroute serve --config fastroute.yaml --check
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "serve",
        run,
        summary="serve an OpenAI-compatible API that routes",
        description="Serve OpenAI's API in front of the models that FILE names; each request goes to one of them. "
        "SIGTERM ends it once the requests under way are answered, SIGHUP reloads FILE.",
        examples=_EXAMPLES,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="the configuration, YAML")
    parser.add_argument("--check", action="store_true", help="read FILE, load its routers, and leave")


def run(args: argparse.Namespace) -> int:
    """Serve, or only check."""
    from fastroute.serving.lifecycle import check, serve
    from fastroute.serving.threads import end_threads

    if args.check:
        config = check(args.config).config
        models, routers = ", ".join(config.upstreams), ", ".join(config.routers) or "none"
        print(printable(f"{args.config}: ok; models: {models}; routers: {routers}"))
        return DONE
    serve(args.config, on_start=_say)
    if not end_threads(_PATIENCE):
        print("fastroute: a router has not returned; ended all the same", file=sys.stderr, flush=True)
        os._exit(DONE)  # Python would wait for its thread
    return DONE


def _say(host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    print(f"fastroute: serving http://{shown}:{port}/v1", file=sys.stderr, flush=True)

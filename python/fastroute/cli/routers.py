"""Options that choose a router, and loading it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastroute.cli.parsing import unit_interval

if TYPE_CHECKING:
    import argparse

    from fastroute.routers import Router


def add_router_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `load_router` reads, and the threshold."""
    group = parser.add_argument_group("router")
    group.add_argument(
        "--router",
        default="experts",
        metavar="NAME|PATH",
        help="built-in router or artifact (default: %(default)s)",
    )
    add_pair_options(group)


def add_pair_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of the two models and of the threshold."""
    group.add_argument("--strong", metavar="MODEL", help="strong model of the pair (default: the router's)")
    group.add_argument("--weak", metavar="MODEL", help="weak model of the pair (default: the router's)")
    group.add_argument(
        "--threshold",
        type=unit_interval,
        metavar="T",
        help="scores from T up go to the strong model, 0 to 1 (default: the router's)",
    )


def load_router(args: argparse.Namespace) -> Router:
    """Load the router that the options choose."""
    import fastroute

    return fastroute.load(args.router, **given_pair(args))


def given_pair(args: argparse.Namespace) -> dict[str, str]:
    """Return the models that the options name, as arguments of `fastroute.load`."""
    pair = {"strong": args.strong, "weak": args.weak}
    return {key: model for key, model in pair.items() if model is not None}

"""``fastroute inspect``: what an artifact holds and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import add_command, printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fastroute.artifact import Artifact
    from fastroute.cli.parsing import Subparsers

_EXAMPLES = """
fastroute inspect mf
fastroute inspect -v my-router/
fastroute inspect --json my-router/ | jq .manifest.metrics
"""

# Shown in the first line, or in the list of files.
_SHOWN_APART = ("format", "format_version", "kind", "name", "files", "sha256")
_SHORT_LIST = 4


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "inspect",
        run,
        summary="show what an artifact holds and where it comes from",
        description="Show the manifest of ARTIFACT, once the checksum of each of its files is verified.",
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "artifact", metavar="ARTIFACT", help="name of a built-in router or encoder, or path of a folder"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="long lists and checksums in full")
    parser.add_argument("--json", action="store_true", help="print the path and the manifest as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the manifest."""
    artifact = _read(args.artifact)
    if args.json:
        import json

        print(json.dumps({"path": str(artifact.path), "verified": True, "manifest": artifact.manifest}, indent=2))
    else:
        print("\n".join(_described(artifact, verbose=args.verbose)))
    return 0


def _read(name: str) -> Artifact:
    from fastroute.artifact import ENCODER, MANIFEST_NAMES, ROUTER, read_artifact

    folder = _locate(name)
    held = [kind for kind in (ROUTER, ENCODER) if (folder / MANIFEST_NAMES[kind]).exists()]
    return read_artifact(folder, format=held[0] if held else ROUTER)


def _described(artifact: Artifact, *, verbose: bool) -> Iterator[str]:
    manifest = artifact.manifest
    yield printable(f"{manifest['name']}: {manifest['kind']}, {manifest['format']} {manifest['format_version']}")
    yield f"path  {printable(str(artifact.path))}"
    yield f"sha256  {_digest(artifact.sha256, verbose=verbose)} (verified)"
    rest = {key: value for key, value in manifest.items() if key not in _SHOWN_APART}
    yield from _members(rest, "", verbose=verbose)
    yield "files (sizes and checksums verified)"
    width = max((len(name) for name in manifest["files"]), default=0)
    for name, entry in manifest["files"].items():
        digest = _digest(entry["sha256"], verbose=verbose)
        yield f"  {printable(name):<{width}}  {entry['size']:>12,} bytes  sha256 {digest}"


def _members(members: Mapping[str, Any], indent: str, *, verbose: bool) -> Iterator[str]:
    for key, value in members.items():
        label = f"{indent}{printable(key)}"
        if isinstance(value, dict):
            yield label
            yield from _members(value, f"{indent}  ", verbose=verbose)
        elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
            yield f"{label}  ({len(value)})"
            numbered = {str(number): item for number, item in enumerate(value, start=1)}
            yield from _members(numbered, f"{indent}  ", verbose=verbose)
        else:
            yield f"{label}  {_list(value, verbose=verbose) if isinstance(value, list) else _value(value)}"


def _list(values: Sequence[Any], *, verbose: bool) -> str:
    if verbose or len(values) <= _SHORT_LIST:
        return ", ".join(_value(value) for value in values)
    return f"{len(values)} (listed with -v)"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


def _digest(digest: str, *, verbose: bool) -> str:
    return digest if verbose else f"{digest[:16]}…"


def _locate(name: str) -> Path:
    from fastroute import builtin
    from fastroute.loading import locate

    return builtin.find_encoder(name) or locate(name)

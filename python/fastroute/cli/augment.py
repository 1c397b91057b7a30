"""``fastroute augment``: labels from a judge."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastroute.cli.exits import DONE, FAILURE, complain
from fastroute.cli.parsing import add_command
from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from fastroute.augmentation import AugmentSummary, Endpoint, Estimate, Limits
    from fastroute.cli.parsing import Subparsers
    from fastroute.training.progress import Progress

_DESCRIPTION = """\
Make labels for prompts that have none. The strong and the weak model answer each prompt of PROMPTS, or their
answers are taken from its columns; a judge reads the two answers in both orders, with a reference answer where
there is one, scores them and names a winner. All three are asked through OpenAI-compatible APIs.

What it will cost is estimated first, and asked about on a terminal. OUTPUT gets battles and judge_scores, made for
fastroute train; failures.jsonl, with every prompt that has no labels and why; and journal.jsonl, where each answer
is kept before it is used. Run again after an interruption, a failure or a cap: what was answered is not asked for,
or paid for, twice. A judgement that is not exactly of the form asked for is never guessed at.

API keys are read from the environment variables that the options name, and from nowhere else.
"""

_EXAMPLES = """
fastroute augment prompts.jsonl -o labels --strong gpt-4o --weak mixtral-8x7b --judge-model gpt-4.1 \\
    --judge https://api.openai.com/v1 --judge-key-env OPENAI_API_KEY --judge-price-in 2 --judge-price-out 8
fastroute augment prompts.jsonl -o labels --strong gpt-4o --strong-url https://api.openai.com/v1 \\
    --strong-key-env OPENAI_API_KEY --weak mixtral-8x7b --weak-url http://localhost:8000/v1 \\
    --judge http://localhost:8001/v1 --judge-model qwen2.5-72b --dry-run
fastroute train mf --preferences labels/battles.jsonl -o my-router
"""

_EXIT_CODES = """\
exit codes:
  0  done, every prompt has its labels
  1  failed, stopped early, declined, or prompts are in failures.jsonl
  2  wrong usage
"""

_FORMATS = ("jsonl", "csv", "tsv", "parquet")
_ROLES = {"strong": "strong model", "weak": "weak model", "judge": "judge"}


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "augment",
        run,
        summary="make labels with an LLM judge",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        exit_codes=_EXIT_CODES,
    )
    parser.add_argument(
        "prompts", metavar="PROMPTS", help=".jsonl, .csv, .tsv (also .gz, .zst, .bz2, .xz) or .parquet; - for stdin"
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder: new, or of an earlier run")
    parser.add_argument("--output-format", choices=("jsonl", "parquet"), default="jsonl", help="(default: jsonl)")
    parser.add_argument(
        "--source", default="augment", metavar="NAME", help="what the labels' column source says (default: %(default)s)"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="don't ask; needed where stdin is no terminal")
    parser.add_argument("--dry-run", action="store_true", help="show the estimate; send and write nothing")
    parser.add_argument("--json", action="store_true", help="print the summary, or the estimate, as one JSON object")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar and no summary")
    _add_model_options(parser)
    _add_column_options(parser)
    _add_limit_options(parser)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    for role, title in _ROLES.items():
        group = parser.add_argument_group(title)
        if role == "judge":
            group.add_argument("--judge", dest="judge_url", required=True, metavar="URL", help="API, https://host/v1")
            group.add_argument("--judge-model", required=True, metavar="MODEL", help="its name")
        else:
            group.add_argument(f"--{role}", dest=f"{role}_model", required=True, metavar="MODEL", help="its name")
            group.add_argument(
                f"--{role}-url", metavar="URL", help="API, https://host/v1; without it PROMPTS has the answers"
            )
        add = group.add_argument
        add(f"--{role}-key-env", metavar="NAME", help="environment variable of the API key (default: no key)")
        add(f"--{role}-price-in", type=float, metavar="X", help="dollars per million tokens of input")
        add(f"--{role}-price-out", type=float, metavar="X", help="dollars per million tokens of output")
        add(f"--{role}-max-tokens", type=int, default=1024, metavar="N", help="of an answer (default: %(default)s)")
        add(f"--{role}-extra", type=_json_object, default={}, metavar="JSON", help="further members of requests")


def _add_column_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("columns of PROMPTS")
    group.add_argument("--column", default="prompt", metavar="NAME", help="prompts (default: %(default)s)")
    for option, name in (("strong", "strong_answer"), ("weak", "weak_answer"), ("reference", "reference")):
        what = "reference answers" if option == "reference" else f"the {option} model's answers"
        group.add_argument(f"--{option}-column", metavar="NAME", help=f"{what} (default: {name}, if it is there)")
    group.add_argument("--format", choices=_FORMATS, help="format of PROMPTS (default: by the file's extension)")


def _add_limit_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-dollars",
        type=float,
        metavar="X",
        help="what DIR may cost, earlier runs included: no request is sent that could take it past X",
    )
    group.add_argument("--requests-per-minute", type=float, metavar="N", help="of each model (default: no limit)")
    group.add_argument(
        "--concurrency", type=int, default=8, metavar="N", help="requests at once (default: %(default)s)"
    )
    group.add_argument(
        "--tries", type=int, default=5, metavar="N", help="of a request until it is answered (default: %(default)s)"
    )
    group.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="seconds for an answer (default: %(default)g)"
    )
    group.add_argument(
        "--failures-in-a-row",
        type=int,
        default=10,
        metavar="N",
        help="failed requests, with no answer in between, that end the run (default: %(default)s)",
    )
    group.add_argument(
        "--reasks",
        type=int,
        default=1,
        metavar="N",
        help="how often the judge is asked again after a malformed judgement (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Estimate, ask, label; say on stderr what was done."""
    from fastroute.augmentation import Columns, augment
    from fastroute.training.progress import progress_bar

    with ExitStack() as stack:
        bar: Progress | None = None

        def confirm(estimate: Estimate) -> bool:
            nonlocal bar
            agreed = _confirmed(args, estimate)
            if agreed and not args.quiet:
                bar = stack.enter_context(progress_bar("augment"))
            return agreed

        models: dict[str, Any] = {"judge": _endpoint(args, "judge")}
        models["strong"] = args.strong_model if args.strong_url is None else _endpoint(args, "strong")
        models["weak"] = args.weak_model if args.weak_url is None else _endpoint(args, "weak")
        limits = _limits(args)
        try:
            summary = augment(
                args.prompts,
                args.output,
                **models,
                columns=Columns(args.column, args.strong_column, args.weak_column, args.reference_column),
                format=args.format,
                output_format=args.output_format,
                source=args.source,
                limits=limits,
                confirm=confirm,
                progress=lambda done, total: None if bar is None else bar(done, total),
            )
        except InvalidArgumentError as error:
            named = str(error).startswith(("strong:", "weak:", "max_dollars:"))
            raise (_for_options(error, "--") if named else error) from None
    if summary is None:
        if args.dry_run:
            return DONE
        complain("declined; nothing was sent")
        return FAILURE
    return _report(args, summary)


def _endpoint(args: argparse.Namespace, role: str) -> Endpoint:
    from fastroute.augmentation import Endpoint

    names = ("url", "model", "key_env", "price_in", "price_out", "max_tokens", "extra")
    try:
        endpoint = Endpoint(**{name: getattr(args, f"{role}_{name}") for name in names})
        endpoint.key()
    except InvalidArgumentError as error:
        raise _for_options(error, f"--{role}-") from None
    return endpoint


def _limits(args: argparse.Namespace) -> Limits:
    from fastroute.augmentation import Limits

    names = ("max_dollars", "requests_per_minute", "concurrency", "tries", "timeout", "failures_in_a_row", "reasks")
    try:
        return Limits(**{name: getattr(args, name) for name in names})
    except InvalidArgumentError as error:
        raise _for_options(error, "--") from None


def _for_options(error: InvalidArgumentError, prefix: str) -> InvalidArgumentError:
    """Name options where a message names arguments."""
    arguments, _, rest = str(error).partition(":")
    options = [f"{prefix}{name.replace('_', '-')}" for name in arguments.split(", ")]
    named = ", ".join("--judge" if option == "--judge-url" else option for option in options)
    return InvalidArgumentError(f"{named}:{rest}")


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return value


def _confirmed(args: argparse.Namespace, estimate: Estimate) -> bool:
    if args.dry_run:
        print(json.dumps(_as_json(estimate)) if args.json else "\n".join(_described(args, estimate)))
        return False
    if not estimate.requests:
        return True
    if not (args.quiet and args.yes):
        print("\n".join(_described(args, estimate)), file=sys.stderr)
    if args.yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidArgumentError("--yes: missing; it is needed where there is no terminal to ask on")
    print("Send these requests? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _as_json(estimate: Estimate) -> dict[str, Any]:
    totals = {name: getattr(estimate, name) for name in ("requests", "dollars", "most_dollars")}
    return asdict(estimate) | totals


def _described(args: argparse.Namespace, estimate: Estimate) -> list[str]:
    lines = [
        f"{role} {found.model}: {_count(found.requests, 'request')}, about {found.tokens_in:,} tokens in and "
        f"{found.tokens_out:,} out, {_dollars(found.dollars)}"
        for role, found in estimate.roles.items()
    ]
    total = f"{_count(estimate.pairs, 'prompt')}: {_count(estimate.requests, 'request')}, {_dollars(estimate.dollars)}"
    if estimate.most_dollars:
        total += f"; {_dollars(estimate.most_dollars)} if every answer is as long as allowed and judged again"
    lines.append(total)
    if estimate.answered:
        lines.append(f"{_count(estimate.answered, 'request')} answered in earlier runs")
    if estimate.spent:
        lines.append(f"{_dollars(estimate.spent)} spent in earlier runs")
    if args.judge_model in (args.strong_model, args.weak_model):
        lines.append(f"the judge {args.judge_model} judges itself: models favour their own answers")
    return lines


def _report(args: argparse.Namespace, summary: AugmentSummary) -> int:
    if args.json:
        print(json.dumps(asdict(summary), allow_nan=False))
    elif not args.quiet:
        print("\n".join(_told(args.output, summary)), file=sys.stderr)
    if summary.failed:
        prompts = _count(summary.failed, "prompt")
        complain(f"{prompts} failed, see {args.output}/failures.jsonl; the first: {summary.first_failure}")
    if summary.stopped is not None:
        left = _count(summary.left, "prompt")
        complain(f"stopped, {left} left: {summary.stopped}; run again to go on")
    return FAILURE if summary.failed or summary.left else DONE


def _told(output: str, summary: AugmentSummary) -> list[str]:
    lines = [
        f"{output}: {_count(summary.judged, 'prompt')} judged in both orders; of "
        f"{_count(2 * summary.judged, 'battle')} {summary.strong_wins:,} to the strong model, "
        f"{summary.weak_wins:,} to the weak one, {_count(summary.ties, 'tie')}"
    ]
    if summary.agreement is not None:
        line = f"the orders agree on {summary.agreement:.1%} of the prompts"
        if summary.first_wins is not None:
            line += f"; the answer read first wins {summary.first_wins:.1%} of the battles that are no tie"
        lines.append(line)
    spent = f"{_count(summary.requests, 'request')}, {summary.tokens_in:,} tokens in and {summary.tokens_out:,} out"
    if summary.dollars is not None:
        spent += f", {_dollars(summary.dollars)}; {_dollars(summary.spent)} in all runs"
        if summary.unconfirmed:
            spent += f", of which up to {_dollars(summary.unconfirmed)} for requests without an answer"
    lines.append(spent)
    if summary.repeated:
        lines.append(f"{_count(summary.repeated, 'row')} left out: the same as an earlier one")
    if summary.cut:
        lines.append(
            f"{_count(summary.cut, 'answer')} of the models cut off at their longest (see --strong-max-tokens)"
        )
    if summary.malformed:
        lines.append(f"{_count(summary.malformed, 'malformed judgement')}, none of them used")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _dollars(dollars: float | None) -> str:
    return "price not known" if dollars is None else f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.4f}"

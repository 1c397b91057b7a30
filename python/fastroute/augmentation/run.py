"""A run: every prompt of a file answered, judged in both orders, and written as labels."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fastroute.augmentation.asking import Asker, RequestFailedError, RunStoppedError
from fastroute.augmentation.client import open_client
from fastroute.augmentation.cost import Estimate, estimate_cost
from fastroute.augmentation.journal import open_journal, read_ledger
from fastroute.augmentation.limits import Limits
from fastroute.augmentation.models import ANSWERING, ORDERS, Models, NoJudgementError, judging
from fastroute.augmentation.results import OUTPUT_FORMATS, Failure, JudgedPair, write_results
from fastroute.augmentation.rows import Columns, Row, read_rows
from fastroute.batch.formats.parquet import import_pyarrow
from fastroute.endpoints.exchange import import_aiohttp
from fastroute.errors import DataError, FastrouteError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from fastroute.augmentation.endpoint import Endpoint
    from fastroute.augmentation.journal import Journal

__all__ = ["AugmentSummary", "augment"]

JOURNAL = "journal.jsonl"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AugmentSummary:
    """What a run did.

    Attributes
    ----------
    prompts
        Distinct rows of the input.
    repeated
        Rows left out since they repeat another one, answers and reference and all.
    judged
        Prompts judged in both orders: those that the files have, two battles and two scores each.
    failed
        Prompts with an entry in ``failures.jsonl``.
    left
        Prompts that were not come to, as the run stopped.
    strong_wins, weak_wins, ties
        Battles by outcome.
    agreement
        Share of the judged prompts with the same outcome in both orders; None without any.
    first_wins
        Share of the battles with a winner that the answer read first won, one half if order does not count; None
        without any.
    cut
        Answers of the models that were cut off at their longest.
    malformed
        Judgements that were malformed, those that were then asked for again with success included.
    requests, tokens_in, tokens_out, dollars
        Sent by this run, and what the answers came to, by the endpoints' own count; `dollars` is None where a
        price is not known.
    spent
        Dollars of all runs with this output folder, lost answers included.
    unconfirmed
        Those of `spent` that requests without an answer may have cost, at most.
    stopped
        Why the run stopped before its end; None if it did not.
    first_failure
        A reason from ``failures.jsonl``; None without failures.
    seconds
        How long it took.
    """

    prompts: int
    repeated: int
    judged: int
    failed: int
    left: int
    strong_wins: int
    weak_wins: int
    ties: int
    agreement: float | None
    first_wins: float | None
    cut: int
    malformed: int
    requests: int
    tokens_in: int
    tokens_out: int
    dollars: float | None
    spent: float
    unconfirmed: float
    stopped: str | None
    first_failure: str | None
    seconds: float


def augment(
    prompts: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    judge: Endpoint,
    strong: Endpoint | str,
    weak: Endpoint | str,
    columns: Columns | None = None,
    format: str | None = None,  # noqa: A002
    output_format: str = "jsonl",
    source: str = "augment",
    limits: Limits | None = None,
    confirm: Callable[[Estimate], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AugmentSummary | None:
    """Make labels for prompts: two models' answers, compared by a third.

    Each prompt is answered by both models, where the input does not have their answers, and the judge compares the
    two in both orders. Every answer is on disk, in the journal of the output folder, before it is used: a run that
    was cut short goes on where it was, and no request is paid for twice.

    Parameters
    ----------
    prompts
        A .jsonl, .ndjson, .csv, .tsv or .parquet file; "-" is standard input.
    output
        Folder, new or from an earlier run. It gets ``battles`` and ``judge_scores`` (see `BATTLE_COLUMNS` and
        `SCORE_COLUMNS`), with the prompts that were judged in both orders; ``failures.jsonl`` (see `Failure`); and
        the journal.
    judge
        Who compares. It is asked with temperature 0 unless its `extra` says otherwise.
    strong, weak
        Who answers. A name alone stands for a model that is not asked: the input has its answers. An endpoint is
        asked where the input has none.
    columns
        Names of the input's columns.
    format
        Of the input: one of jsonl, csv, tsv, parquet, where the name does not tell.
    output_format
        Of battles and scores: jsonl or parquet.
    source
        What the labels' column `source` says; training takes the labels of one source together.
    limits
        How fast, how often and for how much requests are sent.
    confirm
        Called with the estimate before anything is sent or written; where it returns False, nothing is.
    progress
        Called with (prompts done, prompts in all), from another thread.

    Returns
    -------
    AugmentSummary or None
        None if `confirm` returned False.

    Raises
    ------
    InvalidArgumentError
        An argument is not allowed, such as a cap without prices; a key is not in the environment; or the output
        folder holds something else.
    InvalidTypeError
        A model is neither an `Endpoint` nor a name.
    DataError
        The input or the journal can't be read, or a row has neither an answer nor a model to ask.
    FastrouteError
        The output can't be written, or another run is writing to it.
    MissingDependencyError
        aiohttp is not installed, or pyarrow where it is needed.

    Notes
    -----
    What fails for one prompt is recorded and does not end the run. The rows of the input are held in memory, and so
    are the answers. May be called from any thread, also in one that runs an event loop, which it blocks; two runs at
    once need two output folders.
    """
    began = time.monotonic()
    limits, folder = limits or Limits(), Path(output)
    models = Models(judge, strong, weak)
    _check_arguments(models, limits, folder, output_format)
    found = read_rows(prompts, columns or Columns(), format)
    rows = list(dict.fromkeys(found))
    if not rows:
        raise DataError(f"{prompts}: holds no prompts")
    _check_answers(os.fspath(prompts), found, models)
    estimate = estimate_cost(rows, models, read_ledger(folder / JOURNAL), reasks=limits.reasks)
    if confirm is not None and not confirm(estimate):
        return None
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise FastrouteError(f"{folder}: can't be made: {error.strerror or error}") from error
    with open_journal(folder / JOURNAL) as journal:
        run = _Run(rows, models, limits, progress)
        in_own_loop(run.all(journal))
        write_results(folder, run.pairs, run.failures, models, source=source, kind=output_format)
        return run.summary(journal, repeated=len(found) - len(rows), seconds=time.monotonic() - began)


def _check_arguments(models: Models, limits: Limits, folder: Path, output_format: str) -> None:
    import_aiohttp("augment")
    for role, endpoint in models.endpoints.items():
        _check_key(role, endpoint)
    if output_format not in OUTPUT_FORMATS:
        raise InvalidArgumentError(f"output_format: found {output_format!r}; allowed: {', '.join(OUTPUT_FORMATS)}")
    if output_format == "parquet":
        import_pyarrow()
    if limits.max_dollars is not None:
        for role, endpoint in models.endpoints.items():
            if endpoint.price_in is None:
                raise InvalidArgumentError(f"max_dollars: needs the prices of every model; {role} has none")
    if not folder.exists():
        if not folder.absolute().parent.is_dir():
            raise InvalidArgumentError(f"{folder}: there is no folder {str(folder.parent)!r} to make it in")
    elif not folder.is_dir():
        raise InvalidArgumentError(f"{folder}: expected a folder, found a file")
    elif not (folder / JOURNAL).exists() and any(folder.iterdir()):
        raise InvalidArgumentError(
            f"{folder}: holds files, and no {JOURNAL} among them; allowed: a new folder or that of an earlier run"
        )


def _check_key(role: str, endpoint: Endpoint) -> None:
    try:
        endpoint.key()
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{role}: {error}") from None


def _check_answers(name: str, rows: list[Row], models: Models) -> None:
    for role in ANSWERING:
        if models.endpoint(role) is None:
            for number, row in enumerate(rows, start=1):
                if getattr(row, f"{role}_answer") is None:
                    raise DataError(
                        f"{name}: row {number}: no answer of the {role} model {models.name(role)!r}, and no endpoint "
                        f"to ask it (--{role}-column, --{role}-url)"
                    )


class _FailedError(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class _Run:
    """The work on all rows; used within one event loop, read afterwards."""

    def __init__(
        self, rows: list[Row], models: Models, limits: Limits, progress: Callable[[int, int], None] | None
    ) -> None:
        self._rows = rows
        self._models = models
        self._limits = limits
        self._progress = progress
        self._outcomes: dict[int, JudgedPair | list[Failure]] = {}
        self._cut = self._malformed = self._done = 0

    @property
    def pairs(self) -> list[JudgedPair]:
        """Those that were judged in both orders, in the order of the input."""
        return [found for _, found in sorted(self._outcomes.items()) if isinstance(found, JudgedPair)]

    @property
    def failures(self) -> list[Failure]:
        """What failed, in the order of the input."""
        lists = [found for _, found in sorted(self._outcomes.items()) if isinstance(found, list)]
        return [failure for found in lists for failure in found]

    async def all(self, journal: Journal) -> None:
        """Work on all rows, so many at once as requests are allowed at once."""
        async with open_client(list(self._models.endpoints.values()), timeout=self._limits.timeout) as client:
            self._asker = Asker(client, journal, self._limits)
            rows = iter(enumerate(self._rows))
            workers = [asyncio.create_task(self._work(rows)) for _ in range(self._limits.concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, rows: Iterator[tuple[int, Row]]) -> None:
        for index, row in rows:
            # A stopped run goes on through the rows whose answers are all there.
            with suppress(RunStoppedError):
                self._outcomes[index] = await self._label(row)
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, len(self._rows))

    async def _label(self, row: Row) -> JudgedPair | list[Failure]:
        texts, failures = await _all_of({role: self._answer(role, row) for role in ANSWERING})
        if failures:
            return failures
        judgements, failures = await _all_of(
            {order: self._judge(row, order, *(texts[role] for role in roles)) for order, roles in ORDERS.items()}
        )
        return failures or JudgedPair(row.prompt, judgements)

    async def _answer(self, role: str, row: Row) -> str:
        given: str | None = getattr(row, f"{role}_answer")
        endpoint = self._models.endpoint(role)
        if given is not None or endpoint is None:
            return given or ""
        try:
            answer = await self._asker.ask(role, endpoint, endpoint.body([{"role": "user", "content": row.prompt}]))
        except RequestFailedError as error:
            raise _FailedError(Failure(row.prompt, role, endpoint.model, None, str(error))) from None
        if answer.text is None:
            reason = f"the answer has no text (finish_reason {answer.finish_reason!r})"
            raise _FailedError(Failure(row.prompt, role, endpoint.model, None, reason))
        self._cut += answer.finish_reason == "length"
        return answer.text

    async def _judge(self, row: Row, order: str, first: str, second: str) -> Any:
        judge = self._models.judge
        dialogue = judging(judge, row, first, second, self._limits.reasks)
        body = next(dialogue)
        try:
            while True:
                answer = await self._asker.ask("judge", judge, body)
                body = dialogue.send(answer)
                self._malformed += 1
        except StopIteration as end:
            return end.value
        except RequestFailedError as error:
            raise _FailedError(Failure(row.prompt, "judge", judge.model, order, str(error))) from None
        except NoJudgementError as error:
            self._malformed += 1
            failure = Failure(row.prompt, "judge", judge.model, order, f"malformed: {error}", tuple(error.replies))
            raise _FailedError(failure) from None

    def summary(self, journal: Journal, *, repeated: int, seconds: float) -> AugmentSummary:
        """Count what was done."""
        pairs, asker, ledger = self.pairs, self._asker, journal.ledger
        winners = [pair.winners() for pair in pairs]
        outcomes = [winner for both in winners for winner in both]
        firsts = [found.winner for pair in pairs for found in pair.judgements.values() if found.winner != "tie"]
        priced = all(endpoint.price_in is not None for endpoint in self._models.endpoints.values())
        return AugmentSummary(
            prompts=len(self._rows),
            repeated=repeated,
            judged=len(pairs),
            failed=len(self._outcomes) - len(pairs),
            left=len(self._rows) - len(self._outcomes),
            strong_wins=outcomes.count("strong"),
            weak_wins=outcomes.count("weak"),
            ties=outcomes.count("tie"),
            agreement=sum(both[0] == both[1] for both in winners) / len(pairs) if pairs else None,
            first_wins=firsts.count("model_a") / len(firsts) if firsts else None,
            cut=self._cut,
            malformed=self._malformed,
            requests=asker.sent,
            tokens_in=asker.tokens_in,
            tokens_out=asker.tokens_out,
            dollars=asker.dollars if priced else None,
            spent=ledger.spent + ledger.unconfirmed,
            unconfirmed=ledger.unconfirmed,
            stopped=asker.stopped,
            first_failure=next((failure.reason for failure in self.failures), None),
            seconds=seconds,
        )


async def _all_of(work: dict[str, Coroutine[Any, Any, T]]) -> tuple[dict[str, T], list[Failure]]:
    """Do all of it, also when some of it fails: an answer under way is paid for."""
    outcomes = await asyncio.gather(*work.values(), return_exceptions=True)
    found: dict[str, T] = {}
    failures = []
    for name, outcome in zip(work, outcomes, strict=True):
        if isinstance(outcome, _FailedError):
            failures.append(outcome.failure)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            found[name] = outcome
    return found, failures


def in_own_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop on a thread of its own, and wait for it.

    A signal then meets the thread that waits, never a callback that would swallow it; and a caller may have a loop.
    """
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()

    async def reachable() -> T:
        task = asyncio.current_task()
        assert task is not None
        running.set_result((asyncio.get_running_loop(), task))
        return await main

    with ThreadPoolExecutor(1, thread_name_prefix="fastroute-augment") as thread:
        ended = thread.submit(asyncio.run, reachable())
        try:
            return ended.result()
        except BaseException:
            either: list[Future[Any]] = [running, ended]
            wait(either, return_when=FIRST_COMPLETED)
            if running.done():
                loop, task = running.result()
                with suppress(RuntimeError):  # it has ended by now
                    loop.call_soon_threadsafe(task.cancel)
            raise

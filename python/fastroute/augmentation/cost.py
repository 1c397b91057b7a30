"""What a run will ask and cost, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastroute.augmentation.journal import request_key
from fastroute.augmentation.judge import judge_messages
from fastroute.augmentation.models import ANSWERING, ORDERS, NoJudgementError, judging

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from fastroute.augmentation.endpoint import Endpoint
    from fastroute.augmentation.journal import Completion, Ledger
    from fastroute.augmentation.models import Models
    from fastroute.augmentation.rows import Row

__all__ = ["Estimate", "RoleEstimate", "estimate_cost"]

_BYTES_PER_TOKEN = 4  # of English text, about; other texts come near it too
_TOKENS_PER_REQUEST = 10
_USUAL_ANSWER = 400  # tokens
_USUAL_JUDGEMENT = 150  # tokens
_ASKING_AGAIN = 600  # tokens


@dataclass(frozen=True, slots=True)
class RoleEstimate:
    """What one of the models will be asked.

    Attributes
    ----------
    model
        Its name.
    requests
        How many are sent if none has to be repeated.
    tokens_in, tokens_out
        About so many.
    dollars
        What they cost; None where the prices are not known.
    most_dollars
        The same if every answer is as long as it may be, and every judgement is asked for as often as it may be.
    """

    model: str
    requests: int
    tokens_in: int
    tokens_out: int
    dollars: float | None
    most_dollars: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will ask and cost.

    Attributes
    ----------
    roles
        By role: strong, weak, judge; those that are asked at all.
    pairs
        Prompts with two answers to be judged.
    answered
        Requests whose answers are in the journal.
    spent
        Dollars that the journal records, those of requests without an answer at their worst.
    """

    roles: Mapping[str, RoleEstimate]
    pairs: int
    answered: int
    spent: float

    @property
    def requests(self) -> int:
        """How many requests are sent if none has to be repeated."""
        return sum(role.requests for role in self.roles.values())

    @property
    def dollars(self) -> float | None:
        """What they cost, about; None where a price is not known."""
        return _sum(role.dollars for role in self.roles.values() if role.requests)

    @property
    def most_dollars(self) -> float | None:
        """The most they cost, lost answers aside; None where a price is not known."""
        return _sum(role.most_dollars for role in self.roles.values() if role.requests)


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    most_in: float = 0.0
    most_out: float = 0.0

    def of(self, endpoint: Endpoint) -> RoleEstimate:
        return RoleEstimate(
            endpoint.model,
            self.requests,
            round(self.tokens_in),
            round(self.tokens_out),
            endpoint.dollars(self.tokens_in, self.tokens_out),
            endpoint.dollars(self.most_in, self.most_out),
        )


def estimate_cost(rows: Iterable[Row], models: Models, ledger: Ledger, *, reasks: int) -> Estimate:
    """Say what is to be asked for these rows, given the answers that are there."""
    counter = _Counter(models, ledger, reasks)
    pairs = 0
    for row in rows:
        counter.add(row)
        pairs += 1
    roles = {role: counter.tallies[role].of(endpoint) for role, endpoint in models.endpoints.items()}
    return Estimate(roles, pairs, len(counter.answered), ledger.spent + ledger.unconfirmed)


class _Counter:
    """Goes through the requests of rows as a run does."""

    def __init__(self, models: Models, ledger: Ledger, reasks: int) -> None:
        self._models = models
        self._ledger = ledger
        self._reasks = reasks
        self._counted: set[str] = set()
        self.answered: set[str] = set()
        self.tallies = {role: _Tally() for role in models.endpoints}

    def add(self, row: Row) -> None:
        """Count what a row needs."""
        texts: dict[str, str | None] = {}
        for role in ANSWERING:
            endpoint, given = self._models.endpoint(role), getattr(row, f"{role}_answer")
            if given is not None or endpoint is None:
                texts[role] = given
                continue
            body = endpoint.body([{"role": "user", "content": row.prompt}])
            answer = self._known(endpoint, body)
            if answer is not None and answer.text is None:
                return  # a failure on record
            texts[role] = None if answer is None else answer.text
            if answer is None:
                self._count(role, endpoint, body, answer=_USUAL_ANSWER)
        for order in ORDERS.values():
            self._add_judging(row, order, texts)

    def _add_judging(self, row: Row, order: tuple[str, str], texts: Mapping[str, str | None]) -> None:
        judge = self._models.judge
        first, second = (texts[role] for role in order)
        if first is not None and second is not None:
            dialogue = judging(judge, row, first, second, self._reasks)
            body = next(dialogue)
            try:
                while (answer := self._known(judge, body)) is not None:
                    body = dialogue.send(answer)
            except (StopIteration, NoJudgementError):
                return
        else:
            body = judge.body(judge_messages(row.prompt, first or "", second or "", row.reference))
        asked = (self._models.endpoint(role) for role in order if texts[role] is None)
        unknown = [endpoint.longest for endpoint in asked if endpoint is not None]
        usual = sum(min(longest, _USUAL_ANSWER) for longest in unknown)
        self._count("judge", judge, body, coming=usual, most_coming=sum(unknown), answer=_USUAL_JUDGEMENT)

    def _known(self, endpoint: Endpoint, body: Mapping[str, Any]) -> Completion | None:
        key = request_key(endpoint, body)
        answer = self._ledger.answers.get(key)
        if answer is not None:
            self.answered.add(key)
        return answer

    def _count(
        self,
        role: str,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        *,
        answer: int,
        coming: int = 0,
        most_coming: int = 0,
    ) -> None:
        """Count a request: tokens of its usual answer, and of the texts that will be in it but are not known yet."""
        key = request_key(endpoint, body)
        if key in self._counted and not coming:
            return
        self._counted.add(key)
        text = sum(len(message["content"].encode()) for message in body["messages"])
        size = text / _BYTES_PER_TOKEN + _TOKENS_PER_REQUEST
        again = self._reasks if role == "judge" else 0
        tally = self.tallies[role]
        tally.requests += 1
        tally.tokens_in += size + coming
        tally.tokens_out += min(endpoint.longest, answer)
        tally.most_in += (size + most_coming) * (1 + again) + _ASKING_AGAIN * again
        tally.most_out += endpoint.longest * (1 + again)


def _sum(dollars: Iterable[float | None]) -> float | None:
    found = list(dollars)
    known = [one for one in found if one is not None]
    return sum(known) if len(known) == len(found) else None

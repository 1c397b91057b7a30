"""What a run says that it will ask and cost, against what it then does."""

from __future__ import annotations

import pytest
from tests.augmentation.scripted_server import JUDGE, STRONG, WEAK, Reply, completion, verdict

from fastroute.augmentation import Endpoint


@pytest.fixture
def estimated(label):
    """Label, and return the estimate and the summary."""

    def run(**options):
        estimates = []
        summary = label(confirm=lambda estimate: estimates.append(estimate) or True, **options)
        return estimates[0], summary

    return run


def test_requests_are_counted_as_they_are_sent(server, folder, estimated):
    folder.write([{"prompt": "p"}, {"prompt": "p", "reference": "r"}, {"prompt": "q", "strong_answer": "[large on q]"}])
    estimate, summary = estimated()
    assert {role: found.requests for role, found in estimate.roles.items()} == {"strong": 1, "weak": 2, "judge": 6}
    assert (estimate.requests, estimate.pairs, estimate.answered) == (9, 3, 0)
    assert summary.requests == len(server.requests) == 9
    estimate, summary = estimated()
    assert (estimate.requests, estimate.answered, summary.requests) == (0, 9, 0)
    assert estimate.dollars == estimate.most_dollars == 0


def test_what_is_left_after_failures_is_counted(server, folder, estimated):
    server.script = lambda request, seen: Reply(b"", status=400) if request.model == WEAK else None
    folder.write_prompts(2)
    estimated()
    server.script = lambda request, seen: None
    sent = len(server.requests)
    estimate, summary = estimated()
    assert (estimate.requests, estimate.answered) == (6, 2)
    assert summary.requests == len(server.requests) - sent == 6


def test_an_answer_without_text_needs_no_judge(server, folder, estimated):
    server.script = lambda request, seen: completion(None) if request.model == WEAK else None
    folder.write_prompts(1)
    estimated()
    estimate, _ = estimated()
    assert estimate.requests == 0


def test_dollars(server, folder, estimated):
    def priced(model, price_in, price_out):
        return Endpoint(server.url, model, price_in=price_in, price_out=price_out, max_tokens=1000)

    server.script = lambda request, seen: (
        completion(verdict("tie", 5, 5), tokens=(500, 100)) if request.model == JUDGE else None
    )
    folder.write([{"prompt": "x" * 400}])
    models = {"strong": priced(STRONG, 10, 100), "weak": priced(WEAK, 1, 2), "judge": priced(JUDGE, 3, 5)}
    estimate, summary = estimated(**models)
    strong = estimate.roles["strong"]
    assert (strong.tokens_in, strong.tokens_out) == (110, 400)
    assert strong.dollars == pytest.approx((110 * 10 + 400 * 100) / 1e6)
    assert strong.most_dollars == pytest.approx((110 * 10 + 1000 * 100) / 1e6)
    judge = estimate.roles["judge"]
    assert 2 * (100 + 2 * 400) < judge.tokens_in < 2 * (100 + 2 * 400 + 500)
    assert judge.tokens_out == 300
    assert judge.most_dollars > (2 * 2 * 2000 * 3 + 2 * 2 * 1000 * 5) / 1e6
    assert estimate.dollars == pytest.approx(sum(role.dollars for role in estimate.roles.values()))
    usage = (100 * 10 + 20 * 100 + 100 * 1 + 20 * 2 + 2 * (500 * 3 + 100 * 5)) / 1e6
    assert summary.dollars == pytest.approx(usage)
    again, summary = estimated(**models)
    assert (again.spent, summary.spent, summary.dollars) == (pytest.approx(usage), pytest.approx(usage), 0)


def test_a_price_that_is_not_known_makes_the_sum_unknown(server, folder, estimated):
    folder.write_prompts(1)
    estimate, summary = estimated(judge=Endpoint(server.url, JUDGE, price_in=1, price_out=1))
    assert estimate.roles["judge"].dollars > 0
    assert (estimate.dollars, estimate.most_dollars, summary.dollars) == (None, None, None)
    folder.write_answered(2)
    estimate, _ = estimated(asked=False, judge=Endpoint(server.url, JUDGE, price_in=1, price_out=1))
    assert estimate.dollars > 0

"""The playground's page over time: what it leaves alone, and how it takes keys, servers and answers that fail."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.serving import browser
from tests.serving.browser import Page, text
from tests.serving.conftest import CLIENT_KEY, HARD, Served, Start
from tests.serving.scripted_upstream import ScriptedUpstream

import fastroute

pytestmark = pytest.mark.skipif(browser.found() is None, reason=f"needs one of {', '.join(browser.NAMES)}")

HOUR, SCORES = "/playground/hour", "/playground/scores"
# `plan(path)` may answer in place of the server; `finished` counts answers.
PLANNED = """
window.real = window.fetch.bind(window);
window.finished = 0;
window.plan = null;
window.refuse = (code) => new Response('{"error": {"message": "planned"}}', {status: code});
window.fetch = async (path, options) => {
  try {
    return await (window.plan?.(path, options) ?? window.real(path, options));
  } finally {
    window.finished += 1;
  }
};
"""
# What is put in place of what, from now on; figures and charts of the traffic move with the clock, and are left out.
WATCH = """
window.changes = [];
new MutationObserver((records) => {
  const place = ({target}) => target.nodeType === 1 ? target : target.parentElement;
  const told = records.map(place).filter((each) => each && !each.closest('#traffic'));
  window.changes.push(...told.map((each) => each.id || each.outerHTML));
}).observe(document.body, {childList: true, characterData: true, subtree: true});
"""
MODELS = "document.querySelectorAll('.router .model').length"
HIDE = "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
SHOW = "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture(scope="module")
def one_page() -> Iterator[Page]:
    with Page() as page, page.prepared(PLANNED):
        yield page


@pytest.fixture
def page(one_page: Page) -> Page:
    one_page.renew()
    return one_page


@pytest.fixture(scope="module")
def open_one(start: Start) -> Served:
    return start(playground=True)


@pytest.fixture(scope="module")
def keyed(start: Start) -> Served:
    return start({"KEYS": CLIENT_KEY}, playground=True, client_keys={"env": "KEYS"})


def visit(page: Page, served: Served, prompt: str | None = None) -> None:
    page.visit(served.port)
    if prompt is not None:
        page.type("#prompt", prompt)
        page.wait(f"{MODELS} === 2")


def enter(page: Page, key: str) -> None:
    page.wait("!document.getElementById('key-form').hidden")
    page.type("#key", key)
    page.press("Enter", 13, "\r")


def visit_with_key(page: Page, served: Served) -> None:
    page.open(f"http://127.0.0.1:{served.port}/")
    page.wait("!document.getElementById('key-form').hidden || document.body.classList.contains('live')")
    page.run("sessionStorage.clear()")
    page.open(f"http://127.0.0.1:{served.port}/")
    page.wait("!document.getElementById('key-form').hidden")
    enter(page, CLIENT_KEY)
    page.wait("document.body.classList.contains('live')")
    page.type("#prompt", HARD)
    page.wait(f"{MODELS} === 2")


def faults(page: Page) -> list[str]:
    page.listen(0.1)
    return [str(parameters) for method, parameters in page.events if method == "Runtime.exceptionThrown"]


def wait_for_polls(page: Page, count: int) -> None:
    """Wait until so many polls were sent, all but the last of which have been answered and shown."""
    page.events.clear()
    page.wait_for_requests(HOUR, count)


def test_what_has_not_changed_is_left_alone(page: Page, open_one: Served, upstream: ScriptedUpstream) -> None:
    open_one.chat("router-mf", HARD)
    visit(page, open_one, HARD)
    page.wait(f"{text('#figures dd')} !== '0'")
    page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})")
    button = "document.querySelector('[data-copies=as-yaml]')"
    page.run(f"{button}.click()")
    page.wait(f"{button}.textContent === 'selected'")
    page.wait(f"{button}.textContent === 'copy'")
    page.run(f"window.row = document.querySelector('.router'); {WATCH}")
    wait_for_polls(page, 3)
    assert page.run("changes") == []
    assert page.run("getSelection().toString()") == page.run(text("#as-yaml"))
    assert page.run("window.row.isConnected")
    # and what has changed is drawn
    open_one.chat("router-mf", "hi")
    page.wait(f"{text('#share')}.includes(' of the 2 requests')")
    page.run("document.querySelector('.router[data-label=random] input').click()")
    assert page.run("document.querySelector('.selected-router').dataset.label") == "random"
    assert page.run(text("#threshold .selected")) == "random"


def test_an_absent_server_is_told_of_once(page: Page, start: Start) -> None:
    served = start(playground=True)
    visit(page, served, HARD)
    assert served.end() == 0
    page.wait("!document.getElementById('trouble').hidden")
    assert page.run(text("#status")) == "not connected"
    page.run(WATCH)
    wait_for_polls(page, 3)
    assert page.run("changes") == []


@pytest.mark.parametrize("first", [HOUR, SCORES])
def test_two_refusals_of_a_key_are_one(page: Page, keyed: Served, first: str) -> None:
    visit_with_key(page, keyed)
    page.run("plan = () => refuse(401)")
    page.wait(f"{text('#key-trouble')} === 'The server does not know this key.'")
    # one of the two answers comes later than the other
    page.run(
        f"""finished = 0;
        plan = (path, all) => new Promise((done) => setTimeout(done, path === '{first}' ? 0 : 300)).then(
          () => real(path, all))"""
    )
    enter(page, "wrong-key-1")
    page.wait("finished === 2")
    page.listen(0.1)
    assert page.run(text("#key-trouble")) == "The server does not know this key."
    assert not page.run("document.getElementById('key-form').hidden")
    assert page.run("document.getElementById('main').hidden")
    assert faults(page) == []


def test_an_answer_to_an_old_key_does_nothing_to_a_new_one(page: Page, keyed: Served) -> None:
    visit_with_key(page, keyed)
    page.run(
        f"""late = null;
        plan = (path) => path === '{HOUR}' ? refuse(401) : new Promise((done) => late = () => done(refuse(401)))"""
    )
    page.type("#prompt", "hi")
    page.wait("!!late")
    page.wait("!document.getElementById('key-form').hidden")
    page.run("plan = null")
    enter(page, CLIENT_KEY)
    page.wait("document.body.classList.contains('live')")
    page.run("late()")
    wait_for_polls(page, 2)
    assert page.run(text("#status")) == "live"
    assert page.run("Object.values(sessionStorage)") == [CLIENT_KEY]
    page.wait(f"{text('.router[data-label=mf] .score')} === '{fastroute.load('mf').score('hi'):.4f}'")


def test_an_answer_that_comes_while_a_key_is_asked_for_shows_nothing(page: Page, keyed: Served) -> None:
    visit_with_key(page, keyed)
    page.run(
        f"""late = null;
        plan = (path, all) => path === '{SCORES}' ? refuse(401) : new Promise((done) => late = done).then(
          () => real(path, all))"""
    )
    page.wait("!!late")
    page.type("#prompt", "hi")
    page.wait("!document.getElementById('key-form').hidden")
    page.run("finished = 0; late()")
    page.wait("finished === 1")
    page.listen(0.2)
    assert page.run("document.getElementById('main').hidden")
    assert page.run(text("#status")) == "locked"


def test_a_prompt_that_is_there_before_the_routers(page: Page, keyed: Served) -> None:
    page.open(f"http://127.0.0.1:{keyed.port}/")
    page.run("sessionStorage.clear()")
    page.open(f"http://127.0.0.1:{keyed.port}/")
    page.wait("!document.getElementById('key-form').hidden")
    page.run(f"document.getElementById('prompt').value = {HARD!r}")
    page.run(
        f"""plan = (path, all) => new Promise((done) => setTimeout(done, path === '{HOUR}' ? 400 : 0)).then(
          () => real(path, all))"""
    )
    enter(page, CLIENT_KEY)
    page.wait(f"{MODELS} === 2")
    assert faults(page) == []


def test_a_browser_that_stores_nothing(page: Page, keyed: Served) -> None:
    blocked = (
        "Object.defineProperty(window, 'sessionStorage', {get() { throw new DOMException('', 'SecurityError'); }})"
    )
    with page.prepared(blocked):
        page.open(f"http://127.0.0.1:{keyed.port}/")
        enter(page, "wrong-key-1")
        page.wait(f"{text('#key-trouble')} === 'The server does not know this key.'")
        enter(page, CLIENT_KEY)
        page.wait("document.body.classList.contains('live')")
        assert faults(page) == []


def test_a_fault_of_the_page_is_told_and_got_over(page: Page, open_one: Served) -> None:
    visit(page, open_one, HARD)
    page.run("plan = () => { plan = null; return new Response('{}'); }")
    page.wait(f"{text('#status')} === 'failed'")
    assert "has failed" in page.run(text("#trouble"))
    page.wait(f"{text('#status')} === 'live'")
    assert page.run("document.getElementById('trouble').hidden")
    assert len(faults(page)) == 1


def test_scores_of_another_prompt_go(page: Page, start: Start) -> None:
    served = start(playground=True, limits={"body_bytes": 500})
    visit(page, served, HARD)
    page.type("#prompt", "x" * 1000)
    page.wait(f"{text('#prompt-trouble')}.includes('allowed: 500 bytes')")
    assert page.run(MODELS) == 0
    assert page.run(text("#choice")) == ""
    assert "Type a prompt" in page.run(text("#explanation"))
    assert page.run(text("#status")) == "live"
    page.type("#prompt", "hi")
    page.wait(f"{MODELS} === 2")
    assert page.run("document.getElementById('prompt-trouble').hidden")


@pytest.mark.parametrize("code", [503, 404])
def test_scores_are_tried_again_where_somebody_looks(page: Page, open_one: Served, code: int) -> None:
    visit(page, open_one, HARD)
    page.run(f"plan = (path) => path === '{SCORES}' ? refuse({code}) : null")
    page.type("#prompt", "hi")
    page.wait(f"{text('#prompt-trouble')}.includes('Trying again.')")
    assert page.run(MODELS) == 0
    page.run(f"{HIDE}; finished = 0")
    page.listen(1.5)
    assert page.run("finished") <= 1  # a poll may have been under way
    page.run(f"plan = null; {SHOW}")
    page.wait(f"{text('.router[data-label=mf] .score')} === '{fastroute.load('mf').score('hi'):.4f}'")
    assert page.run("document.getElementById('prompt-trouble').hidden")


def test_a_playground_that_is_switched_off_is_not_asked_for_scores(page: Page, open_one: Served) -> None:
    visit(page, open_one, HARD)
    page.run("asked = []; plan = (path) => { asked.push(path); return refuse(404); }")
    page.type("#prompt", "hi")
    page.wait("asked.length >= 4")
    assert page.run("asked").count(SCORES) == 1
    assert "switched off" in page.run(text("#trouble"))


def test_figures_compare_as_the_values_do(page: Page, open_one: Served) -> None:
    visit(page, open_one, HARD)
    own = float(fastroute.load("mf").score(HARD))
    for threshold in (f"{own:.4f}", f"{own + 1e-6:.6f}", f"{own - 1e-6:.6f}", f"{own + 2e-9:.10f}", "0.2"):
        page.type("#number", threshold)
        found = re.search(r"prompt (\S+) ([≥<]) (\S+) → (\w+)", page.run(text("#choice")))
        assert found, page.run(text("#choice"))
        above = own >= float(threshold)
        assert (found[2], found[4]) == (("≥", "big") if above else ("<", "small"))
        assert (float(found[1]) >= float(found[3])) is above, found[0]
    assert found[1] == f"{own:.4f}"

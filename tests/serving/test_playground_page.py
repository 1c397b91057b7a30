"""The playground's page in a real browser."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.serving import browser
from tests.serving.browser import Page, text
from tests.serving.conftest import CLIENT_KEY, HARD, Served, Start
from tests.serving.scripted_upstream import ScriptedUpstream

import fastroute

pytestmark = pytest.mark.skipif(browser.found() is None, reason=f"needs one of {', '.join(browser.NAMES)}")

PAIR = {"strong": "big", "weak": "small"}
BUILT_IN = ["experts", "mf", "knn", "sw_ranking"]
SCORED = "document.querySelectorAll('.router .score').length"
# Each router's text as the page shows it, from the top.
ROWS = """[...document.querySelectorAll('.router')].map(row => ({
  label: row.dataset.label, checked: row.querySelector('input').checked,
  score: row.querySelector('.score')?.textContent, model: row.querySelector('.model')?.textContent,
  time: row.querySelector('.time')?.textContent, error: row.querySelector('.error')?.textContent}))"""
MOVE = """(value => { const slider = document.getElementById('slider'); slider.value = value;
  slider.dispatchEvent(new Event('input', {bubbles: true})); return slider.value; })"""


@pytest.fixture(scope="module")
def one_page() -> Iterator[Page]:
    with Page() as page:
        yield page


@pytest.fixture
def page(one_page: Page) -> Page:
    """A page without a past."""
    one_page.renew()
    return one_page


@pytest.fixture
def served(start: Start) -> Served:
    return start(playground=True, routers=[{"label": label, **PAIR} for label in BUILT_IN])


def visit(page: Page, served: Served, prompt: str | None = None) -> None:
    page.visit(served.port)
    if prompt is not None:
        page.type("#prompt", prompt)
        page.wait("[...document.querySelectorAll('.router .time')].some(e => e.textContent)")


def see_clean(page: Page, served: Served) -> None:
    """No request went elsewhere, nothing was blocked, nothing is in the console."""
    page.listen(0.2)
    asked = [
        parameters["request"]["url"] for method, parameters in page.events if method == "Network.requestWillBeSent"
    ]
    asked = [url for url in asked if url != "about:blank"]
    assert len(asked) > 10
    assert {urlsplit(url).netloc for url in asked} == {f"127.0.0.1:{served.port}"}
    wrong = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Audits.issueAdded")
    assert [event for event in page.events if event[0] in wrong] == []


def test_what_is_typed_is_scored(page: Page, served: Served) -> None:
    visit(page, served)
    assert page.run("document.getElementById('no-traffic').hidden") is False
    assert page.run("document.getElementById('traffic').hidden") is True
    assert "no share to show yet" in page.run(text("#share"))
    page.type("#prompt", HARD)
    page.wait("document.querySelectorAll('.router .model').length === 4")
    said = {router["label"]: router for router in served.ask("/playground/scores", {"prompt": HARD}).json["routers"]}
    rows = page.run(ROWS)
    assert [row["label"] for row in rows] == sorted(BUILT_IN, key=lambda label: -said[label]["score"])
    for row in rows:
        assert row["score"] == f"{said[row['label']]['score']:.4f}"
        assert row["model"] == said[row["label"]]["model"]
        assert row["time"].endswith((" µs", " ms"))
        assert row["checked"] is (row["label"] == "experts")
    assert "expected to gain" in page.run(text("#explanation"))
    page.run("document.querySelector('.router[data-label=sw_ranking] input').click()")
    shown = page.run(text("#explanation"))
    for battle in said["sw_ranking"]["explanation"]["battles"]:
        assert battle["prompt"] in shown
        assert battle["model_a"] in shown
    page.run("document.querySelector('.router[data-label=knn] input').click()")
    for near in said["knn"]["explanation"]["nearest"]:
        assert near["prompt"] in page.run(text("#explanation"))
    page.run("document.querySelector('.router[data-label=mf] input').click()")
    assert "can't say" in page.run(text("#explanation"))
    assert page.run("[...document.querySelectorAll('h2 .selected')].map(e => e.textContent)") == ["mf", "mf"]
    see_clean(page, served)


def test_the_latest_of_what_is_typed_counts(page: Page, served: Served) -> None:
    visit(page, served)
    page.run(
        f"""for (const character of {json.dumps(HARD[:40])}) {{
          const prompt = document.getElementById('prompt');
          prompt.value += character; prompt.dispatchEvent(new Event('input', {{bubbles: true}})); }}"""
    )
    score = fastroute.load("mf").score(HARD[:40])
    page.wait(f"{text('.router[data-label=mf] .score')} === '{score:.4f}'")
    sent = [json.loads(request["postData"]) for request in page.requests("/playground/scores")]
    assert sent == [{"prompt": HARD[:40]}], "typing is waited for"
    page.type("#prompt", " ")
    page.wait("document.querySelectorAll('.router .model').length === 0")
    page.run("document.querySelector('#examples button').click()")
    page.wait("document.querySelectorAll('.router .model').length === 4")
    long = "Prove it, please. " * 3000
    page.type("#prompt", long)
    page.wait(f"{text('.router[data-label=mf] .score')} === '{fastroute.load('mf').score(long):.4f}'")
    see_clean(page, served)


def test_the_slider_moves_share_and_choice(page: Page, served: Served, upstream: ScriptedUpstream) -> None:
    router = fastroute.load("experts")
    prompts = [f"Prove theorem {n}." for n in range(15)] + [
        f"hi {n}, what is the capital of France?" for n in range(25)
    ]
    for prompt in prompts:
        served.chat("auto", prompt)
    visit(page, served, HARD)
    scores, own = [float(score) for score in router.score(prompts)], router.score(HARD)
    strong = sum(score >= router.threshold for score in scores)
    assert f"It got {strong} of 40, {100 * strong / 40:.1f}%." in page.run(text("#share"))
    assert float(page.run("document.getElementById('number').value")) == pytest.approx(router.threshold, abs=1e-6)
    assert page.run("document.getElementById('reset').disabled")
    page.run("document.getElementById('zoom').click()")
    assert page.run("['min', 'max'].map(name => document.getElementById('slider')[name])") == ["0", "1"]
    lines = set()
    for threshold in (0.0, 0.3, 0.48, 0.5, 0.52, 0.999, 1.0):
        assert float(page.run(f"{MOVE}({threshold})")) == threshold
        above = sum(score >= threshold for score in scores)
        assert page.run(text("#share")).startswith(f"{2.5 * above:.1f}% for big at this threshold: {above} of the 40 ")
        model = "big" if own >= threshold else "small"
        assert page.run(text("#choice")).endswith(f"→ {model}")
        assert page.run(text("#as-model")) == f"router-experts-{threshold:g}"
        assert page.run(text("#as-yaml")) == f"threshold: {threshold:g}"
        lines.add(page.run("document.querySelector('#histogram .threshold').getAttribute('x1')"))
    assert len(lines) == 7
    # what the page says to ask for is what the server takes
    assert served.chat(page.run(text("#as-model")), HARD).headers["x-fastroute-threshold"] == "1"
    page.run("document.getElementById('slider').focus()")
    page.press("ArrowLeft", 37)
    assert page.run(text("#as-yaml")) == "threshold: 0.999"
    page.run("document.getElementById('reset').click()")
    assert float(page.run(text("#as-yaml")).split()[1]) == pytest.approx(router.threshold, abs=1e-6)
    page.type("#number", "0.47")
    assert page.run("document.getElementById('slider').value") == "0.47"
    invalid = "document.getElementById('number').getAttribute('aria-invalid')"
    assert page.run(invalid) == "false"
    for wrong in ("7", "-0.1", "1e"):
        page.type("#number", wrong)
        assert page.run("document.getElementById('slider').value") == "0.47"
        assert page.run(invalid) == "true"
    page.run("document.getElementById('number').blur()")
    assert page.run("document.getElementById('number').value") == "0.47"
    assert page.run(invalid) is None
    names = page.run("[...document.querySelectorAll('[aria-label]')].map(e => e.ariaLabel)")
    assert len(set(names)) == len(names) >= 3
    see_clean(page, served)


def test_copying(page: Page, served: Served) -> None:
    visit(page, served)
    page.run("document.querySelector('[data-copies=as-yaml]').click()")
    page.wait("/copied|selected/.test(document.querySelector('[data-copies=as-yaml]').textContent)")
    page.wait("document.querySelector('[data-copies=as-yaml]').textContent === 'copy'")


def test_charts_have_the_bars_of_what_was_sent(page: Page, served: Served, upstream: ScriptedUpstream) -> None:
    visit(page, served)
    prompts = [f"Prove theorem {n}." for n in range(12)] + [f"hi {n}" for n in range(9)]
    answered = [served.chat("router-mf", prompt).headers["x-fastroute-model"] for prompt in prompts]
    served.chat("big", "hi")
    # without a hand on it, within seconds
    page.wait("document.querySelector('#figures dd')?.textContent === '22'")
    drawn = page.run(
        """[...document.querySelectorAll('#requests rect')].map(bar =>
        [bar.dataset.model, Number(bar.getAttribute('height'))])"""
    )
    heights: dict[str, float] = {}
    for model, height in drawn:
        heights[model] = heights.get(model, 0) + height
    expected = {"big": answered.count("big") + 1, "small": answered.count("small")}
    unit = sum(heights.values()) / 22
    assert heights == pytest.approx({name: count * unit for name, count in expected.items() if count}, rel=0.01)
    page.run("document.querySelector('.router[data-label=mf] input').click()")
    bars = page.run("[...document.querySelectorAll('#histogram .bar')].map(bar => Number(bar.dataset.count))")
    low, high = (round(1000 * float(page.run(f"document.getElementById('slider').{name}"))) for name in ("min", "max"))
    step = max(1, int((high - low) / 200 + 0.5))
    scored = sorted(int(float(score) * 1000) for score in fastroute.load("mf").score(prompts))
    assert bars == list(Counter((each - low) // step for each in scored).values())
    charts = page.run(
        """[...document.querySelectorAll('.chart svg')].map(chart => [chart.getAttribute('role'),
        ...chart.getAttribute('aria-labelledby').split(' ').map(id => document.getElementById(id).textContent)])"""
    )
    assert len(charts) == (4 if "small" in answered else 3)
    for role, title, description in charts:
        assert role == "img"
        assert title
        assert description
    assert page.run("[...document.querySelectorAll('#requests .name, #latency .name')].map(e => e.textContent)") == [
        "minutes",
        "minutes",
    ]
    assert "µs" in page.run(text("#latency"))
    assert page.run("document.documentElement.scrollWidth") <= 1280
    page.size(390, 844)
    page.listen(0.3)
    assert page.run("document.documentElement.scrollWidth") <= 390
    see_clean(page, served)


HOSTILE = """
from fastroute.errors import InvalidArgumentError
from fastroute.routers import BattleExplanation, NearestBattle, NearestPrompt, NeighbourExplanation

BAD = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>"

class Hostile:
    strong, weak, threshold, artifact, encoder = "a", "b", 0.5, BAD, None

    def __init__(self, name):
        self.name, self.kind = name, BAD

    def score(self, prompts):
        if self.name == "failing" and "boo" in str(prompts):
            raise InvalidArgumentError(BAD)
        return 0.9 if isinstance(prompts, str) else [0.9 for _ in prompts]

    def explain(self, prompt):
        if self.name == "battling":
            battle = NearestBattle(BAD + "javascript:alert(1)", BAD, BAD, "model_a", 1.0, 0.5, 1.0, 1)
            return BattleExplanation(0.9, 0.5, 1, (battle,) * 9)
        if self.name == "near":
            near = NearestPrompt(BAD, 0.5, 0.5, 0.5, 1.0)
            return NeighbourExplanation(0.5, 0.1, float("inf"), 0.1, False, 1, (near,))
        return BAD

from fastroute import loading
loading.load = lambda name, **kw: Hostile(name)
from fastroute.cli import main
import sys
sys.exit(main(sys.argv[1:]))
"""


def test_hostile_texts_stay_texts(page: Page, start: Start, tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text(HOSTILE)
    routers = [{"label": label, **PAIR} for label in ("battling", "near", "telling", "failing")]
    served = start(program=[sys.executable, str(script)], playground=True, routers=routers)
    visit(page, served, "boo <script>window.hit=1</script><img src=x onerror='window.hit=1'>")
    bad = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>"
    page.wait(f"{text('.router[data-label=failing] .error')}.length")
    assert page.run(text(".router[data-label=failing] .error")) == bad
    for label in ("battling", "near", "telling", "failing"):
        page.run(f"document.querySelector('.router[data-label={label}] input').click()")
        assert bad in page.run(text("#explanation"))
        if label == "battling":
            assert page.run("document.querySelectorAll('#explanation tbody tr').length") == 5
    page.listen(0.3)
    assert page.run("document.querySelectorAll('img, iframe, object, embed, body script').length") == 0
    assert page.run("document.querySelectorAll('script').length") == 1
    assert (
        page.run("[...document.querySelectorAll('*')].some(e => [...e.attributes].some(a => /^on/.test(a.name)))")
        is False
    )
    assert page.run("window.hit") is None
    see_clean(page, served)


def test_a_key_is_asked_for_and_kept_in_this_tab(page: Page, start: Start) -> None:
    served = start({"KEYS": CLIENT_KEY}, playground=True, client_keys={"env": "KEYS"})
    page.open(f"http://127.0.0.1:{served.port}/")
    page.wait("!document.getElementById('key-form').hidden")
    assert page.run("document.getElementById('main').hidden")
    assert page.run("document.getElementById('key').type") == "password"
    assert page.run(text("#key-trouble")) == ""
    page.type("#key", "wrong-key-1")
    page.press("Enter", 13, "\r")
    page.wait(f"{text('#key-trouble')} === 'The server does not know this key.'")
    page.type("#key", "schlüssel")
    page.run("document.querySelector('#key-form button').click()")
    page.wait(f"{text('#key-trouble')}.includes('ASCII')")
    page.type("#key", CLIENT_KEY)
    page.run("document.querySelector('#key-form button').click()")
    page.wait("document.body.classList.contains('live')")
    assert page.run("document.getElementById('key-form').hidden")
    page.type("#prompt", HARD)
    page.wait("document.querySelectorAll('.router .model').length === 2")
    assert CLIENT_KEY not in page.run("document.documentElement.outerHTML + location.href + document.cookie")
    assert page.run("localStorage.length") == 0
    page.call("Page.reload")
    page.listen(0.5)
    page.wait("document.body.classList.contains('live')")
    asked = [
        parameters["request"]["url"] for method, parameters in page.events if method == "Network.requestWillBeSent"
    ]
    assert not any(CLIENT_KEY in url for url in asked)
    page.run("sessionStorage.clear()")


def test_a_server_that_goes_and_comes_back(page: Page, start: Start, upstream: ScriptedUpstream) -> None:
    first = start(playground=True)
    visit(page, first, HARD)
    assert first.end() == 0
    page.wait("!document.getElementById('trouble').hidden")
    assert "can't be reached" in page.run(text("#trouble"))
    page.type("#prompt", "hi")
    page.wait(f'{text("#prompt-trouble")}.includes("can\'t be reached")')
    second = start(playground=True, listen={"port": first.port})
    page.wait("document.body.classList.contains('live')")
    page.wait(f"{text('.router[data-label=mf] .score')} === '{fastroute.load('mf').score('hi'):.4f}'")
    assert page.run("['trouble', 'prompt-trouble'].every(id => document.getElementById(id).hidden)")
    assert second.chat("auto", HARD).status == 200


def test_new_routers_appear_and_old_ones_go(page: Page, start: Start, upstream: ScriptedUpstream) -> None:
    served = start(playground=True, reload={"seconds": 0.1})
    visit(page, served, HARD)
    config = json.loads(served.path.read_text())
    config["routers"] = [{"label": label, **PAIR} for label in ("knn", "experts")]
    served.path.write_text(json.dumps(config))
    page.wait("!!document.querySelector('.router[data-label=knn] .model')")
    assert {row["label"] for row in page.run(ROWS)} == {"knn", "experts"}
    assert page.run(text("#threshold .selected")) == "knn"
    del config["routers"]
    served.path.write_text(json.dumps(config))
    page.wait(f"{text('#routers')}.includes('no routers')")
    see_clean(page, served)


def test_a_hidden_page_asks_nothing(page: Page, served: Served) -> None:
    visit(page, served)
    # Headless pages are never hidden: this one is told that it is.
    page.run("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.events.clear()
    page.listen(1.5)  # the one that is due finds that nobody looks
    assert not [event for event in page.events if event[0] == "Network.requestWillBeSent"]
    page.run("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_requests("/playground/hour", 1)


def luminance(colour: str) -> float:
    red, green, blue = (float(each) / 255 for each in colour.removeprefix("rgb(").removesuffix(")").split(","))
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_are_readable(page: Page, served: Served, upstream: ScriptedUpstream, scheme: str) -> None:
    served.chat("auto", HARD)
    page.scheme(scheme)
    visit(page, served, HARD)
    page.wait("!!document.querySelector('#requests .tick')")
    back = luminance(page.run("getComputedStyle(document.querySelector('.card')).backgroundColor"))
    assert (back > 0.5) is (scheme == "light")
    for selector, name in (("body", "color"), (".note", "color"), ("#requests .tick", "fill"), ("th", "color")):
        front = luminance(page.run(f"getComputedStyle(document.querySelector({selector!r})).{name}"))
        ratio = (max(front, back) + 0.05) / (min(front, back) + 0.05)
        assert ratio >= 4.5, (selector, ratio)
    graphic = [("#requests rect", "fill"), ("#histogram .bar", "fill"), (".score-bar rect:nth-of-type(2)", "fill")]
    for selector, name in [*graphic, ("#prompt", "borderTopColor"), ("#number", "borderTopColor")]:
        front = luminance(page.run(f"getComputedStyle(document.querySelector({selector!r})).{name}"))
        assert (max(front, back) + 0.05) / (min(front, back) + 0.05) >= 3, selector
    # what is not drawn here; and what colours may lie upon: a card, a router that is chosen, the page
    colours = [f"--series-{number}" for number in range(8)] + ["--edge", "--accent", "--error"]
    computed = """(name => { const made = document.body.appendChild(document.createElement('p'));
      made.style.color = `var(${name})`; const found = getComputedStyle(made).color; made.remove(); return found; })"""
    behind = {name: luminance(page.run(f"{computed}({name!r})")) for name in ("--card", "--soft", "--page")}
    for name in colours:
        front = luminance(page.run(f"{computed}({name!r})"))
        for place, back in behind.items():
            assert (max(front, back) + 0.05) / (min(front, back) + 0.05) >= 3, (name, place)
    see_clean(page, served)

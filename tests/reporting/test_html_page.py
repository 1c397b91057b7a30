"""The page: nothing of the log gets out of its text, nothing is loaded, and a browser shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fastroute.reporting import Report, html_page, report

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></svg><style>*{display:none}</style>",
    "' onmouseover='alert(1)",
    "&lt;b&gt;",
    "\x1b[31mred\u202e",
    "url(http://example.invalid/a.png)",
    "",
]
VOID = {"meta", "br"}
PLAIN_TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "h1",
    "h2",
    "p",
    "div",
    "span",
    "b",
    "footer",
    "br",
}
TABLE_TAGS = {"table", "thead", "tbody", "tr", "th", "td"}
ALLOWED_TAGS = PLAIN_TAGS | TABLE_TAGS | {"svg", "text", "line", "path", "rect", "circle"}
PLAIN_ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "role", "aria-label"}
PLACES = {"viewbox", "x", "y", "x1", "y1", "x2", "y2", "d", "width", "height", "cx", "cy", "r", "text-anchor"}
ALLOWED_ATTRIBUTES = PLAIN_ATTRIBUTES | PLACES
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Checked(HTMLParser):
    """Collects the text, and refuses tags and attributes that the page has no use for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED_TAGS
        assert {name for name, _ in attrs} <= ALLOWED_ATTRIBUTES
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in ALLOWED_TAGS
        assert {name for name, _ in attrs} <= ALLOWED_ATTRIBUTES

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def hostile(written) -> Report:
    random = np.random.default_rng(0)
    scores = np.clip(random.normal(0.5, 0.05, 4000), 0, 1)
    columns = {"<b>team</b>": random.choice(HOSTILE, 4000).tolist()}
    models = np.where(scores >= 0.5, "<i>large</i>", "small & cheap").tolist()
    log = written("<u>log.jsonl", scores, model=models, **columns)
    against = written("<u>other.csv", np.clip(random.normal(0.49, 0.05, 3000), 0, 1))
    return report(log, against=against, by="<b>team</b>", budget=10.0)


def test_hostile_values_stay_text(hostile):
    page = html_page(hostile)
    text = " ".join(Checked(page).texts)
    for value in HOSTILE[:5]:
        assert value in text
    assert "\\x1b[31mred\\u202e" in text
    assert "(empty)" in text
    assert "<u>log.jsonl" in text
    assert "<i>large</i> and small & cheap" in text
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_nothing_is_loaded(hostile):
    page = html_page(hostile)
    assert "default-src 'none'" in page
    assert "@import" not in page
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert re.findall(r"\b(?:src|href|srcset|on\w+)=[\"']", page) == []


def test_the_figures_are_there(hostile):
    text = " ".join(Checked(html_page(hostile)).texts)
    assert "4,000" in text
    assert repr(hostile.cut.threshold) in text
    assert f"{hostile.calibration.drift.psi:.4f}" in text
    for group in hostile.grouping.groups:
        assert f"{group.rows:,}" in text


@pytest.mark.parametrize("scores", [[0.5], [0.3] * 50, [0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5 + 1e-7]])
@pytest.mark.parametrize("grouped", [{}, {"by": "team"}, {"by_day": "time"}])
def test_degenerate_logs(written, scores, grouped):
    n = len(scores)
    log = written("log.csv", scores, team=["a"] * n, time=["2026-11-02"] * n)
    found = report(log, against=log, **grouped)
    page = html_page(found)
    Checked(page)
    assert "nan" not in page.lower()
    assert not re.search(r"\binf\b", page)
    for low, high in zip(found.shape.edges[:-1], found.shape.edges[1:], strict=True):
        assert low <= high


def test_prices_of_nothing(written):
    from fastroute.reporting import Prices

    found = report(written("log.csv", [0.1, 0.9]), prices=Prices(0.0, 0.0))
    assert found.cut.saved_share == 0
    Checked(html_page(found))


def test_the_same_page_every_time(hostile):
    assert html_page(hostile) == html_page(hostile)


@pytest.fixture
def chromium(tmp_path: Path) -> list[str]:
    """Command line of a browser that can reach no address."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the path (chromium, chromium-browser, google-chrome)")
    return [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", "--no-proxy-server", "--no-first-run", "--window-size=1000,1400"),
    ]


def shown(chromium: list[str], page: Path) -> tuple[str, list[str]]:
    """Return the document as the browser has it, and what it asked for on the page's behalf, not on its own."""
    log = page.with_suffix(".net.json")
    options = [f"--log-net-log={log}", "--dump-dom", page.as_uri()]
    ended = subprocess.run([*chromium, *options], capture_output=True, text=True, timeout=120, check=True)
    asked = re.findall(
        r'"site_for_cookies":"[^"]*site=file:[^"]*","url":"(\w+://[^"]*)"', log.read_text(errors="replace")
    )
    return ended.stdout, [url for url in asked if not url.startswith("file:")]


@pytest.mark.slow
class TestInChromium:
    def test_it_is_shown_and_asks_for_nothing(self, hostile, tmp_path, chromium):
        page = tmp_path / "page.html"
        page.write_text(html_page(hostile))
        document, asked = shown(chromium, page)
        assert asked == []
        text = " ".join(Checked(document).texts)
        for wanted in ("What a threshold does", "By <b>team</b>", *HOSTILE[:5]):
            assert wanted in text

    def test_a_page_that_asks_would_be_seen(self, tmp_path, chromium):
        page = tmp_path / "page.html"
        page.write_text('<!DOCTYPE html><img src="http://example.invalid/a.png">')
        assert set(shown(chromium, page)[1]) == {"http://example.invalid/a.png"}

    @pytest.mark.parametrize(("scheme", "paper"), [(0, (18, 24, 31)), (1, (255, 255, 255))], ids=["dark", "light"])
    def test_it_is_painted_in_the_reader_s_colours(self, hostile, tmp_path, chromium, scheme, paper):
        image = pytest.importorskip("matplotlib.image", reason="matplotlib reads the screenshot")
        page, picture = tmp_path / "page.html", tmp_path / "page.png"
        page.write_text(html_page(hostile))
        options = [f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}", page.as_uri()]
        subprocess.run([*chromium, *options], capture_output=True, timeout=120, check=True)
        pixels = (image.imread(picture)[..., :3] * 255).round().astype(int)
        assert tuple(pixels[5, 5]) == paper
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50

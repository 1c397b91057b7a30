"""Take the picture of the playground: ``python -m benchmarks.playground_picture -o docs/images/playground.png``.

The page, the server, its routers and their decisions are real. Scripted are the prompts, made of templates; the models
behind the server, whose answers and token counts are made up; and the clock of the hour, which this program moves on,
so that an hour passes in seconds.
"""

from __future__ import annotations

import argparse
import io
import math
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.serving.browser import Page, found
from tests.serving.conftest import Served, configuration
from tests.serving.scripted_upstream import ANSWER, ScriptedUpstream

# A server whose hour takes its minute from a file; nothing else of it is changed.
SERVER = """
import functools, pathlib, sys
import fastroute.serving.playground.answers as answers
from fastroute.cli import main
minute = pathlib.Path({path!r})
answers.Hour = functools.partial(answers.Hour, clock=lambda: 60.0 * int(minute.read_text()))
sys.exit(main(sys.argv[1:]))
"""
SUBJECTS = ["photosynthesis", "the French Revolution", "a binary heap", "inflation", "black holes", "the violin"]
TEMPLATES = [
    "What is {subject}?",
    "Write a haiku about {subject}.",
    "Translate 'I like {subject}' to Spanish.",
    "Explain {subject} to a child of {n}, then to an expert, and say where the two accounts disagree.",
    "Prove by induction that the sum of the first n odd numbers is n^2, then generalise to step {n}.",
    "A train leaves at {n}:15 with 80 km/h and another at {n}:40 with 110 km/h. When does the second catch up?",
    "Write a Python function that finds the {n} longest palindromes of a text in O(n), with tests.",
    "Thanks! Can you make it {n} words shorter?",
    "hi",
    "Give me {n} names for a cat.",
    "Find all real x with x^{n} - 5x + 3 = 0 and justify the number of roots.",
    "My code fails: `for i in range({n}): a[i] = a[i + 1]`. IndexError: list index out of range. Why?",
    "Compare {subject} and {other} in a table with {n} rows, and cite sources.",
]
ROUTERS = ["experts", "mf", "knn", "sw_ranking"]
PROMPT = "Prove that the square root of 2 is irrational, and say which step fails for 4."
COLOURS = 256


def prompts(draw: random.Random, count: int) -> list[str]:
    found = []
    for _ in range(count):
        subject, other = draw.sample(SUBJECTS, 2)
        found.append(draw.choice(TEMPLATES).format(subject=subject, other=other, n=draw.randint(2, 9)))
    return found


def spread(served: Served, minute: Path, draw: random.Random, upstream: ScriptedUpstream) -> None:
    """Send an hour of traffic: two humps, one of them while the strong model fails now and then."""
    for now in range(60):
        minute.write_text(str(now))
        busy = 5 + 9 * math.exp(-(((now - 17) / 7) ** 2)) + 16 * math.exp(-(((now - 46) / 6) ** 2))
        upstream.script["big"] = "status:500" if now == 47 else "ok:0.004"
        for prompt in prompts(draw, round(draw.gauss(busy, busy / 8))):
            model = draw.choices(["auto", "router-mf", "router-knn", "router-sw_ranking", "small"], [20, 2, 1, 1, 1])[0]
            usage = {"prompt_tokens": 40 * len(prompt), "completion_tokens": draw.randint(200, 2400)}
            upstream.answers["small"] = ANSWER | {"usage": usage}
            reply = served.chat(model, prompt)
            if reply.status != 200:
                raise RuntimeError(f"{prompt!r}: found status {reply.status}, expected 200: {reply.body!r}")


def take(
    page: Page, url: str, path: Path, *, scheme: str = "light", size: tuple[int, int] = (1280, 950), why: str = ""
) -> None:
    page.scheme(scheme)
    page.size(*size)
    page.open(url)
    page.wait("document.querySelectorAll('.router').length > 0")
    page.type("#prompt", PROMPT)
    page.wait("document.querySelectorAll('.router .model').length > 0")
    if why:
        page.run(f"document.querySelector('.router[data-label={why}] input').click()")
    page.run("document.activeElement.blur()")
    page.listen(0.3)
    page.picture(path, whole=size[0] < 600)


def shrink(path: Path) -> None:
    """Save a picture again with few colours, where Pillow is installed."""
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    content = io.BytesIO()
    few.save(content, "PNG", optimize=True)
    path.write_bytes(content.getvalue())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--more", type=Path, help="folder for pictures of other widths, schemes and routers")
    arguments = parser.parse_args()
    if found() is None:
        print("needs chromium", file=sys.stderr)
        return 1
    draw = random.Random(5)
    upstream = ScriptedUpstream()
    with tempfile.TemporaryDirectory() as name:
        folder, minute = Path(name), Path(name) / "minute"
        minute.write_text("0")
        program = folder / "server.py"
        program.write_text(SERVER.format(path=str(minute)))
        pair = {"strong": "big", "weak": "small"}
        changes: dict[str, Any] = {"playground": True, "routers": [{"label": label, **pair} for label in ROUTERS]}
        served = Served(folder, configuration(upstream, **changes), {}, [sys.executable, str(program)])
        try:
            spread(served, minute, draw, upstream)
            url = f"http://127.0.0.1:{served.port}/"
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            with Page() as page:
                take(page, url, arguments.output)
                if arguments.more is not None:
                    arguments.more.mkdir(parents=True, exist_ok=True)
                    take(page, url, arguments.more / "dark.png", scheme="dark", why="sw_ranking")
                    take(page, url, arguments.more / "phone.png", size=(390, 844), why="knn")
        finally:
            served.end()
            upstream.close()
    shrink(arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

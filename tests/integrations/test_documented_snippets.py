"""The snippets of docs/integrations.md, as they stand, against a scripted upstream."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integrations.scripted_upstream import serving

pytest.importorskip("aiohttp", reason="the scripted upstream needs aiohttp")
pytestmark = [pytest.mark.plugs, pytest.mark.slow]

# What each prints, and the packages that it needs.
SNIPPETS = {
    "LiteLLM: a classifier": (["litellm"], ["COMPLEX", "gpt-5 answers", "SIMPLE", "gpt-5-mini answers"]),
    "LiteLLM: a custom strategy": (["litellm"], ["gpt-5 answers", "gpt-5-mini answers"]),
    "LangChain": (["langchain_core", "langchain_openai"], ["gpt-5 answers", "look_up gpt-5-mini", "gpt-5-mini"]),
    "LlamaIndex": (
        ["llama_index.core", "llama_index.llms.openai_like"],
        ["gpt-5 answers score", "gpt-5-mini answers score"],
    ),
}


def snippets(checkout: Path) -> dict[str, str]:
    text = (checkout / "docs" / "integrations.md").read_text(encoding="utf-8")
    sections = (section.partition("\n") for section in re.split(r"^## ", text, flags=re.MULTILINE))
    return {
        title: code.group(1)
        for title, _, body in sections
        if (code := re.search(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL))
    }


def has(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def supported(title: str) -> str | None:
    """Why a snippet can't run with the installed LiteLLM, if so."""
    root = importlib.util.find_spec("litellm")
    if not title.startswith("LiteLLM") or root is None or root.origin is None:
        return None
    folder = Path(root.origin).parent
    if title.endswith("classifier"):
        plugged = "class ClassifierPlugin" in (folder / "types" / "router.py").read_text(encoding="utf-8")
        return None if plugged else "this LiteLLM has no classifier plugins"
    return "this LiteLLM keeps its picks from strategies" if (folder / "router_core.py").exists() else None


def test_every_section_has_its_snippet(checkout: Path) -> None:
    assert list(snippets(checkout)) == list(SNIPPETS)


@pytest.mark.parametrize("title", SNIPPETS)
def test_a_snippet_prints_what_it_should(checkout: Path, title: str) -> None:
    packages, expected = SNIPPETS[title]
    missing = [name for name in packages if not has(name)]
    reason = f"needs {', '.join(missing)}" if missing else supported(title)
    if reason is not None:
        pytest.skip(reason)
    with serving() as upstream:
        environment = {
            **os.environ,
            "OPENAI_API_KEY": "unused",
            "OPENAI_BASE_URL": upstream.url,
            "LANGSMITH_TRACING": "false",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        ended = subprocess.run(
            [sys.executable, "-c", snippets(checkout)[title]],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert ended.returncode == 0, ended.stderr[-3000:]
    lines = ended.stdout.splitlines()
    assert len(lines) == len(expected), ended.stdout
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines

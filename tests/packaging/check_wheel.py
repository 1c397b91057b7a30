"""Check a wheel's contents: ``python tests/packaging/check_wheel.py dist/*.whl``.

A wheel without its extension module installs without a complaint, so what is in it is compared with what must be.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

MAX_BYTES = 40 * 1000 * 1000

ENCODER = ("encoder.json", "encoder.safetensors", "tokenizer.json")
ROUTERS = {
    "bert": ("router.json", "weights.safetensors", "encoder.json", "model.onnx", "tokenizer.json"),
    "experts": ("router.json", "weights.safetensors"),
    "knn": ("router.json", "index.safetensors", "prompts.safetensors"),
    "mf": ("router.json", "weights.safetensors"),
    "sw_ranking": ("router.json", "index.safetensors", "battles.safetensors", "moments.safetensors"),
}

PAGE = ("index.html", "style.css", "icon.svg")
SCRIPTS = ("playground", "server", "routers", "threshold", "traffic", "charts", "dom")

REQUIRED = [
    r"fastroute/_core\.[\w.-]*\.so",
    r"fastroute/_core\.pyi",
    r"fastroute/py\.typed",
    *(rf"fastroute/assets/encoders/static-minilm-l6/{re.escape(name)}" for name in ENCODER),
    *(rf"fastroute/assets/routers/{kind}/{re.escape(name)}" for kind, names in ROUTERS.items() for name in names),
    *(rf"fastroute/serving/playground/page/{re.escape(name)}" for name in PAGE),
    *(rf"fastroute/serving/playground/page/{name}\.js" for name in SCRIPTS),
    r"fastroute/training/comparisons/plans/open-data\.json",
    r"fastroute-[\w.]+\.dist-info/licenses/LICENSE",
    r"fastroute-[\w.]+\.dist-info/licenses/NOTICE",
    r"fastroute-[\w.]+\.dist-info/entry_points\.txt",
]
ALLOWED = [
    *REQUIRED,
    r"fastroute/(\w+/)*\w+\.py",
    r"fastroute-[\w.]+\.dist-info/(METADATA|RECORD|WHEEL)",
]


def problems(names: list[str]) -> list[str]:
    """What is missing from a list of a wheel's files, and what should not be there."""
    missing = [f"missing: {p}" for p in REQUIRED if not any(re.fullmatch(p, name) for name in names)]
    unexpected = [f"unexpected: {n}" for n in names if not any(re.fullmatch(p, n) for p in ALLOWED)]
    return missing + unexpected


def main(path: str) -> int:
    """Print what is wrong with a wheel; 1 if anything is."""
    with zipfile.ZipFile(path) as wheel:
        found = problems([name for name in wheel.namelist() if not name.endswith("/")])
    size = Path(path).stat().st_size
    if size > MAX_BYTES:
        found.append(f"{size} bytes, allowed: {MAX_BYTES}")
    print("\n".join(found) or f"{Path(path).name}: contents as they must be, {size / 1e6:.1f} MB")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""The C++ tests, plain and under the sanitizers: one case for each executable of CMakeLists.txt."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
EXECUTABLES = re.findall(r"^fastroute_test\((\w+)\)$", (HERE / "CMakeLists.txt").read_text(), re.MULTILINE)
UNDER_THREAD_SANITIZER = ["thread_pool_runs", "concurrent_scoring"]
LONGEST_RUN = 600  # seconds

Build = Callable[[str, list[str]], Path]


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    # An environment's own cmake and ninja come first.
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LONGEST_RUN,
        check=False,
        env={**os.environ, "PATH": path, "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"},
    )


def _compiler() -> str:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    return compiler


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Build:
    """Build some of the executables with a sanitizer (none: ""), once each, and return their folder."""
    built: dict[tuple[str, ...], Path] = {}

    def run(sanitizer: str, targets: list[str]) -> Path:
        key = (sanitizer, *targets)
        if key in built:
            return built[key]
        compiler = _compiler()
        folder = tmp_path_factory.mktemp("cpp")
        if sanitizer:
            (folder / "probe.cpp").write_text("int main() { return 0; }\n")
            probe = [compiler, f"-fsanitize={sanitizer}", folder / "probe.cpp", "-o", folder / "probe"]
            if _run(*probe).returncode or _run(folder / "probe").returncode:
                pytest.skip(f"-fsanitize={sanitizer} does not work here")
        options = [
            f"-DCMAKE_CXX_COMPILER={compiler}",
            "-DFASTROUTE_BUILD_TESTS=ON",
            f"-DFASTROUTE_SANITIZE={sanitizer}",
        ]
        for command in (
            ["cmake", "-G", "Ninja", "-S", checkout, "-B", folder, *options],
            ["cmake", "--build", folder, "--target", *targets],
        ):
            ended = _run(*command)
            assert ended.returncode == 0, ended.stdout + ended.stderr
        built[key] = folder / "tests" / "cpp"
        return built[key]

    return run


def _passes(executable: Path) -> None:
    ended = _run(executable)
    output = ended.stdout + ended.stderr
    assert ended.returncode == 0, output
    assert re.search(r"[1-9]\d* cases, 0 failures", ended.stdout), output
    assert "runtime error" not in output, output
    assert "Sanitizer" not in output, output


@pytest.mark.parametrize("name", EXECUTABLES)
def test_passes(name: str, build: Build) -> None:
    _passes(build("", EXECUTABLES) / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXECUTABLES)
def test_passes_under_address_and_undefined_behaviour_sanitizers(name: str, build: Build) -> None:
    _passes(build("address,undefined", EXECUTABLES) / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", UNDER_THREAD_SANITIZER)
def test_passes_under_thread_sanitizer(name: str, build: Build) -> None:
    _passes(build("thread", UNDER_THREAD_SANITIZER) / name)


def test_every_file_is_built() -> None:
    assert sorted(EXECUTABLES) == sorted(path.stem for path in HERE.glob("*.cpp"))

"""What the compiled parts are made of (scorecard 5)."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastroute import _core

INSTRUCTION_SETS = ["avx2", "avx512", "avx512_vnni"]
ALLOWED_LIBRARIES = r"(libstdc\+\+|libgcc_s|libm|libc|libpthread|ld-linux[\w-]*)\.so(\.\d+)*|libc\.musl-\w+\.so\.1"


def run(*command: object) -> str:
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    ended = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module", params=["Release", "Debug"])
def objects(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, checkout: Path
) -> dict[str, Path]:
    """Object file of each source in csrc/."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("one instruction set only on this processor")
    for tool in ("c++", "nm"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here")
    folder = tmp_path_factory.mktemp("kernels")
    run("cmake", "-G", "Ninja", "-S", checkout, "-B", folder, f"-DCMAKE_BUILD_TYPE={request.param}")
    run("cmake", "--build", folder, "--target", "fastroute_kernels")
    return {path.name.split(".")[0]: path for path in folder.rglob("csrc/*.o")}


def symbols(path: Path) -> list[tuple[str, str]]:
    """Kind and name of each symbol of an object file."""
    return re.findall(r"^[0-9a-f ]{16} (\S) (.*)$", run("nm", "-C", path), re.MULTILINE)


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_objects_with_wide_instructions_share_no_code(objects: dict[str, Path], name: str) -> None:
    """A weak symbol could be the copy that runs on a processor without these instructions."""
    found = symbols(objects[name])
    assert [symbol for kind, symbol in found if kind in "WwVvu"] == []
    tables = [symbol for kind, symbol in found if kind in "DRBT"]
    if name == "avx512_vnni":  # its one kernel is in a table of avx512
        assert [symbol.partition("(")[0] for symbol in tables] == ["fastroute::kernels::dot_blocks_vnni"]
        return
    more = ["fastroute::kernels::kAvx512VnniTable"] if name == "avx512" else []
    assert sorted(tables) == sorted([f"fastroute::kernels::k{name.capitalize()}Table", *more])


@pytest.mark.parametrize(
    ("name", "wide"), [("scalar", False), ("dispatch", False), ("avx2", True), ("avx512", True), ("avx512_vnni", True)]
)
def test_only_they_have_wide_instructions(objects: dict[str, Path], name: str, wide: bool) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("no objdump here")
    assert (re.search("%[yz]mm", run("objdump", "-d", objects[name])) is not None) == wide


def test_the_module_needs_the_c_and_cpp_libraries_only() -> None:
    if shutil.which("readelf") is None or sys.platform != "linux":
        pytest.skip("needs readelf")
    dynamic = run("readelf", "-d", _core.__file__)
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    assert needed
    # Under a sanitizer the module needs its run-time library too.
    assert [name for name in needed if not re.fullmatch(ALLOWED_LIBRARIES + r"|lib[atu]\w*san\.so\.\d+", name)] == []
    assert "RPATH" not in dynamic
    assert "RUNPATH" not in dynamic


def test_the_module_is_the_one_of_this_package() -> None:
    assert Path(_core.__file__).name.startswith("_core.")
    assert _core.__name__ == "fastroute._core"

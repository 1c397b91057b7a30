"""Builds what is counted and runs it under callgrind."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.instructions.comparison import Measured, read_dumps

CHECKOUT = Path(__file__).resolve().parents[2]
SLOWED = "slowed "  # begins the label of a call that router_calls.py makes slower on purpose
LONGEST_RUN = 600  # seconds

_FLAGS = ("--enable-optimizations", "--with-lto", "--enable-shared", "--with-pydebug", "--disable-gil")
_COMPILERS = {"Clang": rb"clang version (\d[\d.]+)", "GNU": rb"GCC: \(.*?\) (\d[\d.]+)"}


class UnavailableError(Exception):
    """Instructions can't be counted here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What was built: the program that calls the kernels, and the library for Python."""

    kernels: Path
    requests: Path


def build(folder: Path) -> Programs:
    """Build in a folder, on one core.

    Raises
    ------
    UnavailableError
        valgrind, its header, cmake, ninja or a compiler is missing.
    """
    compiler = os.environ.get("CXX") or next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        raise UnavailableError("no C++ compiler here")
    for tool in ("valgrind", "cmake", "ninja"):
        if shutil.which(tool, path=_path()) is None:
            raise UnavailableError(f"no {tool} here")
    probe = [compiler, "-E", "-x", "c++", "-", "-o", os.devnull]
    if _run(probe, written="#include <valgrind/callgrind.h>\n").returncode:
        raise UnavailableError(
            "no valgrind/callgrind.h here: it comes with valgrind, or with its package for development"
        )
    generate = ["cmake", "-G", "Ninja", "-S", CHECKOUT, "-B", folder, "-DFASTROUTE_INSTRUCTIONS=ON"]
    _checked([*generate, f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=Release"])
    _checked(["cmake", "--build", folder, "--parallel", "1", "--target", "kernel_instructions", "counting_requests"])
    built = folder / "benchmarks" / "instructions"
    return Programs(built / "kernel_instructions", built / "counting_requests.so")


def count_kernels(programs: Programs, folder: Path, *, extra_pass: bool = False) -> Measured:
    """Count one call of each kernel at each level.

    Parameters
    ----------
    folder
        For callgrind's file.
    extra_pass
        Whether each call is made slower on purpose, by one more read of its input.
    """
    printed, counts = _callgrind([programs.kernels, *(["--extra-pass"] if extra_pass else [])], folder)
    levels = dict.fromkeys(label.rsplit(", ", 1)[1] for label in counts)
    environment = {**_machine(), "compiler": printed["compiler"], "levels": " ".join(levels)}
    return Measured("kernels", environment, {}, counts)


def count_calls(programs: Programs, folder: Path) -> tuple[Measured, dict[str, int]]:
    """Count one call of `score` and `route` of the built-in routers, from Python.

    Returns
    -------
    tuple
        The counts, and those of calls that were made slower on purpose.
    """
    command = [sys.executable, "-m", "benchmarks.instructions.router_calls", programs.requests]
    printed, counts = _callgrind(command, folder)
    slowed = {label.removeprefix(SLOWED): counts.pop(label) for label in list(counts) if label.startswith(SLOWED)}
    environment = {
        **_machine(),
        "compiler": _compiler_of_core(),
        "level": printed["simd"],
        "python": _python(),
        "libc": " ".join(platform.libc_ver()),
    }
    versions = {"python": platform.python_version(), "numpy": version("numpy"), "fastroute": version_of_fastroute()}
    return Measured("calls", environment, versions, counts), slowed


def version_of_fastroute() -> str:
    """Return the version of the package that is imported here."""
    import fastroute

    return fastroute.__version__


def _machine() -> dict[str, str]:
    valgrind = _checked(["valgrind", "--version"]).removeprefix("valgrind-").strip()
    return {"machine": platform.machine(), "valgrind": valgrind}


def _python() -> str:
    """Name the interpreter by all that changes its machine code."""
    configured = str(sysconfig.get_config_var("CONFIG_ARGS"))
    flags = [flag for flag in _FLAGS if flag in configured]
    number = ".".join(platform.python_version_tuple()[:2])
    return " ".join([platform.python_implementation(), number, f"({platform.python_compiler()})", *flags])


def _compiler_of_core() -> str:
    """Read in the native module which compiler made it."""
    from fastroute import _core

    content = Path(str(_core.__file__)).read_bytes()
    for name, pattern in _COMPILERS.items():
        found = re.search(pattern, content)
        if found:
            return f"{name} {found[1].decode()}"
    return "unknown"


def _callgrind(command: Sequence[object], folder: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Run a command that asks for dumps; return the pairs of words that it prints, and its counts."""
    file = folder / "callgrind.out"
    file.unlink(missing_ok=True)
    options = ["--tool=callgrind", "--instr-atstart=no", "--combine-dumps=yes", f"--callgrind-out-file={file}"]
    # A level, a number of threads or a seed from outside would be counted too.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FASTROUTE_")}
    # pymalloc's work depends on where in its pools the objects of all imports came to lie; glibc's hardly.
    variables |= {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    printed = _checked(["valgrind", "-q", *options, *command], variables)
    pairs = dict(line.split(" ", 1) for line in printed.splitlines())
    return pairs, read_dumps(file.read_text(encoding="utf-8"))


def _path() -> str:
    # An environment's own cmake and ninja come first.
    return os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])


def _checked(command: Sequence[object], variables: Mapping[str, str] | None = None) -> str:
    ended = _run(command, variables)
    if ended.returncode:
        raise RuntimeError(f"{command[0]} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def _run(
    command: Sequence[object], variables: Mapping[str, str] | None = None, *, written: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=CHECKOUT,
        env={**(os.environ if variables is None else variables), "PATH": _path()},
        input=written,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LONGEST_RUN,
        check=False,
    )

"""What is missing where CUDA was asked for."""

from __future__ import annotations

import ctypes
from importlib.metadata import PackageNotFoundError, distribution

from fastroute.errors import FastrouteError, InvalidArgumentError, MissingDependencyError

__all__ = ["missing_for_cuda"]


def missing_for_cuda(*, built_for_cuda: bool, said: str = "") -> FastrouteError:
    """Error that says why a session can't be on CUDA.

    Parameters
    ----------
    built_for_cuda
        Whether the installed ONNX Runtime has CUDA in it.
    said
        What ONNX Runtime said.
    """
    if not built_for_cuda:
        cpu, gpu = _is_installed("onnxruntime"), _is_installed("onnxruntime-gpu")
        if cpu and gpu:
            return MissingDependencyError(
                "device: found 'cuda', but onnxruntime and onnxruntime-gpu are both installed, into one folder, and "
                "the former is on top: pip uninstall onnxruntime onnxruntime-gpu, then pip install 'fastroute[gpu]'"
            )
        if cpu:
            return MissingDependencyError(
                "device: found 'cuda', but onnxruntime is installed, which runs on the CPU alone: "
                "pip uninstall onnxruntime, then pip install 'fastroute[gpu]'"
            )
        return MissingDependencyError(
            "device: found 'cuda', but the installed ONNX Runtime was built without CUDA: pip install 'fastroute[gpu]'"
        )
    problem = _driver_problem()
    if problem:
        return InvalidArgumentError(f"device: found 'cuda', allowed here: 'cpu'; {problem}")
    reason = f": {said:.500}" if said else ""
    return MissingDependencyError(
        f"device: found 'cuda', and a CUDA device is there, but ONNX Runtime can't use it{reason}. It needs the CUDA "
        f"and cuDNN libraries of its release (pip install 'onnxruntime-gpu[cuda,cudnn]'; onnxruntime.preload_dlls())"
    )


def _driver_problem() -> str:
    """Say what is wrong with the CUDA driver; nothing where it sees a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no CUDA driver (libcuda.so.1) is installed"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the CUDA driver sees no device"
    return ""


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True

"""Sessions of ONNX Runtime: one per graph, device and number of threads in a process."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute import _core
from fastroute.errors import DataError, MissingDependencyError
from fastroute.onnx.devices import missing_for_cuda

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastroute.onnx.arguments import Device

__all__ = ["GraphSession", "import_onnxruntime", "shared_session"]

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
_PROVIDERS: dict[str, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    # What CUDA has no kernel for, such as arithmetic on shapes, stays on the CPU.
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}
_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
_TELEMETRY = "ORT_DISABLE_TELEMETRY"
_BLOCKS_OF_8_BITS = (1, 22)  # the first version that runs MatMulNBits with weights of 8 bits
_FATAL_ALONE = 4  # severity: warnings would go to stderr, and so would errors, which are raised anyway


def import_onnxruntime(device: Device = "cpu") -> Any:
    """Import ONNX Runtime, or say which extra has it.

    Since 1.29 its wheels send telemetry from a thread that starts with the import, unless the environment says
    otherwise. No call of fastroute uses the network, so it is told not to; ``ORT_DISABLE_TELEMETRY=0`` in the
    environment, or importing it first, leaves the choice to the application.
    """
    try:
        with _without_telemetry():
            import onnxruntime
    except ImportError as error:
        extra = "gpu" if device == "cuda" else "bert"
        raise MissingDependencyError(
            f"a model on ONNX Runtime needs onnxruntime: pip install 'fastroute[{extra}]'"
        ) from error
    return onnxruntime


@contextmanager
def _without_telemetry() -> Iterator[None]:
    if "onnxruntime" in sys.modules or _TELEMETRY in os.environ:
        yield
        return
    os.environ[_TELEMETRY] = "1"  # read once, when the library is loaded
    try:
        yield
    finally:
        os.environ.pop(_TELEMETRY, None)


class GraphSession:
    """A session of a graph that takes token ids. Any number of threads may run it at once.

    The graph takes `input_ids` and, if it has them, `attention_mask` and `token_type_ids`, all int64 or int32 of
    shape (batch, length) with both extents open.

    Parameters
    ----------
    graph
        The .onnx file, checked by `check_graph`. The session is made of these bytes and never of a path, so that
        nothing relative to a path can be found.
    source
        Its name, for messages.
    output
        Names of the output to read, the first of them that the graph has; else its first output.
    device, threads
        Where to run, and how many threads one run may use. They sleep and do not spin while there is nothing to do.

    Raises
    ------
    MissingDependencyError
        ONNX Runtime is not installed, not the one for the device, or too old for the graph.
    InvalidArgumentError
        The device is not there.
    DataError
        ONNX Runtime doesn't load the graph, or its inputs and outputs are others.
    """

    def __init__(
        self, graph: bytes, *, source: str, output: tuple[str, ...], device: Device = "cpu", threads: int = 1
    ) -> None:
        runtime = import_onnxruntime(device)
        self._source, self._device, self._runtime = source, device, runtime
        if device == "cuda" and "CUDAExecutionProvider" not in runtime.get_available_providers():
            raise missing_for_cuda(built_for_cuda=False)
        options = _options(runtime, threads)
        try:
            # Without the fallback, which would run on the CPU what was asked for elsewhere, and print that it does.
            self._session: Any = runtime.InferenceSession(
                graph, options, providers=_PROVIDERS[device], enable_fallback=0, read_config_from_model=0
            )
        except MemoryError:
            raise
        except Exception as error:
            if device == "cuda" and "CUDA" in str(error):
                raise missing_for_cuda(built_for_cuda=True, said=str(error)) from error
            if "MatMulNBits" in str(error) and _version(runtime) < _BLOCKS_OF_8_BITS:
                raise MissingDependencyError(
                    f"{source}: has weights of 8 bits in blocks (MatMulNBits), which onnxruntime {runtime.__version__} "
                    f"doesn't run; 1.22 or later is needed: pip install 'onnxruntime>=1.22'"
                ) from error
            raise DataError(f"{source}: ONNX Runtime can't load it: {error}") from error
        if device == "cuda" and "CUDAExecutionProvider" not in self._session.get_providers():
            raise missing_for_cuda(built_for_cuda=True)
        self._check_inputs()
        outputs = {each.name: each for each in self._session.get_outputs()}
        self._output = next((name for name in output if name in outputs), next(iter(outputs), ""))
        if not self._output or outputs[self._output].type not in _FLOATS:
            found = f"{self._output!r} of type {outputs[self._output].type}" if self._output else "none"
            raise DataError(f"{source}: the output to read is {found}; one of floats is needed")
        self.threads, self.process = threads, os.getpid()

    @property
    def output(self) -> str:
        """Name of the output that is read."""
        return self._output

    @property
    def masks(self) -> bool:
        """Whether padding can be told from tokens."""
        return "attention_mask" in self._kinds

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run token ids.

        Parameters
        ----------
        ids, mask
            (n, length) ids, padded to one length, and 1 for each that is no padding.

        Returns
        -------
        numpy.ndarray
            float32: the output, whatever its shape; it may hold NaN.

        Raises
        ------
        DataError
            Running fails, such as on an id beyond the vocabulary.
        MemoryError
            There is not enough memory.
        """
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feeds = {name: given[name].astype(kind, copy=False) for name, kind in self._kinds.items()}
        try:
            found = self._run_bound(feeds) if self._device == "cuda" else self._session.run([self._output], feeds)[0]
        except Exception as error:
            if "Failed to allocate memory" in str(error) or "bad_alloc" in str(error):
                raise MemoryError(f"{self._source}: no memory to run {len(ids)} x {ids.shape[1]} tokens") from error
            raise DataError(f"{self._source}: running the graph failed: {error}") from error
        result: NDArray[np.float32] = np.asarray(found, np.float32)
        return result

    def keep_for_good(self) -> None:
        """Never end: not even when the interpreter does."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(getattr(self._session, "_sess", self._session)))

    def _run_bound(self, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Run on the device: what goes in is copied there once, and only the output that is read comes back."""
        binding = self._session.io_binding()
        for name, values in feeds.items():
            on_device = self._runtime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values), "cuda", 0)
            binding.bind_ortvalue_input(name, on_device)
        binding.bind_output(self._output, "cuda", 0)
        self._session.run_with_iobinding(binding)
        found: NDArray[Any] = binding.copy_outputs_to_cpu()[0]
        return found

    def _check_inputs(self) -> None:
        inputs = {each.name: each for each in self._session.get_inputs()}
        if "input_ids" not in inputs or not set(inputs) <= set(INPUTS):
            raise DataError(
                f"{self._source}: the graph's inputs are {sorted(inputs)!r:.200}; input_ids is needed, "
                f"attention_mask and token_type_ids are allowed"
            )
        for name, each in inputs.items():
            if each.type not in _INTEGERS:
                raise DataError(f"{self._source}: input {name!r} is {each.type}; tensor(int64) or int32 is needed")
            if len(each.shape) != 2 or any(isinstance(extent, int) for extent in each.shape):
                raise DataError(
                    f"{self._source}: input {name!r} has the shape {each.shape}; (batch, length) with both open is "
                    f"needed: export with dynamic axes"
                )
        self._kinds = {name: _INTEGERS[each.type] for name, each in inputs.items()}


def _version(runtime: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in str(runtime.__version__).split(".")[:2] if part.isdigit())


def _options(runtime: Any, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ALONE
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait in a loop take the processor from the service that this is part of.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


_lock = threading.Lock()
_sessions: weakref.WeakValueDictionary[tuple[object, ...], GraphSession] = weakref.WeakValueDictionary()


def shared_session(
    graph: bytes, *, source: str, output: tuple[str, ...], device: Device, held: GraphSession | None = None
) -> GraphSession:
    """Session of a graph for as many threads as `fastroute.info` says; the same one wherever it is in use already.

    Parameters
    ----------
    held
        The one that the caller has. It is given back while the number of threads and the process are its own: a
        child of a fork has none of its parent's threads, and makes a session of its own.
    """
    threads = _core.num_threads()
    if held is not None and held.threads == threads and held.process == os.getpid():
        return held
    key = (hashlib.sha256(graph).digest(), output, device, threads)
    with _lock:
        session = _sessions.get(key)
        if session is None:
            session = GraphSession(graph, source=source, output=output, device=device, threads=threads)
            _sessions[key] = session
    return session


def _after_fork() -> None:
    """Keep a parent's sessions for good: their end would wait for threads that a child does not have."""
    global _lock, _sessions  # both may be in the middle of a change of the parent's
    for session in _sessions.values():
        session.keep_for_good()
    _lock, _sessions = threading.Lock(), weakref.WeakValueDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""A text model on ONNX Runtime: a graph with its tokenizer, from prompts to one row of numbers each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.onnx import GRAPH_FILE, TOKENIZER_FILE
from fastroute.onnx.arguments import Device, checked_device, checked_prompts
from fastroute.onnx.batching import padded, plan_batches
from fastroute.onnx.graph import check_graph
from fastroute.onnx.session import GraphSession, import_onnxruntime, shared_session
from fastroute.onnx.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["TextModel"]

_PROBES = ("a", "a b c d")
_WINDOW = 4096  # prompts whose ids are in memory at once
# Tokens of a batch. On a processor activations should stay in its cache: of 512 to 8,192 tokens, 512 were the fastest
# on one thread. A GPU is busy only with many.
_AREA = {"cpu": 512, "cuda": 32_768}
_LARGEST_CPU_AREA = 4096


class TextModel:
    """A graph and its tokenizer. Any number of threads may use one at once.

    Sessions are shared: two models of one graph on one device have one. A session has as many threads as
    `fastroute.info` says; after `fastroute.set_num_threads` the next call makes another. A child of a fork makes its
    own at its first call.

    Prompts go through in batches of like lengths, bounded by tokens. A graph whose activations are quantised by the
    range of the whole batch, as ``onnxruntime.quantization.quantize_dynamic`` makes them, runs them one by one, so that
    no prompt changes what another one gets; on a processor that is as fast.

    Parameters
    ----------
    graph, tokenizer
        The files' bytes.
    source
        Where they are from, for messages: a folder.
    outputs
        Names of the output to read; the first of them that the graph has, else its first output.
    pooling
        What makes one row of a sequence of hidden states: "mean" over its tokens or the first one, "cls"; "graph"
        where the output must have one row per prompt already.
    max_tokens
        Tokens of a prompt after this many don't count, with those that the tokenizer adds.
    pad
        Id of padding; None for what the tokenizer says.
    template
        Text before and after each prompt; None for what the tokenizer adds.
    device
        "cpu" or "cuda".

    Raises
    ------
    DataError
        A file is not sound, the two don't belong together, or the graph gives NaN.
    InvalidArgumentError
        The graph is for another device, or the device is not there.
    MissingDependencyError
        ONNX Runtime or `tokenizers` is not installed.
    """

    def __init__(
        self,
        graph: bytes,
        tokenizer: bytes,
        *,
        source: str,
        outputs: tuple[str, ...],
        pooling: str,
        max_tokens: int,
        pad: int | None = None,
        template: tuple[str, str] | None = None,
        device: Device = "cpu",
    ) -> None:
        import_onnxruntime(device)  # before files are looked at: what is missing is said first
        self._settings: dict[str, Any] = {
            "source": source,
            "outputs": outputs,
            "pooling": pooling,
            "max_tokens": max_tokens,
            "pad": pad,
            "template": template,
        }
        self._graph, self._raw_tokenizer, self._device = graph, tokenizer, device
        self._source, self._pooling, self._outputs = f"{source}/{GRAPH_FILE}", pooling, outputs
        facts = check_graph(graph, source=self._source)
        self._alone, self._rows = facts.quantised_by_batch, facts.vocabulary
        if device == "cuda" and self._alone:
            raise InvalidArgumentError(
                f"device: found 'cuda', but {self._source} is quantised for a CPU, with operators that CUDA lacks; "
                f"give the graph in float16 or float32"
            )
        self._tokenizer = TextTokenizer(
            tokenizer, source=f"{source}/{TOKENIZER_FILE}", max_tokens=max_tokens, pad=pad, template=template
        )
        if facts.vocabulary is not None:
            self._tokenizer.check_vocabulary(facts.vocabulary, GRAPH_FILE)
        self._session: GraphSession | None = None
        self._width = self._probe()

    @property
    def width(self) -> int:
        """How many numbers a prompt gets."""
        return self._width

    @property
    def device(self) -> Device:
        """Where it runs."""
        return self._device

    @property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer."""
        return self._tokenizer

    @property
    def template(self) -> tuple[str, str] | None:
        """Text before and after each prompt; None where the tokenizer has its own additions."""
        template: tuple[str, str] | None = self._settings["template"]
        return template

    @property
    def graph(self) -> bytes:
        """The graph's file."""
        return self._graph

    @property
    def tokenizer_file(self) -> bytes:
        """The tokenizer's file."""
        return self._raw_tokenizer

    def to(self, device: str) -> TextModel:
        """Return the model on a device: itself where it is there already."""
        wanted = checked_device(device)
        if wanted == self._device:
            return self
        return TextModel(self._graph, self._raw_tokenizer, device=wanted, **self._settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._graph, self._raw_tokenizer, self._device, self._settings)

    def row(self, prompt: str) -> NDArray[np.float32]:
        """Numbers of one prompt, (width,) float32; raises as `rows` does."""
        (ids,) = self._tokenizer.ids([prompt])
        if not ids:
            return np.zeros(self._width, np.float32)
        sequence = np.array([ids], np.int64)
        found = self._pooled(sequence, np.ones_like(sequence))
        self._check(found, [0], "the prompt")
        row: NDArray[np.float32] = found[0]
        return row

    def rows(self, prompts: object, progress: Callable[[int, int], None] | None = None) -> NDArray[np.float32]:
        """Numbers of prompts.

        Parameters
        ----------
        prompts
            An iterable of n str.
        progress
            Called with (prompts done, prompts in all) after each batch.

        Returns
        -------
        numpy.ndarray
            float32 (n, width), finite, in the order of the prompts; zeros for a prompt without any token.

        Raises
        ------
        InvalidTypeError
            `prompts` is no iterable of str; the first bad index is named.
        DataError
            The graph gives NaN or infinity, or fails.
        """
        given = checked_prompts(prompts)
        found = np.zeros((len(given), self._width), np.float32)
        done = 0
        for begin in range(0, len(given), _WINDOW):
            sequences = self._tokenizer.ids(given[begin : begin + _WINDOW])
            lengths = [len(sequence) for sequence in sequences]
            for batch in plan_batches(lengths, area=self._area()):
                read = [place for place in batch.tolist() if lengths[place]]
                if read:
                    ids, mask = padded([sequences[place] for place in read], self._tokenizer.pad or 0)
                    places = [begin + place for place in read]
                    part = self._pooled(ids, mask)
                    self._check(part, places, "prompts")
                    found[places] = part
                done += len(batch)
                if progress is not None:
                    progress(done, len(given))
        return found

    def check_vocabulary(self, rows: object) -> None:
        """See that the tokenizer is the model's by what `config.json` says, where the graph doesn't show its table.

        Raises
        ------
        DataError
            It is another model's.
        """
        if self._rows is None and type(rows) is int:
            self._tokenizer.check_vocabulary(rows, "config.json")

    def check_longest(self) -> None:
        """Run a sequence of `max_tokens`, to see that the graph has that many positions.

        Raises
        ------
        InvalidArgumentError
            It has not.
        """
        word = max(self._tokenizer.ids(["a"], count=False)[0], default=0)
        ids = np.full((1, self._tokenizer.max_tokens), word, np.int64)
        try:
            self._pooled(ids, np.ones_like(ids))
        except DataError as error:
            raise InvalidArgumentError(
                f"max_tokens: found {self._tokenizer.max_tokens}, allowed: as many as the graph has positions ({error})"
            ) from error

    def _area(self) -> int:
        session = self._ready()
        if self._alone or not session.masks or self._tokenizer.pad is None:
            return 1
        area = _AREA[self._device]
        return area if self._device == "cuda" else min(area * session.threads, _LARGEST_CPU_AREA)

    def _ready(self) -> GraphSession:
        held = self._session
        session = shared_session(self._graph, source=self._source, output=self._outputs, device=self._device, held=held)
        if session is not held:
            self._session = session
        return session

    def _pooled(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run and pool one batch; (n, width) float32."""
        session = self._ready()
        states = session.run(ids, mask)
        if states.ndim == 3 and states.shape[:2] == ids.shape and self._pooling != "graph":
            return states[:, 0] if self._pooling == "cls" else _mean(states, mask)
        if states.ndim == 1 and len(states) == len(ids):
            return states[:, None]
        if states.ndim != 2 or len(states) != len(ids):
            needed = "(n, width)" if self._pooling == "graph" else "(n, length, width) or (n, width)"
            raise DataError(
                f"{self._source}: output {session.output!r} has shape {states.shape} for ids of shape {ids.shape}; "
                f"{needed} is needed"
            )
        return states

    def _probe(self) -> int:
        """Width of the output, seen on prompts of two lengths."""
        widths = set()
        for prompt in _PROBES:
            sequence = np.array([self._tokenizer.ids([prompt], count=False)[0] or [0]], np.int64)
            found = self._pooled(sequence, np.ones_like(sequence))
            self._check(found, [0], "a probe")
            widths.add(found.shape[1])
        if len(widths) != 1 or 0 in widths:
            raise DataError(f"{self._source}: its output has {sorted(widths)} numbers per prompt; one width is needed")
        return int(widths.pop())

    def _check(self, found: NDArray[np.float32], places: Sequence[int], what: str) -> None:
        bad = ~np.isfinite(found).all(axis=1)
        if bad.any():
            where = f"prompts[{places[int(bad.argmax())]}]" if what == "prompts" else what
            raise DataError(f"{self._source}: gives NaN or infinity for {where}")


def _rebuild(graph: bytes, tokenizer: bytes, device: Device, settings: dict[str, Any]) -> TextModel:
    return TextModel(graph, tokenizer, device=device, **settings)


def _mean(states: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean of hidden states over the tokens that are no padding, in float32."""
    weights = (mask / mask.sum(axis=1, keepdims=True)).astype(np.float32)
    mean: NDArray[np.float32] = np.matmul(weights[:, None, :], states)[:, 0]
    return mean

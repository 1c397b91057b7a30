"""What routers and encoders on ONNX Runtime share: lengths, the device, token ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastroute.errors import InvalidTypeError

if TYPE_CHECKING:
    from typing_extensions import Self

    from fastroute.onnx.model import TextModel

__all__ = ["ReadsText"]


class ReadsText:
    """Something that reads prompts with a text model. A subclass sets `_model`."""

    _model: TextModel

    @property
    def max_tokens(self) -> int:
        """Tokens of a prompt after this many don't count, with those that are added to it."""
        return self._model.tokenizer.max_tokens

    @property
    def truncated(self) -> int:
        """How many prompts have been cut at `max_tokens` so far, in all threads of this process."""
        return self._model.tokenizer.truncated

    @property
    def device(self) -> str:
        """Where it runs: "cpu" or "cuda"."""
        return self._model.device

    def to(self, device: str) -> Self:
        """Return this on a device; itself where it is there.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            No device, or none that is here; or the graph is quantised for a CPU.
        MissingDependencyError
            What the device needs is not installed; the message says what.
        """
        model = self._model.to(device)
        if model is self._model:
            return self
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._model = model
        return other

    def tokenize(self, prompt: str, *, truncate: bool = False) -> list[int]:
        """Token ids of a prompt, without those that are added to it; with `truncate`, only those that count.

        Raises
        ------
        InvalidTypeError
            `prompt` is no str.
        """
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompt: found {type(prompt).__name__}, allowed: str")
        return self._model.tokenizer.bare_ids(prompt, truncate=truncate)

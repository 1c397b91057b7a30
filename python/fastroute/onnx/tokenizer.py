"""Tokenizers of the `tokenizers` package, from bytes: padding off, truncation explicit, what is cut counted."""

from __future__ import annotations

import itertools
import re
import threading
from typing import TYPE_CHECKING, Any

from fastroute import _core
from fastroute.errors import DataError, InvalidArgumentError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TextTokenizer"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_PADDING = ("[PAD]", "<pad>")
_PART = 128  # texts per call: Ctrl-C waits for one
_LONG_TEXT = 16_384  # characters, some ten milliseconds
_UNUSED_ROWS = 128  # tables are padded to a multiple of 64 or 128 rows


class TextTokenizer:
    """Text to the ids that a model reads. Any number of threads may use it at once.

    Parameters
    ----------
    raw
        A Hugging Face `tokenizer.json`. Its padding is switched off, and its truncation replaced.
    source
        The file's name, for messages.
    max_tokens
        Ids after this many are cut off; those that the tokenizer adds, such as [CLS] and [SEP], count.
    pad
        Id of padding; where None, that of the file's padding, or else of a token named [PAD] or <pad>.
    template
        Text before and after each prompt, tokenised apart from it; then the tokenizer's own additions are left out, and
        what the prompt has that looks like a special token is read as text. A prompt that is too long loses its own
        end, never the template's.

    Attributes
    ----------
    pad : int or None
        Id of padding; None where it is not known, so that only rows of one length fit together.
    added : int
        How many ids are added to a text.
    vocabulary : int
        One more than the largest id.

    Raises
    ------
    MissingDependencyError
        `tokenizers` is not installed.
    DataError
        The file is no tokenizer, or `pad` is none of its ids.
    InvalidArgumentError
        `max_tokens` leaves no room for a token of the text.
    """

    def __init__(
        self,
        raw: bytes,
        *,
        source: str,
        max_tokens: int,
        pad: int | None = None,
        template: tuple[str, str] | None = None,
    ) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingDependencyError(
                "a model on ONNX Runtime needs tokenizers: pip install 'fastroute[bert]'"
            ) from error
        self._source, self.max_tokens = source, max_tokens
        try:
            self._native: Any = Tokenizer.from_buffer(raw)
            self.added = int(self._native.num_special_tokens_to_add(False))
            ids = self._native.get_vocab(with_added_tokens=True)
            padding = self._native.padding
        except BaseException as error:
            if not _is_fault(error):
                raise
            raise DataError(f"{source}: no tokenizer that the tokenizers package reads: {error!s:.300}") from error
        if not ids:
            raise DataError(f"{source}: its vocabulary is empty")
        self.vocabulary = max(ids.values()) + 1
        self._around: tuple[list[int], list[int]] | None = None
        if template is not None:
            self._native.no_padding()
            self._native.no_truncation()
            before, after = (self._encode([text], added=False)[0].ids for text in template)
            self._around, self.added = (before, after), len(before) + len(after)
        if max_tokens <= self.added:
            raise InvalidArgumentError(
                f"max_tokens: found {max_tokens}, allowed: more than the {self.added} that {source} adds to each text"
            )
        if pad is None and padding:
            pad = padding["pad_id"]
        if pad is None:
            pad = next((ids[token] for token in _PADDING if token in ids), None)
        if pad is not None and not 0 <= pad < self.vocabulary:
            raise DataError(f"{source}: the id of padding is {pad}; its ids are 0 to {self.vocabulary - 1}")
        self.pad = pad
        self._native.no_padding()
        if self._around is None:
            self._native.enable_truncation(max_tokens)
        else:
            self._native.encode_special_tokens = True  # a prompt can't end its own turn
            self._native.enable_truncation(max_tokens - self.added)
        self._lock, self._truncated = threading.Lock(), 0

    @property
    def truncated(self) -> int:
        """How many texts have been cut at `max_tokens`, in all threads."""
        return self._truncated

    def check_vocabulary(self, rows: int, what: str) -> None:
        """See that the ids are those of a model with so many rows of embeddings.

        Raises
        ------
        DataError
            There are more ids than rows, or more rows than padding of the table explains.
        """
        if not 0 <= rows - self.vocabulary < _UNUSED_ROWS:
            raise DataError(
                f"{self._source}: has ids 0 to {self.vocabulary - 1}, and {what} has embeddings for {rows}; "
                f"it is the tokenizer of another model"
            )

    def ids(self, texts: Sequence[str], *, count: bool = True) -> list[list[int]]:
        """Ids of texts as the model reads them, those that are added included. Counts the texts that are cut.

        Lone surrogates count as U+FFFD.
        """
        found: list[list[int]] = []
        cut = 0
        around = self._around
        for begin in range(0, len(texts), _PART):
            for encoding in self._encode(texts[begin : begin + _PART], added=around is None):
                found.append(encoding.ids if around is None else [*around[0], *encoding.ids, *around[1]])
                cut += bool(encoding.overflowing)
        if cut and count:
            with self._lock:
                self._truncated += cut
        return found

    def bare_ids(self, text: str, *, truncate: bool) -> list[int]:
        """Ids of a text alone, without those that are added; with `truncate`, those that the model reads."""
        (encoding,) = self._encode([text], added=False)
        pieces = [encoding.ids, *(each.ids for each in encoding.overflowing)]
        ids = list(itertools.chain.from_iterable(pieces))
        return ids[: self.max_tokens - self.added] if truncate else ids

    def _encode(self, texts: Sequence[str], *, added: bool) -> list[Any]:
        given = [_encodable(text) for text in texts]
        # The call for batches lets other threads run, and starts as many of its own as there are processors; the one
        # for a text holds the GIL, which matters where a text is long.
        alone = (len(given) == 1 or _core.num_threads() == 1) and max(map(len, given)) <= _LONG_TEXT
        try:
            encodings: list[Any] = (
                [self._native.encode(text, add_special_tokens=added) for text in given]
                if alone
                else self._native.encode_batch_fast(given, add_special_tokens=added)
            )
        except BaseException as error:
            if not _is_fault(error):
                raise
            raise DataError(f"{self._source}: the tokenizer failed: {error!s:.300}") from error
        return encodings


def _encodable(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _is_fault(error: BaseException) -> bool:
    """Whether the tokenizer is to blame: a panic of its Rust code is no Exception, but Ctrl-C isn't either."""
    if isinstance(error, MemoryError):
        return False
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"

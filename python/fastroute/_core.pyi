from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

def simd_level() -> str: ...
def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...

class WordPiece:
    def __init__(
        self,
        tokens: Sequence[str],
        *,
        unknown_id: int,
        special_tokens: Sequence[tuple[str, int]],
        continuation_prefix: str,
        max_word_chars: int,
        clean_text: bool,
        handle_chinese_chars: bool,
        strip_accents: bool,
        lowercase: bool,
    ) -> None: ...
    def encode(self, prompt: str, max_tokens: int | None = None) -> list[int]: ...
    @property
    def vocabulary_size(self) -> int: ...

class StaticEncoder:
    def __init__(
        self,
        tokenizer: WordPiece,
        embedding: NDArray[np.int8],
        scale: NDArray[np.float32],
        *,
        max_tokens: int,
    ) -> None: ...
    def embed(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    @property
    def dim(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...

class MatrixFactorization:
    def __init__(
        self,
        model_embedding: NDArray[np.float32],
        projection: NDArray[np.float32],
        classifier: NDArray[np.float32],
        model_bias: NDArray[np.float32],
    ) -> None: ...
    def logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def pair_scorer(self, encoder: StaticEncoder | None, strong: int, weak: int) -> LinearScorer: ...
    @property
    def dim(self) -> int: ...
    @property
    def models(self) -> int: ...

class LinearScorer:
    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    def score_embeddings(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]: ...
    @property
    def bias(self) -> float: ...
    @property
    def weights(self) -> NDArray[np.float32]: ...

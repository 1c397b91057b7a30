"""The matrix-factorization router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastroute import _core
from fastroute.artifact import Artifact, safetensors
from fastroute.builtin import DEFAULT_ENCODER, STRONG, WEAK
from fastroute.encoders import Encoder, load_encoder
from fastroute.errors import InvalidArgumentError
from fastroute.policies import Threshold
from fastroute.routers.base import encoder_of, model_index, names_of, training_rows, untrained, weights_of
from fastroute.routers.embedding import EmbeddingRouter

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from fastroute.routers.base import Contents
    from fastroute.training.battles import Battles
    from fastroute.training.progress import Progress
    from fastroute.training.scores import Scores

__all__ = ["MatrixFactorizationRouter"]

OBJECTIVES = ("battles", "outcomes")
_WEIGHTS_FILE = "weights.safetensors"
# Tensors by name; K models, rank r, dimension d.
_TENSORS: dict[str, tuple[str, ...]] = {
    "model_embedding": ("K", "r"),
    "projection": ("r", "d"),
    "classifier": ("r",),
    "model_bias": ("K",),
}


class MatrixFactorizationRouter(EmbeddingRouter):
    """Matrix factorization of battles (RouteLLM, arXiv 2406.18665, section 4.1), or of scores.

    A model m with vector v_m and bias b_m has ``delta(m, e) = w . (v_m * (W e)) + b_m`` on a prompt with
    embedding e, and the score is the strong model's win rate, ``sigmoid(delta(strong, e) - delta(weak, e))``.

    `fastroute.load` gives a trained one; `fit` trains one. A trained router never changes, but for `fit` and
    the identity that `save` gives it, and any number of threads may use it at once.

    Parameters
    ----------
    strong, weak
        The models to route between.
    encoder
        Reads prompts: an encoder, its name or its path; the built-in one by default. None for a router of
        embeddings alone.
    objective
        "battles": who wins, scores too as battles between models that were scored on one prompt. "outcomes": who is
        right, a model with probability ``h + (1 - h) sigmoid(delta(m, e))`` where a guess scores h; battles besides.
    rank, epochs, learning_rate, weight_decay, validation_fraction, patience, seed
        As in `fastroute.training.mf.fit_matrix_factorization`, or `fastroute.training.mf_outcomes` for outcomes.

    Attributes
    ----------
    models_ : tuple of str
        The K models it knows.
    model_embedding_, projection_, classifier_, model_bias_ : numpy.ndarray
        v (K, r), W (r, d), w (r,) and b (K,), float32.
    """

    kind: ClassVar[str] = "mf"

    models_: tuple[str, ...]
    model_embedding_: NDArray[np.float32]
    projection_: NDArray[np.float32]
    classifier_: NDArray[np.float32]
    model_bias_: NDArray[np.float32]

    def __init__(
        self,
        strong: str = STRONG,
        weak: str = WEAK,
        *,
        encoder: Encoder | str | os.PathLike[str] | None = DEFAULT_ENCODER,
        objective: str = "battles",
        rank: int = 8,
        epochs: int = 100,
        learning_rate: float = 3e-4,
        weight_decay: float = 10.0,
        validation_fraction: float = 0.1,
        patience: int = 6,
        seed: int = 0,
    ) -> None:
        if objective not in OBJECTIVES:
            raise InvalidArgumentError(f"objective: found {objective!r}, allowed: {', '.join(OBJECTIVES)}")
        self._objective = objective
        self._strong, self._weak = strong, weak
        self._encoder = encoder if encoder is None or isinstance(encoder, Encoder) else load_encoder(encoder)
        self._settings: dict[str, Any] = {
            "rank": rank,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "validation_fraction": validation_fraction,
            "patience": patience,
            "seed": seed,
        }
        self._artifact = ""
        self._threshold = Threshold(0.5)  # until fit chooses one
        self._manifest: dict[str, Any] = {}
        self._model: _core.MatrixFactorization | None = None
        self._scorer: _core.LinearScorer | None = None

    def fit(
        self,
        battles: object = None,
        *,
        outcomes: object = None,
        embeddings: NDArray[np.float32] | None = None,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> MatrixFactorizationRouter:
        """Train on battles, on outcomes or on both; needs ``pip install 'fastroute[train]'``.

        Training stops early on held-out prompts. The threshold becomes the one that sends half of those to
        the strong model.

        Parameters
        ----------
        battles
            A pyarrow table, pandas or polars frame or dictionary of columns with model_a, model_b, winner
            (model_a, model_b or tie) and either prompt (text) or row (index into `embeddings`); or what
            `fastroute.training` made of such tables.
        outcomes
            Such a table with model, score (0 to 1, or true and false) and prompt or row; or what
            `fastroute.training` made of it. The objective "outcomes" needs it.
        embeddings
            float32 (n, d), finite: needed where tables give rows. The router reads text only if its encoder
            has the same d.
        provenance
            What the artifact is to say of its training: data with hashes and licences, the command.
        progress
            Called with (epochs done, epochs at most).

        Returns
        -------
        MatrixFactorizationRouter
            Itself.

        Raises
        ------
        DataError
            A column is missing, or holds what is not allowed.
        UnknownModelError
            `strong` or `weak` is in none of the tables.
        InvalidTypeError, InvalidArgumentError
            An argument has a type or value that is not allowed.
        MissingDependencyError
            numba is not installed.
        """
        from fastroute.training.mf import fit_matrix_factorization
        from fastroute.training.mf_outcomes import fit_outcome_factorization
        from fastroute.training.scores import Scores
        from fastroute.training.together import battles_of_both, scores_of_both

        data: Battles | Scores
        if self._objective == "outcomes":
            data = scores_of_both(battles, outcomes)
        else:
            data = battles_of_both(battles, outcomes, seed=self._settings["seed"])
        for argument, model in (("strong", self._strong), ("weak", self._weak)):
            model_index(data.models, model, argument)
        rows, self._encoder = training_rows(self._encoder, data, embeddings)
        if isinstance(data, Scores):
            fitted = fit_outcome_factorization(rows, data, progress=progress, **self._settings)
        else:
            fitted = fit_matrix_factorization(rows, data, progress=progress, **self._settings)
        self.models_ = fitted.models
        self.model_embedding_, self.projection_ = fitted.model_embedding, fitted.projection
        self.classifier_, self.model_bias_ = fitted.classifier, fitted.model_bias
        self._complete()
        held_out_scores = self.score_embeddings(rows[fitted.validation])
        self._threshold = Threshold(float(np.median(held_out_scores)))
        self._artifact = ""
        best = fitted.best_epoch - 1
        self._manifest = {
            "threshold": self.threshold,
            "calibration": {
                "strong_fraction": 0.5,
                "prompts": len(held_out_scores),
                "on": "held-out training prompts",
            },
            "training": {
                **(provenance or {}),
                "objective": self._objective,
                "settings": self._settings,
                **data.counts(),
                **({"guess_rate": data.guess_rule} if isinstance(data, Scores) else {}),
                "prompts": len(data.prompt_keys),
                "dropped_rows": data.dropped,
            },
            "metrics": {name: values[best] for name, values in fitted.metrics.items()} | {"epoch": fitted.best_epoch},
        }
        return self

    @classmethod
    def from_artifact(
        cls,
        artifact: Artifact,
        *,
        strong: str | None = None,
        weak: str | None = None,
        encoder: Encoder | str | os.PathLike[str] | None = None,
    ) -> MatrixFactorizationRouter:
        """Make a router of a verified artifact; `fastroute.load` calls this."""
        router = cls.__new__(cls)
        router.models_ = names_of(artifact, "models", fewest=2)
        extents = {"K": len(router.models_), "r": None, "d": None}
        weights, _ = weights_of(artifact, _WEIGHTS_FILE, _TENSORS, extents)
        router._encoder = encoder_of(artifact, encoder)
        router.model_embedding_, router.projection_ = weights["model_embedding"], weights["projection"]
        router.classifier_, router.model_bias_ = weights["classifier"], weights["model_bias"]
        router._settings, router._objective = {}, "battles"
        router._restore(artifact, strong=strong, weak=weak)
        return router

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Loss and accuracy on training and held-out data, at the epoch that was kept."""
        return dict(self._manifest.get("metrics", {}))

    def score_models(self, prompts: str | Iterable[str]) -> NDArray[np.float32]:
        """Rate all K models on prompts: delta(m, e), in logits.

        The sigmoid of the difference of two columns is the one model's win rate against the other.

        Returns
        -------
        numpy.ndarray
            float32 (n, K), columns as in `models`; (K,) for a single prompt.
        """
        model = self._trained()
        if self._encoder is None:
            raise InvalidArgumentError("prompts: this router was trained on embeddings and has no text encoder")
        if isinstance(prompts, str):
            ratings: NDArray[np.float32] = model.logits(self._encoder.embed([prompts]))[0]
            return ratings
        return model.logits(self._encoder.embed(prompts))

    def _contents(self) -> Contents:
        self._trained()
        members = {"models": list(self.models_), "strong": self._strong, "weak": self._weak}
        weights = {name: getattr(self, f"{name}_") for name in _TENSORS}
        return self._with_encoder(members, {_WEIGHTS_FILE: safetensors.encode(weights)})

    def _complete(self) -> None:
        """Build the native side for the weights and the pair."""
        self._model = _core.MatrixFactorization(*(getattr(self, f"{name}_") for name in _TENSORS))
        self._scorer = self._model.pair_scorer(self._native_encoder, *self._pair(self._model.dim))

    def _trained(self) -> _core.MatrixFactorization:
        if self._model is None:
            raise untrained()
        return self._model

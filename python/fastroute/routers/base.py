"""What routers share: the pair of models, its threshold, decisions, and finding their encoder."""

from __future__ import annotations

import difflib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, overload

from fastroute import builtin
from fastroute.artifact import ENCODER, ROUTER, Artifact, bundled, read_artifact, safetensors, write_artifact
from fastroute.encoders import Encoder, OnnxEncoder, OpenAIEncoder, StaticEncoder, load_encoder
from fastroute.encoders.loading import encoder_from
from fastroute.errors import (
    ArtifactCorruptError,
    EncoderMismatchError,
    FastrouteError,
    InvalidArgumentError,
    InvalidTypeError,
    UnknownModelError,
)
from fastroute.onnx.arguments import checked_device
from fastroute.policies import Decision, Policy, Threshold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

    from fastroute.training.battles import Prompted

    Contents = tuple[dict[str, Any], dict[str, bytes]]

__all__ = [
    "KEPT",
    "BaseRouter",
    "different_models",
    "encoder_of",
    "encoder_reference",
    "model_index",
    "model_of",
    "names_of",
    "threshold_of",
    "training_rows",
    "untrained",
    "weights_of",
]

# What a manifest says beyond what a trained router itself knows.
KEPT: Final = ("threshold", "calibration", "training", "metrics")


class BaseRouter(ABC):
    """Decisions on top of scores. A subclass sets the attributes in `_complete` and has `score`."""

    kind: ClassVar[str]

    _strong: str
    _weak: str
    _threshold: Threshold
    _artifact: str
    _encoder: Encoder | None
    _manifest: dict[str, Any]  # what `save` writes beyond the weights and the pair

    @property
    def strong(self) -> str:
        """The strong model of the pair."""
        return self._strong

    @property
    def weak(self) -> str:
        """The weak model of the pair."""
        return self._weak

    @property
    def threshold(self) -> float:
        """Used by `route` when none is given."""
        return self._threshold.value

    @property
    def calibration(self) -> Mapping[str, Any]:
        """How the threshold was chosen, as the artifact has it; empty where it does not say."""
        calibration = self._manifest.get("calibration")
        return dict(calibration) if isinstance(calibration, Mapping) else {}

    @property
    def artifact(self) -> str:
        """SHA-256 of the artifact that this router was loaded from or saved to; empty before."""
        return self._artifact

    @property
    def encoder(self) -> Encoder | None:
        """The encoder; None for a router that was trained on embeddings alone."""
        return self._encoder

    @property
    def reads_arrow(self) -> bool:
        """Whether batches take the strings of Arrow tables in place; else each becomes a Python string first."""
        return False

    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    @abstractmethod
    def score(self, prompts: str | Iterable[str]) -> float | NDArray[np.float32]:
        """Score prompts in [0, 1]; higher means that they need the strong model more."""

    @overload
    def route(self, prompts: str, threshold: float | None = None, policy: Policy | None = None) -> Decision: ...
    @overload
    def route(
        self, prompts: Iterable[str], threshold: float | None = None, policy: Policy | None = None
    ) -> list[Decision]: ...
    def route(
        self, prompts: str | Iterable[str], threshold: float | None = None, policy: Policy | None = None
    ) -> Decision | list[Decision]:
        """Decide which model should answer.

        Parameters
        ----------
        prompts
            One prompt, or an iterable of them.
        threshold
            Scores from here up go to the strong model; the router's own threshold if None.
        policy
            Decides instead of a threshold, such as ``Budget(0.3)``; asked once per prompt, in order.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            `prompts` holds something other than str, `threshold` is outside [0, 1], `policy` is none, or both
            are given.
        """
        # One prompt without `_policy` and `_decide`: two calls of Python are a tenth of a short prompt's time.
        chosen = self._threshold if threshold is None and policy is None else self._policy(threshold, policy)
        if isinstance(prompts, str):
            score = self._score_for(prompts, chosen)
            wants_strong, least = chosen.choose(score)
            return Decision(self._strong if wants_strong else self._weak, score, least, self.kind, self._artifact)
        return [self._decide(score, chosen) for score in self._score_for(prompts, chosen).tolist()]

    def _score_for(self, prompts: Any, policy: Policy) -> Any:  # noqa: ARG002
        """Score prompts that a policy will decide on; a router may spend less on those far from a threshold."""
        return self.score(prompts)

    def with_threshold(self, threshold: float, calibration: Mapping[str, Any] | None = None) -> Self:
        """Return a router with another threshold of its own, on the same weights; `save` keeps it.

        Parameters
        ----------
        threshold
            Used by `route` when none is given.
        calibration
            How it was chosen, for the artifact: JSON values.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            `threshold` is no number, or outside [0, 1]; `calibration` is no mapping.
        """
        if calibration is not None and not isinstance(calibration, Mapping):
            raise InvalidTypeError(f"calibration: found {type(calibration).__name__}, allowed: a mapping")
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._threshold = Threshold(threshold)
        other._artifact = ""
        other._manifest = {**self._manifest, "threshold": other.threshold, "calibration": dict(calibration or {})}
        return other

    def to(self, device: str) -> Self:
        """Return this router with its encoder on a device; itself where it is there.

        Parameters
        ----------
        device
            "cpu", or "cuda" for a router whose encoder is a network.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            No device, or none that the router runs on; or the encoder's graph is quantised for a CPU.
        MissingDependencyError
            What the device needs is not installed; the message says what.
        """
        wanted = checked_device(device)
        move = getattr(self._encoder, "to", None)
        if move is None:
            if wanted == "cpu":
                return self
            raise InvalidArgumentError(
                f"device: found {device!r}, allowed for this router of kind {self.kind!r}: 'cpu'"
            )
        self.score([])  # or it says that it has not been trained
        moved = move(wanted)
        if moved is self._encoder:
            return self
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._encoder = moved
        other._complete()
        return other

    def with_record(
        self, *, training: Mapping[str, Any] | None = None, metrics: Mapping[str, Any] | None = None
    ) -> Self:
        """Return a router whose artifact says more of how it was made; what it says already stays.

        Parameters
        ----------
        training, metrics
            Members to add, or to put in the place of those of the same name: JSON values.
        """
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._artifact = ""
        added = {"training": training, "metrics": metrics}
        other._manifest = self._manifest | {
            name: {**self._manifest.get(name, {}), **members} for name, members in added.items() if members
        }
        return other

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the router to a folder, whole or not at all, and return its SHA-256.

        An artifact that is already there is replaced. The encoder is bundled unless it is a built-in one.

        Raises
        ------
        ArtifactError
            `path` holds something else, or can't be written; then it is as it was.
        """
        members, files = self._contents()
        manifest = {"kind": self.kind, "name": self.kind, **members, **self._manifest}
        self._artifact = write_artifact(path, format=ROUTER, manifest=manifest, files=files)
        return self._artifact

    def _contents(self) -> Contents:
        """Members of the manifest that the router itself knows, and files."""
        raise NotImplementedError

    def _with_encoder(self, members: Mapping[str, Any], files: Mapping[str, bytes]) -> Contents:
        """Add what an artifact says of the encoder, and its files where they are to be bundled."""
        reference, bundled_files = encoder_reference(self._encoder)
        return {**members, "encoder": reference}, {**bundled_files, **files}

    def _complete(self) -> None:
        """Check the pair and build the native side."""
        raise NotImplementedError

    def _restore(self, artifact: Artifact, *, strong: str | None, weak: str | None) -> None:
        """Take from a manifest what every trained router has, and complete it.

        What is wrong is the artifact's fault, unless it is a pair that the caller asked for.
        """
        self._strong = model_of(artifact, "strong") if strong is None else strong
        self._weak = model_of(artifact, "weak") if weak is None else weak
        self._threshold = threshold_of(artifact)
        self._artifact = artifact.sha256
        self._manifest = {key: value for key, value in artifact.manifest.items() if key in KEPT}
        try:
            self._complete()
        except InvalidArgumentError as error:
            if strong is not None or weak is not None:
                raise
            raise ArtifactCorruptError(f"{artifact.path}: {error}") from error

    def _policy(self, threshold: float | None, policy: Policy | None) -> Policy:
        if policy is None:
            return self._threshold if threshold is None else Threshold(threshold)
        if threshold is not None:
            raise InvalidArgumentError("threshold, policy: found both, allowed: one of them")
        # The protocol's isinstance takes longer than scoring a prompt.
        if not callable(getattr(policy, "choose", None)):
            raise InvalidTypeError(f"policy: found {type(policy).__name__}, allowed: a Policy, such as Budget(0.5)")
        return policy

    def _decide(self, score: float, policy: Policy) -> Decision:
        wants_strong, threshold = policy.choose(score)
        return Decision(self._strong if wants_strong else self._weak, score, threshold, self.kind, self._artifact)


def model_index(models: Sequence[str], name: object, argument: str) -> int:
    """Position of a model, or an error that lists the nearest names."""
    if not isinstance(name, str):
        raise InvalidTypeError(f"{argument}: found {type(name).__name__}, allowed: the name of a model")
    if name in models:
        return models.index(name)
    by_folded_name = {model.casefold(): model for model in models}
    near = difflib.get_close_matches(name.casefold(), by_folded_name, n=5, cutoff=0.3)
    nearest = ", ".join(by_folded_name[match] for match in near) or ", ".join(sorted(models)[:5])
    raise UnknownModelError(
        f"{argument}: found {name!r}, which this router does not know; the nearest of its {len(models)} models: "
        f"{nearest}"
    )


def different_models(strong: object, weak: object) -> tuple[str, str]:
    """Return two models for a router that knows none by itself, or say what was found."""
    for argument, model in (("strong", strong), ("weak", weak)):
        if not isinstance(model, str):
            raise InvalidTypeError(f"{argument}: found {type(model).__name__}, allowed: the name of a model")
    if strong == weak:
        raise InvalidArgumentError(f"strong, weak: found {strong!r} for both, allowed: two models")
    return str(strong), str(weak)


def untrained() -> InvalidArgumentError:
    """Say that a router has not been trained."""
    return InvalidArgumentError("router: it is not trained yet; call fit, or fastroute.load a trained one")


def model_of(artifact: Artifact, role: str) -> str:
    """Read the strong or the weak model in a manifest."""
    name = artifact.manifest.get(role)
    if not isinstance(name, str):
        raise ArtifactCorruptError(f"{artifact.path}: {role} is {name!r}; the name of a model is needed")
    return name


def names_of(artifact: Artifact, member: str, *, fewest: int = 1) -> tuple[str, ...]:
    """Read a list of distinct names in a manifest."""
    names = artifact.manifest.get(member)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ArtifactCorruptError(f"{artifact.path}: {member} is {type(names).__name__}; a list of names is needed")
    if len(set(names)) != len(names) or len(names) < fewest:
        raise ArtifactCorruptError(
            f"{artifact.path}: {member} lists {len(names)} names; {fewest} or more distinct ones are needed"
        )
    return tuple(names)


def weights_of(
    artifact: Artifact, file: str, axes_of: Mapping[str, tuple[str, ...]], extents: Mapping[str, int | None]
) -> tuple[dict[str, NDArray[np.float32]], Mapping[str, NDArray[Any]]]:
    """Read float32 tensors of a file of an artifact; each is a copy, since a view would keep the whole file in memory.

    Parameters
    ----------
    file
        Its name.
    axes_of
        Tensor's name to the names of its axes.
    extents
        Length of each axis; None for one that the first tensor that has it tells.

    Returns
    -------
    tuple
        The tensors, and all that the file holds.
    """
    if file not in artifact.files:
        raise ArtifactCorruptError(f"{artifact.path}: its manifest lists no {file}, which this router has")
    source = str(artifact.path / file)
    tensors = safetensors.decode(artifact.files[file], source=source)
    lengths, weights = dict(extents), {}
    for name, axes in axes_of.items():
        shape = [lengths[axis] for axis in axes]
        found = safetensors.expect_tensor(tensors, name, source=source, dtype="float32", shape=shape)
        lengths.update(zip(axes, found.shape, strict=True))
        weights[name] = found.copy()
    return weights, tensors


def threshold_of(artifact: Artifact) -> Threshold:
    """Read the threshold in a manifest."""
    try:
        return Threshold(artifact.manifest.get("threshold"))  # type: ignore[arg-type]
    except FastrouteError as error:
        raise ArtifactCorruptError(f"{artifact.path}: {error}") from error


def encoder_reference(encoder: Encoder | None) -> tuple[dict[str, Any] | None, dict[str, bytes]]:
    """Return what a manifest says of the encoder, and the files to bundle."""
    if encoder is None:
        return None, {}
    files = dict(encoder.files()) if isinstance(encoder, (StaticEncoder, OnnxEncoder, OpenAIEncoder)) else {}
    return {"name": encoder.name, "sha256": encoder.sha256, "bundled": bool(files)}, files


def encoder_of(artifact: Artifact, given: Encoder | str | os.PathLike[str] | None) -> Encoder | None:
    """Find the encoder that an artifact was trained with: the one given, a bundled one or a built-in one.

    Raises
    ------
    EncoderMismatchError
        It is another one, or nowhere to be found.
    """
    reference = artifact.manifest.get("encoder")
    if reference is None:
        if given is not None:
            raise EncoderMismatchError(f"{artifact.path}: was trained on embeddings alone; encoder= is not allowed")
        return None
    name, sha256 = (reference.get(key) if isinstance(reference, dict) else None for key in ("name", "sha256"))
    if not isinstance(name, str) or not isinstance(sha256, str):
        raise ArtifactCorruptError(f"{artifact.path}: encoder is {reference!r}; its name and sha256 are needed")
    encoder: Encoder
    if isinstance(given, (str, os.PathLike)):
        encoder = load_encoder(given)
    elif isinstance(given, OpenAIEncoder) and reference.get("bundled") is True:
        encoder = given.known_by(bundled(artifact, format=ENCODER))
    elif given is not None:
        if not isinstance(given, Encoder):
            raise InvalidTypeError(f"encoder: found {type(given).__name__}, allowed: an Encoder, a name or a path")
        encoder = given
    elif reference.get("bundled") is True:
        encoder = encoder_from(bundled(artifact, format=ENCODER))
    else:
        folder = builtin.find_encoder(name)
        if folder is None:
            raise EncoderMismatchError(
                f"{artifact.path}: was trained with encoder {name!r} (sha256 {sha256}), which is neither bundled nor "
                f"built in ({', '.join(builtin.encoders())}); give it as encoder="
            )
        encoder = encoder_from(read_artifact(folder, format=ENCODER))
    if encoder.sha256 != sha256:
        raise EncoderMismatchError(
            f"{artifact.path}: was trained with encoder {name!r} (sha256 {sha256}), found {encoder.name!r} "
            f"(sha256 {encoder.sha256})"
        )
    return encoder


def training_rows(
    encoder: Encoder | None, data: Prompted, embeddings: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], Encoder | None]:
    """Embeddings of the prompts to train on, (P, d), and the encoder that goes with them.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        Neither the encoder nor `embeddings` gives them, both do, or `embeddings` is no finite float32 matrix.
    DataError
        A row is outside the matrix.
    """
    from fastroute.training.battles import gather_embeddings

    if data.prompts:
        if embeddings is not None:
            raise InvalidArgumentError("embeddings: the battles give prompts as text; give either of the two")
        if encoder is None:
            raise InvalidArgumentError("encoder: found None, needed to read the battles' prompts")
        return encoder.embed(data.prompts), encoder
    if embeddings is None:
        raise InvalidArgumentError("embeddings: found None, needed since the battles give rows")
    rows = gather_embeddings(data, embeddings)
    # Text can't be read into embeddings of another kind.
    return rows, encoder if encoder is not None and encoder.dim == rows.shape[1] else None

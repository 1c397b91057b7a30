"""Everything that a run which was stopped needs to go on, in one safetensors file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastroute.artifact import atomic_file, safetensors
from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SavedState"]

_STATE = "exp_avg", "exp_avg_sq"  # what AdamW keeps of a parameter, beside its step


class SavedState:
    """A file with the weights, what AdamW keeps of them, and how many steps were taken.

    Parameters
    ----------
    path
        The file; it appears complete or not at all.
    fingerprint
        Of the data, the settings and the checkpoint that training started from: a file of another run is refused.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self._fingerprint = path, fingerprint

    def check(self, *, resume: bool) -> None:
        """See that nothing is lost: a run that does not go on from a file must not find one.

        Raises
        ------
        DataError
            The file is there already, or is no file that can be written.
        """
        if resume:
            return
        if self.path.exists() or self.path.is_symlink():
            raise DataError(f"{self.path}: is there already; resume goes on from a state, or name another file")
        if not self.path.parent.is_dir():
            raise DataError(f"{self.path}: folder {self.path.parent} does not exist; create it first")

    def save(self, network: Any, optimizer: Any, step: int, losses: list[float]) -> None:
        """Write the state after so many steps.

        Raises
        ------
        ArtifactError
            It can't be written; an older file is as it was.
        """
        tensors = {f"weight/{name}": values.detach().numpy() for name, values in network.state_dict().items()}
        for name, parameter in network.named_parameters():
            if parameter not in optimizer.state:  # a part that the loss does not reach, such as BERT's pooler
                continue
            for part in _STATE:
                tensors[f"{part}/{name}"] = optimizer.state[parameter][part].numpy()
        said = {"fingerprint": self._fingerprint, "step": str(step), "losses": " ".join(map(repr, losses))}
        with atomic_file(self.path) as file:
            file.write(safetensors.encode(tensors, said))

    def restore(self, network: Any, optimizer: Any) -> tuple[int, list[float]]:
        """Put what the file holds into a network and its optimizer, and return its step and losses.

        Raises
        ------
        DataError
            There is no such file, it is not sound, or it is of another run.
        """
        import torch

        source = str(self.path)
        try:
            raw = self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{source}: no checkpoint to go on from: {error.strerror}") from error
        said = safetensors.decode_metadata(raw, source=source)
        if said.get("fingerprint") != self._fingerprint:
            raise DataError(
                f"{source}: is of another run: its data, settings or model are not these; delete it, or give the same"
            )
        tensors = safetensors.decode(raw, source=source)
        step, losses = _progress(said, source)

        def part(kind: str) -> dict[str, Any]:
            names = (name for name in tensors if name.startswith(f"{kind}/"))
            return {name.partition("/")[2]: torch.from_numpy(tensors[name].copy()) for name in names}

        try:
            network.load_state_dict(part("weight"))
            first, second = part(_STATE[0]), part(_STATE[1])
            for name, parameter in network.named_parameters():
                if name not in first:
                    continue
                # AdamW counts the steps of each parameter, as a float32.
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    _STATE[0]: first[name],
                    _STATE[1]: second[name],
                }
        except (KeyError, RuntimeError) as error:
            raise DataError(f"{source}: its tensors are not those of this model: {error!s:.200}") from error
        return step, losses


def _progress(said: Mapping[str, str], source: str) -> tuple[int, list[float]]:
    try:
        return int(said["step"]), [float(value) for value in said["losses"].split()]
    except (KeyError, ValueError) as error:
        raise DataError(f"{source}: does not say how far it got") from error

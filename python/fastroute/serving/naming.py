"""What a request's ``model`` means under a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastroute.errors import InvalidArgumentError
from fastroute.model_names import AUTO, parse_model
from fastroute.serving.refusals import RefusalError

if TYPE_CHECKING:
    from fastroute.serving.config import Config

__all__ = ["Target", "models_of", "target_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream by its name, or a router by its label.

    Attributes
    ----------
    upstream
        None where a router chooses.
    router
        None where the client chose.
    threshold
        None for the router's own.
    """

    upstream: str | None
    router: str | None
    threshold: float | None = None


def target_of(model: str, config: Config) -> Target:
    """Find what a name means.

    Raises
    ------
    RefusalError
        Nothing has that name: 404.
    """
    if model in config.upstreams:
        return Target(model, None)
    try:
        routed = parse_model(model)
    except InvalidArgumentError as error:
        raise RefusalError(404, str(error), code="model_not_found", param="model") from None
    if routed is not None:
        label = config.default_router if routed.router is None else routed.router
        if label is not None and label in config.routers:
            return Target(None, label, routed.threshold)
    raise RefusalError(
        404,
        f"model: found {model!r}, allowed: {', '.join(models_of(config))}",
        code="model_not_found",
        param="model",
    )


def models_of(config: Config) -> list[str]:
    """Return the names that clients may ask for; a router's may have a threshold behind it."""
    automatic = [AUTO] if config.default_router is not None else []
    return [*automatic, *(f"router-{label}" for label in config.routers), *config.upstreams]

"""Every exception that fastroute raises on purpose.

::

    FastrouteError
    ├── InvalidArgumentError (ValueError)     an argument has a value that is not allowed
    │   ├── UnknownRouterError                no router of that name or path
    │   └── UnknownModelError                 a router does not know that model
    ├── InvalidTypeError (TypeError)          an argument has a type that is not allowed
    ├── DataError (ValueError)                an input file or table: its column, row or value
    ├── EndpointError                         a model behind an API gave no answer that can be used
    ├── ArtifactError                         an artifact that can't be read or written
    │   ├── ArtifactNotFoundError (FileNotFoundError)
    │   ├── ArtifactCorruptError              cut short, altered, or never well-formed
    │   ├── ArtifactVersionError              written by a newer fastroute
    │   └── EncoderMismatchError              trained with another encoder
    └── MissingDependencyError (ImportError)  an extra is not installed

Messages name the argument or file, say what was found, and what is allowed. Errors of the native core
arrive as the same classes.
"""

from __future__ import annotations

__all__ = [
    "ArtifactCorruptError",
    "ArtifactError",
    "ArtifactNotFoundError",
    "ArtifactVersionError",
    "DataError",
    "EncoderMismatchError",
    "EndpointError",
    "FastrouteError",
    "InvalidArgumentError",
    "InvalidTypeError",
    "MissingDependencyError",
    "UnknownModelError",
    "UnknownRouterError",
]


class FastrouteError(Exception):
    """Base of every exception that fastroute raises on purpose."""


class InvalidArgumentError(FastrouteError, ValueError):
    """An argument has a value that is not allowed."""


class UnknownRouterError(InvalidArgumentError):
    """No router of that name, and no artifact at that path."""


class UnknownModelError(InvalidArgumentError):
    """A router does not know a model; the message lists the nearest names that it does know."""


class InvalidTypeError(FastrouteError, TypeError):
    """An argument has a type that is not allowed."""


class DataError(FastrouteError, ValueError):
    """An input file or table has a missing column, a wrong type or a bad value."""


class EndpointError(FastrouteError):
    """A model behind an API gave no answer that can be used; the message has neither keys nor what was sent."""


class ArtifactError(FastrouteError):
    """An artifact can't be read or written."""


class ArtifactNotFoundError(ArtifactError, FileNotFoundError):
    """A file of an artifact, or the whole of it, is not there."""


class ArtifactCorruptError(ArtifactError):
    """An artifact was cut short or altered, or never was well-formed."""


class ArtifactVersionError(ArtifactError):
    """An artifact was written by a newer fastroute than this one."""


class EncoderMismatchError(ArtifactError):
    """A router was trained with another encoder than the one at hand."""


class MissingDependencyError(FastrouteError, ImportError):
    """A feature needs an extra that is not installed; the message says which."""

"""Routers: from a prompt to a score in [0, 1]; higher means that it needs the strong model more."""

from __future__ import annotations

from fastroute.routers.matrix_factorization import MatrixFactorizationRouter
from fastroute.routers.protocol import Router
from fastroute.routers.random import RandomRouter

__all__ = ["MatrixFactorizationRouter", "RandomRouter", "Router"]

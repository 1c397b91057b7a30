"""Other packages' interfaces on top of fastroute."""

from __future__ import annotations

"""Routers of what others have trained: RouteLLM's published checkpoints, battles and embeddings, from local files.

Nothing is downloaded, no code of the files is run and no pickle is read but by ``torch.load(weights_only=True)``.
"""

from __future__ import annotations

from fastroute.importing.matrix_factorization import import_matrix_factorization
from fastroute.importing.sw_ranking import import_sw_ranking

__all__ = ["import_matrix_factorization", "import_sw_ranking"]

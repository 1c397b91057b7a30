"""Routers: from a prompt to a score in [0, 1]; higher means that it needs the strong model more."""

from __future__ import annotations

from fastroute.routers.bert import BertRouter
from fastroute.routers.cascade import CascadeRouter
from fastroute.routers.causal_llm import CausalLlmRouter
from fastroute.routers.causal_llm_endpoint import CausalLlmEndpointRouter
from fastroute.routers.experts import ExpertsRouter
from fastroute.routers.explanation import (
    BattleExplanation,
    CascadeExplanation,
    DomainShare,
    Explanation,
    FeatureEffect,
    NearestBattle,
    NearestPrompt,
    NeighbourExplanation,
)
from fastroute.routers.heads import Head
from fastroute.routers.knn import KnnRouter
from fastroute.routers.matrix_factorization import MatrixFactorizationRouter
from fastroute.routers.protocol import Router
from fastroute.routers.random import RandomRouter
from fastroute.routers.similarity_weighted import SimilarityWeightedRouter

__all__ = [
    "BattleExplanation",
    "BertRouter",
    "CascadeExplanation",
    "CascadeRouter",
    "CausalLlmEndpointRouter",
    "CausalLlmRouter",
    "DomainShare",
    "ExpertsRouter",
    "Explanation",
    "FeatureEffect",
    "Head",
    "KnnRouter",
    "MatrixFactorizationRouter",
    "NearestBattle",
    "NearestPrompt",
    "NeighbourExplanation",
    "RandomRouter",
    "Router",
    "SimilarityWeightedRouter",
]

"""Domains by clustering, for prompts that nothing sorts: k-means on what the experts see."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastroute.training.experts.linear import Features

__all__ = ["clusters_for", "clusters_of"]

_PROMPTS_PER_CLUSTER = 200
_MOST_CLUSTERS = 8
_WORDS_IN_A_NAME = 3
_WORD = re.compile(r"[^\W\d_]{3,}")


def clusters_for(prompts: int) -> int:
    """How many clusters to look for where nobody says: one for each 200 prompts, 8 at most."""
    return max(1, min(_MOST_CLUSTERS, prompts // _PROMPTS_PER_CLUSTER))


def clusters_of(
    features: Features, prompts: Sequence[str], count: int, seed: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Cluster prompts; cluster of each (n,), and names made of the words that set each cluster apart.

    Parameters
    ----------
    features
        Standardised; each of the two parts counts as much as the other, whatever its number of columns.
    count
        Clusters; fewer come back where there are fewer distinct prompts.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise MissingDependencyError("clustering needs scikit-learn: pip install 'fastroute[train]'") from error
    columns = np.hstack([part / np.sqrt(part.shape[1]) for part in (features.surface, features.embedding)])
    count = min(count, len(np.unique(columns, axis=0)))
    found = KMeans(count, n_init=5, random_state=seed).fit(columns).labels_
    # Largest first: their numbers mean the same when a seed changes little.
    order = np.argsort(-np.bincount(found, minlength=count), kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    clusters = rank[found]
    return clusters, _names(clusters, prompts, count)


def _names(clusters: NDArray[np.int64], prompts: Sequence[str], count: int) -> tuple[str, ...]:
    """Words by how much more often a cluster's prompts have them than others do, weighted by how often."""
    having = [Counter[str]() for _ in range(count)]
    for cluster, prompt in zip(clusters.tolist(), prompts, strict=True):
        having[cluster].update({word.lower() for word in _WORD.findall(prompt)})
    sizes = np.bincount(clusters, minlength=count)
    overall = sum(having, Counter[str]())
    names = []
    for cluster in range(count):
        inside, outside = sizes[cluster] + 1, len(prompts) - sizes[cluster] + 1
        worth = {
            word: n / inside * np.log((n + 0.5) / inside / ((overall[word] - n + 0.5) / outside))
            for word, n in having[cluster].items()
        }
        best = sorted(worth, key=lambda word: (-worth[word], word))[:_WORDS_IN_A_NAME]
        names.append(" ".join([f"cluster {cluster + 1}:", *best]) if best else f"cluster {cluster + 1}")
    return tuple(names)

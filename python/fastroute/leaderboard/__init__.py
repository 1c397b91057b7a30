"""Ratings of models from battles: the ranking of Chatbot Arena, for anybody's own votes.

::

    votes     a file or table of battles ──> wins of each model over each other
    groups    which models can be compared at all
    ratings   Bradley-Terry strengths by maximum likelihood
    bootstrap intervals over battles
    tiers     models of nearly one strength
    board     all of it together ──> Leaderboard
    plot      a picture of it

Only NumPy is needed; Parquet needs ``fastroute[batch]`` or ``fastroute[eval]``, a plot ``fastroute[eval]``.
"""

from __future__ import annotations

from fastroute.leaderboard.board import Entry, Group, Leaderboard, Unrated, rank_models
from fastroute.leaderboard.votes import VOTE_COLUMNS, Votes, read_votes, votes_from_table

__all__ = [
    "VOTE_COLUMNS",
    "Entry",
    "Group",
    "Leaderboard",
    "Unrated",
    "Votes",
    "rank_models",
    "read_votes",
    "votes_from_table",
]

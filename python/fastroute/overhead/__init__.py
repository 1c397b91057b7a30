"""What a routing decision costs: time on this machine, dollars, and its part of an answer's price.

Modules
-------
prompts
    Prompts of a given number of tokens, the same ones every time.
timing
    Times of single calls, prompt in, decision out, on one thread.
costs
    Dollars of a time, beside the prices of answers.
"""

from __future__ import annotations

from fastroute.overhead.costs import Cost, Prices, cost_of
from fastroute.overhead.prompts import prompts_of
from fastroute.overhead.timing import Timing, time_router

__all__ = ["Cost", "Prices", "Timing", "cost_of", "prompts_of", "time_router"]

"""fastroute inside what users already have; each framework needs its own extra.

::

    deciding     which of two models answers a chat, what the plugs have in common
    langchain    a model picker and a routed chat model, extra [langchain]
    litellm      a classifier and a routing strategy, extra [litellm]
    llama_index  a selector of query engines, extra [llama-index]
    workers      the router that every worker loads for itself, the same on each
    ray          Ray Data, extra [ray]
    spark        Apache Spark, extra [spark]

Nothing is imported here: each module, and its framework, is loaded once asked for.
"""

from __future__ import annotations

__all__: list[str] = []

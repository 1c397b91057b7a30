"""OpenAI-compatible HTTP APIs: where they are, who may have a key, and how they are asked.

::

    address     URLs and keys
    exchange    one request and its answer, read as hostile
    pacing      when the next one is sent
    patience    how long and how often
    counting    what is counted meanwhile
    service     many requests, from any thread            (background: the event loop that they run in)

aiohttp is imported when the first request is sent.
"""

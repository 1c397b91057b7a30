"""An OpenAI-compatible proxy that routes each request: ``fastroute serve``.

::

    reading     a YAML file as checked values, each with its path
    config      what the file says
    secret      keys that can't be printed
    bodies      requests as bytes: what is looked at, and the one value that is replaced
    refusals    errors in OpenAI's form
    naming      what a request's `model` means
    threads     for routers that take their time
    scoring     scores beside the event loop, in small batches
    sessions    decisions that stick
    gateway     one configuration, loaded: routers, upstreams, keys
    upstreams   requests to models, at most one retry
    leaving     clients that leave early
    relaying    an upstream's answer on its way to the client
    metrics     Prometheus
    playground  a page for people, where the configuration asks for it
    app         raw ASGI: routes, authentication, limits
    protocol    uvicorn's protocol with bounds on headers, and refusals that cost little
    pressure    how far the event loop is behind
    reload      a new configuration in place of the old
    lifecycle   from start to the last request

The extra's packages are imported when a server is made.
"""

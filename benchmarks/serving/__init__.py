"""What a proxy costs: fastroute's, LiteLLM's and RouteLLM's, in front of the same scripted model.

``python -m benchmarks.serving --help``. The server has one core to itself; the model and the clients, both in the
process of the benchmark, have another::

    traffic    clients and the model, as bare protocols
    servers    how each server is started, and what it takes
    speed      requests per second, added latency, streams, first tokens, start-up
    pauses     how long the event loop is held up
    overload   gate 31
    soak       gate 33
    tables     what the documentation says of it
"""

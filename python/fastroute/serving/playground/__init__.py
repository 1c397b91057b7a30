"""A page for people: what each router says of a prompt, and what was routed in the last hour.

::

    hour      counts of the last 60 minutes, in memory of a fixed size
    answers   the paths that the page asks
    page      the page itself; plain files, served as they are

Loaded by a server whose configuration says ``playground: true``, and by no other.
"""

from fastroute.serving.playground.answers import Playground

__all__ = ["Playground"]

"""What a run keeps beside its output so that it can be killed at any point and go on.

::

    manifest   what the run is: inputs, routers, options; and, at the end, what it did
    journal    how far it got, a line for every checkpoint
    workspace  the folder OUTPUT.partial that holds both and the output, and how it becomes OUTPUT
"""

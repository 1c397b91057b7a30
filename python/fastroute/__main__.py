"""``python -m fastroute`` is the command ``fastroute``."""

from __future__ import annotations

import sys

from fastroute.cli import main

if __name__ == "__main__":
    sys.exit(main())

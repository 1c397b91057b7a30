"""A third party's router, which writes down what happens to it in a file beside its artifact."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import fastroute
from fastroute.routers import RandomRouter

LOG = "uses.log"
# What makes it known where the folder that holds this is on the path of modules.
ENTRY_POINTS = "[fastroute.routers]\nlogged = tests.integrations.logged_router:LoggedRouter\n"


class Use(NamedTuple):
    """A line of the log: "loaded" or "scored", by which process, which may use how many threads."""

    what: str
    pid: int
    threads: int


class LoggedRouter(RandomRouter):
    """Scores that depend on the prompt alone, not as quickly as could be."""

    kind = "logged"

    @classmethod
    def from_artifact(cls, artifact: Any, **options: Any) -> Any:
        router = super().from_artifact(artifact, **options)
        router._log = Path(artifact.path).parent / LOG
        router._note("loaded")
        return router

    def score(self, prompts: Any) -> Any:
        self._note("scored")
        time.sleep(0.04)
        return super().score(prompts)

    def _note(self, what: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{what} {os.getpid()} {fastroute.info().threads}\n")


def uses(router: Path) -> list[Use]:
    """Read the log of a router's artifact."""
    log = router.parent / LOG
    lines = log.read_text().splitlines() if log.exists() else []
    return [Use(what, int(pid), int(threads)) for what, pid, threads in (line.split() for line in lines)]


def make_known(folder: Path) -> None:
    """Write what an installed package would have: once the folder is on the path, the kind is known."""
    package = folder / "logged_router-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: logged-router\nVersion: 1\n")
    (package / "entry_points.txt").write_text(ENTRY_POINTS)

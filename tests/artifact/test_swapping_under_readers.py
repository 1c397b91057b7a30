"""An artifact is replaced again and again while threads read it: always whole, always one version."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fastroute.artifact import ROUTER, read_artifact

SWAPS = 150


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Swaps follow one another as fast as the system can rename."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_readers_never_see_a_mixture(router_folder: Path, save: Callable[..., str]) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []
    seen: set[str] = set()

    def read() -> None:
        try:
            while not stop.is_set():
                artifact = read_artifact(router_folder, format=ROUTER)
                note = artifact.manifest["note"]
                assert artifact.files["note.txt"] == note.encode() * 20
                seen.add(note)
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(SWAPS):
        save(router_folder, f"note{number}")
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures, failures[0]
    assert len(seen) > 5


def test_two_writers_leave_one_of_theirs(router_folder: Path, save: Callable[..., str]) -> None:
    failures: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for index in range(30):
                save(router_folder, f"{name}{index}")
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failures.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures, failures[0]
    assert read_artifact(router_folder, format=ROUTER).manifest["note"] in {"a29", "b29"}
    assert [path.name for path in router_folder.parent.iterdir()] == ["router"]

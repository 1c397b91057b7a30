"""Columns that are not in the files but in the names of their folders: day=2026-11-01/."""

from __future__ import annotations

import json

import pytest

from fastroute.errors import DataError
from fastroute.reporting import report

NAMES = ("log.jsonl", "log.csv", "log.tsv", "log.parquet")


@pytest.fixture
def placed(tmp_path, written):
    """Write a log into a folder below the root, which it returns."""

    def place(folder, name, scores, **columns):
        log = written(name, scores, **columns)
        path = tmp_path / "root" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        log.rename(path)
        return tmp_path / "root"

    return place


def groups(root, **options):
    grouping = report(root, **options).grouping
    return [(group.value, group.rows) for group in grouping.groups]


@pytest.mark.parametrize("name", NAMES)
def test_by_a_partition(placed, name):
    placed("day=2026-11-02/hour=03", name, [0.25, 0.5], model=["a", "b"])
    placed("day=2026-11-02/hour=04", name, [0.5])
    root = placed("day=2026-11-01/hour=03", name, [0.5, 0.5])
    assert groups(root, by="day") == [("2026-11-02", 3), ("2026-11-01", 2)]
    assert groups(root, by="hour") == [("03", 4), ("04", 1)]
    assert groups(root, by_day="day") == [("2026-11-01", 2), ("2026-11-02", 3)]
    assert groups(root / "day=2026-11-01" / "hour=03" / name, by="day") == [("2026-11-01", 2)]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_the_file_wins(placed, name):
    placed("team=folder", name, [0.5, 0.25], team=["file", "other"])
    root = placed("team=folder/x", name, [0.5])
    assert groups(root, by="team") == [("file", 1), ("folder", 1), ("other", 1)]


def test_rows_of_json_lines_have_their_own(placed, tmp_path):
    root = placed("team=folder", "log.jsonl", [0.5])
    with (root / "team=folder" / "log.jsonl").open("a") as file:
        file.write('{"score": 0.5, "team": "row"}\n{"score": 0.5, "team": null}\n')
    assert groups(root, by="team") == [(None, 1), ("folder", 1), ("row", 1)]


def test_the_nearest_folder_counts(placed):
    root = placed("team=far/team=near", "log.csv", [0.5])
    assert groups(root, by="team") == [("near", 1)]


@pytest.mark.parametrize("name", NAMES)
def test_encoded_names_and_null(placed, name):
    placed("the%20team=a%2Fb%3D", name, [0.5] * 3)
    placed("the team=__HIVE_DEFAULT_PARTITION__", name, [0.5] * 2)
    root = placed("the team=", name, [0.5])
    assert groups(root, by="the team") == [("a/b=", 3), (None, 2), ("", 1)]


@pytest.mark.parametrize("value", ["2026-11-02", "20261102", "2026-11-02T10%3A00", "1793630000"])
def test_days(placed, value):
    assert groups(placed(f"at={value}", "log.csv", [0.5]), by_day="at") == [("2026-11-02", 1)]


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv", "log.parquet"])
@pytest.mark.parametrize("value", ["nov-2", "2026-02-30", "20261399", "__HIVE_DEFAULT_PARTITION__"])
def test_days_that_are_none(placed, name, value):
    placed("at=2026-11-01", name, [0.5])
    root = placed(f"at={value}", name, [0.5, 0.25])
    with pytest.raises(DataError, match=rf"at={value}.{name}: row 1.*: column 'at': expected an ISO 8601 date"):
        report(root, by_day="at")
    found = report(root, by_day="at", on_error="skip")
    assert (found.rows, found.skipped) == (1, 2)


def test_paths_are_taken_as_they_are_written(placed, monkeypatch):
    root = placed("team=a", "log.csv", [0.5])
    (root / "link").symlink_to(root / "team=a", target_is_directory=True)
    with pytest.raises(DataError, match="no column 'team'"):
        report(root / "link" / "log.csv", by="team")
    monkeypatch.chdir(root / "team=a")
    with pytest.raises(DataError, match="no column 'team'"):
        report("log.csv", by="team")
    assert groups("../team=a/log.csv", by="team") == [("a", 1)]


def test_the_record_is_plain_json(placed):
    root = placed("day=2026-11-01", "log.csv", [0.5])
    json.dumps(report(root, by="day").record(), allow_nan=False)

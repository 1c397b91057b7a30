"""Score a folder of Parquet files with Apache Spark: ``python examples/spark_score.py logs/ --output scored/``.

Without a folder it makes one of invented prompts first. Needs ``pip install 'fastroute[spark]'`` and Java 17.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Score the prompts of a Parquet folder with Apache Spark.")
    parser.add_argument("input", nargs="?", help="folder or file that every node sees; invented prompts if left out")
    parser.add_argument("--output", help="folder to write, which must not exist; a temporary one if left out")
    parser.add_argument("--router", default=None, help="a built-in name, or a path that every node sees")
    parser.add_argument("--column", default="prompt", help="column of the prompts (default: %(default)s)")
    parser.add_argument("--threshold", type=float, help="least score for the strong model (default: the router's)")
    parser.add_argument("--on-error", choices=["fail", "null"], default="fail", help="what a null as prompt does")
    parser.add_argument("--threads", type=int, default=1, help="threads of each Python worker (default: %(default)s)")
    parser.add_argument("--master", default="local[*]", help="Spark's master (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=100_000, help="invented prompts (default: %(default)s)")
    parser.add_argument("--files", type=int, default=8, help="files of invented prompts (default: %(default)s)")
    return parser.parse_args(arguments)


def invent(folder: Path, rows: int, files: int) -> None:
    """Write `rows` prompts into Parquet files; no two are the same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = (
        "Prove that the sum of the first {} odd numbers is a square.",
        "Write a haiku about the number {}.",
        "Translate 'platform {} is closed today' into German, French and Japanese.",
        "What is the time complexity of sorting {} records of 40 bytes that do not fit into memory, and why?",
    )
    folder.mkdir()
    for file in range(files):
        ids = range(file, rows, files)
        prompts = [kinds[i % len(kinds)].format(i) for i in ids]
        pq.write_table(pa.table({"id": ids, "prompt": prompts}), folder / f"{file}.parquet")


def session(master: str) -> Any:
    """Start Spark, with this Python for its workers."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(master).appName("fastroute")
    return builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()


def main() -> None:
    """Score, write, and say what was written."""
    from fastroute.errors import FastrouteError
    from fastroute.integrations.spark import score_dataframe

    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        source = options.input or str(Path(scratch, "prompts"))
        if not options.input:
            invent(Path(source), options.rows, options.files)
        target = options.output or str(Path(scratch, "scored"))
        spark = session(options.master)
        try:
            scored = score_dataframe(
                spark.read.parquet(source),
                options.router,
                column=options.column,
                threshold=options.threshold,
                on_error=options.on_error,
                threads=options.threads,
            )
            started = time.perf_counter()
            scored.write.parquet(target)
            seconds = time.perf_counter() - started
            written = spark.read.parquet(target).groupBy("model").count().collect()
        except FastrouteError as error:
            sys.exit(f"error: {error}")
        finally:
            spark.stop()
    counts = {row["model"]: row["count"] for row in written}
    rows = sum(counts.values())
    print(f"{rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s with reading, writing and starting workers")
    for model, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:>12,}  {model or 'no text'}")


if __name__ == "__main__":
    main()

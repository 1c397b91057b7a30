"""Score a folder of Parquet files with Ray Data, and write the rows with their scores and models as Parquet.

    pip install 'fastroute[ray]'
    python examples/ray_score.py                       # makes a folder of prompts by itself
    python examples/ray_score.py s3://bucket/prompts --output s3://bucket/scored --actors 16

Without --address a cluster of this machine is started, which ends with the example.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

TOPICS = ("a sorted list", "the French Revolution", "an integral", "a love letter", "quantum tunnelling", "tax law")
TASKS = ("Prove a theorem about", "Write a short story on", "Explain to a child", "Find the mistake in a text on")


def make_prompts(folder: Path, rows: int, files: int = 8) -> None:
    """Write files of made-up prompts, each with an id."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number in range(files):
        ids = range(number, rows, files)
        prompts = [f"{TASKS[i % 4]} {TOPICS[i % 6]}, in {i % 977} words." + " Take care." * (i % 40) for i in ids]
        pq.write_table(pa.table({"id": ids, "prompt": prompts}), folder / f"part-{number}.parquet")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("source", nargs="?", help="folder or file of Parquet; made-up prompts if it is left out")
    parser.add_argument("--output", metavar="FOLDER", help="where the scored Parquet goes; a new folder if left out")
    parser.add_argument("--router", metavar="NAME|PATH", help="a built-in name or a path that every node sees")
    parser.add_argument("--column", default="prompt", help="column of the prompts (default: %(default)s)")
    parser.add_argument("--on-error", choices=("fail", "null"), default="fail", help="what rows without text do")
    parser.add_argument("--actors", type=int, default=2, help="actors of one CPU each (default: %(default)s)")
    parser.add_argument(
        "--block-rows",
        type=int,
        metavar="N",
        help="cut into blocks of N rows: an actor takes a block at a time, and Ray makes one block of a small folder",
    )
    parser.add_argument("--rows", type=int, default=100_000, help="made-up prompts (default: %(default)s)")
    parser.add_argument("--address", help="of a running cluster, such as auto")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the example."""
    args = parse(arguments)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or Ray reports to its makers

    import pyarrow.dataset as pads
    import ray

    from fastroute.integrations.ray import score_dataset

    folder = Path(tempfile.mkdtemp(prefix="fastroute-ray-"))
    source, output = args.source, args.output or str(folder / "scored")
    if source is None:
        source = str(folder / "prompts")
        Path(source).mkdir()
        make_prompts(Path(source), args.rows)
    if args.address is None:
        # One CPU more than the actors have, for reading and writing.
        ray.init(
            address="local",
            num_cpus=args.actors + 1,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
        )
    else:
        ray.init(address=args.address)
    ray.data.DataContext.get_current().enable_progress_bars = False

    start = time.perf_counter()
    prompts = ray.data.read_parquet(source)
    if args.block_rows:
        prompts = prompts.repartition(target_num_rows_per_block=args.block_rows)
    scored = score_dataset(
        prompts,
        args.router,
        column=args.column,
        on_error=args.on_error,
        concurrency=args.actors,
    )
    scored.write_parquet(output)
    seconds = time.perf_counter() - start
    ray.shutdown()

    if "://" not in output:
        written = pads.dataset(output).to_table(columns=["model"])
        for model in sorted(filter(None, written["model"].unique().to_pylist())):
            count = pads.dataset(output).count_rows(filter=pads.field("model") == model)
            print(f"{model}: {count:,}")
        if written["model"].null_count:
            print(f"no text: {written['model'].null_count:,}")
        print(
            f"{written.num_rows:,} rows in {seconds:.1f} s, start-up included: {written.num_rows / seconds:,.0f} rows/s"
        )
    print(f"scored: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

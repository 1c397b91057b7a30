"""Tables from anywhere as checked columns: files, pyarrow tables, pandas and polars frames, dictionaries.

Modules
-------
columns
    Columns of text, numbers and scores, whose errors name the cell.
files
    Parquet, JSON lines, CSV and TSV.
"""

from fastroute.tables.columns import Labels, Table, as_table, prompt_hashes, text_key
from fastroute.tables.files import SUFFIXES, read_table

__all__ = ["SUFFIXES", "Labels", "Table", "as_table", "prompt_hashes", "read_table", "text_key"]

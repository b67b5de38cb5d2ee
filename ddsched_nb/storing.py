"""Opens the store of a run: says what it must find unchanged."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ddsched_nb import facts
from ddsched_nb.config import RunConfig
from ddsched_nb.pipeline import Pipeline
from ddsched_nb.table import InputTable

if TYPE_CHECKING:
    from ddsched_nb.store.parquet import ParquetStore


class StoreWarning(UserWarning):
    """A store is used in a way that may not be what its user wants."""


def open_store(
    path: str | Path, pipeline: Pipeline, table: InputTable, config: RunConfig
) -> ParquetStore:
    """Opens, makes or resumes a store.

    What was declared must be the same: columns, prompts, models, parameters, the table and how it
    is cut. What may differ: keys, addresses, caps, limits, retries. The code of a function may be
    mended between two runs; that is a warning.

    Raises:
        StoreMismatch: The store holds rows of a different pipeline or table.
        StoreInUse: Another run writes to the store.
        StoreError: The store cannot be read or written.
        ConfigError: pyarrow or filelock is not installed.
    """
    from ddsched_nb.store.parquet import ParquetStore

    declared = {
        "rows": table.rows,
        "buffer_size": config.buffer_size,
        "table": {"columns": list(table.names), "cells": facts.table_digest(table)},
        **pipeline.facts(),
    }
    outputs = [name for column in pipeline.columns for name in column.spec.outputs]
    names = [*table.names, *outputs]
    store = ParquetStore.open(path, facts=declared, code=pipeline.code(), columns=names)
    if store.changed_code and store.groups:
        warnings.warn(
            f"the code of {', '.join(store.changed_code)} changed since rows were stored in "
            f"{store.path.name!r}; the {len(store.groups)} row groups stored before keep what the "
            "old code made",
            StoreWarning,
            stacklevel=3,
        )
    return store

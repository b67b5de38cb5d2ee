"""Finished row groups on disk: Parquet files, a journal, and resume after any crash."""

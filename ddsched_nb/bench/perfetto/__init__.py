"""The trace of a run, for Perfetto's viewer: slices, arrows, counters and instants of a record."""

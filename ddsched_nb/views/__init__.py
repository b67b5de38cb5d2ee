"""What a person sees: charts of a record, the live view of a run, lines for a terminal.

The only folder that imports altair or ipywidgets. It reads statistics and events and sends three
commands (pause, resume, cancel); it must not decide anything about a run.
"""

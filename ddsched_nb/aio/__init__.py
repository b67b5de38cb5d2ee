"""The asyncio shells: futures, timers, tasks and cancellation, and no opinions."""

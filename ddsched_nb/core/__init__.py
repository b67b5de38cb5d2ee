"""Pure decisions. No asyncio, clock, randomness, threads, logging or uuid: `now` is a parameter."""

"""Other people's clients and tools. Each module needs an extra of its own."""

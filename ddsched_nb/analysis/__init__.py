"""Functions of a record: what it shows, and how far from the best it is."""

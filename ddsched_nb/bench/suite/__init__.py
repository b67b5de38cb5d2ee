"""The reference's idle suite: its cases, its figures as published, and ours beside them."""

"""Embeddings without a model: texts that share words get vectors that are close.

Feature hashing (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"): each
word adds or subtracts one in a place that its hash names; the sum is scaled to length 1.
"""

from __future__ import annotations

import hashlib
import math
import re

__all__ = ["embed"]

_WORD = re.compile(r"\w+")


def embed(text: str, *, dimensions: int, seed: int = 0) -> list[float]:
    """A unit vector for a text, the same on any platform.

    Args:
        text: The text; upper and lower case are the same.
        dimensions: Length of the vector, at least 1.
        seed: Another seed gives another space.
    """
    sums = [0] * dimensions
    # A text without words gets a vector of its own too, since a vector of zeros has no direction.
    for word in _WORD.findall(text.lower()) or [text, ""]:
        place, sign = _place(f"{seed}|{word}")
        sums[place % dimensions] += sign
    length = math.sqrt(sum(value * value for value in sums))
    if not length:  # words that cancel each other out
        sums[_place(f"{seed}|{text}")[0] % dimensions] = 1
        length = 1.0
    return [round(value / length, 9) for value in sums]


def _place(key: str) -> tuple[int, int]:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=9).digest()
    return int.from_bytes(digest[:8], "big"), 1 if digest[8] & 1 else -1

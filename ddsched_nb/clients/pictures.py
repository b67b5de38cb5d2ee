"""Pictures without a model: a small PNG whose colours are a function of the prompt.

PNG as in the specification (ISO/IEC 15948): signature, IHDR, IDAT, IEND; 8-bit RGB, no filter.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib

__all__ = ["LARGEST", "draw", "read_size"]

LARGEST = 256
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_size(size: str | None) -> tuple[int, int] | None:
    """Width and height of a size such as `64x64`; None if it is not one from 1 to `LARGEST`."""
    found = _SIZE.fullmatch(size or "64x64")
    if found is None:
        return None
    width, height = int(found[1]), int(found[2])
    return (width, height) if 1 <= width <= LARGEST and 1 <= height <= LARGEST else None


def draw(key: str, width: int, height: int) -> bytes:
    """A PNG that runs from one colour to another, both a function of `key`."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    first, last = digest[:3], digest[3:]
    rows = bytearray()
    for y in range(height):
        rows.append(0)  # this row has no filter
        for x in range(width):
            share = (x + y) / max(1, width + height - 2)
            rows += bytes(round(a + (b - a) * share) for a, b in zip(first, last, strict=True))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

"""Text that can be written."""

from __future__ import annotations


def readable(text: str) -> str:
    """Replace what UTF-8 cannot write: JSON can hold half a character, and names are bytes."""
    return text.encode(errors="replace").decode()

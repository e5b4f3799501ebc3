"""Conditional requests: what If-Match and If-None-Match say about a version of a document."""

from __future__ import annotations

import re
from collections.abc import Callable

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def entity_tag(version: str) -> str:
    """Write a version as a strong entity tag."""
    return f'"{version}"'


def wanted(if_match: str | None) -> Callable[[str], bool] | None:
    """
    Make the condition that If-Match states; None when there is no such header.

    The comparison is the strong one (RFC 9110, section 13.1.1): a weak tag never matches.
    """
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return lambda _: True
    tags = {tag for weak, tag in _TAG.findall(if_match) if not weak}
    return lambda version: version in tags


def is_known(if_none_match: str | None, version: str) -> bool:
    """Whether the caller has this version already, by the weak comparison (section 13.1.2)."""
    if if_none_match is None:
        return False
    known = {tag for _, tag in _TAG.findall(if_none_match)}
    return if_none_match.strip() == "*" or version in known

"""What If-Match and If-None-Match say about a version."""

from __future__ import annotations

import pytest

from target_app.routes.conditions import entity_tag, is_known, wanted


def test_a_version_is_written_as_a_strong_tag() -> None:
    assert entity_tag("abc") == '"abc"'


def matches(header: str) -> bool:
    condition = wanted(header)
    assert condition is not None
    return condition("abc")


@pytest.mark.parametrize(
    ("header", "changes", "reads"),
    [
        pytest.param('"abc"', True, True, id="the version"),
        pytest.param('"x", "abc" , "y"', True, True, id="one of several"),
        pytest.param("*", True, True, id="any"),
        pytest.param('W/"abc"', False, True, id="weak"),
        pytest.param('"x"', False, False, id="another"),
        pytest.param("abc", False, False, id="without quotes"),
        pytest.param('"ab"c"', False, False, id="a quote within"),
        pytest.param("", False, False, id="empty"),
        pytest.param('"' * 10_000, False, False, id="nonsense"),
    ],
)
def test_a_header_names_versions(header: str, *, changes: bool, reads: bool) -> None:
    assert matches(header) is changes
    assert is_known(header, "abc") is reads


def test_no_header_is_no_condition() -> None:
    assert wanted(None) is None
    assert not is_known(None, "abc")

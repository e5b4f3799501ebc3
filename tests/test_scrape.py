"""One scrape, kept as it came; without one, the reason."""

from __future__ import annotations

import httpx
import pytest
import respx

from harness.scrape import metrics_url, scrape

URL = "http://app/metrics"


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TARGET_TOKEN", raising=False)


def test_the_text_is_kept_as_it_came(respx_mock: respx.MockRouter):
    route = respx_mock.get(URL).respond(text="a_total 1\n")

    snapshot = scrape(URL, "http://app")

    assert (snapshot.text, snapshot.problem) == ("a_total 1\n", "")
    assert snapshot.seconds > 0
    request = route.calls.last.request
    assert request.headers["accept"] == "text/plain; version=0.0.4"
    assert "authorization" not in request.headers


def test_a_token_is_sent_and_never_told(
    respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TARGET_TOKEN", "s3cret")
    route = respx_mock.get(URL).respond(401)

    snapshot = scrape(URL, "http://app")

    assert route.calls.last.request.headers["authorization"] == "Bearer s3cret"
    assert (snapshot.text, snapshot.problem) == (None, f"{URL} answered 401")


def test_a_redirect_is_followed(respx_mock: respx.MockRouter):
    respx_mock.get(URL).respond(307, headers={"location": f"{URL}/"})
    respx_mock.get(f"{URL}/").respond(text="a_total 1\n")

    assert scrape(URL, "http://app").text == "a_total 1\n"


@pytest.mark.parametrize(
    ("failure", "problem"),
    [
        (httpx.ConnectError("refused"), f"{URL} cannot be read: refused"),
        (httpx.ReadTimeout("timed out"), f"{URL} cannot be read: timed out"),
    ],
)
def test_a_server_that_does_not_answer(
    respx_mock: respx.MockRouter, failure: Exception, problem: str
):
    respx_mock.get(URL).mock(side_effect=failure)

    snapshot = scrape(URL, "http://app")

    assert (snapshot.text, snapshot.problem) == (None, problem)


def test_an_address_that_is_none():
    snapshot = scrape("http://[", "http://app")

    assert snapshot.text is None
    assert snapshot.problem.startswith("http://[ cannot be read: ")


@pytest.mark.parametrize(
    ("environment", "url"),
    [({}, "http://app/metrics"), ({"METRICS_URL": "http://other:9"}, "http://other:9")],
)
def test_where_metrics_are(environment: dict[str, str], url: str):
    assert metrics_url("http://app/", environment) == url


@respx.mock
def test_a_token_goes_only_to_the_target_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TARGET_TOKEN", "s3cret")
    elsewhere = respx.get("http://metrics.example/metrics").respond(text="a_total 1\n")

    scrape("http://metrics.example/metrics", "http://app")

    assert "authorization" not in elsewhere.calls.last.request.headers

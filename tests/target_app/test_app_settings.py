"""Settings come from the environment; a wrong one is named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from target_app.settings import Settings, SettingsError, load_settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("LANGFUSE_BASE_URL", raising=False)
    (tmp_path / "documents").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_ROOT_PATH", "documents")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    return monkeypatch


def test_the_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()

    assert (settings.host, settings.model, settings.uses_azure) == (
        "127.0.0.1",
        "gpt-4o-mini",
        False,
    )
    assert (settings.max_tool_iterations, settings.max_concurrent_tools) == (10, 5)
    assert settings.prometheus_exclude_paths == ("/health", "/metrics")
    assert (settings.langfuse_enabled, settings.cache_management_enabled) == (False, False)


def test_lists_are_separated_by_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PROMETHEUS_BUCKETS", "0.3, 7")
    environment.setenv("PROMETHEUS_EXCLUDE_PATHS", "/health,/metrics,/docs")

    settings = load_settings()

    assert settings.prometheus_buckets == (0.3, 7.0)
    assert settings.prometheus_exclude_paths == ("/health", "/metrics", "/docs")


def test_azure_is_chosen_by_its_endpoint(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AZURE_OPENAI_ENDPOINT", "https://azure.test")
    environment.setenv("AZURE_OPENAI_API_KEY", "key")
    environment.setenv("AZURE_OPENAI_DEPLOYMENT_NAME", "my-gpt")

    settings = load_settings()

    assert (settings.uses_azure, settings.model) == (True, "my-gpt")


def test_origins_are_separated_by_commas_and_none_is_the_default(
    environment: pytest.MonkeyPatch,
) -> None:
    assert load_settings().cors_allowed_origins == ()

    environment.setenv("CORS_ALLOWED_ORIGINS", "https://a.test, https://b.test")

    assert load_settings().cors_allowed_origins == ("https://a.test", "https://b.test")


def test_names_of_the_app_are_separated_by_commas(environment: pytest.MonkeyPatch) -> None:
    assert load_settings().allowed_hosts == ()

    environment.setenv("ALLOWED_HOSTS", "docs.example, Docs.Internal")

    assert load_settings().allowed_hosts == ("docs.example", "docs.internal")


@pytest.mark.parametrize("name", ["https://docs.example", "docs.example:8000"])
def test_a_name_that_no_request_could_have_is_refused(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    environment.setenv("ALLOWED_HOSTS", name)

    with pytest.raises(SettingsError) as refused:
        load_settings()

    assert str(refused.value) == (
        f"ALLOWED_HOSTS: names without scheme and port are wanted; got {name!r}"
    )


@pytest.mark.parametrize("name", ["LANGFUSE_HOST", "OTEL_EXPORTER_OTLP_ENDPOINT"])
@pytest.mark.parametrize(
    "address", ["localhost4318", "localhost:4318", "ftp://collector", "http://"]
)
def test_an_address_that_no_span_can_reach_is_refused(
    environment: pytest.MonkeyPatch, name: str, address: str
) -> None:
    environment.setenv(name, address)

    with pytest.raises(SettingsError, match=rf"(?m)^{name}: an address is wanted, such as http"):
        load_settings()


@pytest.mark.parametrize("name", ["LANGFUSE_HOST", "LANGFUSE_BASE_URL"])
def test_langfuse_is_found_under_either_name(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "http://langfuse.test")

    assert load_settings().langfuse_host == "http://langfuse.test"


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        pytest.param(
            {}, "metrics tokens", id="by default metrics only: Langfuse needs an account"
        ),
        pytest.param(
            {"OBSERVABILITY_PROFILE": "ai"}, "langfuse metrics tokens", id="ai, asked for"
        ),
        pytest.param({"LANGFUSE_ENABLED": "true"}, "langfuse metrics tokens", id="Langfuse"),
        pytest.param(
            {"OBSERVABILITY_PROFILE": "ai", "LANGFUSE_ENABLED": "false"},
            "metrics tokens",
            id="ai without Langfuse",
        ),
        pytest.param(
            {"OBSERVABILITY_PROFILE": "minimal", "LANGFUSE_ENABLED": "true"},
            "metrics io_logs tokens",
            id="minimal has no Langfuse",
        ),
        pytest.param(
            {"OBSERVABILITY_PROFILE": "hybrid"}, "metrics io_logs otlp tokens", id="hybrid"
        ),
        pytest.param(
            {"OBSERVABILITY_PROFILE": "hybrid", "PROMETHEUS_ENABLED": "false"},
            "io_logs otlp tokens",
            id="hybrid without Prometheus",
        ),
        pytest.param({"TOKEN_CHECK_EVERY": "0"}, "metrics", id="no tokens are checked"),
        pytest.param(
            {"OBSERVABILITY_PROFILE": "off", "LANGFUSE_ENABLED": "true"}, "", id="off is off"
        ),
    ],
)
def test_a_profile_says_what_is_told_where(
    environment: pytest.MonkeyPatch, chosen: dict[str, str], wanted: str
) -> None:
    for name, value in chosen.items():
        environment.setenv(name, value)

    settings = load_settings()

    has = {
        "langfuse": settings.wants_langfuse,
        "metrics": settings.wants_metrics,
        "io_logs": settings.wants_io_logs,
        "otlp": settings.wants_otlp,
        "tokens": settings.checks_tokens,
    }
    assert " ".join(name for name, is_wanted in has.items() if is_wanted) == wanted
    assert settings.is_observed is bool(wanted)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        pytest.param(
            "DATA_ROOT_PATH",
            "/no/such",
            "DATA_ROOT_PATH: no such folder: /no/such",
            id="no folder",
        ),
        pytest.param(
            "OPENAI_API_KEY",
            "",
            "OPENAI_API_KEY: needed, unless AZURE_OPENAI_ENDPOINT is set",
            id="no key",
        ),
        pytest.param(
            "AZURE_OPENAI_ENDPOINT",
            "https://azure.test",
            "AZURE_OPENAI_API_KEY: needed because AZURE_OPENAI_ENDPOINT is set",
            id="no Azure key",
        ),
        pytest.param(
            "MAX_TOOL_ITERATIONS",
            "0",
            "MAX_TOOL_ITERATIONS: Input should be greater than or equal to 1",
            id="too small",
        ),
        pytest.param(
            "COMMAND_TIMEOUT",
            "soon",
            "COMMAND_TIMEOUT: Input should be a valid number, unable to parse string as a number",
            id="no number",
        ),
        pytest.param(
            "PROMETHEUS_BUCKETS",
            "0.1,fast",
            "PROMETHEUS_BUCKETS: seconds separated by commas are wanted, such as 0.01,0.05; "
            "got '0.1,fast'",
            id="no seconds",
        ),
        pytest.param(
            "PROMETHEUS_BUCKETS",
            "0.1,-1",
            "PROMETHEUS_BUCKETS: every edge must be a number of seconds above 0; got -1.0",
            id="an edge no duration has",
        ),
        pytest.param(
            "LANGFUSE_SAMPLE_RATE",
            "2",
            "LANGFUSE_SAMPLE_RATE: Input should be less than or equal to 1",
            id="more than all",
        ),
        pytest.param(
            "CACHE_DIRECTORY",
            "documents/.cache",
            "CACHE_DIRECTORY: must not be in the folder of documents, DATA_ROOT_PATH",
            id="a cache among the documents",
        ),
        pytest.param(
            "API_TOKEN",
            "",
            "API_TOKEN: is empty; leave it out to run without a token",
            id="a token that was not mounted",
        ),
        pytest.param(
            "OBSERVABILITY_PROFILE",
            "all",
            "OBSERVABILITY_PROFILE: Input should be 'off', 'minimal', 'ai' or 'hybrid'",
            id="no profile",
        ),
        pytest.param(
            "TOKEN_CHECK_EVERY",
            "-1",
            "TOKEN_CHECK_EVERY: Input should be greater than or equal to 0",
            id="less than never",
        ),
        pytest.param(
            "REQUIRE_ISOLATION",
            "strong",
            "REQUIRE_ISOLATION: Input should be 'paths', 'worker' or 'landlock'",
            id="no level of isolation",
        ),
    ],
)
def test_a_wrong_setting_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    environment.setenv(name, value)

    with pytest.raises(SettingsError) as wrong:
        load_settings()

    assert str(wrong.value) == message


def test_every_wrong_setting_has_its_line_and_no_secret_is_shown(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("PORT", "70000")
    environment.setenv("MAX_FILE_SIZE", "sk-secret")

    with pytest.raises(SettingsError) as wrong:
        load_settings()

    lines = str(wrong.value).split("\n")
    assert [line.split(":")[0] for line in lines] == ["PORT", "MAX_FILE_SIZE"]
    assert "sk-secret" not in str(wrong.value)

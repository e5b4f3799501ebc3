"""Settings of the app, read once from the environment and checked before anything starts."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from target_app.observability.shapes import check_own_patterns

MEBIBYTE = 1024 * 1024


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the environment variable."""


class Settings(BaseSettings):
    """
    Everything the operator can change, one environment variable each.

    The variable has the field's name in capitals. Durations are seconds, sizes are bytes.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    deployment: str = "local"
    api_token: SecretStr | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    cors_allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    stream_heartbeat_seconds: float = Field(default=15.0, gt=0, allow_inf_nan=False)

    data_root_path: Path = Path("data")

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    openai_model: str = Field(default="gpt-4o-mini", min_length=1)
    azure_openai_api_key: SecretStr | None = None
    azure_openai_endpoint: str | None = None
    azure_openai_deployment_name: str = Field(default="gpt-4o", min_length=1)
    azure_openai_api_version: str = "2024-10-21"
    llm_timeout_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    llm_max_attempts: int = Field(default=3, ge=1, le=10)
    llm_deadline_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False)

    max_tool_iterations: int = Field(default=10, ge=1, le=100)
    parallel_execution: bool = True
    max_concurrent_tools: int = Field(default=5, ge=1, le=100)
    command_timeout: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    max_output_size: int = Field(default=MEBIBYTE, ge=1)
    max_file_size: int = Field(default=10 * MEBIBYTE, ge=1)
    small_file_threshold: int = Field(default=1_000_000, ge=1)
    medium_file_threshold: int = Field(default=100_000_000, ge=1)

    isolation: Literal["auto", "paths", "worker", "landlock"] = "auto"
    require_isolation: Literal["paths", "worker", "landlock"] = "paths"
    sandbox_workers: int = Field(default=2, ge=1, le=64)
    sandbox_memory_limit: int = Field(default=512 * MEBIBYTE, ge=64 * MEBIBYTE)

    session_ttl: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    max_sessions: int = Field(default=1000, ge=1)

    cache_directory: Path = Path(".cache/target_app")
    cache_size_limit: int = Field(default=500 * MEBIBYTE, ge=0)
    cache_memory_limit: int = Field(default=64 * MEBIBYTE, ge=0)
    cache_content_ttl: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    cache_search_ttl: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    cache_inotify: bool = True
    cache_state_max_age: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    cache_management_enabled: bool = False

    observability_profile: Literal["off", "minimal", "ai", "hybrid"] = "ai"
    log_format: Literal["auto", "json", "text"] = "auto"
    redact_patterns: Annotated[tuple[str, ...], NoDecode] = ()
    prices_path: Path | None = None
    token_check_every: int = Field(default=20, ge=0)
    tracing_management_enabled: bool = False
    otel_exporter_otlp_endpoint: str = "http://127.0.0.1:4318"
    otel_traces_sampler_arg: float = Field(default=1.0, ge=0, le=1)

    langfuse_enabled: bool = False
    langfuse_public_key: str | None = None
    langfuse_secret_key: SecretStr | None = None
    langfuse_host: str = Field(
        default="https://cloud.langfuse.com",
        validation_alias=AliasChoices("LANGFUSE_HOST", "LANGFUSE_BASE_URL"),
    )
    langfuse_environment: str = Field(default="default", pattern=r"^[a-z0-9_-]{1,40}$")
    langfuse_release: str | None = None
    langfuse_sample_rate: float = Field(default=1.0, ge=0, le=1)
    langfuse_flush_interval: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    prometheus_enabled: bool = True
    prometheus_metrics_path: str = Field(default="/metrics", pattern=r"^/[^\s{}]+$")
    prometheus_exclude_paths: Annotated[tuple[str, ...], NoDecode] = ("/health", "/metrics")
    prometheus_buckets: Annotated[tuple[float, ...], NoDecode] = ()

    @field_validator(
        "prometheus_exclude_paths", "cors_allowed_origins", "allowed_hosts", mode="before"
    )
    @classmethod
    def _split_paths(cls, value: object) -> object:
        """Take a list as operators write it: separated by commas."""
        return _parts(value) if isinstance(value, str) else value

    @field_validator("allowed_hosts")
    @classmethod
    def _plain_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse what could never be equal to a name: an address of a page, or one with a port."""
        for name in value:
            if ":" in name or "/" in name:
                msg = f"names without scheme and port are wanted; got {name!r}"
                raise ValueError(msg)
        return tuple(name.lower() for name in value)

    @field_validator("prometheus_buckets", mode="before")
    @classmethod
    def _split_buckets(cls, value: object) -> object:
        """Take seconds separated by commas."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(float(part) for part in _parts(value))
        except ValueError:
            msg = f"seconds separated by commas are wanted, such as 0.01,0.05; got {value!r}"
            raise ValueError(msg) from None

    @field_validator("prometheus_buckets")
    @classmethod
    def _positive_buckets(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Refuse edges that no duration can have."""
        for edge in value:
            if not (math.isfinite(edge) and edge > 0):
                msg = f"every edge must be a number of seconds above 0; got {edge}"
                raise ValueError(msg)
        return value

    @field_validator("redact_patterns", mode="before")
    @classmethod
    def _list_of_patterns(cls, value: object) -> object:
        """Take a JSON list: a comma may be in a pattern."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            msg = 'a JSON list of patterns is wanted, such as ["CUST-[0-9]+"]'
            raise ValueError(msg) from None

    @field_validator("redact_patterns")
    @classmethod
    def _sound_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse patterns that RE2 does not know, and those that are found everywhere."""
        check_own_patterns(value)
        return value

    @field_validator("otel_exporter_otlp_endpoint", "langfuse_host")
    @classmethod
    def _address(cls, value: str) -> str:
        """Refuse what no span could ever be sent to."""
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = "an address is wanted, such as http://127.0.0.1:4318"
            raise ValueError(msg)
        return value

    @field_validator("data_root_path")
    @classmethod
    def _existing_folder(cls, value: Path) -> Path:
        """Refuse a data root that is not there, rather than answer that it is empty."""
        if not value.is_dir():
            msg = f"no such folder: {value}"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _some_llm(self) -> Settings:
        """Require the key of the LLM that was chosen."""
        if self.azure_openai_endpoint is not None:
            if self.azure_openai_api_key is None:
                msg = "AZURE_OPENAI_API_KEY: needed because AZURE_OPENAI_ENDPOINT is set"
                raise ValueError(msg)
        elif self.openai_api_key is None:
            msg = "OPENAI_API_KEY: needed, unless AZURE_OPENAI_ENDPOINT is set"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _cache_apart_from_documents(self) -> Settings:
        """Refuse a cache that tools could read, and whose every write would be a change."""
        if self.cache_directory.resolve().is_relative_to(self.data_root_path.resolve()):
            msg = "CACHE_DIRECTORY: must not be in the folder of documents, DATA_ROOT_PATH"
            raise ValueError(msg)
        return self

    @property
    def wants_langfuse(self) -> bool:
        """
        Whether traces are to go to Langfuse.

        The profile `ai`, when it was asked for, is enough; LANGFUSE_ENABLED says otherwise.
        """
        if self.observability_profile != "ai":
            return False
        given = self.model_fields_set
        implied = "observability_profile" in given and "langfuse_enabled" not in given
        return self.langfuse_enabled or implied

    @property
    def is_observed(self) -> bool:
        """Whether anything is told of what the app does, beyond the log of its troubles."""
        return self.observability_profile != "off"

    @property
    def wants_metrics(self) -> bool:
        """Whether Prometheus can ask for what is counted and timed."""
        return self.is_observed and self.prometheus_enabled

    @property
    def checks_tokens(self) -> bool:
        """Whether some calls have their tokens counted a second time."""
        return self.is_observed and self.token_check_every > 0

    @property
    def wants_io_logs(self) -> bool:
        """Whether what came in and went out is logged, request by request."""
        return self.observability_profile in {"minimal", "hybrid"}

    @property
    def wants_otlp(self) -> bool:
        """Whether traces are to go to an OpenTelemetry collector, Jaeger or Tempo."""
        return self.observability_profile == "hybrid"

    @property
    def uses_azure(self) -> bool:
        """Whether the LLM is reached through Azure."""
        return self.azure_openai_endpoint is not None

    @property
    def model(self) -> str:
        """The model, or the deployment on Azure, that calls are sent to."""
        return self.azure_openai_deployment_name if self.uses_azure else self.openai_model


def load_settings() -> Settings:
    """
    Read the settings from the environment.

    Raises SettingsError with one line a fault, each beginning with the variable's name.
    Values are not repeated in the message: some of them are secrets.
    """
    if os.environ.get("API_TOKEN") == "":
        # A secret that failed to be mounted must not open the API.
        raise SettingsError("API_TOKEN: is empty; leave it out to run without a token")
    try:
        return Settings()
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False, include_input=False):
            reason = fault["msg"].removeprefix("Value error, ")
            place = str(fault["loc"][0]).upper() if fault["loc"] else ""
            faults.append(f"{place}: {reason}" if place else reason)
        raise SettingsError("\n".join(faults)) from None


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())

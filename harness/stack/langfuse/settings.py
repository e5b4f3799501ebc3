"""What the stand-in is told by its environment, every name prefixed ``LANGFUSE_STANDIN_``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """
    The stand-in's settings; an invalid or missing one raises pydantic's ValidationError.

    ``db`` is the path of the SQLite file, in memory unless given. ``prices`` is a price book used
    for models that nobody created through the API. ``drop_every`` n is a fault: every n-th span is
    lost although the sender is told that all is well. ``lag_seconds`` is how long a row stays
    invisible after it arrived.
    """

    model_config = SettingsConfigDict(env_prefix="LANGFUSE_STANDIN_", frozen=True)

    public_key: Annotated[str, Field(min_length=1)]
    secret_key: Annotated[str, Field(min_length=1)]
    db: str = ":memory:"
    prices: Path | None = None
    drop_every: Annotated[int | None, Field(ge=1)] = None
    lag_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

"""What the environment says about the simulated LLM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from harness.stack.llm.faults import Fault, FaultError, parse_faults


class SettingsError(ValueError):
    """A variable that cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The settings of one server.

    `seed` (SIMLLM_SEED) fixes latencies and faults, `scale` (SIMLLM_SCALE) multiplies every
    latency, `faults` (SIMLLM_FAULT) go wrong on purpose, `log` (SIMLLM_LOG) is the truth log.
    """

    seed: int = 7
    scale: float = 0.25
    faults: tuple[Fault, ...] = ()
    log: Path | None = None


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raises SettingsError naming the variable that is wrong."""
    defaults = Settings()
    try:
        seed = int(environment.get("SIMLLM_SEED") or defaults.seed)
    except ValueError:
        raise SettingsError("SIMLLM_SEED must be a whole number") from None
    try:
        scale = float(environment.get("SIMLLM_SCALE") or defaults.scale)
    except ValueError:
        scale = -1.0
    if not (isfinite(scale) and scale >= 0):
        raise SettingsError("SIMLLM_SCALE must be a number, 0 or more")
    try:
        faults = parse_faults(environment.get("SIMLLM_FAULT", ""))
    except FaultError as error:
        raise SettingsError(f"SIMLLM_FAULT: {error}") from None
    log = environment.get("SIMLLM_LOG")
    return Settings(seed, scale, faults, Path(log) if log else None)

"""Whatever the LLM is made to ask for, nothing leaves the root and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.target_app.attacks.siege import Siege, processes
from tests.target_app.attacks.tool_calls import Attack, all_attacks

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("attack", [pytest.param(a, id=a.id) for a in all_attacks()])
async def test_an_attack_by_tool_call_comes_to_nothing(siege: Siege, attack: Attack) -> None:
    calls = attack.tool_calls(str(siege.world.elsewhere))
    results = []

    async def go() -> None:
        results[:] = await siege.results(*calls)

    await siege.withstand(go, blocks=attack.blocks)

    for call, result in zip(calls, results, strict=True):
        if attack.refused is not None:
            assert result["success"] is not attack.refused, (call, result)
        if not result["success"]:
            assert result["stdout"] == "", (call, result)
            assert result["error"], (call, result)
        elif attack.shows is not None:
            assert result["stdout"] == attack.shows, (call, result)


async def test_a_process_of_the_sandbox_has_nothing_of_the_environment(siege: Siege) -> None:
    await siege.check_alive()

    children = processes()[1:]
    assert len(children) == (0 if siege.level == "paths" else 1)
    assert [name for pid in children for name in environment_of(pid)] == ["LC_ALL"] * len(children)


def environment_of(pid: int) -> list[str]:
    """Name the variables that a process was started with."""
    environment = Path(f"/proc/{pid}/environ").read_text()
    return [variable.partition("=")[0] for variable in environment.split("\0") if variable]

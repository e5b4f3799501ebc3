"""An LLM that takes its time: the same time for the same question."""

from __future__ import annotations

from benchmarks.patient_llm import question, wait_seconds


def test_the_wait_follows_from_the_question_and_the_step() -> None:
    waits = [wait_seconds(number, step, 0.05, 0.15) for number in range(50) for step in range(4)]

    assert waits == [
        wait_seconds(number, step, 0.05, 0.15) for number in range(50) for step in range(4)
    ]
    assert len(set(waits)) == 200
    assert 0.05 <= min(waits) < 0.06
    assert 0.14 < max(waits) <= 0.15


def test_a_question_names_its_number_its_plan_and_its_session() -> None:
    assert question("plan", 3) == b'{"message": "What do the documents say, question 3? [plan]"}'
    assert question("none", 4, "s-1").endswith(b'"session_id": "s-1"}')

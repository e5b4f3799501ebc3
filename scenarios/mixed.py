"""A day in the life of the app: what the other scenarios do, all at once and by weight."""

from pathlib import Path

from harness.load import AgentUser, Deck, Poisson, prime, tasks_of

QUESTIONS = Deck(Path(__file__).with_name("questions.jsonl"), count=15, repeat=True)


class Mixed(AgentUser):
    """Mostly questions, some of them streamed or in conversations; few documents and mistakes."""

    arrivals = Poisson(rate=4, duration="28s", warmup="2s")
    prepare = (prime(QUESTIONS),)
    questions = QUESTIONS
    tasks = tasks_of(
        Path(__file__).parent,
        {"warm_cache": 10, "streaming": 5, "multi_turn": 2, "documents": 2, "bad_input": 1},
    )

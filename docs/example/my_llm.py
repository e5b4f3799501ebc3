"""An endpoint that speaks OpenAI's chat completions: vLLM, Ollama, LiteLLM, OpenAI itself."""

from harness.load import AgentUser, Conversation, OpenAIChat, Poisson, task


class MyLlm(AgentUser):
    """Short conversations with a model."""

    api = OpenAIChat("gpt-4o-mini", system="Answer in one sentence.")
    arrivals = Poisson(rate=2, duration="60s", warmup="2s")

    @task
    def converse(self) -> None:
        """Ask, read the streamed answer, and ask again."""
        talk = Conversation()
        if self.chat("What is coordinated omission?", stream=True, conversation=talk):
            self.think(1)
            self.chat("How is it avoided?", conversation=talk)

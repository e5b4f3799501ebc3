"""The simulated LLM: the chat-completions wire of OpenAI and Azure, without a model behind it."""

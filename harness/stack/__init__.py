"""The embedded stack: supervisor, simulated LLM and Langfuse stand-in."""

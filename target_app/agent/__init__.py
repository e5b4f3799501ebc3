"""The tool-calling agent: loop, LLM, tools, orchestration."""

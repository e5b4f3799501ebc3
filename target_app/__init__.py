"""A reference agent, instrumented: an LLM answers questions about a folder with tools."""

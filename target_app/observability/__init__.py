"""Metrics, traces and logs, wrapped around the agent at its seams."""

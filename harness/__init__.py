"""SLO benchmark harness for LLM agent apps: load, evidence, reconciliation, verdicts."""

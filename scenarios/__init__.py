"""Scenarios: one small file each, named like its class; plain Locust to the reader."""

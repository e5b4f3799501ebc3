"""
A stand-in for a Langfuse 4 server: spans in over OTLP, observations and metrics out.

It serves the subset of the public API that this project uses, priced by the same rules, from one
SQLite file. It is a stand-in and says so; it is held to recorded answers of a real server.
"""

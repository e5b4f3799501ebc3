"""The HTTP surface of the app."""

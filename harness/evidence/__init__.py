"""The three witnesses: each answers indicators about windows, from its own vantage point."""

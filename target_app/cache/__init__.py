"""Results of tool calls, kept only as long as the files they came from stay the same."""

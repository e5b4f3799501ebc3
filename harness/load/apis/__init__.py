"""The chat APIs that the harness speaks; each is a ChatApi of harness.load.chat_api."""

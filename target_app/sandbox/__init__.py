"""What a tool may touch: paths confined to the data root, commands in pure Python."""

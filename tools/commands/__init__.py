"""One module per command group, found by listing this folder."""

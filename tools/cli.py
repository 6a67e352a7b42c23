"""The command `harken`."""


def main() -> int:
    """Run the command line."""
    return 0

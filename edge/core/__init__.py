"""The C core: written once, compiled for the host, emulated boards and real ones."""

"""Projects for SDKs: what ESP-IDF, the CMSIS toolbox and Zephyr build as it stands."""

from firmware_gen.sdk.export import Export, export_project

__all__ = ["Export", "export_project"]

"""Watching one device over its link: what it says, hears and counts, kept as a session that can be read again."""

from tools.monitor.session import Line, Session
from tools.monitor.watcher import Watcher

__all__ = ["Line", "Session", "Watcher"]

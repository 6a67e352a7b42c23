"""What the documentation tells a person to type exists."""

import re
import shlex
from pathlib import Path

import pytest

from tools.cli import build_parser

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines(page: Path) -> list[str]:
    """The commands of a page's shell blocks: comments cut off, a line of several taken apart."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), flags=re.M | re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [part.strip() for line in lines for part in re.split(r"\s(?:&&|\||&)(?:\s|$)", line) if part.strip()]


HARKEN_LINES = [
    line for page in PAGES for line in shell_lines(page) if line.startswith(("harken ", ".venv/bin/harken "))
]
MAKE_LINES = [line for page in PAGES for line in shell_lines(page) if line.startswith("make ")]


@pytest.mark.parametrize("line", HARKEN_LINES)
def test_a_documented_command_is_accepted_by_the_command_line(line: str) -> None:
    args = build_parser().parse_args(shlex.split(line)[1:])
    assert callable(args.func)


@pytest.mark.parametrize("line", MAKE_LINES)
def test_a_documented_make_target_exists(line: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M)
    assert shlex.split(line)[1] in targets


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
    assert missing == []


def test_the_documentation_shows_commands_at_all() -> None:
    assert len(HARKEN_LINES) >= 5
    assert len(MAKE_LINES) >= 3

"""What must stay light to import stays so."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["edge.contracts.messages", "edge.catalogue", "edge.native", "cloud.serve", "tools.cli", "tools.gateway"]
)
def test_importing_it_does_not_import_tensorflow(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(m.split('.')[0] in ('tensorflow', 'tf_keras') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

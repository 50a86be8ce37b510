"""Helpers lie in modules of their own."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_no_test_of_janus_imports_from_a_test_module():
    wrong = [
        f"{path.relative_to(HERE)}: {line}"
        for path in HERE.rglob("*.py")
        for line in re.findall(r"^\s*from tests[\w.]*\.test_\w+ import.*", path.read_text(), re.M)
    ]
    assert not wrong

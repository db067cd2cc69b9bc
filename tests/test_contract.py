"""The public contract, where the file that states it lies beside the project."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACT = ROOT.parent / "shared" / "contract.py"


@pytest.mark.skipif(not CONTRACT.exists(), reason="no ../shared/contract.py beside the project")
def test_contract_is_kept():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, str(CONTRACT)], capture_output=True, text=True, timeout=300, env=env, cwd=ROOT)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-1000:]

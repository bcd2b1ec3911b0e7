"""The help of a job is there at once: what takes seconds to import is imported when there is work.

pytest tests/test_help.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {
    "pyarrow",
    "PIL",
    "torch",
    "torchvision",
    "timm",
    "ray",
    "mlflow",
    "pandas",
    "scipy",
    "sklearn",
    "matplotlib",
    "boto3",
}
_LOADED = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
runpy.run_path(sys.argv[0], run_name="__main__")
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("job", sorted(path.stem for path in (ROOT / "jobs").glob("*.py")))
def test_help_waits_for_no_large_library(job: str, tmp_path: Path) -> None:
    script = ROOT / "jobs" / f"{job}.py"
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"python jobs/{job}.py" in done.stdout
    loaded = set(done.stderr.split())
    assert "stargan_ray.runtime.cli" in loaded
    assert not HEAVY & loaded

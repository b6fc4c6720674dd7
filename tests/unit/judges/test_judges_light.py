"""A command line that only names judges must not wait for torch."""

import subprocess
import sys


def test_importing_judges_imports_nothing_heavy():
    heavy = ("torch", "transformers", "nudenet", "onnxruntime", "sklearn")
    code = f"import sys, excise.judges.judging; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

"""What a model takes in memory, measured in a process of its own.

python -m operators.core.compression.footprint FOLDER < TEXTS, a JSON list of lists
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from operators.core.errors import TrainingError

TIMEOUT_SECONDS = 600.0


def footprint(folder: Path, requests: Sequence[Sequence[str]]) -> int:
    """Return the most bytes that a folder's classifier takes while it answers, beside the libraries that it needs.

    Raises:
        TrainingError: The process failed, for want of memory perhaps.
    """
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", __name__, str(folder)]
    try:
        done = subprocess.run(
            command,
            cwd=root,
            input=json.dumps(list(map(list, requests))),
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise TrainingError(f"the memory of {folder.name} could not be measured: {error}\n{error.stderr!s}") from error
    return int(done.stdout)


def measure(folder: Path, requests: Sequence[Sequence[str]]) -> int:
    """Return what this process holds more for a folder's classifier than it holds for its libraries."""
    from operators.core.models.card import ClassifierCard
    from operators.core.models.classifier import load_classifier

    if ClassifierCard.from_folder(folder).format == "safetensors":
        import transformers.models.bert.modeling_bert  # noqa: F401

        import operators.core.models.encoder  # noqa: F401
    else:
        import onnxruntime  # noqa: F401
    before = _kibibytes("VmRSS")
    classifier = load_classifier(folder, threads=1)
    for request in requests:
        classifier.logits(request)
    return 1024 * (_kibibytes("VmHWM") - before)


def _kibibytes(name: str) -> int:
    """Return a figure of this process as the kernel has it; `getrusage` would count from before it was started."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    print(measure(Path(sys.argv[1]), json.load(sys.stdin)))

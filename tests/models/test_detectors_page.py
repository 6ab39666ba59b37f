"""The page about detectors: its code runs, and every detector and setting that it must name is on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qworkbench.baselines import BASELINES
from qworkbench.models.adversarial_detector import INVERSIONS
from qworkbench.models.detector import THRESHOLDS
from qworkbench.models.gan import LOSSES
from qworkbench.models.registry import MODELS

PAGE = (Path(__file__).parents[2] / "docs" / "detectors.md").read_text(encoding="utf-8")


def test_the_examples_run() -> None:
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(code, names)


def test_every_detector_and_choice_is_on_the_page() -> None:
    detectors = [name for name, entry in (MODELS | BASELINES).items() if entry.task == "anomaly"]
    assert [name for name in (*detectors, *LOSSES, *INVERSIONS, *THRESHOLDS) if f"`{name}`" not in PAGE] == []

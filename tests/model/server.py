"""`zygote.py` of the crash tests, for the model: layers of some kilobytes go every way that large ones go."""

from __future__ import annotations

import sys
from pathlib import Path

import zygote

from nacre.images.layers import partial

partial.LEAST = 1 << 12
sys.path.append(str(Path(__file__).parent))

if __name__ == "__main__":
    zygote.main()

"""`zygote.py` as it is, for rooms whose commands must do what they do for a user."""

from __future__ import annotations

import zygote

if __name__ == "__main__":
    zygote.main(tuned=False)

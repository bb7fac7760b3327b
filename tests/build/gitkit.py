"""Repositories for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TIME = 1_400_000_000
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


class Repository:
    """A repository that is served as plain files, as `git update-server-info` allows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "me@example.org")
        self.git("config", "user.name", "me")

    def git(self, *words: str) -> str:
        dates = {"GIT_AUTHOR_DATE": f"{TIME} +0000", "GIT_COMMITTER_DATE": f"{TIME} +0000"}
        kept = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=kept | dates, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, tag: str, **files: str) -> str:
        for name, text in files.items():
            (self.folder / name).parent.mkdir(exist_ok=True, parents=True)
            (self.folder / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", tag)
        self.git("tag", "-a", "-m", tag, tag)
        self.git("update-server-info")
        return self.git("rev-parse", "HEAD")

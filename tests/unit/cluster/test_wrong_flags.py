"""A flag that cannot be meant ends the command with one line that says so."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--feature-gates", "Foo=true"], "Error: unrecognized feature gate: Foo"),
        (["--authorization-mode", "Foo"], 'Error: authorization-mode "Foo" is not a valid mode'),
        (
            ["--enable-admission-plugins", "Foo"],
            'Error: enable-admission-plugins plugin "Foo" is unknown',
        ),
    ],
)
def test_a_wrong_flag_is_told_in_one_line(tmp_path: Path, flags: list[str], text: str) -> None:
    command = [sys.executable, "-m", "kybern.cluster.cli", "run", "apiserver", *flags]
    place = ["--data-dir", str(tmp_path), "--secure-port", "1"]
    ended = subprocess.run([*command, *place], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1] == text
    assert "Traceback" not in ended.stderr

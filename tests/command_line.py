"""Runs the commands of `codesage` in the process of the tests, without the seconds that a process takes to start."""

import io
import subprocess
import sys

import pytest

from codesage import cli


class Stream(io.TextIOWrapper):
    """A standard stream that keeps what is written, and may pass for a terminal."""

    def __init__(self, *, terminal: bool = False, encoding: str = "utf-8") -> None:
        self.kept, self._terminal = io.BytesIO(), terminal
        super().__init__(self.kept, encoding=encoding)

    def isatty(self) -> bool:
        return self._terminal

    def data(self) -> bytes:
        self.flush()
        return self.kept.getvalue()


def run(*arguments, terminal: bool = False, encoding: str = "utf-8", text: bool = True, folder=None):
    """Run a command in this process, as `python -m codesage` would do in `folder`."""
    out, err = Stream(terminal=terminal, encoding=encoding), Stream()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["codesage", *map(str, arguments)])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setenv("PYTHONSAFEPATH", "1")  # which `main` sets, and which no later test should see
        patch.setenv("OPENBLAS_THREAD_TIMEOUT", "4")  # likewise
        if folder is not None:
            patch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    outputs = (out.data(), err.data())
    texts = [part.decode(encoding if part is outputs[0] else "utf-8") for part in outputs] if text else outputs
    return subprocess.CompletedProcess(arguments, ended.value.code, *texts)

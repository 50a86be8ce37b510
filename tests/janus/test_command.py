"""Command lines under closed streams, full outputs and stores that cannot be written."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from janus import atomic_files
from janus.errors import ConfigError
from janus.one_line import explain_os_error
from janus.store.store import Store

CLOSED = (
    "from janus.one_line import open_streams; open_streams(); import sys, os; print('lost');"
    "sys.stdout.flush(); made = os.open('/dev/null', os.O_RDONLY); sys.exit(made <= 1)"
)


def test_a_closed_stdout_takes_what_is_printed_and_no_file_gets_its_number():
    command = f'exec "{sys.executable}" -c "{CLOSED}" >&-'
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["link", "fsync"])
def test_a_file_system_without_links_or_fsync_is_refused_in_one_line(tmp_path, monkeypatch, name):
    def refuse(*_):
        raise OSError(errno.EPERM if name == "link" else errno.EINVAL, "not here")

    monkeypatch.setattr(atomic_files.os, name, refuse)
    with pytest.raises(ConfigError, match=r"is on a file system without .*store=DIR"):
        Store(tmp_path).require_writable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_an_error_of_the_file_system_says_what_where_and_what_to_do(number):
    told = explain_os_error(OSError(number, "text", "/some/store"))
    assert "/some/store" in told and ("another folder" in told or "free some" in told)

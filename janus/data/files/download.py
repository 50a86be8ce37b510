"""Downloads archives for `python -m janus.data fetch`: resumes, checks the hash, unpacks."""

from __future__ import annotations

import hashlib
import http.client
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

from janus.data.benches.origins import Download
from janus.errors import DataError

BLOCK = 1 << 20
OnProgress = Callable[[int, int], None]
"""A function called with (bytes received, bytes in all)."""


def fetch(download: Download, root: Path, on_progress: OnProgress) -> Path:
    """Download into `root`, continuing an earlier attempt, and unpack there; returns the archive.

    Raises DataError if the download fails or the archive is damaged. A partial download is kept
    for the next attempt; a complete one with a wrong checksum is deleted.
    """
    root.mkdir(parents=True, exist_ok=True)
    target = root / download.url.rsplit("/", 1)[-1]
    if target.is_file():
        if (found := _md5(target)) != download.md5:
            raise DataError(
                f"{target} has MD5 {found}, not the published {download.md5}: it is damaged, or "
                "another file. Move it away and run the same command again"
            )
    else:
        part = target.with_name(target.name + ".part")
        _download(download.url, part, on_progress)
        found = _md5(part)
        if found != download.md5:
            part.unlink()
            raise DataError(
                f"{download.url} gave a file with MD5 {found}, not the published {download.md5}. "
                "It was deleted; try again, and if this repeats the file was changed at its source"
            )
        part.rename(target)
    unpack_archive(target, root)
    return target


def _download(url: str, part: Path, on_progress: OnProgress) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            if answer.status != 206:
                done = 0  # the server sends the file from its beginning
            total = done + int(answer.headers.get("Content-Length") or 0)
            with open(part, "ab" if done else "wb") as stream:
                while block := answer.read(BLOCK):
                    stream.write(block)
                    done += len(block)
                    on_progress(done, total)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:
            return  # the file was already complete
        raise DataError(f"{url}: {error}. Run the same command again to go on") from None
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{url}: {error}. Run the same command again to go on") from None
    if total and done < total:
        raise DataError(f"{url} stopped at {done} of {total} bytes. Run the same command again")


def unpack_archive(archive: Path, root: Path) -> None:
    """Unpack a tar archive into `root`. Raises DataError if it is damaged or leaves the folder."""
    try:
        with tarfile.open(archive) as members:
            members.extractall(root, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{archive} is damaged ({error}). Delete it and fetch again") from None


def _md5(path: Path) -> str:
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()

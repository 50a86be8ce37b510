"""`python -m janus.data`: what it prints, what it writes, and what it downloads."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from janus.config.compose import compose
from janus.config.method_spec import spec_names
from janus.data import load_bench as benches
from janus.data.__main__ import bench_of, main
from janus.data.benches.origins import ORIGINS, Download
from janus.data.files.download import fetch, unpack_archive
from janus.data.files.overview import class_table, picture
from janus.data.images.flat_images import FlatImages
from janus.errors import ConfigError, DataError
from tests.janus.data import sets
from tests.janus.data.samples import TOY


def test_list_knows_every_bench(capsys):
    assert set(ORIGINS) == set(spec_names("bench"))
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[1:-2]} == set(ORIGINS)


def test_ones_own_folder_goes_from_check_to_prepared_to_training(tmp_path, capsys):
    root = sets.class_folders(tmp_path / "mine", {"train": 4, "test": 2}, ("cat", "dog", "eel"))
    words = [f"bench.root={root}", "bench.tasks=3"]
    request = {**TOY, "bench": "folder", "bench.root": str(root), "bench.tasks": 3}
    with pytest.raises(ConfigError, match=r"janus\.data check folder"):
        compose(request)
    assert main(["check", "folder", *words]) == 0
    out = capsys.readouterr().out
    assert "3 classes" in out and "12 training and 6 test" in out and "SHA-256" in out
    assert out.endswith(f"next: python -m janus.data prepare folder {' '.join(words)}\n")
    assert Image.open(root / ".janus/folder.png").size == (64, 3 * 64 + 2 * 8)
    counted = (root / ".janus/folder-counts.tsv").read_text().splitlines()
    assert counted[1:] == [f"all\t{name}\t4\t2" for name in ("cat", "dog", "eel")]
    bench = compose(request).bench
    assert bench.classes == 3 and bench.split_sha256 in out
    assert main(["prepare", "folder", *words]) == 0
    loaded = benches.load_images(bench)
    assert isinstance(loaded.train.store, FlatImages) and len(loaded.train) == 12


def test_prepared_arrays_of_an_earlier_state_of_a_folder_are_not_used(tmp_path, caplog):
    root = sets.class_folders(tmp_path / "mine", {"train": 4, "test": 2}, ("cat", "dog"))
    words = [f"bench.root={root}", "bench.tasks=2"]
    request = {**TOY, "bench": "folder", "bench.root": str(root), "bench.tasks": 2}
    for command in ("check", "prepare"):
        assert main([command, "folder", *words]) == 0
    sets.save(root / "train/cat/new.jpg", 0, 5)
    assert len(benches.load_images(compose(request).bench).train) == 8
    assert main(["check", "folder", *words]) == 0
    assert len(benches.load_images(compose(request).bench).train) == 9
    assert "another split" in caplog.text


def test_check_says_when_the_images_are_not_the_known_ones(tmp_path, capsys):
    sets.cifar(tmp_path)
    words = [f"bench.root={tmp_path}", "bench.classes=4", "bench.tasks=2"]
    assert main(["check", "cifar100", *words]) == 0
    assert "NOT the known one" in capsys.readouterr().out


def test_check_says_when_a_split_has_not_the_published_numbers_of_images(tmp_path, capsys):
    sets.class_folders(tmp_path, {"train": 3, "test": 2}, ("001.a", "002.b"))
    words = [f"bench.root={tmp_path}", "bench.classes=2", "bench.tasks=2"]
    assert main(["check", "cub200", *words]) == 0
    assert "NOT the published 9,430 / 2,358 images (from memory" in capsys.readouterr().out
    assert ORIGINS["cub200"].compare(9_430, 2_358) == ORIGINS["folder"].compare(1, 1) == ""


def test_the_picture_shows_every_class_of_every_task(tmp_path):
    """More classes than fit into a line go on in the next; DomainNet has 69 to a task."""
    bench = benches.load_images(compose({"bench": "glyphs", "backbone": "toy"}).bench)
    picture(bench, 2, False, tmp_path / "p.png")
    shown = np.asarray(Image.open(tmp_path / "p.png"))
    assert shown.shape == (4 * 64 + 8, 40 * 64, 3)
    tiles = [shown[y : y + 64, x : x + 64] for y in (0, 64, 136, 200) for x in range(0, 2560, 64)]
    filled = [bool((tile != 64).any()) for tile in tiles]
    assert filled == ([True] * 50 + [False] * 30) * 2


def test_counts_are_those_of_each_class_in_each_domain():
    bench = benches.load_images(compose({"bench": "glyphs_styles", "backbone": "toy"}).bench)
    lines = [line.split("\t") for line in class_table(bench).splitlines()[1:]]
    assert len(lines) == 100 * len(bench.domain_names)
    totals = [sum(int(line[column]) for line in lines) for column in (2, 3)]
    assert totals == [len(bench.train), len(bench.test)]
    mine = (bench.train.labels == 7) & (bench.train.domains == 2)
    assert lines[207][:3] == [bench.domain_names[2], bench.class_names[7], str(int(mine.sum()))]


def test_check_notices_prepared_bytes_that_changed(tmp_path):
    sets.cifar(tmp_path)
    words = [f"bench.root={tmp_path}", "bench.classes=4", "bench.tasks=2"]
    assert main(["prepare", "cifar100", *words]) == 0
    path = tmp_path / ".janus/cifar100-official/test.u8"
    raw = bytearray(path.read_bytes())
    raw[0] ^= 255
    path.write_bytes(raw)
    with pytest.raises(DataError, match="prepared test images are damaged"):
        main(["check", "cifar100", *words])


def test_what_must_be_got_by_hand_says_how(tmp_path):
    with pytest.raises(DataError, match=r"http://ai\.bu\.edu/M3SDA"):
        main(["fetch", "domainnet", f"bench.root={tmp_path}"])


def test_only_settings_of_the_bench_are_taken():
    with pytest.raises(ConfigError, match="only bench"):
        bench_of("glyphs", {"train.epochs": 3})


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def server():
    """Serves `content`, in `partial` answers if asked to; breaks off after `stop` bytes once."""

    class Handler(BaseHTTPRequestHandler):
        content, stop, ranges, partial = b"", None, [], True

        def do_GET(self):
            asked = self.headers.get("Range")
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            Handler.ranges.append(start)
            if self.partial and 0 < len(self.content) <= start:
                self.send_error(416)
                return
            body = self.content[start:] if self.partial else self.content
            self.send_response(206 if asked and self.partial else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            stop, Handler.stop = Handler.stop, None
            self.wfile.write(body if stop is None else body[:stop])

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serve = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    serve.start()
    Handler.url = f"http://127.0.0.1:{http.server_port}/set.tar.gz"
    yield Handler
    http.shutdown()
    http.server_close()


def download_of(server, content):
    server.content = content
    return Download(server.url, hashlib.md5(content).hexdigest())


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    content = archive({"set/a.bin": bytes(range(256)) * 400})
    download = download_of(server, content)
    server.stop = 500
    with pytest.raises(DataError, match="same command again"):
        fetch(download, tmp_path, lambda *_: None)
    fetch(download, tmp_path, lambda *_: None)
    assert server.ranges == [0, 500]
    assert (tmp_path / "set/a.bin").read_bytes() == bytes(range(256)) * 400


def test_a_server_without_ranges_starts_again(server, tmp_path):
    content = archive({"set/a.bin": bytes(range(256)) * 400})
    download, server.partial, server.stop = download_of(server, content), False, 500
    with pytest.raises(DataError, match=f"stopped at 500 of {len(content)} bytes"):
        fetch(download, tmp_path, lambda *_: None)
    fetch(download, tmp_path, lambda *_: None)
    assert server.ranges == [0, 500] and (tmp_path / "set.tar.gz").read_bytes() == content


@pytest.mark.parametrize("sound", [True, False])
def test_what_had_arrived_whole_is_used_if_its_sum_is_right(sound, server, tmp_path):
    """Killed between the last byte and the renaming; or the file at the source was changed."""
    content = archive({"set/a.bin": b"1"})
    download = download_of(server, content)
    (tmp_path / "set.tar.gz.part").write_bytes(content if sound else b"x" * len(content))
    if sound:
        fetch(download, tmp_path, lambda *_: None)
        assert (tmp_path / "set/a.bin").read_bytes() == b"1"
    else:
        with pytest.raises(DataError, match="not the published"):
            fetch(download, tmp_path, lambda *_: None)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cifar100", "imagenet_r"])
def test_what_is_fetched_can_be_checked(name, server, tmp_path, monkeypatch, capsys):
    made = getattr(sets, {"cifar100": "cifar", "imagenet_r": "imagenet_r"}[name])(tmp_path / "made")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        folder = next(p for p in made.iterdir() if p.is_dir())
        tar.add(folder, arcname=folder.name)
    download = download_of(server, stream.getvalue())
    monkeypatch.setitem(ORIGINS, name, replace(ORIGINS[name], downloads=(download,)))
    words = [f"bench.root={tmp_path / 'data'}", "bench.classes=4", "bench.tasks=2"]
    assert main(["fetch", name, *words]) == 0
    for path in made.glob("*.yaml"):
        path.rename(tmp_path / "data" / path.name)
    assert f"next: python -m janus.data check {name} {' '.join(words)}" in capsys.readouterr().out
    assert main(["check", name, *words]) == 0


def test_a_download_with_another_sum_is_not_used(server, tmp_path):
    download = Download(download_of(server, archive({"a": b"1"})).url, "0" * 32)
    with pytest.raises(DataError, match="not the published"):
        fetch(download, tmp_path, lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_put_there_by_hand_is_checked_like_a_download(server, tmp_path):
    download = download_of(server, archive({"set/a.bin": b"1"}))
    (tmp_path / "set.tar.gz").write_bytes(archive({"set/a.bin": b"2"}))
    with pytest.raises(DataError, match="not the published"):
        fetch(download, tmp_path, lambda *_: None)
    assert not (tmp_path / "set").exists() and server.ranges == []


TEXT = archive({"a": b"".join(b"%d," % n for n in range(20_000))})
SPOILT = TEXT[: len(TEXT) // 2] + b"\xff" * 400 + TEXT[len(TEXT) // 2 + 400 :]


@pytest.mark.parametrize(
    "content", [b"", b"garbage", archive({"a": bytes(9000)})[:60], SPOILT], ids=len
)
def test_a_corrupted_archive_is_one_clear_error(content, tmp_path):
    (tmp_path / "set.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"set\.tar\.gz is damaged"):
        unpack_archive(tmp_path / "set.tar.gz", tmp_path)


def test_an_archive_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/set.tar.gz").write_bytes(archive({"../escaped": b"x"}))
    with pytest.raises(DataError, match="damaged"):
        unpack_archive(tmp_path / "in/set.tar.gz", tmp_path / "in")
    assert not (tmp_path / "escaped").exists()

"""A W&B server of the smallest kind, on the loopback: what runs, histories and files reached it.

It answers as much of the protocol as wandb's own client asks for when runs are logged online or
uploaded, so that resume and upload are tested with the real client. Histories are kept as the real
server keeps them: each chunk is written at the line that the client names.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0" * 40
"""An API key of the right form."""


@dataclass
class Bucket:
    """One run."""

    fields: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, list[str]] = field(default_factory=dict)
    exit_code: int | None = None

    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.streams.get("wandb-history.jsonl", [])]

    def summary(self) -> dict[str, Any]:
        lines = self.streams.get("wandb-summary.json") or ["{}"]
        return dict(json.loads(lines[-1]))


class FakeWandb(ThreadingHTTPServer):
    """State and address; `with serving() as server`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, Bucket] = {}
        self.unknown: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to come here."""
        url = f"http://127.0.0.1:{self.server_address[1]}"
        return {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_ENTITY": "me"}

    def answer(self, name: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The data for one query; None when it is not known here."""
        project = {"id": "p", "name": asked.get("project"), "entity": {"id": "e", "name": "me"}}
        match name:
            case "Viewer" | "viewer":
                return {"viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}"}}
            case "UpsertBucket":
                known = asked["name"] in self.runs
                run = self.runs.setdefault(asked["name"], Bucket())
                run.fields |= {k: v for k, v in asked.items() if v is not None}
                shown = {"id": asked["name"], "name": asked["name"], "project": project}
                lines = len(run.streams.get("wandb-history.jsonl", []))
                bucket = {**shown, "historyLineCount": lines, "displayName": None}
                return {"upsertBucket": {"bucket": bucket, "inserted": not known}}
            case "RunResumeStatus":
                return {"model": {**project, "bucket": self._resume(asked["name"])}}
            case "CreateRunFiles":
                files = [{"name": f, "uploadUrl": "/upload"} for f in asked["files"]]
                made = {"runID": asked["run"], "uploadHeaders": [], "files": files}
                return {"createRunFiles": made}
        return None

    def _resume(self, name: str) -> dict[str, Any] | None:
        run = self.runs.get(name)
        if run is None:
            return None

        def lines(stream: str) -> list[str]:
            return run.streams.get(stream, [])

        return {
            "id": name,
            "name": name,
            "displayName": None,
            "summaryMetrics": json.dumps(run.summary()),
            "config": run.fields.get("config", "{}"),
            "tags": run.fields.get("tags", []),
            "historyLineCount": len(lines("wandb-history.jsonl")),
            "eventsLineCount": len(lines("wandb-events.jsonl")),
            "logLineCount": 0,
            "historyTail": json.dumps(lines("wandb-history.jsonl")[-1:]),
            "eventsTail": json.dumps(lines("wandb-events.jsonl")[-1:]),
            "wandbConfig": json.dumps({"t": 1}),
        }


class _Handler(BaseHTTPRequestHandler):
    server: FakeWandb

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        ours = self.path.endswith(("/graphql", "/file_stream"))  # the rest is telemetry
        told = json.loads(body) if ours else {}
        if self.path.endswith("/graphql"):
            found = re.search(r"(?:query|mutation)\s+(\w+)", told["query"])
            name = found.group(1) if found else told["query"]
            data = self.server.answer(name, told.get("variables") or {})
            if data is None:
                self.server.unknown.append(name)
                self._reply({"errors": [{"message": f"{name} is not known here"}]})
            else:
                self._reply({"data": data})
        elif self.path.endswith("/file_stream"):
            run = self.server.runs[self.path.split("/")[-2]]
            for name, chunk in (told.get("files") or {}).items():
                lines, at = run.streams.setdefault(name, []), chunk["offset"]
                lines[at : at + len(chunk["content"])] = chunk["content"]
            if told.get("complete"):
                run.exit_code = told.get("exitcode")
            self._reply({})
        else:
            self._reply({})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._reply({})

    def do_GET(self) -> None:
        self._reply({})

    def _reply(self, record: dict[str, Any]) -> None:
        body = json.dumps(record).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return None


@contextmanager
def serving() -> Iterator[FakeWandb]:
    """A server for the length of a `with` block."""
    server = FakeWandb()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

"""Measure the page with many machines: what it costs the browser, and how many bytes a second come.

    .venv-dev/bin/python scripts/measure_page.py --machines 64 --minutes 10

A stand-in for the service serves the page and, once a second, a new tile of every machine: the most that there can be
to draw. Chromium says how busy its main thread was and how much memory its scripts hold, after a collection.
"""

from __future__ import annotations

import argparse
import json
import math
import mimetypes
import shutil
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

PAGE = Path(__file__).parents[1] / "service" / "humwatch_service" / "page"
STATES = ("normal",) * 12 + ("warning", "alarm", "unknown", "off")


def tile(number: int, at_s: float) -> dict[str, Any]:
    """A machine that is never the same for two seconds."""
    state = STATES[number % len(STATES)]
    score = 0.3 + 0.3 * math.sin(at_s / 7 + number) + {"warning": 0.5, "alarm": 1.0}.get(state, 0.0)
    alarm = state == "alarm"
    return {
        "machine_id": f"machine-{number:02d}", "machine_type": "fan", "model_version": "1", "state": state,
        "reasons": ["silent"] if state == "unknown" else [], "since_s": at_s - 60 * number, "score": round(score, 4),
        "step_score": round(score, 4), "warn_level": 0.6, "level_dbfs": round(-30 + 3 * score, 1), "heard_s": at_s,
        "running": state != "off", "faults": [], "alarm_id": f"machine-{number:02d}-000001" if alarm else None,
        "alarm_since_s": at_s - 60 if alarm else None, "acknowledged": False, "shelved_until_s": None,
        "out_of_service": False, "connected": True, "listened": True,
    }  # fmt: skip


def handler(machines: int) -> type[BaseHTTPRequestHandler]:
    """What answers in the service's place."""

    class Stand(BaseHTTPRequestHandler):
        sent = 0

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/v1/live":
                self._live()
            elif path.startswith("/ui/"):
                name = path.removeprefix("/ui/") or "index.html"
                self._answer((PAGE / name).read_bytes(), mimetypes.guess_type(name)[0] or "text/plain")
            elif path == "/v1/session":
                self._answer(b'{"key_needed": false, "signed_in": false}', "application/json")
            else:
                start_s = math.floor(time.time() / 60) * 60 - 3540
                scores = [round(0.3 + 0.2 * math.sin(minute / 5), 3) for minute in range(60)]
                told = {f"machine-{n:02d}": {"scores": scores, "states": ["normal"] * 60} for n in range(machines)}
                body = json.dumps({"start_s": start_s, "step_s": 60, "machines": told})
                self._answer(body.encode(), "application/json")

        def _answer(self, body: bytes, media_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _live(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            name = "fleet"
            while True:
                at_s = time.time()
                told = {"at_s": at_s, "machines": [tile(n, at_s) for n in range(machines)], "gone": []}
                event = f"event: {name}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n".encode()
                try:
                    self.wfile.write(event)
                    self.wfile.flush()
                except OSError:
                    return
                Stand.sent += len(event)
                name = "changes"
                time.sleep(1)

    return Stand


def figures(client: Any) -> dict[str, float]:
    """What Chromium counts of the page, after a collection."""
    client.send("HeapProfiler.collectGarbage")
    return {metric["name"]: metric["value"] for metric in client.send("Performance.getMetrics")["metrics"]}


def main() -> None:
    """Measure, and write one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    stand = handler(given.machines)
    server = ThreadingHTTPServer(("127.0.0.1", 0), stand)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        page.goto(f"http://127.0.0.1:{server.server_port}/ui/")
        page.locator(".tile").nth(given.machines - 1).wait_for()
        page.wait_for_timeout(10_000)
        first, sent, started_s = figures(client), stand.sent, time.monotonic()
        page.wait_for_timeout(given.minutes * 60_000)
        last, passed_s = figures(client), time.monotonic() - started_s
        told = {
            "machines": given.machines,
            "seconds": round(passed_s, 1),
            "main_thread_busy": round((last["TaskDuration"] - first["TaskDuration"]) / passed_s, 4),
            "of_it_script": round((last["ScriptDuration"] - first["ScriptDuration"]) / passed_s, 4),
            "heap_mb_first": round(first["JSHeapUsedSize"] / 1e6, 2),
            "heap_mb_last": round(last["JSHeapUsedSize"] / 1e6, 2),
            "nodes_first": first["Nodes"],
            "nodes_last": last["Nodes"],
            "bytes_a_second": round((stand.sent - sent) / passed_s),
        }
        sys.stdout.write(json.dumps(told) + "\n")
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()

"""Take pictures of every view of a running service's page: three widths, light and dark.

    .venv-dev/bin/python scripts/picture_page.py http://127.0.0.1:8000 --out runs/page --machine fan-id_00

It only looks. The alarm is the newest one of the machine, or of any machine where it has none. Where the service wants
a key, it is read from the file that `--key-file` names. The part that is seen without scrolling is taken; `--whole`
takes all of a page. `--sheets FOLDER` puts the pictures of each view on one sheet: light above, dark below.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

SIZES = {360: 740, 1280: 800, 1920: 1080}
THEMES = ("light", "dark")
SETTLE_MS = 2_500
LISTEN_MS = 20_000
SHEET_ROW_PX = 420
SHEET_GAP_PX = 12


def asked(url: str, path: str, key: str) -> Any:
    """JSON of the service."""
    request = urllib.request.Request(url + path, headers={"X-API-Key": key} if key else {})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        return json.load(answer)


def places(url: str, machine_id: str, key: str) -> dict[str, str]:
    """Address of each view behind `/ui/`."""
    found = asked(url, f"/v1/alarms?limit=1&machine_id={machine_id}", key)["alarms"]
    found = found or asked(url, "/v1/alarms?limit=1", key)["alarms"]
    views = {
        "fleet": "#/",
        "machine": f"#/machines/{machine_id}",
        "alarms": "#/alarms",
        "try": f"#/try?machine={machine_id}",
    }
    if found:
        views["alarm"] = f"#/alarms/{found[0]['id']}"
    return views


def take(page: Any, url: str, place: str, recording: Path | None) -> None:
    """Go to a view, and wait until it shows something."""
    page.goto(f"{url}/ui/{place}")
    page.locator("#connection[data-sign=live]").wait_for()
    if place.startswith("#/try") and recording is not None:
        page.locator("#try-machine option").first.wait_for(state="attached")
        page.locator("#try-file").set_input_files(recording)
        page.locator("img.evidence").wait_for()
    page.wait_for_timeout(LISTEN_MS if place.startswith("#/machines") else SETTLE_MS)


def name_of(view: str, width: int, theme: str) -> str:
    """File of a picture."""
    return f"page-{view}-{width}-{theme}.png"


def sheet(pictures: Path, view: str) -> Image.Image:
    """All pictures of a view side by side at one height, a row a theme."""
    rows = []
    for theme in THEMES:
        found = [Image.open(pictures / name_of(view, width, theme)).convert("RGB") for width in SIZES]
        rows.append([image.resize((image.width * SHEET_ROW_PX // image.height, SHEET_ROW_PX)) for image in found])
    width = max(sum(image.width + SHEET_GAP_PX for image in row) for row in rows) - SHEET_GAP_PX
    paper = Image.new("RGB", (width, len(rows) * (SHEET_ROW_PX + SHEET_GAP_PX) - SHEET_GAP_PX), "white")
    for number, row in enumerate(rows):
        left = 0
        for image in row:
            paper.paste(image, (left, number * (SHEET_ROW_PX + SHEET_GAP_PX)))
            left += image.width + SHEET_GAP_PX
    return paper.quantize(256, method=Image.Quantize.MAXCOVERAGE)  # small coloured parts keep their colours


def main() -> None:
    """Take the pictures, and name each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--out", type=Path, default=Path("runs/page"))
    parser.add_argument("--machine", default="fan-id_00")
    parser.add_argument("--recording", type=Path, help="for the view that tries a file")
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--whole", action="store_true", help="all of a page, not only what is seen first")
    parser.add_argument("--sheets", type=Path, help="folder for a sheet a view")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
    key = given.key_file.read_text().strip() if given.key_file else ""
    given.out.mkdir(parents=True, exist_ok=True)
    views = places(given.url, given.machine, key)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for theme in THEMES:
            for width, height in SIZES.items():
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                if key:
                    context.request.post(f"{given.url}/v1/session", data={"key": key})
                page = context.new_page()
                for view, place in views.items():
                    take(page, given.url, place, given.recording)
                    path = given.out / name_of(view, width, theme)
                    page.screenshot(path=path, full_page=given.whole)
                    sys.stdout.write(f"{path}\n")
                context.close()
        browser.close()
    if given.sheets is not None:
        given.sheets.mkdir(parents=True, exist_ok=True)
        for view in views:
            path = given.sheets / f"page-{view}-sheet.png"
            sheet(given.out, view).save(path, optimize=True)
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()

"""The page's files, which come with the package: looked up in a listing, never by a path from a request."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "page"
INDEX: Final = "index.html"

HEADERS: Final[dict[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}

_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent.

    Attributes:
        content: bytes of the file.
        media_type: media type, from its suffix.
        etag: entity tag, which changes with the content.
        stamp: time of modification and size on the disk when it was read.
    """

    content: bytes
    media_type: str
    etag: str
    stamp: tuple[int, int]


class PageFiles:
    """The files below a folder, by their names in it. A file that was changed is read again. Thread-safe."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._paths: dict[str, Path] = {}
        self._files: dict[str, PageFile] = {}

    def get(self, name: str) -> PageFile | None:
        """Return a file, or None where there is none of this name (blocking)."""
        with self._lock:
            if name not in self._paths:
                self._paths = _listing(self._folder)
            path = self._paths.get(name)
            if path is None:
                return None
            try:
                status = path.stat()
                found = self._files.get(name)
                if found is None or found.stamp != (status.st_mtime_ns, status.st_size):
                    found = self._files[name] = _read(path, (status.st_mtime_ns, status.st_size))
            except FileNotFoundError:
                return None
            return found


def _listing(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _read(path: Path, stamp: tuple[int, int]) -> PageFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:32]
    return PageFile(content, _MEDIA_TYPES.get(path.suffix, "text/plain; charset=utf-8"), f'"{digest}"', stamp)

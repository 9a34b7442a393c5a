"""What a container gives, without a container engine: namespaces of Linux, and a probe that runs inside.

The box has the machine's own programs, nothing of which can be written, folders of its own where a container would
have volumes, a network of its own that leads nowhere, and programs without capabilities as a user that is not root.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.deployment.reading import ROOT

OWN: Final = ("/etc", "/run", "/tmp", "/var")
"""Folders that the box has of its own; /etc is a copy."""

NAMESPACES: Final = [
    "unshare",
    "--user",
    "--map-user=10001",
    "--map-group=10001",
    "--keep-caps",
    "--mount",
    "--net",
    "--",
]

LOOPBACK_UP: Final = (
    "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 1 | 64))"
)

NO_RIGHTS: Final = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]


@dataclass(frozen=True)
class Mount:
    """A folder or file of the machine at a place of the box, or a tmpfs with options where there is no source."""

    target: str
    source: Path | None = None
    writable: bool = False
    options: str = ""


@cache
def why_not() -> str:
    """Why no box can be made here; empty where it can."""
    missing = [program for program in ("unshare", "setpriv", "chroot", "mount") if shutil.which(program) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run([*NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this machine does not let users make namespaces"


def run(folder: Path, mounts: list[Mount], hosts: list[str], plan: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Carry a plan out in a box (see ``probe.py``); return what the probe saw."""
    root = folder / "root"
    root.mkdir()
    probe = [sys.executable, str(ROOT / "tests" / "deployment" / "probe.py"), json.dumps(plan)]
    script = _script(root, mounts, hosts, [*NO_RIGHTS, "env", "-i", *probe])
    done = subprocess.run(
        [*NAMESPACES, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    seen = json.loads(done.stdout)
    assert isinstance(seen, dict)
    return seen


def _script(root: Path, mounts: list[Mount], hosts: list[str], command: list[str]) -> str:
    lines = ["set -eu", f"R={shlex.quote(str(root))}", "mount -t tmpfs -o mode=755 tmpfs $R"]
    for path in sorted(Path("/").iterdir()):
        name = shlex.quote(str(path))
        if path.is_symlink():
            lines.append(f"cp -P {name} $R{name}")
        elif str(path) in OWN:
            lines.append(f"mkdir $R{name}")
        elif path.is_dir():
            lines += [f"mkdir $R{name}", f"mount --rbind {name} $R{name}"]
    lines.append("cp -a /etc/. $R/etc 2>/dev/null || true")
    lines += [f"echo {shlex.quote(f'127.0.0.1 {host}')} >>$R/etc/hosts" for host in hosts]
    needed = [kept for kept in dict.fromkeys((ROOT, Path(sys.prefix), Path(sys.base_prefix))) if _within(kept, OWN)]
    for kept in needed:
        lines += _bound(Mount(str(kept), kept))
    for mount in mounts:
        lines += _bound(mount) if mount.source is not None else [f"mkdir -p $R{mount.target}"]
    lines += ["mkdir -p $R/tmp"]
    # Everything read-only, then once more what is not.
    lines.append(
        'for m in $(cut -d\' \' -f2 /proc/self/mounts | grep "^$R" | grep -v -E "^$R/(dev|proc|sys)");'
        " do mount -o remount,bind,ro $m; done"
    )
    for mount in mounts:
        if mount.source is None:
            lines.append(f"mount -t tmpfs -o {mount.options} tmpfs $R{mount.target}")
            for kept in (kept for kept in needed if _within(kept, [mount.target])):  # hidden by it
                lines += [*_bound(Mount(str(kept), kept)), f"mount -o remount,bind,ro $R{shlex.quote(str(kept))}"]
        elif mount.writable:
            lines.append(f"mount --bind {shlex.quote(str(mount.source))} $R{mount.target}")
    lines.append(f"{shlex.quote(sys.executable)} -c {shlex.quote(LOOPBACK_UP)}")
    lines.append(f"exec chroot $R {shlex.join(command)}")
    return "\n".join(lines)


def _within(path: Path, folders: Iterable[str]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _bound(mount: Mount) -> list[str]:
    assert mount.source is not None
    target = f"$R{shlex.quote(mount.target)}"
    made = f"mkdir -p {target}" if mount.source.is_dir() else f"mkdir -p $(dirname {target}); touch {target}"
    return [made, f"mount --bind {shlex.quote(str(mount.source))} {target}"]

"""Processors that a container leaves, in trees of control groups as the kernel shows them, and under a real quota."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from humwatch_service.config.settings import Settings
from humwatch_service.cpu_allowance import ControlGroup, CpuAllowance, cpu_allowance

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make /proc/self and files of control groups, by the paths that they have in the container."""

    def make(group: str, mounts: str, **files: str) -> Path:
        (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/self/cgroup").write_text(group)
        (tmp_path / "proc/self/mountinfo").write_text(mounts)
        for path, text in files.items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return tmp_path

    return make


V2 = "24 1 0:21 / /proc rw - proc proc rw\n35 30 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
V1 = (
    "40 31 0:35 {} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    "41 31 0:36 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
)
STAT = "usage_usec 9\nnr_periods 40\nnr_throttled 8\nthrottled_usec 900000\n"


@pytest.mark.parametrize(
    ("limit", "quota"),
    [
        ("50000 100000\n", 0.5),
        ("150000 100000\n", 1.5),
        ("20000 10000", 2.0),
        ("250000", 2.5),
        ("max 100000\n", None),
        ("", None),
        ("0 100000", None),
        ("nonsense", None),
    ],
)
def test_a_quota_of_version_2_in_a_namespace_of_its_own(tree: Tree, limit: str, quota: float | None) -> None:
    root = tree("0::/\n", V2, **{"sys/fs/cgroup/cpu.max": limit, "sys/fs/cgroup/cpu.stat": STAT})
    assert ControlGroup(root).quota() == quota


def test_of_nested_groups_the_least_holds_and_each_tells_when_it_was_used_up(tree: Tree) -> None:
    root = tree(
        "0::/kubepods/pod7/app\n",
        V2,
        **{
            "sys/fs/cgroup/kubepods/pod7/app/cpu.max": "max 100000",
            "sys/fs/cgroup/kubepods/pod7/app/cpu.stat": "nr_periods 1\nnr_throttled 1\n",
            "sys/fs/cgroup/kubepods/pod7/cpu.max": "75000 50000",
            "sys/fs/cgroup/kubepods/pod7/cpu.stat": "nr_periods 40\nnr_throttled 8\n",
            "sys/fs/cgroup/kubepods/cpu.max": "400000 100000",
            "sys/fs/cgroup/kubepods/cpu.stat": STAT,
        },
    )
    group = ControlGroup(root)
    assert group.quota() == 1.5
    assert group.throttled_s() == (0.4, 0.8)  # 8 periods of 50 ms, 8 of 100 ms; who has no quota was held back by none


@pytest.mark.parametrize(
    ("group", "origin", "folder"),
    [
        ("3:cpu,cpuacct:/docker/abc\n2:memory:/docker/abc\n", "/docker/abc", ""),  # docker mounts the group itself
        ("4:cpuacct,cpu:/system.slice/humwatch.service\n", "/", "/system.slice/humwatch.service"),
        ("4:cpu:/../../other\n", "/", ""),  # seen from a namespace that it is not in
        ("4:cpu:/docker/abcd\n", "/docker/abc", ""),
    ],
)
def test_a_quota_of_version_1(tree: Tree, group: str, origin: str, folder: str) -> None:
    place = f"sys/fs/cgroup/cpu,cpuacct{folder}"
    files = {f"{place}/cpu.cfs_quota_us": "30000\n", f"{place}/cpu.cfs_period_us": "100000\n"}
    files[f"{place}/cpu.stat"] = "nr_periods 10\nnr_throttled 3\nthrottled_time 123456789\n"
    root = tree(group, V1.format(origin), **files)
    assert ControlGroup(root).quota() == 0.3
    assert ControlGroup(root).throttled_s() == (pytest.approx(0.3),)
    (root / place / "cpu.cfs_quota_us").write_text("-1\n")
    assert ControlGroup(root).quota() is None


def test_both_versions_at_once_and_names_with_blanks(tree: Tree) -> None:
    mounts = V1.format("/") + r"36 30 0:27 / /sys/fs/cgroup/uni\040fied rw - cgroup2 cgroup2 rw" + "\n"
    root = tree(
        "5:cpu,cpuacct:/a:b\n0::/\n",
        mounts,
        **{
            "sys/fs/cgroup/cpu,cpuacct/a:b/cpu.cfs_quota_us": "120000",
            "sys/fs/cgroup/cpu,cpuacct/a:b/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/uni fied/cpu.max": "700000 1000000",
        },
    )
    assert ControlGroup(root).quota() == 0.7


@pytest.mark.parametrize("group", ["", "nonsense\n", "0::/gone\n", "1:name=systemd:/\n", "1:cpuset:/x\n"])
def test_where_nothing_is_to_be_seen_there_is_no_quota(tree: Tree, group: str) -> None:
    root = tree(group, V2)
    assert (ControlGroup(root).quota(), ControlGroup(root).throttled_s()) == (None, ())
    assert ControlGroup(root / "nowhere").quota() is None
    assert cpu_allowance(root).cores == len(os.sched_getaffinity(0))


def test_a_fraction_has_a_worker_and_more_than_there_are_is_no_more() -> None:
    assert (CpuAllowance(8, 0.5).cores, CpuAllowance(8, 0.5).workers) == (0.5, 1)
    assert (CpuAllowance(8, 2.5).cores, CpuAllowance(8, 2.5).workers) == (2.5, 3)
    assert (CpuAllowance(2, 6.0).cores, CpuAllowance(2, 6.0).workers) == (2.0, 2)
    assert (CpuAllowance(4, None).cores, CpuAllowance(4, None).workers) == (4.0, 4)
    assert str(CpuAllowance(8, 0.5)) == "0.5 of 8 processors, by a CPU quota of 0.5"
    assert str(CpuAllowance(1, None)) == "1 processor"


V1_TOP = Path("/sys/fs/cgroup/cpu")
V2_TOP = Path("/sys/fs/cgroup")


@pytest.fixture
def limited() -> Iterator[Path]:
    """A real control group of 0.3 processors; of what runs in it, the kernel takes care."""
    version = 1 if (V1_TOP / "cpu.cfs_quota_us").exists() or (V1_TOP / "cpu.shares").exists() else 2
    group = (V1_TOP if version == 1 else V2_TOP) / f"humwatch-test-{os.getpid()}"
    try:
        group.mkdir()
        if version == 1:
            (group / "cpu.cfs_period_us").write_text("50000")
            (group / "cpu.cfs_quota_us").write_text("15000")
        else:
            (group / "cpu.max").write_text("15000 50000")
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"this machine does not let this user make control groups: {error}")
    yield group
    group.rmdir()


@pytest.mark.process
def test_a_real_quota_counts_for_workers_and_is_seen_to_be_used_up(limited: Path) -> None:
    looked = (
        "import sys, time\n"
        "sys.stdin.readline()\n"
        "from humwatch_service.config.settings import Settings\n"
        "from humwatch_service.cpu_allowance import ControlGroup, cpu_allowance\n"
        "group = ControlGroup(); before = sum(group.throttled_s())\n"
        "while sum(group.throttled_s()) <= before: pass\n"  # busy until it is held back: it ends because it is
        "settings = Settings()\n"
        "print(cpu_allowance().cores, settings.score_workers, settings.stream_workers)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", looked], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        (limited / "cgroup.procs").write_text(str(process.pid))
        told, _ = process.communicate("go\n", timeout=300)
    assert told.split() == ["0.3", "1", "1"]
    assert Settings().score_workers == cpu_allowance().workers

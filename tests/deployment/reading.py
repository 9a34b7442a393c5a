"""What a Dockerfile and the compose file say, as far as the tests ask."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@dataclass(frozen=True)
class Stage:
    """A stage of a Dockerfile: ``FROM base AS name`` and its instructions."""

    name: str
    base: str
    instructions: tuple[tuple[str, str], ...]

    def all(self, keyword: str) -> list[str]:
        return [words for found, words in self.instructions if found == keyword]

    def last_list(self, keyword: str) -> list[str]:
        """Of an instruction in exec form."""
        words = self.all(keyword)[-1]
        return [str(part) for part in json.loads(words[words.index("[") :])]

    def environment(self) -> dict[str, str]:
        pairs = re.findall(r"(\w+)=(\S+)", " ".join(self.all("ENV")))
        return {name: value.strip('"') for name, value in pairs}


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile: what stands before its first stage, and its stages in order."""

    arguments: dict[str, str]
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def resolved(self, name: str) -> Stage:
        """A stage with everything that it inherits from others of the file; its base is an image then."""
        stage = self.stage(name)
        if stage.base not in {other.name for other in self.stages}:
            return stage
        below = self.resolved(stage.base)
        return Stage(name, below.base, below.instructions + stage.instructions)


def read_dockerfile(path: Path) -> Dockerfile:
    lines = [line for line in path.read_text("utf-8").splitlines() if not re.match(r"\s*#", line)]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        keyword, _, words = line.partition(" ")
        if keyword == "FROM":
            base, _, name = words.partition(" AS ")
            for argument, value in arguments.items():
                base = base.replace(f"${{{argument}}}", value)
            stages.append(Stage(name, base, ()))
        elif not stages:
            name, _, value = words.partition("=")
            arguments[name] = value
        else:
            last = stages[-1]
            stages[-1] = Stage(last.name, last.base, (*last.instructions, (keyword, words)))
    return Dockerfile(arguments, tuple(stages))


def read_compose(**variables: str) -> dict[str, Any]:
    """The compose file, with variables or the defaults that it gives them."""
    text = (ROOT / "docker-compose.yml").read_text("utf-8")

    def value(found: re.Match[str]) -> str:
        return variables.get(found["name"], found["default"])

    loaded = yaml.safe_load(re.sub(r"\$\{(?P<name>\w+):-(?P<default>[^}]*)\}", value, text))
    assert isinstance(loaded, dict)
    return loaded

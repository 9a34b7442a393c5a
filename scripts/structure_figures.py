"""Figures of how the code is laid out, one column a checkout, to compare them before and after a reorganisation.

    python scripts/structure_figures.py ../before . --verbose

Reads the source alone: nothing is imported or run. The packages are the folders ``humwatch*`` one level below a folder
of the checkout (``core/humwatch``, ``service/humwatch_service``, ``training/humwatch_training``, and
``bench/humwatch_capacity`` where it is there). The definition of each figure stands at the function that counts it.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("humwatch_service", "humwatch_training", "humwatch", "humwatch_capacity")
WIRING = (
    "humwatch_service.app",
    "humwatch_service.application",
    "humwatch_service.wiring",
    *(f"{package}.cli{part}" for package in ("humwatch_service", "humwatch_training") for part in ("", ".main")),
)
"""Modules that make and wire the parts, before and after."""
NONE = "-"
WH_WORD = re.compile(r"(What|Which|Whose|Whom|Who|Where|Whether|When|Why|How)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def main() -> None:
    """Print the table."""
    given = options()
    trees = [SourceTree(root) for root in given.roots]
    columns = [figures(tree) for tree in trees]
    rows = [["", *(str(tree.root) for tree in trees)]]
    rows += [[name, *(column.get(name, NONE) for column in columns)] for name in names_of(columns)]
    print_table(rows)
    if given.verbose:
        for tree in trees:
            print_duplicates(tree)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("roots", nargs="*", type=Path, metavar="ROOT", help="checkout to measure; default: this one")
    parser.add_argument("--verbose", action="store_true", help="list the class names that are used more than once")
    given = parser.parse_args()
    given.roots = given.roots or [Path(__file__).resolve().parents[1]]
    for root in given.roots:
        if not SourceTree(root).modules:
            parser.error(f"{root} has no folder humwatch* one level below its folders")
    return given


@dataclass(frozen=True)
class SourceModule:
    """A module and its syntax tree.

    Attributes:
        name: dotted name; a package is named without ``__init__``.
        package: first part of the name.
        path: file of the module.
        lines: number of lines of the file.
        tree: syntax tree of the file.
    """

    name: str
    package: str
    path: Path
    lines: int
    tree: ast.Module


class SourceTree:
    """The modules of one checkout.

    Args:
        root: folder of the checkout.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def modules(self) -> Mapping[str, SourceModule]:
        """The modules by their names."""
        found = [read_module(folder, path) for folder in self._folders() for path in sorted(folder.rglob("*.py"))]
        return {module.name: module for module in found}

    def of(self, package: str) -> list[SourceModule]:
        """Return the modules of a package."""
        return [module for module in self.modules.values() if module.package == package]

    def lines(self, prefix: str) -> int:
        """Add up the lines of a package or of a part of one, blank lines and docstrings included."""
        inside = (module for name, module in self.modules.items() if f"{name}.".startswith(f"{prefix}."))
        return sum(module.lines for module in inside)

    def classes(self) -> Iterator[tuple[SourceModule, ast.ClassDef]]:
        """Yield every class, private and nested ones included, with its module."""
        for module in self.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    yield module, node

    def _folders(self) -> list[Path]:
        return sorted(path.parent for path in self.root.glob("*/humwatch*/__init__.py") if path.parent.name in PACKAGES)


def read_module(folder: Path, path: Path) -> SourceModule:
    """Parse a module of the package that lies in a folder."""
    text = path.read_text("utf-8")
    parts = path.relative_to(folder.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return SourceModule(name, parts[0], path, len(text.splitlines()), ast.parse(text, str(path)))


def figures(tree: SourceTree) -> dict[str, str]:
    """Return all figures of a checkout, by their names."""
    runtime = {name: imports_of(module, tree.modules, top_level=True) for name, module in tree.modules.items()}
    circles = [part for part in components(runtime) if len(part) > 1]
    used_twice = duplicates(tree)
    shares = wh_words(tree)
    return {
        **{f"modules in the widest folder, {name}": widest_folder(tree, name) for name in PACKAGES if tree.of(name)},
        "imports of the most importing module": most_imports(tree, wiring=False),
        "  of those that wire the parts": most_imports(tree, wiring=True),
        "lines of the longest class": longest_class(tree),
        "attributes of the fullest class": fullest_class(tree),
        "fields of the fullest record": fullest_record(tree),
        "class names used more than once": str(len(used_twice)),
        "docstrings that begin with a wh-word": f"{sum(shares.values()):.1%}",
        **{f"  of {kind}": f"{share:.1%}" for kind, share in shares.items()},
        **line_figures(tree),
        "import depth": str(len(deepest_chain(runtime))),
        "import circles": str(len(circles)),
    }


def widest_folder(tree: SourceTree, package: str) -> str:
    """Count the modules that lie side by side in the fullest folder of a package, ``__init__`` not counted."""
    paths = [module.path for module in tree.of(package) if module.path.stem != "__init__"]
    ((folder, count),) = Counter(path.parent for path in paths).most_common(1)
    top = next(parent for parent in (folder, *folder.parents) if parent.name == package)
    return f"{count} ({folder.relative_to(top.parent)})"


def most_imports(tree: SourceTree, *, wiring: bool) -> str:
    """Count the distinct modules of its own package that the most importing module names anywhere in its file.

    Imports within functions and those for type checkers count: whoever reads the module has to know them. An imported
    name that is a module counts as that module, any other as the module that it comes from.

    Args:
        tree: checkout to measure.
        wiring: whether to look at the modules that make and wire all parts (:data:`WIRING`), which import all by their
            nature, or at all others.
    """
    counts = {
        name: len(imports_of(module, (other.name for other in tree.of(module.package))))
        for name, module in tree.modules.items()
        if (name in WIRING) == wiring
    }
    name = max(counts, key=lambda name: counts[name])
    return f"{counts[name]} ({name})"


def longest_class(tree: SourceTree) -> str:
    """Count the lines of the longest class, from ``class`` to its last statement, docstring and blanks included."""
    lengths = {
        f"{module.name}.{node.name}": (node.end_lineno or 0) - node.lineno + 1 for module, node in tree.classes()
    }
    name = max(lengths, key=lambda name: lengths[name])
    return f"{lengths[name]} ({name})"


def fullest_class(tree: SourceTree) -> str:
    """Count the attributes of the class that has most, among classes that assign some to ``self``.

    An attribute is a distinct ``self.x`` that a method of the class assigns, or an annotated name in its body. Classes
    that assign none are records (settings, messages, answers): a long one is long because the thing has many fields,
    not because it does much; :func:`fullest_record` counts those.
    """
    counts = {
        f"{module.name}.{node.name}": len(assigned_attributes(node) | declared_fields(node))
        for module, node in tree.classes()
        if assigned_attributes(node)
    }
    name = max(counts, key=lambda name: counts[name])
    return f"{counts[name]} ({name})"


def fullest_record(tree: SourceTree) -> str:
    """Count the annotated names in the body of the class that has most, among those that assign none to ``self``."""
    counts = {
        f"{module.name}.{node.name}": len(declared_fields(node))
        for module, node in tree.classes()
        if not assigned_attributes(node)
    }
    name = max(counts, key=lambda name: counts[name])
    return f"{counts[name]} ({name})"


def duplicates(tree: SourceTree) -> dict[str, list[str]]:
    """Return the class names that are defined more than once in all packages together, with their modules.

    Private and nested classes count as well, as a reader meets them all the same.
    """
    found: dict[str, list[str]] = {}
    for module, node in tree.classes():
        found.setdefault(node.name, []).append(module.name)
    return {name: modules for name, modules in sorted(found.items()) if len(modules) > 1}


def wh_words(tree: SourceTree) -> dict[str, float]:
    """Return the share of all docstrings that begin with a wh-word, in parts that add up to the share.

    All docstrings of modules, classes, functions and methods count, private and nested ones included. A wh-word is one
    of What, Which, Who, Whose, Whom, Where, When, Whether, Why, How as the very first word.
    """
    found: Counter[str] = Counter()
    total = 0
    for kind, text in docstrings(tree):
        total += 1
        found[kind] += bool(WH_WORD.match(text))
    return {kind: found[kind] / total for kind in ("modules", "classes", "functions")}


def docstrings(tree: SourceTree) -> Iterator[tuple[str, str]]:
    """Yield every docstring with the kind of thing that it describes."""
    for module in tree.modules.values():
        for node in ast.walk(module.tree):
            text = ast.get_docstring(node) if isinstance(node, Documented) else None
            if text:
                yield kind_of(node), text


def kind_of(node: ast.AST) -> str:
    """Name the kind of thing that a docstring describes."""
    if isinstance(node, ast.Module):
        return "modules"
    return "classes" if isinstance(node, ast.ClassDef) else "functions"


def line_figures(tree: SourceTree) -> dict[str, str]:
    """Return the lines of each package, and of the measurement of capacity where it is a part of the service."""
    found = {}
    for name in PACKAGES:
        found[f"lines of {name}"] = str(tree.lines(name)) if tree.of(name) else NONE
        if inside := tree.lines(f"{name}.capacity"):
            found["  of it capacity"] = str(inside)
    return found


def imports_of(module: SourceModule, known: Iterable[str], *, top_level: bool = False) -> set[str]:
    """Return the first-party modules that a module imports.

    Args:
        module: importing module.
        known: names of all first-party modules.
        top_level: count only imports that run when the module itself is imported: none within functions, none for
            type checkers alone.
    """
    names = set(known)
    found: set[str] = set()
    for node in _running(module.tree) if top_level else ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, module)
            found |= {whole if (whole := f"{source}.{alias.name}") in names else source for alias in node.names}
    return found & names - {module.name}


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run at import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _running(child)


def _source(node: ast.ImportFrom, module: SourceModule) -> str:
    """Return the absolute name of the module that names are imported from."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    up = node.level - (module.path.stem == "__init__")
    base = parts[: len(parts) - up]
    return ".".join([*base, *([node.module] if node.module else [])])


def assigned_attributes(node: ast.ClassDef) -> set[str]:
    """Return the names x of every ``self.x`` that a method of a class assigns, deletes or declares."""
    found = set()
    for method in node.body:
        if isinstance(method, Function):
            found |= {part.attr for part in ast.walk(method) if _is_stored(part)}  # type: ignore[attr-defined]
    return found


def _is_stored(node: ast.AST) -> bool:
    """Tell whether a node is the target ``self.x`` of an assignment."""
    stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    return stored and isinstance(node.value, ast.Name) and node.value.id == "self"  # type: ignore[attr-defined]


def declared_fields(node: ast.ClassDef) -> set[str]:
    """Return the annotated names in the body of a class, class variables not counted."""
    return {
        part.target.id
        for part in node.body
        if isinstance(part, ast.AnnAssign)
        and isinstance(part.target, ast.Name)
        and not re.search(r"\b(ClassVar|Final)\b", ast.unparse(part.annotation))
    }


def components(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components of a graph of imports, imported ones first (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            place = stack.index(name)
            found.append(set(stack[place:]))
            del stack[place:]

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def deepest_chain(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the longest chain of modules of which each imports the next, when it is imported itself.

    The import depth is the number of modules in it. A circle counts with all of its modules.
    """
    chains: dict[str, list[str]] = {}
    for part in components(graph):
        below = {other for name in part for other in graph[name]} - part
        longest = max((chains[other] for other in below), key=len, default=[])
        chains.update(dict.fromkeys(part, sorted(part) + longest))
    return max(chains.values(), key=len, default=[])


def names_of(columns: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the names of all figures in the order of the first columns that have them."""
    order: list[str] = []
    for column in columns:
        place = 0
        for name in column:
            if name not in order:
                order.insert(place, name)
            place = order.index(name) + 1
    return order


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")


def print_duplicates(tree: SourceTree) -> None:
    """Print the class names that are used more than once, with their modules."""
    sys.stdout.write(f"\nclass names used more than once in {tree.root}\n")
    for name, modules in duplicates(tree).items():
        sys.stdout.write(f"  {name}: {', '.join(modules)}\n")


if __name__ == "__main__":
    main()

"""The automatic checks of a package that is to be offered to everyone. Its code is read, and never imported."""

import ast

from outlet.package import Package
from services.registry.submissions.checks import contents, patterns, permissions
from services.registry.submissions.checks.finding import Finding

__all__ = ["Finding", "check"]

MOST_FINDINGS = 200


def check(package: Package) -> list[Finding]:
    """What is to be said against a package, errors first. CPU-bound."""
    found = list(contents.check(package))
    trees: dict[str, ast.Module] = {}
    for path, source in package.sources.items():
        try:
            trees[path] = ast.parse(source, path)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            found.append(Finding("source_unreadable", "error", path, None, f"is no Python that can be read: {error}"))
    for path, tree in trees.items():
        found.extend(patterns.check(path, tree))
    found.extend(permissions.check(package.manifest, trees))
    return sorted(found, key=lambda each: (each.severity != "error", each.path, each.line or 0))[:MOST_FINDINGS]

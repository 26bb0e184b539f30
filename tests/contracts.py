"""A contract of import-linter that is an allow-list: a new import is refused until it is named."""

from __future__ import annotations

import sys

from importlinter import Contract, ContractCheck, fields, output

__all__ = ["AllowListContract"]


class AllowListContract(Contract):
    """Modules of a package import the standard library, one another, and what is allowed.

    ``source`` is the package, ``allowed`` are packages and modules with all that is in them.
    """

    source = fields.StringField()
    allowed = fields.ListField(subfield=fields.StringField())

    def check(self, graph, verbose: bool) -> ContractCheck:
        allowed = {self.source, *self.allowed, *sys.stdlib_module_names}
        wrong = [
            f"{module} -> {imported}"
            for module in sorted({self.source} | graph.find_descendants(self.source))
            for imported in sorted(graph.find_modules_directly_imported_by(module))
            if not _prefixes(imported) & allowed
        ]
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["wrong"]:
            output.print_error(f"{line} is not allowed")


def _prefixes(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}

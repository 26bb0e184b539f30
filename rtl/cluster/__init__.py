"""Hardware of this project's cluster; specification: ``docs/machine.md``."""

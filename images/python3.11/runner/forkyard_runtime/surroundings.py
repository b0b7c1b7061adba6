"""The process's surroundings become the function's."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time

from . import interpreter_modules

#: These have an effect here, or the effect that they ask for is there anyway.
_HEEDED = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8", "PYTHONIOENCODING"}


def apply_environment(environment: dict[str, str]) -> None:
    home = os.environ.get("HOME", "/tmp")
    os.environ.clear()
    os.environ.update({"HOME": home, **environment})
    time.tzset()
    task_root = environment.get("LAMBDA_TASK_ROOT", "/var/task")
    os.chdir(task_root)
    runtime_dir, *library = sys.path
    own = [path for path in environment.get("PYTHONPATH", "").split(":") if path and path != task_root]
    layers = ["/opt/python/lib/python3.11/site-packages", "/opt/python"]
    # For the interpreters that the function starts.
    os.environ["PYTHONPATH"] = ":".join([task_root, *own, *layers])
    sys.path[:] = [task_root, *own, *layers, *library, runtime_dir]
    importlib.invalidate_caches()
    _forget_shadowed(task_root)
    ignored = sorted(name for name in environment if name.startswith("PYTHON") and name not in _HEEDED)
    if ignored:
        logging.warning("no effect in an interpreter that runs already: %s", ", ".join(ignored))


def _forget_shadowed(task_root: str) -> None:
    """The function's modules win over those of the standard library, as everywhere in Python, also when those are loaded already."""
    with os.scandir(task_root) as entries:
        names = {name for entry in entries if (name := _module_name(entry))}
    for loaded in list(sys.modules):
        if loaded.partition(".")[0] in names and loaded not in interpreter_modules:
            del sys.modules[loaded]


def _module_name(entry: os.DirEntry[str]) -> str | None:
    """A folder without `__init__.py` does not win over a module of the same name."""
    if entry.name.endswith(".py"):
        return entry.name[:-3]
    is_package = "." not in entry.name and os.path.exists(os.path.join(entry.path, "__init__.py"))
    return entry.name if is_package else None

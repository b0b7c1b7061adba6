"""From `folder/module.function` or `package.module.function` to the function."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Callable

from .errors import RuntimeFault

Handler = Callable[[Any, Any], Any]


def load_handler(name: str) -> Handler:
    """@raises RuntimeFault with Lambda's name for what is wrong; what the module itself raises comes as it is."""
    path, _, function = name.rpartition(".")
    module_name = path.replace("/", ".")
    if not function or not all(module_name.split(".")):
        raise RuntimeFault("Runtime.MalformedHandlerName", f"Bad handler '{name}': not of the form module.function")
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise RuntimeFault("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {path} as a handler module")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise RuntimeFault("Runtime.ImportModuleError", f"Unable to import module '{path}': {error}") from error
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {(error.text or "").strip()}'
        raise RuntimeFault(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{path}': {error}", [place]
        ) from error
    handler = getattr(module, function, None)
    if not callable(handler):
        what = "missing on" if handler is None else "is not callable in"
        raise RuntimeFault("Runtime.HandlerNotFound", f"Handler '{function}' {what} module '{path}'")
    loaded: Handler = handler
    return loaded

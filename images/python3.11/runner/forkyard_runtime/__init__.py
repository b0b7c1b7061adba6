"""The runner of python3.11: always a client of the node, it listens on nothing."""

import sys

#: What the interpreter itself has loaded before any code of the runner.
interpreter_modules = frozenset(sys.modules)

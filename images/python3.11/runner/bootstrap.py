"""First process of a python3.11 sandbox. Only this file is compiled at each boot: Python keeps no bytecode of a script."""

from forkyard_runtime.main import main

main()

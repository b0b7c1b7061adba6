"""Where a runtime that is to be saved waits; each clone goes on from here."""

import gc
import os

#: `images/checkpoint.ts` waits for this line. The checkpoint to wait for is fixed by opening the file, so before it.
READY_MARK = b"forkyard: ready to be saved\n"


def wait_for_restore(path: str = "/proc/gvisor/checkpoint") -> None:
    # Twice: what finalisers free in the first round goes in the second. Frozen, the rest is not walked by a clone's collections,
    # which would write to, and so copy, every page that was saved.
    gc.collect()
    gc.collect()
    gc.freeze()
    file = os.open(path, os.O_RDONLY)
    os.write(1, READY_MARK)
    result = os.read(file, 16).decode().strip()
    os.close(file)
    if result != "restore":
        raise RuntimeError(f"the checkpoint ended with: {result}")

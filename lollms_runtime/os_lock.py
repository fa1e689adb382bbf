"""A lock on an open file that the system takes away when the process ends, however it does."""

from __future__ import annotations

import sys

__all__ = ["try_lock"]

if sys.platform == "win32":
    import msvcrt
    import os

    def try_lock(descriptor: int) -> bool:
        """Lock the file for this process; False when another one has it. Closing the descriptor unlocks it."""
        try:
            # Far behind any content, because Windows also forbids others to read what is locked.
            os.lseek(descriptor, 1 << 62, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock the file for this open descriptor; False when another has it. Closing the descriptor unlocks it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: two at once are the user's to avoid there
            return True
        return True

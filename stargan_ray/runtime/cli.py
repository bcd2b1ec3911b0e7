"""What every job does around its work: errors of the world outside in one line, our faults as a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from stargan_ray.errors import InputError

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C
_OUTSIDE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ECONNREFUSED)


def run(main: Callable[[], None]) -> None:
    """Run a job's main function and end the process with its status.

    0 when it returns, 2 with ``error: …`` on stderr when what was given cannot be used or a disk, a right or
    a server is lacking, 130 when interrupted. Anything else is our fault and shows its traceback.
    """
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        _end(f"error: {error}", EXIT_INPUT)
    except KeyboardInterrupt:
        _end("interrupted: the same command again goes on from here", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone; without this the interpreter complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_INPUT)
    except OSError as error:
        if error.errno not in _OUTSIDE:
            raise
        _end(f"error: {error.strerror}: {error.filename or 'no file named'}", EXIT_INPUT)


def _end(message: str, status: int) -> None:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(status)

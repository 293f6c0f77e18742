"""Programs that a board may bring: found where boards keep them, asked with a time limit."""

import io
import os
import shutil
from typing import List, Optional, Tuple

from edge_bench import child

# Not on the PATH of a plain user everywhere: nvpmodel is in /usr/sbin, old Raspberry Pi systems have /opt/vc/bin.
_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin", "/opt/vc/bin")
_MAX_ANSWER_BYTES = 65536


def find_program(name: str) -> Optional[str]:
    """The path of a program, or None."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath),) + _FOLDERS))


def ask_program(name: str, arguments: List[str], timeout_s: float = 5.0) -> Tuple[Optional[str], str]:
    """(what a program said, "") or (None, why there is no answer)."""
    path = find_program(name)
    if path is None:
        return None, "there is no %s here" % name
    words = io.BytesIO()
    try:
        ended = child.run_logged([path] + arguments, words, _MAX_ANSWER_BYTES, timeout_s, lambda line: None)
    except OSError as error:
        return None, "%s cannot be started: %s" % (path, error.strerror or error)
    text = words.getvalue().decode("utf-8", "replace")
    if ended.returncode is None:
        return None, "%s took more than %g s" % (path, timeout_s)
    if ended.returncode:
        last = ended.tail[-1].strip()[:200] if ended.tail else "it said nothing"
        return None, "%s ended with %s: %s" % (path, ended.how(), last)
    return text, ""

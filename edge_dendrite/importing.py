"""Functions and classes of the user's own, named on the command line as `package.module:name`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from edge_dendrite.errors import ModelError


def import_object(reference: str, purpose: str) -> Any:
    """The function or class behind `package.module:name`; the working folder counts as a place for modules.

    Raises ModelError saying which part is missing.
    """
    module_name, _, attribute = reference.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
    except ImportError as error:
        raise ModelError(
            f"{purpose} {reference}: cannot import {module_name} ({error}); run where it can be"
        ) from error
    except (Exception, SystemExit) as error:  # anything that the user's module does while it is imported
        raise ModelError(f"{purpose} {reference}: importing failed: {type(error).__name__}: {error}") from error
    if not attribute or not callable(getattr(found, attribute, None)):
        raise ModelError(f"{purpose} {reference}: {module_name} has no function or class {attribute!r}")
    return getattr(found, attribute)

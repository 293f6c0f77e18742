"""Where a bundle goes: `local`, `ssh://user@host:port` or `user@host`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge_dendrite.errors import ConfigError

# A host or user that begins with a dash would be an option to ssh.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")


@dataclass(frozen=True)
class SshTarget:
    """A board behind OpenSSH; user and port None mean: what ssh_config says."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def destination(self) -> str:
        """As ssh takes it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def file_name(self) -> str:
        """As a name for a folder: user, host and port are of plain characters but for the colons of an address."""
        return f"{self.destination}{f'-{self.port}' if self.port else ''}".replace(":", "_").replace("%", "_")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{self.user + '@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


def parse_target(text: str) -> SshTarget | None:
    """The board that `text` names; None for `local`. Raises ConfigError for anything else."""
    if text == "local":
        return None
    refusal = ConfigError(f"target {text!r} is not known; give local, ssh://user@host:port or user@host")
    if ("://" not in text and "@" not in text) or not text.isprintable():  # urlsplit leaves line ends out
        raise refusal
    try:
        parts = urlsplit(text if "://" in text else f"ssh://{text}")
        host, user, port = parts.hostname, parts.username, parts.port
    except ValueError as error:
        raise refusal from error
    if parts.scheme != "ssh" or parts.path not in ("", "/") or parts.query or parts.fragment or not host:
        raise refusal
    if parts.password is not None:
        raise ConfigError(f"target for {host}: no password on a command line; use a key or the agent of ssh")
    # urlsplit lowers the host's case, which names in ssh_config may need.
    host = text[text.lower().rindex(host) :][: len(host)]
    if not (_NAME.fullmatch(host) or (":" in host and _ADDRESS.fullmatch(host))):
        raise refusal
    if (user is not None and not _NAME.fullmatch(user)) or port == 0:
        raise refusal
    return SshTarget(host, user, port)

from __future__ import annotations

import pytest

from edge_dendrite.errors import ConfigError
from edge_dendrite.ship.target import SshTarget, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("local", None),
        ("ssh://nano", SshTarget("nano")),
        ("ssh://me@nano.local:2222", SshTarget("nano.local", "me", 2222)),
        ("ssh://me@nano.local:2222/", SshTarget("nano.local", "me", 2222)),
        ("me@192.168.55.1", SshTarget("192.168.55.1", "me")),
        ("me@MyNano", SshTarget("MyNano", "me")),
        ("ssh://me@[fe80::1]:22", SshTarget("fe80::1", "me", 22)),
    ],
)
def test_forms(text, target):
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nano",
        "http://nano",
        "ssh://",
        "ssh://-oProxyCommand=touch",
        "-oProxyCommand=touch@nano",
        "me@-oProxyCommand=x",
        "me@na no",
        "me@nano;reboot",
        "me@$(reboot)",
        "ssh://nano/path",
        "ssh://nano?x",
        "ssh://nano:99999",
        "ssh://nano:port",
        "ssh://nano:0",
        "me@nano\n",
        "me@na\nno",
        "Local",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError, match="local, ssh://user@host:port"):
        parse_target(text)


def test_a_password_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="no password on a command line") as caught:
        parse_target("ssh://me:secret@nano")
    assert "secret" not in str(caught.value)


def test_text_form():
    assert str(SshTarget("nano", "me", 2222)) == "ssh://me@nano:2222"
    assert str(SshTarget("fe80::1", None, 22)) == "ssh://[fe80::1]:22"

"""What a network is in a comparison; the names stand in saved models, bundles and measurements."""

from edge_dendrite.errors import ConfigError

BASELINE = "baseline"
COMPRESSED = "compressed"
# The dense network with the same extra epochs and the same teacher.
DENSE_LONGER = "control:dense-longer"
# The compressed shape with new weights, the same total epochs and the same teacher.
FROM_SCRATCH = "control:from-scratch"
# Pruned to as many parameters by neurons alone, with the same epochs and the same teacher.
EQUAL_CAPACITY = "control:equal-capacity"
# The compressed network without what its dendrites add.
ZEROED = "control:dendrites-zeroed"
CONTROLS = (DENSE_LONGER, FROM_SCRATCH, EQUAL_CAPACITY, ZEROED)

# A network that others made, shown beside ours: peer:NAME. A control that is not among those above: control:NAME.
PEER, CONTROL = "peer:", "control:"
_MAX_NAME = 60


def check_role(role: str) -> str:
    """The role as the user wrote it. Raises ConfigError for one that no report would know."""
    prefix = next((one for one in (PEER, CONTROL) if role.startswith(one)), None)
    name = role[len(prefix) :] if prefix else ""
    if role in (BASELINE, COMPRESSED) or (name.strip() == name != "" and name.isprintable() and len(name) <= _MAX_NAME):
        return role
    raise ConfigError(
        f"--role {role[:100]!r}: is no role of a network; give {BASELINE}, {COMPRESSED}, {CONTROL}NAME or {PEER}NAME, "
        f"with a name of at most {_MAX_NAME} printable characters"
    )

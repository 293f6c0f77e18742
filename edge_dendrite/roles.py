"""What a network is in a comparison; the names stand in saved models, bundles and measurements."""

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

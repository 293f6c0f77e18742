"""The fake of 8.6 with what TensorRT 10 has: strong typing, names of nodes in errors, device_memory_size_v2; and
without max_workspace_size and bindings.

From NVIDIA's "Migrating Python Code from TensorRT 8.x to 10.x". Not compared with a real 10.3.
"""

import enum
import os
import runpy

_HERE = os.path.dirname(os.path.abspath(__file__))
globals().update(runpy.run_path(os.path.join(_HERE, "..", "..", "8.6", "tensorrt", "__init__.py"), run_name=__name__))
__version__ = "10.3.0"


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class _Config(IBuilderConfig):  # noqa: F821 - came with globals()
    def __setattr__(self, name, value):
        if name == "max_workspace_size" and value:
            raise AttributeError(name)
        super().__setattr__(name, value)

    def set_flag(self, flag):
        if flag in (0, 1):
            raise ValueError("flags of precision are not allowed in a strongly typed network")
        super().set_flag(flag)


ParserError.node_name = lambda self: "node %d as TensorRT 10 calls it" % self._node  # noqa: F821
ParserError.node_operator = lambda self: "Operator"  # noqa: F821
Builder.create_builder_config = lambda self: _Config()  # noqa: F821

for _name in [name for name in vars(ICudaEngine) if "binding" in name] + ["get_profile_shape"]:  # noqa: F821
    delattr(ICudaEngine, _name)  # noqa: F821
ICudaEngine.device_memory_size_v2 = 8192  # noqa: F821
del IExecutionContext.get_binding_shape, IExecutionContext.set_binding_shape  # noqa: F821
del IExecutionContext.execute_async_v2  # noqa: F821

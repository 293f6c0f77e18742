"""The fake of 8.6 without what came after TensorRT 8.2 (JetPack 4.6.1): pools of memory, version-compatible engines,
tensors by name.

What was added when: NVIDIA's API reference of 8.4 and 8.6, lists of added APIs. Not compared with a real 8.2.
"""

import enum
import os
import runpy

_HERE = os.path.dirname(os.path.abspath(__file__))
globals().update(runpy.run_path(os.path.join(_HERE, "..", "..", "8.6", "tensorrt", "__init__.py"), run_name=__name__))
__version__ = "8.2.1.8"
del globals()["MemoryPoolType"]
del IBuilderConfig.set_memory_pool_limit  # noqa: F821 - came with globals()


class BuilderFlag(enum.IntEnum):
    FP16 = 0
    INT8 = 1
    TF32 = 7


Builder.build_serialized_network.__globals__["BuilderFlag"] = BuilderFlag  # noqa: F821

# Tensors are known by the index of their binding only.
del globals()["TensorIOMode"]
for _name in [name for name in vars(ICudaEngine) if "tensor" in name and not name.startswith("_")]:  # noqa: F821
    delattr(ICudaEngine, _name)  # noqa: F821
for _name in ("set_input_shape", "get_tensor_shape", "set_tensor_address", "execute_async_v3"):
    delattr(IExecutionContext, _name)  # noqa: F821

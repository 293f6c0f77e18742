"""The backend where onnxruntime is missing, broken, or something else of that name."""

import sys
import types

import pytest

from edge_bench.backends import onnxrt
from edge_bench.errors import BackendError


@pytest.fixture
def no_runtime(monkeypatch):
    """onnxruntime is not imported yet, and what a test puts on the import path comes first."""
    for name in [name for name in sys.modules if name.split(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)


def install(tmp_path, monkeypatch, text):
    (tmp_path / "onnxruntime.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "raise ImportError('libfoo.so.1: cannot open shared object file')",
        "raise ImportError('several\\nlines\\nof text')",
        "import no_such_module_anywhere",
        "raise RuntimeError('module compiled against API version 0xe')",
        "raise OSError('libgomp.so.1')",
        "raise AttributeError('_ARRAY_API not found')",
        "this is not Python",
        "",
    ],
)
def test_a_runtime_that_cannot_be_imported_is_an_error_with_the_command(no_runtime, tmp_path, monkeypatch, text):
    install(tmp_path, monkeypatch, text)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        onnxrt.import_runtime()


def test_a_folder_of_that_name_is_no_runtime(no_runtime, tmp_path, monkeypatch):
    """A checkout lying in the current folder is importable as an empty namespace."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "onnxruntime").mkdir()
    with pytest.raises(BackendError, match="onnxruntime"):
        onnxrt.import_runtime()


@pytest.mark.parametrize(
    "version, command",
    [
        ((3, 6, 9), "onnxruntime==1.10.0"),
        ((3, 7, 3), "onnxruntime"),
        ((3, 8, 10), "onnxruntime"),
        ((3, 10, 12), "onnxruntime"),
        ((3, 12, 3), "onnxruntime"),
    ],
)
def test_the_command_names_a_release_only_for_python_3_6(no_runtime, tmp_path, monkeypatch, version, command):
    install(tmp_path, monkeypatch, "raise ImportError('x')")
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(onnxrt.platform, "python_version", lambda: "%d.%d.%d" % version)
    with pytest.raises(BackendError) as caught:
        onnxrt.import_runtime()
    assert str(caught.value).endswith("pip install " + command)
    assert "Python %d.%d.%d" % version in str(caught.value)


@pytest.mark.parametrize("machine, core", [("aarch64", "ARMV8"), ("x86_64", None)])
def test_numpy_on_a_jetson_gets_the_variable_that_it_needs(no_runtime, tmp_path, monkeypatch, machine, core):
    monkeypatch.setattr(onnxrt.os, "environ", {})
    monkeypatch.setattr(onnxrt.platform, "machine", lambda: machine)
    install(tmp_path, monkeypatch, "InferenceSession = SessionOptions = None")
    onnxrt.import_runtime()
    assert onnxrt.os.environ.get("OPENBLAS_CORETYPE") == core


def fake_runtime(**functions):
    session = types.SimpleNamespace(
        get_providers=lambda: ["AzureExecutionProvider", "CPUExecutionProvider"],
        get_inputs=list,
        get_outputs=list,
    )
    parts = {
        "__version__": "9",
        "SessionOptions": types.SimpleNamespace,
        "get_available_providers": lambda: ["AzureExecutionProvider", "CPUExecutionProvider"],
        "InferenceSession": lambda model, sess_options, providers: session,
    }
    parts.update(functions)
    return types.SimpleNamespace(**parts)


def test_providers_that_run_elsewhere_are_neither_asked_for_nor_reported(monkeypatch):
    asked = []

    def session(_model, sess_options, providers):
        asked.extend(providers)
        return types.SimpleNamespace(
            get_providers=lambda: ["AzureExecutionProvider", "CPUExecutionProvider"], get_inputs=list, get_outputs=list
        )

    monkeypatch.setattr(onnxrt, "import_runtime", lambda: fake_runtime(InferenceSession=session))
    assert onnxrt.OnnxRuntimeBackend(b"", 1).providers == ["CPUExecutionProvider"]
    assert asked == ["CPUExecutionProvider"]


def test_the_threads_are_those_asked_for(monkeypatch):
    seen = []

    def session(_model, sess_options, providers):
        seen.append((sess_options.intra_op_num_threads, sess_options.inter_op_num_threads))
        return types.SimpleNamespace(get_providers=list, get_inputs=list, get_outputs=list)

    monkeypatch.setattr(onnxrt, "import_runtime", lambda: fake_runtime(InferenceSession=session))
    onnxrt.OnnxRuntimeBackend(b"", 3)
    assert seen == [(3, 1)]


def test_an_interrupt_while_loading_is_not_taken_for_a_bad_model(monkeypatch):
    def interrupted(_model, sess_options, providers):
        raise KeyboardInterrupt

    monkeypatch.setattr(onnxrt, "import_runtime", lambda: fake_runtime(InferenceSession=interrupted))
    with pytest.raises(KeyboardInterrupt):
        onnxrt.OnnxRuntimeBackend(b"", 1)

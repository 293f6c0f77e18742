"""The engine_recipe of a manifest: what it turns into, and what is refused."""

import pytest

from edge_bench.engine import recipe
from edge_bench.engine.build import EngineSettings
from edge_bench.errors import BackendError, BundleError


@pytest.fixture
def made():
    return {
        "version": 1,
        "precision": "int8",
        "workspace_bytes": 64 << 20,
        "batch": [1, 4, 16],
        "version_compatible": True,
        "allow_tf32": False,
        "timing_cache": True,
        "min_tensorrt": "8.6",
        "needs": {"LayerNormalization": "8.6", "Trilu": "8.5", "opset 17": "8.4"},
        "unsupported": [],
    }


def test_a_recipe_becomes_settings(made):
    assert recipe.settings_of(made) == EngineSettings("int8", 64 << 20, (1, 4, 16), True, False)
    plain = recipe.settings_of(dict(made, batch=None, workspace_bytes=None))
    assert plain.batch is None and plain.workspace_bytes is None


def test_whatever_a_recipe_holds_gives_settings_or_a_bundle_error(made, hostile_variants):
    accepted = refused = 0
    for variant in hostile_variants(made):
        try:
            settings = recipe.settings_of(variant)
        except BundleError as error:
            refused += 1
            assert "export the model again" in str(error)
            continue
        accepted += 1
        assert settings.precision in recipe.PRECISIONS
        batch = settings.batch or (1, 1, 1)
        assert len(batch) == 3 and 1 <= batch[0] <= batch[1] <= batch[2]
        assert type(settings.allow_tf32) is bool and type(settings.version_compatible) is bool
    assert accepted > 5 and refused > 200


@pytest.mark.parametrize("batch", [[0, 1, 2], [2, 1, 3], [1, 2], [1, 2, 1 << 40], [True, 1, 1]])
def test_a_batch_that_is_no_profile(made, batch):
    with pytest.raises(BundleError, match="batch is"):
        recipe.settings_of(dict(made, batch=batch))


@pytest.mark.parametrize("release, words", [("8.2.1.8", "LayerNormalization, Trilu, opset 17"),
                                            ("8.5.2", "LayerNormalization")])  # fmt: skip
def test_an_older_tensorrt_is_told_what_it_lacks(made, release, words):
    with pytest.raises(BackendError) as caught:
        recipe.check_release(made, release)
    assert "the network needs TensorRT 8.6 (%s), this board has %s" % (words, release) in str(caught.value)


@pytest.mark.parametrize("release", ["8.6.0", "8.6.1.6", "10.3.0", "11.4.1"])
def test_a_release_that_is_new_enough(made, release):
    recipe.check_release(made, release)


def test_what_no_release_reads(made):
    with pytest.raises(BackendError, match="it has QLinearConv; onnxruntime runs it"):
        recipe.check_release(dict(made, unsupported=["QLinearConv"]), "10.3.0")

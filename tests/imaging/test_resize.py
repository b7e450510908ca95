import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.imaging import shrink

SIZES = st.integers(1, 150)


@settings(max_examples=60)
@given(SIZES, SIZES, st.sampled_from([1, 3]), st.sampled_from(["uint8", "uint16", "float32"]), st.integers(1, 64))
def test_is_adaptive_avg_pool(height: int, width: int, channels: int, dtype: str, target: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(height * 1000 + width)
    scale = 1.0 if dtype == "float32" else float(np.iinfo(dtype).max)
    pixels = (rng.random((height, width, channels)) * scale).astype(dtype)
    tensor = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
    expected = torch.nn.functional.adaptive_avg_pool2d(tensor, (target, 64))[0].permute(1, 2, 0).numpy()
    ours = shrink(pixels, target, 64)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours / scale, expected / scale, atol=1e-6)


def test_windows_by_hand() -> None:
    # 5 rows to 2: windows 0..2 and 2..4 share the middle row; 1 column to 3: repeated
    pixels = np.array([0, 1, 2, 3, 10], np.uint8).reshape(5, 1, 1)
    np.testing.assert_array_equal(shrink(pixels, 2, 3)[..., 0], [[1, 1, 1], [5, 5, 5]])


def test_large_sums_do_not_overflow() -> None:
    assert shrink(np.full((3000, 2000, 1), 65535, np.uint16), 1, 1)[0, 0, 0] == 65535

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.nn.norms import RMSNorm


def test_norm_equals_its_closed_form():
    x = np.array([[3.0, -4.0, 0.0, 12.0], [1.0, 1.0, 1.0, 1.0]], dtype=np.float32)
    norm = RMSNorm(4, epsilon=0.0)
    norm.weight.data = torch.tensor([0.0, 1.0, -1.0, 0.5])
    expected = x / np.array([[6.5], [1.0]]) * np.array([1.0, 2.0, 0.0, 1.5])
    np.testing.assert_allclose(norm(torch.from_numpy(x)).detach(), expected, rtol=1e-6)


def test_epsilon_is_added_to_the_mean_square():
    norm = RMSNorm(2, epsilon=3.0)
    x = torch.tensor([1.0, 1.0])
    torch.testing.assert_close(norm(x).detach(), x / 2)


@given(scale=st.floats(0.01, 100.0), seed=st.integers(0, 1000))
def test_a_fresh_norm_returns_rows_of_mean_square_one_whatever_the_scale(scale, seed):
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(seed)) * scale
    out = RMSNorm(16, epsilon=0.0)(x).detach()
    torch.testing.assert_close(out.square().mean(-1), torch.ones(3))

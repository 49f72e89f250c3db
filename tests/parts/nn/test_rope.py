import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.parts.nn.rope import rotate, rotation_angles, rotation_tables

LENGTH, WIDTH = 24, 8
COS, SIN = rotation_tables(LENGTH, head_width=WIDTH, base=100.0)


def everywhere(vector):
    """The same vector at every position, rotated."""
    return rotate(vector.expand(LENGTH, WIDTH), cos_TH=COS, sin_TH=SIN)


@given(query=st.integers(0, 11), key=st.integers(0, 11), shift=st.integers(0, 12))
def test_products_of_queries_and_keys_depend_on_their_distance_alone(query, key, shift):
    q, k = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0))
    here = everywhere(q)[query] @ everywhere(k)[key]
    there = everywhere(q)[query + shift] @ everywhere(k)[key + shift]
    torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)


def test_products_do_change_with_distance():
    q = torch.ones(WIDTH)
    products = everywhere(q) @ everywhere(q)[0]
    assert products[0] > products[1] > products[2]


def test_the_first_position_is_not_turned_and_lengths_never_change():
    x = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(everywhere(x)[0], x)
    torch.testing.assert_close(everywhere(x).norm(dim=-1), x.norm().expand(LENGTH))


def test_the_first_pair_turns_by_one_radian_a_position_and_later_ones_slower():
    angles = rotation_angles(3, head_width=4, base=10_000.0)
    torch.testing.assert_close(
        angles, torch.tensor([[0, 0], [1, 0.01], [2, 0.02]], dtype=torch.float64)
    )


def test_dimension_i_is_paired_with_i_plus_half():
    x = torch.zeros(WIDTH)
    x[1] = 1.0
    angle = rotation_angles(LENGTH, head_width=WIDTH, base=100.0)[5, 1]
    expected = torch.zeros(WIDTH)
    expected[1], expected[1 + WIDTH // 2] = angle.cos(), angle.sin()
    torch.testing.assert_close(everywhere(x)[5], expected)

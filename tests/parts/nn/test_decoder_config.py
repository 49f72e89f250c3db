import pytest

from tenfold.engine.config import decode, encode
from tenfold.parts.nn.config import DecoderConfig, OptimConfig


def test_sizes_below_one_are_refused_with_name_and_value():
    with pytest.raises(ValueError, match=r"depth \(0\) must be at least 1"):
        DecoderConfig(depth=0)


def test_heads_that_key_heads_cannot_share_equally_are_refused():
    with pytest.raises(ValueError, match=r"heads \(4\) is no multiple of kv_heads \(3\)"):
        DecoderConfig(heads=4, kv_heads=3)


def test_an_odd_head_width_is_refused():
    with pytest.raises(ValueError, match=r"head_width \(7\) is odd"):
        DecoderConfig(head_width=7)


def test_a_negative_cap_is_refused():
    with pytest.raises(ValueError, match=r"final_cap \(-1.0\) must be at least 0"):
        DecoderConfig(final_cap=-1.0)


def test_rates_that_do_not_learn_are_refused():
    with pytest.raises(ValueError, match=r"adam_rate \(0.0\) must be above 0"):
        OptimConfig(adam_rate=0.0)


def test_a_negative_warmup_is_refused():
    with pytest.raises(ValueError, match=r"warmup_steps \(-1\) must be at least 0"):
        OptimConfig(warmup_steps=-1)


def test_configs_survive_a_round_trip_through_json():
    decoder = DecoderConfig(attention_cap=50.0, norms="pre")
    assert decode(DecoderConfig, encode(decoder)) == decoder
    assert decode(OptimConfig, encode(OptimConfig())) == OptimConfig()

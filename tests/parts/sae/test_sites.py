import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tenfold.engine.errors import TenfoldError
from tenfold.parts.sae.sites import Site, find_sites, name_sites, parse_site


def tower(depth=12):
    block = {"attn": nn.Linear(4, 4), "mlp": nn.Linear(4, 4)}
    return nn.ModuleDict(
        {
            "embed": nn.Embedding(8, 4),
            "blocks": nn.ModuleList([nn.ModuleDict(block) for _ in range(depth)]),
        }
    )


keys = st.one_of(
    st.integers(-9, 9), st.from_regex(r"[a-z_]\w{0,5}", fullmatch=True).filter(lambda k: k)
)
sites = st.builds(
    Site,
    module=st.from_regex(r"([a-z0-9_]{1,5}(\.[a-z0-9_]{1,5}){0,3})?", fullmatch=True),
    side=st.sampled_from(["in", "out"]),
    entry=st.lists(keys, max_size=3).map(tuple),
    axes=st.lists(st.integers(-4, 4), min_size=1, max_size=2).map(tuple),
)


@settings(deadline=None, max_examples=50)
@given(sites)
def test_a_site_reads_back_from_its_own_text(site):
    assert parse_site(str(site)) == site


def test_a_bare_module_name_means_its_output():
    assert parse_site("blocks.3") == parse_site("blocks.3:out") == Site(module="blocks.3")


def test_entries_are_places_and_names():
    assert parse_site("lstm:out[1][-1]").entry == (1, -1)
    assert parse_site("decoder:in[hidden]").entry == ("hidden",)


def test_several_feature_axes_are_read():
    assert parse_site("attn.z@-2,-1").axes == (-2, -1)


@pytest.mark.parametrize("text", ["a:output", "a:out[0", "a:out[]", "a[0]:", "a@x", "a:in:out"])
def test_a_malformed_site_is_refused_with_the_right_form(text):
    with pytest.raises(TenfoldError, match=r"cannot be read; write MODULE:in or MODULE:out"):
        parse_site(text)


def test_a_star_stays_between_two_dots():
    assert find_sites(tower(3), "blocks.*") == [Site(module=f"blocks.{i}") for i in range(3)]


def test_two_stars_cross_dots():
    found = {site.module for site in find_sites(tower(2), "**.mlp")}
    assert found == {"blocks.0.mlp", "blocks.1.mlp"}
    assert Site(module="") in find_sites(tower(2), "**")


def test_character_classes_pick_blocks():
    found = [site.module for site in find_sites(tower(), "blocks.[13].attn:in")]
    assert found == ["blocks.1.attn", "blocks.3.attn"]


def test_block_two_comes_before_block_ten():
    numbers = [int(site.module.split(".")[1]) for site in find_sites(tower(), ["blocks.*.mlp:out"])]
    assert numbers == list(range(12))


def test_a_site_matched_by_two_patterns_is_listed_once():
    found = find_sites(tower(2), ["blocks.*", "blocks.1:out", Site(module="blocks.1")])
    assert [site.module for site in found] == ["blocks.0", "blocks.1"]


def test_a_pattern_keeps_side_entry_and_axes():
    assert [str(site) for site in find_sites(tower(1), "blocks.*:in[0]@1")] == ["blocks.0:in[0]@1"]


def test_the_whole_module_is_a_site():
    assert find_sites(tower(1), ":out") == [Site(module="")]


@pytest.mark.parametrize("written", ["blocks.1.mpl", "blocks.*.mpl"])
def test_a_miss_names_what_was_meant(written):
    with pytest.raises(TenfoldError, match=r"unknown module '.*'; did you mean .*blocks\.\d\.mlp"):
        find_sites(tower(2), written)


def test_names_stay_as_written_and_wildcards_get_full_ones():
    named = name_sites(tower(2), ["embed", "embed:out", "blocks.*", Site(module="embed")])
    assert list(named) == ["embed", "embed:out", "blocks.0:out", "blocks.1:out"]
    assert named["embed"] == named["embed:out"]


def test_a_module_under_two_names_is_found_by_both():
    shared = nn.Linear(2, 2)
    module = nn.ModuleDict({"a": shared, "b": shared})
    assert [site.module for site in find_sites(module, "*")] == ["a", "b"]

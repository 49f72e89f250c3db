"""The pass over a site against plain NumPy on the dense latents of `Dictionary.encode`."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from rooms.scope.dash import world
from tenfold.engine import rng
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.scope.dash import examples, kernels, layout, scan
from tenfold.rooms.scope.dash.encoder import read_encoder
from tenfold.rooms.scope.dash.relations import find_companions
from tenfold.rooms.scope.dash.scan import Team, colour_examples, scan_site

SEED = 3
SHARE = 0.4


@pytest.fixture(autouse=True)
def _many_small_parts(monkeypatch):
    monkeypatch.setattr(layout, "BLOCK", 50)
    monkeypatch.setattr(layout, "SEGMENTS", 5)
    monkeypatch.setattr(scan, "PRODUCTS", 20 * 17)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return world.write_store(tmp_path_factory.mktemp("store"))


def look(store, dictionaries, *, threads=1, rows=0, share=SHARE):
    lies = layout.read_layout(store, world.SITE, rows=rows)
    encoders = [read_encoder(one) for one in dictionaries]
    shards = store.rows(world.SITE)
    team = Team(threads=threads)
    scans = scan_site(shards, lies, encoders, seed=SEED, cofiring_share=share, team=team)
    chosen = [examples.choose(one.counts, lies) for one in scans]
    colour_examples(shards, lies, encoders, scans, chosen, team=Team(threads=threads))
    return lies, scans, chosen


def dense(store, dictionary):
    x, item, place = world.rows_of(store)
    with torch.no_grad():
        return dictionary.fold().encode(x).numpy(), item, place


VARIANTS = [*[{"kind": kind} for kind in world.KINDS]]
VARIANTS += [{"kind": kind, "scale": 1.7, "pre_bias": True} for kind in world.KINDS]
VARIANTS += [{"kind": "jumprelu", "out": 5}, {"kind": "topk", "width": 4}]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_count_is_that_of_the_dense_latents(store, variant):
    dictionary = world.dictionary(**variant)
    lies, (found,), _ = look(store, [dictionary])
    f, _, place = dense(store, dictionary)
    on = f > 0
    assert found.counts.fired.tolist() == on.sum(axis=0).tolist()
    np.testing.assert_allclose(found.counts.total, f.sum(axis=0, dtype=float), rtol=1e-5)
    classes = lies.places.class_of[place]
    for i in range(dictionary.width):
        by_place = np.bincount(classes[on[:, i]], minlength=lies.places.number)
        assert found.counts.places[i].tolist() == by_place.tolist()
    assert lies.rows_of_places.sum() == len(f)


@pytest.mark.parametrize("kind", world.KINDS)
def test_histograms_end_at_the_power_of_two_above_the_largest_value(store, kind):
    dictionary = world.dictionary(kind)
    _, (found,), _ = look(store, [dictionary])
    f, _, _ = dense(store, dictionary)
    for i in range(dictionary.width):
        active = f[f[:, i] > 0, i].astype(float)
        span = 2.0 ** (math.floor(math.log2(active.max())) + 1)
        assert found.counts.span[i] == span
        plain, _ = np.histogram(active, bins=kernels.BINS, range=(0, span))
        # Values computed in another order may fall on the other side of an edge.
        assert np.abs(found.counts.histogram[i] - plain).sum() <= 2
        assert found.counts.histogram[i].sum() == len(active)


@pytest.mark.parametrize("kind", world.KINDS)
def test_the_first_examples_are_the_largest_values_of_different_items(store, kind):
    dictionary = world.dictionary(kind)
    _, (found,), _ = look(store, [dictionary])
    f, item, _ = dense(store, dictionary)
    for i in range(dictionary.width):
        best = {}
        for row in np.flatnonzero(f[:, i] > 0):
            if item[row] not in best or f[row, i] > f[best[item[row]], i]:
                best[item[row]] = row
        plain = sorted(best.values(), key=lambda row: (-f[row, i], row))[: kernels.TOP]
        assert found.counts.top_row[i][: len(plain)].tolist() == plain
        assert (found.counts.top_row[i][len(plain) :] == -1).all()
        assert found.counts.top_item[i][: len(plain)].tolist() == item[plain].tolist()


def test_the_other_examples_are_those_of_smallest_hash_in_each_part_of_the_range(store):
    dictionary = world.dictionary("jumprelu")
    _, (found,), (chosen,) = look(store, [dictionary])
    f, item, _ = dense(store, dictionary)
    seed = rng.key(SEED, "dash", "examples") >> 65
    for i in range(dictionary.width):
        rows = np.flatnonzero(f[:, i] > 0)
        coarse = (f[rows, i] / found.counts.span[i] * kernels.COARSE).astype(int)
        seen = {item[row] for row in chosen.row[i][: kernels.TOP] if row >= 0}
        plain = []
        start, used = int(coarse.min()), int(coarse.max() - coarse.min()) + 1
        for group in range(examples.GROUPS):
            low = start + used * (examples.GROUPS - 1 - group) // examples.GROUPS
            high = start + used * (examples.GROUPS - group) // examples.GROUPS
            kept = []
            for b in range(low, high):
                ranked = sorted(
                    (world.mix((int(row) * world.M + i) ^ seed), row) for row in rows[coarse == b]
                )
                kept += ranked[: kernels.DRAWN]
            here = []
            for _, row in sorted(kept):
                if item[row] not in seen and len(here) < kernels.DRAWN:
                    here.append(row)
                    seen.add(item[row])
            plain += here + [-1] * (kernels.DRAWN - len(here))
        assert chosen.row[i][kernels.TOP :].tolist() == plain


@pytest.mark.parametrize("kind", world.KINDS)
def test_colours_are_the_values_all_along_the_item(store, kind):
    dictionary = world.dictionary(kind)
    lies, _, (chosen,) = look(store, [dictionary])
    f, item, place = dense(store, dictionary)
    row_of = {(item[row], place[row]): row for row in range(len(item))}
    for i, k in np.ndindex(chosen.row.shape):
        if chosen.row[i, k] < 0:
            assert not chosen.colour[i, k].any()
            continue
        for p in range(lies.window):
            row = row_of.get((chosen.item[i, k], p))
            value = 0.0 if row is None else f[row, i]
            exact = 1 + 254 * value / f[:, i].max() if value > 0 else 0.0
            assert abs(float(chosen.colour[i, k, p]) - exact) <= 1 + 1e-3
            assert (chosen.colour[i, k, p] > 0) == (value > 0)


def test_long_items_are_shown_by_a_window_around_the_peak(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "WINDOW", 6)
    store = world.write_store(tmp_path / "long", grid=(40,), items=20)
    dictionary = world.dictionary("jumprelu")
    lies, _, (chosen,) = look(store, [dictionary])
    f, item, place = dense(store, dictionary)
    assert lies.window == 6
    there = chosen.row >= 0
    offset = (chosen.place - chosen.window)[there]
    assert offset.min() >= 0
    assert offset.max() < 6
    latents = np.nonzero(there)[0]
    peaks = chosen.colour[there][np.arange(len(offset)), offset]
    assert (peaks > 0).all()
    row_of = {(item[row], place[row]): row for row in range(len(item))}
    for i, number, first, colour in zip(
        latents, chosen.item[there], chosen.window[there], chosen.colour[there], strict=True
    ):
        rows = [row_of.get((number, first + p)) for p in range(6)]
        assert [c > 0 for c in colour] == [row is not None and f[row, i] > 0 for row in rows]


@pytest.mark.parametrize("share", [1.0, SHARE])
def test_companions_are_ranked_by_jaccard_on_the_sampled_rows(store, share):
    dictionary = world.dictionary("relu")
    _, (found,), _ = look(store, [dictionary], share=share)
    f, _, _ = dense(store, dictionary)
    seed = rng.key(SEED, "dash", "examples") >> 65
    limit = min(int(share * 2.0**64), (1 << 64) - 1)
    sampled = [row for row in range(len(f)) if world.mix(row ^ seed) < limit]
    assert abs(len(sampled) - share * len(f)) < 4 * math.sqrt(len(f))
    on = f[sampled] > 0
    got = find_companions(found)
    assert got.rows == len(sampled)
    assert got.fired.tolist() == on.sum(axis=0).tolist()
    jaccard = np.zeros((world.M, world.M))
    for i, j in combinations(range(world.M), 2):
        both, either = (on[:, i] & on[:, j]).sum(), (on[:, i] | on[:, j]).sum()
        jaccard[i, j] = jaccard[j, i] = both / either
    for i in range(world.M):
        plain = sorted(range(world.M), key=lambda j: (-jaccard[i, j], j))
        plain = [j for j in plain if jaccard[i, j] > 0][: got.ids.shape[1]]
        assert got.ids[i].tolist() == plain
        np.testing.assert_allclose(got.jaccard[i], jaccard[i, plain])
        expected = on.mean(axis=0)[i] * on.mean(axis=0)[plain]
        both = (on[:, [i]] & on[:, plain]).mean(axis=0)
        np.testing.assert_allclose(got.information[i], np.log2(both / expected))


def test_the_number_of_threads_changes_nothing(store):
    dictionaries = [world.dictionary("jumprelu"), world.dictionary("topk", seed=1)]
    _, alone, chosen_alone = look(store, dictionaries, threads=1)
    _, together, chosen = look(store, dictionaries, threads=3)
    for one, other in zip(alone, together, strict=True):
        for name, a, b in zip(one.counts._fields, one.counts, other.counts, strict=True):
            assert a.tobytes() == b.tobytes(), name
        assert one.sampled.tobytes() == other.sampled.tobytes()
    for one, other in zip(chosen_alone, chosen, strict=True):
        assert one.colour.tobytes() == other.colour.tobytes()


def test_only_the_first_rows_are_read_where_so_many_are_wanted(store):
    dictionary = world.dictionary("jumprelu")
    lies, (found,), _ = look(store, [dictionary], rows=133)
    f, _, _ = dense(store, dictionary)
    assert lies.rows == 133
    assert found.counts.fired.tolist() == (f[:133] > 0).sum(axis=0).tolist()


def test_a_latent_that_never_fires_has_no_examples(store):
    dictionary = world.dictionary("jumprelu")
    with torch.no_grad():
        dictionary.unit.raw[4] = 1e6
    _, (found,), (chosen,) = look(store, [dictionary])
    assert found.counts.fired[4] == 0
    assert (chosen.row[4] == -1).all()
    assert (find_companions(found).ids[4] == -1).all()


def test_values_that_are_not_finite_are_refused_with_their_row(store):
    dictionary = world.dictionary("relu")
    with torch.no_grad():
        dictionary.b_enc[2] = torch.inf
    with pytest.raises(TenfoldError, match="row 0 gives a latent that is not finite"):
        look(store, [dictionary])


def test_a_dictionary_of_another_width_is_refused_with_both_shapes(store):
    wide = world.dictionary("relu")
    wide.w_enc = torch.nn.Parameter(torch.ones(world.D + 1, world.M))
    wide.w_dec = torch.nn.Parameter(torch.ones(world.M, world.D + 1))
    with pytest.raises(TenfoldError, match=r"\[N, 8\].*9 x 20"):
        look(store, [wide])


def test_a_stop_reaches_the_threads(store):
    calls = []

    def stop():
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt

    lies = layout.read_layout(store, world.SITE)
    team = Team(threads=2, check_stop=stop)
    with pytest.raises(KeyboardInterrupt):
        scan_site(
            store.rows(world.SITE), lies, [read_encoder(world.dictionary("relu"))],
            seed=0, cofiring_share=0.1, team=team,
        )  # fmt: skip
    assert team.stopped.is_set()

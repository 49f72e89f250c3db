"""Released suites put on the right sites of a model (Gemma Scope and its second edition).

Gemma Scope (arXiv:2408.05147) has folders `layer_N/width_W/average_l0_L/params.npz`, which tell
the layer; the repository's name tells the site: `-res` the residual stream, `-mlp` what the
feed-forward layer adds behind its norm, `-att` the heads before the output projection, whose
width is heads times head width and not that of the model. `-transcoders` read the norm before
the feed-forward layer without its gain (appendix B); the gain is folded into their encoders here.
Gemma Scope 2 names its hook points. Sizes come from the arrays, never from names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, get_args

from tenfold.engine import hub
from tenfold.engine.errors import TenfoldError, unknown_name
from tenfold.engine.progress import say
from tenfold.parts.sae.formats import Arrays, read_arrays
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.sae.taps import capture
from tenfold.rooms.jumprelu.files import from_arrays
from tenfold.rooms.jumprelu.model import Dictionary
from tenfold.rooms.scope.anatomy import Block, Visit, find_blocks, watch_modules
from tenfold.rooms.scope.language import norm_gain
from tenfold.rooms.scope.places import Place
from tenfold.rooms.scope.proposals import first_call
from tenfold.rooms.scope.suite import MANIFEST, open_suite

Kind = Literal["res", "mlp", "att", "transcoders"]
FIRST, SECOND = "params.npz", "params.safetensors"
HOOK = re.compile(r"(?P<module>.+)\.(?P<side>input|output)")
LAYER = re.compile(r"layer_(\d+)")
PROMPT = "a b c d"
"""What a language model reads to show its sites."""


def attach(
    folder: str | Path,
    specimen: Specimen,
    *,
    names: Sequence[str] = (),
    kind: Kind | Literal[""] = "",
    device: str = "cpu",
    download: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> dict[str, list[tuple[str, Dictionary]]]:
    """Load the dictionaries of a released folder and put each on its site.

    Args:
        folder: a suite of tenfold, a repository of Gemma Scope or Gemma Scope 2, a folder with
            several of these, or owner/name on the Hugging Face hub.
        specimen: the model.
        names: wildcards of the dictionaries wanted, such as "layer_12/width_16k/*", names being
            folders below `folder`; none takes all. A whole release needs hundreds of GB.
        kind: what Gemma Scope's repository holds, where the name of its folder does not say.
        device: where dictionaries go.
        download: fetch owner/name.
        revision: of the repository.
        token: for private repositories.

    Returns:
        By site, pairs of name and dictionary; transcoders by IN->OUT.

    Raises:
        TenfoldError: if nothing is found, a site cannot be told or is not in the model, or
            widths do not fit, with both shapes.
    """
    patterns = [f"{name}/*" for name in names] + ["*.json", "README.md"] if names else None
    root = hub.find_folder(
        folder, revision=revision, token=token, patterns=patterns, download=download
    )
    model = _Model.of(specimen)
    found: dict[str, list[tuple[str, Dictionary]]] = {}
    if (root / MANIFEST).is_file():
        pairs = _of_suite(root, names, model, device=device)
    else:
        pairs = _of_release(root, names, kind, model, device=device)
    for place, name, dictionary in pairs:
        found.setdefault(str(place), []).append((name, dictionary))
    if not found:
        wanted = f" called {', '.join(names)}" if names else ""
        raise TenfoldError(f"{root} holds no dictionary{wanted}; give the folder of a release")
    return found


_Attached = Iterable[tuple[Place, str, Dictionary]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Model:
    """What the sites of a specimen are, seen in one forward pass."""

    specimen: Specimen
    visits: dict[str, Visit]
    blocks: dict[int, Block]
    call: Callable[[], Any]
    widths: dict[str, int]

    @staticmethod
    def of(specimen: Specimen) -> _Model:
        call = _short_call(specimen)
        visits = watch_modules(specimen.module, call)
        blocks = find_blocks(specimen.module, visits)
        return _Model(
            specimen=specimen,
            visits=visits,
            # Of several stacks, as in an encoder and a decoder, the last one speaks.
            blocks={block.layer: block for block in blocks},
            call=call,
            widths={},
        )

    def block(self, layer: int, *, where: Path) -> Block:
        if layer not in self.blocks:
            raise TenfoldError(
                f"{where} is for layer {layer}, but {self.specimen.name} has the layers "
                f"{sorted(self.blocks)}; was it made for another model?"
            )
        return self.blocks[layer]

    def width(self, site: str) -> int:
        if site not in self.widths:
            (x,) = capture(self.specimen.module, site, self.call).values()
            self.widths[site] = x.shape[-1]
        return self.widths[site]

    def fitting(self, place: Place, arrays: Arrays, *, where: Path) -> Dictionary:
        """Return the dictionary if its widths are those of its sites."""
        sides = ((place.site, "w_enc", 0), (place.target, "w_dec", 1))
        for site, name, axis in sides:
            shape, width = arrays.arrays[name].shape, self.width(site)
            if shape[axis] != width:
                raise TenfoldError(
                    f"{where}: {name} has shape {shape}, but site {site!r} of "
                    f"{self.specimen.name} has activations of shape (..., {width}); was it made "
                    "for another model or site?"
                )
        return from_arrays(arrays)


def _short_call(specimen: Specimen) -> Callable[[], Any]:
    encode, scores = specimen.encode, specimen.scores
    if encode is None or scores is None:
        return first_call(specimen)
    tokens = encode(PROMPT)
    return lambda: scores(tokens)


def _of_suite(root: Path, names: Sequence[str], model: _Model, *, device: str) -> _Attached:
    suite = open_suite(root)
    for entry in suite.entries:
        if _is_wanted(entry.name, names) or _is_wanted(entry.path, names):
            place = Place(site=entry.site, site_out=entry.site_out if entry.transcodes else "")
            where = root / entry.path
            dictionary = model.fitting(place, suite.read(entry), where=where)
            yield place, entry.name, dictionary.to(device)


def _of_release(
    root: Path, names: Sequence[str], kind: Kind | Literal[""], model: _Model, *, device: str
) -> _Attached:
    paths = [path for marker in (FIRST, SECOND) for path in root.rglob(marker)]
    for path in sorted(paths, key=_natural):
        name = path.parent.relative_to(root).as_posix()
        if not _is_wanted(name, names):
            continue
        if "embedding" in name.split("/"):
            say(f"{name} is of token embeddings, which are no site of a block; it is left out")
            continue
        arrays = read_arrays(path)
        if path.name == SECOND:
            place = _hook_points(arrays, model, where=path)
        else:
            place, arrays = _first_edition(arrays, kind or _kind_of(path), model, where=path)
        yield place, name, model.fitting(place, arrays, where=path).to(device)


def _is_wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(name, pattern) for pattern in patterns)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.as_posix())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _kind_of(path: Path) -> Kind:
    """Return what a repository of Gemma Scope holds, by the nearest folder that says so."""
    for folder in path.resolve().parents:
        for kind in get_args(Kind):
            if folder.name == kind or folder.name.endswith(f"-{kind}"):
                found: Kind = kind
                return found
    raise TenfoldError(
        f"{path} lies in no folder called {', '.join(f'...-{kind}' for kind in get_args(Kind))}, "
        "so that its site cannot be told; say kind= or name the folder so"
    )


def _first_edition(
    arrays: Arrays, kind: Kind, model: _Model, *, where: Path
) -> tuple[Place, Arrays]:
    layer = LAYER.findall(where.as_posix())
    if not layer:
        raise TenfoldError(f"{where} lies in no folder layer_N, so that its layer cannot be told")
    block = model.block(int(layer[-1]), where=where)
    sites = {
        "res": block.residual,
        "mlp": block.feed_forward,
        "att": next(iter(block.attention), ""),
        "transcoders": block.feed_forward and block.feed_forward_input,
    }
    if not sites[kind]:
        raise TenfoldError(
            f"{where} is a dictionary of {kind!r}, for which {block.name} of "
            f"{model.specimen.name} has no site that its forward pass calls"
        )
    if kind != "transcoders":
        return Place(site=sites[kind]), arrays
    place = Place(site=block.feed_forward_input, site_out=block.feed_forward)
    return place, _with_gain(arrays, place.site, model, where=where)


def _with_gain(arrays: Arrays, site: str, model: _Model, *, where: Path) -> Arrays:
    """Return a transcoder that reads the norm with its gain: w_enc' = w_enc / gain."""
    norm = model.specimen.module.get_submodule(site.partition(":")[0])
    if getattr(norm, "bias", None) is not None:
        raise TenfoldError(
            f"{where} was made for a norm without a bias, as Gemma's, and {site!r} has one; only "
            "suites of Gemma models have such transcoders"
        )
    w_enc, width = arrays.arrays["w_enc"], model.width(site)
    if len(w_enc) != width:
        raise TenfoldError(
            f"{where}: w_enc has shape {w_enc.shape}, but site {site!r} of {model.specimen.name} "
            f"has activations of shape (..., {width}); was it made for another model?"
        )
    gain = norm_gain(norm, width).cpu().numpy()
    if not gain.all():
        raise TenfoldError(f"{where}: the norm {site!r} has gains of 0, which cannot be undone")
    return replace(
        arrays,
        arrays=arrays.arrays | {"w_enc": w_enc / gain[:, None]},
        values=arrays.values | {"transcoder": True},
    )


def _hook_points(arrays: Arrays, model: _Model, *, where: Path) -> Place:
    known = arrays.values
    site = _site_of_hook(str(known.get("site", "")), model, where=where)
    out = _site_of_hook(str(known.get("site_out", known.get("site"))), model, where=where)
    return Place(site=site, site_out=out if arrays.transcoder else "")


def _site_of_hook(hook: str, model: _Model, *, where: Path) -> str:
    """Return the site of a hook point such as `model.layers.3.self_attn.o_proj.input`."""
    match = HOOK.fullmatch(hook)
    module, side = (match["module"], match["side"]) if match else (hook, "output")
    # A suite of tenfold in this format names its sites as they are written here.
    module, colon, rest = module.partition(":")
    if module not in model.visits and (found := re.search(r"layers\.(\d+)(\..+)?$", module)):
        # Models for text and pictures hold the same blocks under a longer name.
        module = model.block(int(found[1]), where=where).name + (found[2] or "")
    if module not in model.visits:
        raise unknown_name(f"hook point in {where}", module, filter(None, model.visits))
    if colon:
        return f"{module}:{rest}"
    return f"{module}:in" if side == "input" else model.visits[module].site

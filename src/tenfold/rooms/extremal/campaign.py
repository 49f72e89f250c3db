"""A ladder at work: pieces of a hunt in threads or on a cluster, results taken in order.

`ladder.Hunt` chooses and learns; this keeps `window` pieces under way. Where pieces are counted,
the hunt is the same for any number of threads and after any kill, because each piece is chosen
from the state after the one `window` before it, and the archive is seen as it was then. Where
minutes count, what other processes have put into the archive is read before every choice. On a
cluster pieces go out and come back by whole windows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from tenfold.engine.config import Json
from tenfold.engine.run import Run
from tenfold.engine.tasks import map_tasks
from tenfold.rooms.extremal import config
from tenfold.rooms.extremal.archive import Archive
from tenfold.rooms.extremal.bounds import published
from tenfold.rooms.extremal.codecs import decode_graph
from tenfold.rooms.extremal.ladder import Hunt
from tenfold.rooms.extremal.moves import Outcome, Piece, run_piece, run_task
from tenfold.rooms.extremal.slices import Slices

if TYPE_CHECKING:
    from torch import Tensor


class Campaign:
    """A hunt and the pieces that are being worked on; `Checkpointable`."""

    def __init__(
        self, cfg: config.Ladder, hunt: Hunt, *, whole: Archive, run: Run | None = None
    ) -> None:
        self.cfg = cfg
        self.hunt = hunt
        self.run = run
        self.gained = 0
        self.last_gain = 0
        self._whole = whole
        self._known = {n: found.lower for n, found in published(cfg.problem).items()}
        self._pool = None if cfg.workers == "ray" else ThreadPoolExecutor(int(cfg.workers))
        self._running: deque[Future[Outcome]] = deque()
        self._ready: deque[Outcome] = deque()
        self._slices = Slices(0.0 if cfg.pieces else 60 * cfg.minutes / cfg.steps)

    def update(self, step: int) -> None:
        """Take the result of one piece, or of those that come within a slice of time."""
        left = self.cfg.pieces - step if self.cfg.pieces else self.cfg.window
        for _ in self._slices.rounds():
            self._take_one(left=left)
        while step == self.cfg.steps - 1 and self.hunt.pending:
            self._take_one(left=0)

    def _take_one(self, *, left: int) -> None:
        """Choose pieces until enough are under way, then wait for the first."""
        hunt = self.hunt
        if not self.cfg.pieces:
            hunt.refresh()
        if self._pool is None:
            self._fill_by_windows(left)
            outcome = self._ready.popleft()
        else:
            while len(hunt.pending) < min(self.cfg.window, left):
                hunt.pending.append(hunt.choose())
            for piece in list(hunt.pending)[len(self._running) :]:
                self._running.append(self._pool.submit(run_piece, piece, self.cfg.problem))
            outcome = self._running.popleft().result()
        piece = hunt.pending.popleft()
        self._learn(piece, hunt.take(piece, outcome))

    def _fill_by_windows(self, left: int) -> None:
        """Send a window of pieces to the cluster when all earlier ones are taken."""
        hunt = self.hunt
        if self._ready:
            return
        if not hunt.pending:
            hunt.pending.extend(hunt.choose() for _ in range(min(self.cfg.window, left)))
        problem = asdict(self.cfg.problem)
        tasks = {piece.key: {"piece": asdict(piece), "problem": problem} for piece in hunt.pending}
        done = dict(map_tasks(run_task, tasks, workers="ray"))
        self._ready.extend(
            Outcome(
                graph=decode_graph(told["graph"]) if told["graph"] else None,
                flips=told["flips"],
                seconds=told["seconds"],
            )
            for _, told in sorted(done.items())
        )

    def _learn(self, piece: Piece, gained: int) -> None:
        self.gained += gained
        if not gained:
            return
        self.last_gain = piece.nodes
        edges, lower = self.hunt.archive.edges(piece.nodes), self._known.get(piece.nodes)
        if self.run is not None and lower is not None and edges > lower:
            self.run.note(
                f"piece {piece.number}: {piece.nodes} nodes, {edges} edges, {edges - lower} above "
                f"the published {lower}, from {piece.origin}"
            )

    def facts(self) -> dict[str, str]:
        """Return what was chosen, for the block at the start of a run."""
        cfg = self.cfg
        budget = f"{cfg.pieces:,} pieces" if cfg.pieces else f"{cfg.minutes:g} minutes"
        return {
            "problem": f"{cfg.first} to {cfg.last} nodes, {cfg.problem.family()}",
            "archive": f"{self._whole.path}, {len(self._whole.nodes())} sizes so far",
            "budget": f"{budget} of {cfg.piece_flips:,} flips, {cfg.window} under way",
            "workers": cfg.workers,
        }

    def measures(self) -> dict[str, float]:
        """Return what is logged after a step."""
        sizes = range(self.cfg.first, self.cfg.last + 1)
        here = {n: edges for n in sizes if (edges := self.hunt.archive.edges(n)) >= 0}
        met = {n: edges - self._known[n] for n, edges in here.items() if n in self._known}
        return {
            "at_known": float(sum(over >= 0 for over in met.values())),
            "above_known": float(sum(over > 0 for over in met.values())),
            "last_gain": float(self.last_gain),
            "gained": float(self.gained),
            "sizes": float(len(here)),
            "flips": float(self.hunt.total_flips),
        }

    def whole_archive(self) -> Archive:
        """Return the archive with all that is in its folder now."""
        return Archive(self._whole.path, self.cfg.problem)

    def close(self) -> None:
        """Drop the pieces that have not begun and wait for the others."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def state(self) -> tuple[dict[str, Tensor], Json]:
        """Return the hunt, with the pieces under way, and the counts."""
        tensors, values = self.hunt.state()
        return tensors, {"hunt": values, "gained": self.gained, "last_gain": self.last_gain}

    def load_state(self, tensors: dict[str, Tensor], values: Json) -> None:
        """Take over what `state` returned; the pieces under way begin anew."""
        self.hunt.load_state(tensors, values["hunt"])
        self.gained, self.last_gain = int(values["gained"]), int(values["last_gain"])


@contextmanager
def open_campaign(
    cfg: config.Ladder, archive: Archive, *, offset: int = -1, run: Run | None = None
) -> Iterator[Campaign]:
    """Open a ladder on an archive; threads end with the block.

    Args:
        cfg: the ladder.
        archive: where graphs are read and put.
        offset: byte up to which a counted ladder knew it when it began; -1: all of it.
        run: where notes go.
    """

    def reopen(offset: int) -> Archive:
        return Archive.until(archive.path, offset, problem=cfg.problem)

    hunt = Hunt(
        reopen(archive.offset() if offset < 0 else offset) if cfg.pieces else archive,
        first=cfg.first,
        last=cfg.last,
        seed=cfg.seed,
        flips=cfg.piece_flips,
        seconds=cfg.piece_seconds,
        reopen=reopen if cfg.pieces else None,
    )
    campaign = Campaign(cfg, hunt, whole=archive, run=run)
    try:
        yield campaign
    finally:
        campaign.close()

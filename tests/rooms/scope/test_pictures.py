"""A network that is no transformer: a small classifier of digits, from harvest to pages."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tenfold.engine.run import Options
from tenfold.parts.sae.specimen import Specimen
from tenfold.parts.sae.splice import splice
from tenfold.rooms.scope import config
from tenfold.rooms.scope.own_code import specimen_of
from tenfold.rooms.scope.run import train
from tenfold.rooms.scope.suite import open_suite

datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
CHROMIUM = Path("/usr/bin/chromium")
SITE, WIDTH, BATCH = "look@1", 128, 64
pytestmark = pytest.mark.timeout(180)


class Classifier(nn.Module):
    """Pictures [B, 1, 8, 8] to ten scores, by a map of [B, 32, 4, 4]."""

    def __init__(self):
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(32 * 16, 10)

    def forward(self, pictures):
        return self.head(self.look(pictures).flatten(1))


@cache
def digits():
    """Pictures and labels, mixed, the last tenth never trained on."""
    found = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    pictures = torch.from_numpy(found.images[order] / 16).float()[:, None]
    return pictures, torch.from_numpy(found.target[order])


@cache
def classifier():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures, labels = digits()
    net, count = Classifier(), 25 * BATCH
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(400):
        rows = torch.randperm(count, generator=torch.Generator().manual_seed(step))[:BATCH]
        loss = nn.functional.cross_entropy(net(pictures[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


@cache
def specimen():
    """What a user's function gives, with a loss and captions beside it."""
    pictures, labels = digits()
    data = list(zip(pictures.split(BATCH), labels.split(BATCH), strict=True))
    net = classifier()
    plain = specimen_of((net, data), name="digits")

    def loss(batch):
        target = batch.labels["label"]
        return nn.functional.cross_entropy(net(batch.inputs[0]), target, reduction="none")

    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    fields |= {
        "loss": loss,
        "captions": lambda batch: [f"digit {label}" for label in batch.labels["label"].tolist()],
    }
    return Specimen(**fields)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cfg = config.Suite(
        sites=(SITE,),
        widths=(WIDTH,),
        target_l0=(14.0,),
        tokens=26_000,
        rows=256 * 1_500,
        batch=256,
        dtype="float32",
        evaluation_tokens=100_000,
        threads=1,
        log_every=500,
    )
    runs = str(tmp_path_factory.mktemp("runs"))
    return train(cfg, specimen(), options=Options(runs=runs, quiet=True))


def accuracy(batches):
    net = classifier()
    right = [net(b.inputs[0]).argmax(dim=1) == b.labels["label"] for b in batches]
    return float(torch.cat(right).float().mean())


def test_the_classifier_keeps_its_accuracy_with_the_dictionary_in_place(run):
    suite = open_suite(run.path)
    (entry,) = suite.entries
    held_out = list(specimen().batches("held_out"))
    clean = accuracy(held_out)
    with splice(classifier(), {SITE: suite.load(entry)}):
        spliced = accuracy(held_out)
    assert clean > 0.9
    assert spliced >= clean - 0.02


def test_the_dictionary_is_faithful_and_sparse_on_held_out_pictures(run):
    from tenfold.engine.files import read_json

    (found,) = read_json(run.out / "evaluation" / "evaluation.json")["entries"].values()
    assert found["fvu"] < 0.05
    assert found["l0"] <= WIDTH / 4
    assert "delta_loss" in found


def test_pictures_that_fire_a_latent_are_on_its_page(run):
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}; `make browser` installs it")
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    (entry,) = open_suite(run.path).entries
    activations = open_suite(run.path).load(entry)
    x = classifier().look(digits()[0][:200]).movedim(1, -1).flatten(0, -2)
    latent = int((activations.encode(x) > 0).sum(dim=0).argmax())
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto((run.out / "dash" / "index.html").as_uri() + f"#/{entry.name}/{latent}")
        page.wait_for_selector("canvas")
        assert page.locator("canvas").count() >= 5
        assert "digit" in page.inner_text("body")
        browser.close()
    assert all(url.startswith("file://") for url in requests)

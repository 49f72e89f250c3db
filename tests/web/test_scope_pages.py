"""Scope's live pages; they stand here because they are served by the shell of these fixtures."""

import dataclasses
import threading

import pytest
import torch

from tenfold.engine import files
from tenfold.engine.errors import TenfoldError
from tenfold.rooms.scope import workbench
from tenfold.rooms.scope.asking import EditAsked, PromptAsked, SteerAsked
from tenfold.rooms.scope.pages import list_entries, shows
from tenfold.rooms.scope.suite import open_suite
from web.conftest import HOME, SUITE, checked, checked_part, open_client
from web.small import LATENTS, make_run, make_specimen, make_suite

NAME = f"blocks.0/w{LATENTS}_l0_2_s0"
OTHER = f"blocks.1/w{LATENTS}_l0_4_s0"
HERE = f"/rooms/scope/{SUITE}"


@pytest.fixture
def suite(root):
    return open_suite(root / "scope" / SUITE)


@pytest.fixture
def post(client, small_model):  # noqa: ARG001
    """Return a function that sends a form as the page's script does and gives the answer."""

    def send(kind, fields, *, code=200, script=True):
        headers = {"origin": HOME} | ({"hx-request": "true"} if script else {})
        answer = client.post(f"{HERE}/{kind}", data=fields, headers=headers)
        assert answer.status_code == code, answer.text
        return answer

    return send


def prompted(**fields):
    return {"text": "to be or", "dictionary": NAME} | fields


EDIT = {"dictionary": NAME, "latent": "3", "operation": "add", "value": "8"}


def steered(**fields):
    return {"text": "to be or", "count": "6"} | EDIT | fields


def test_only_runs_with_a_suite_are_listed(page):
    found = page("/rooms/scope/")
    assert [a["href"] for a in found.all("a") if SUITE in a["href"]] == [HERE]
    assert "small model 4 2 24 jumprelu" in found.text
    assert "2026-01-01_first" not in found.text


def test_a_damaged_suite_is_listed_with_its_fault(page, root):
    (root / "scope" / SUITE / "out" / "suite" / "manifest.json").write_text("{")
    assert "manifest.json is broken at line 1" in page("/rooms/scope/").text


def test_without_suites_the_list_says_what_makes_one(settings, tmp_path):
    empty = dataclasses.replace(settings, root=tmp_path / "none")
    with open_client(empty) as asking:
        assert "tenfold scope suite" in checked(asking.get("/rooms/scope/")).text


def test_a_folder_of_a_suite_that_is_no_run_is_served_by_name(settings, tmp_path):
    folder = make_suite(tmp_path / "fetched")
    named = dataclasses.replace(settings, named=(folder,))
    with open_client(named) as asking:
        assert "fetched" in checked(asking.get("/")).text
        assert NAME in checked(asking.get("/rooms/scope/fetched")).text


def test_a_suite_s_page_shows_every_dictionary_with_what_training_measured(page):
    found = page(HERE)
    assert f"{NAME} jumprelu 24 2.00 2.50 0.200 – – 3 1,000 prompt steer" in found.text
    assert len(found.all("svg")) == 1
    assert "tenfold scope dash" in found.text


def write_evaluation(root, **facts):
    entries = {NAME: {"l0": 3.25, "fvu": 0.75, "delta_loss": 0.125, "loss_recovered_zero": 0.5}}
    evaluation = {"schema": 1, "tokens": 4096, "clean_loss": 1.5, "entries": entries}
    path = root / "scope" / SUITE / "out" / "evaluation" / "evaluation.json"
    files.write_json(path, evaluation | {"left_out": ["interpretability: human raters"]} | facts)


def test_an_evaluation_s_metrics_take_the_place_of_training_s(page, root):
    write_evaluation(root)
    found = page(HERE)
    assert f"{NAME} jumprelu 24 2.00 3.25 0.750 0.125 0.500 3 1,000" in found.text
    assert "4,096 tokens" in found.text
    assert "interpretability: human raters" in found.text
    assert len(found.all("svg")) == 2


def test_dictionaries_are_sorted_and_chosen_by_site(root):
    suite = open_suite(root / "scope" / SUITE)
    evaluation = {"entries": {NAME: {"delta_loss": 2.0}, OTHER: {"delta_loss": 1.0}}}

    def names(**how):
        return [row["name"] for row in list_entries(suite, evaluation, **how)]

    assert names(sort="delta_loss")[:2] == [OTHER, NAME]
    assert names(sort="-delta_loss")[:2] == [NAME, OTHER]
    assert len(names(sort="delta_loss")) == 4
    assert names(sort="nonsense") == [entry.name for entry in suite.entries]
    assert all(name.startswith("blocks.1") for name in names(site="blocks.1"))


def test_the_dashboard_is_framed_and_opened_at_a_latent(page, client, root):
    dash = root / "scope" / SUITE / "out" / "dash"
    (dash / "data").mkdir(parents=True)
    (dash / "index.html").write_text("<p>dash")
    (dash / "data" / "a.js").write_text("let a;")
    (frame,) = page(HERE).all("iframe")
    assert client.get(frame["src"]).text == "<p>dash"
    data = client.get(frame["src"].replace("index.html", "data/a.js"))
    assert data.headers["content-type"].startswith("text/javascript")
    for at, place in ((NAME, f"#/{NAME}"), (f"{NAME}/7", f"#/{NAME}/7")):
        (frame,) = page(HERE, at=at).all("iframe")
        assert frame["src"].endswith(f"index.html{place}")
    assert "unknown dictionary of the suite" in page(HERE, 400, at="../../x").text


def test_a_run_without_a_suite_has_no_page_here(page, root):
    run = make_run(root, "2026-05-05_harvest", room="scope", verb="harvest")
    assert not shows(run)
    assert "no suite at" in page("/rooms/scope/2026-05-05_harvest", 400).text
    assert "unknown run" in page("/rooms/scope/nothing", 404).text


def test_the_prompt_page_is_a_form_that_its_address_fills(page):
    found = page(f"{HERE}/prompt", text="a <b>\n", dictionary=OTHER, latent="5")
    (form,) = found.all("form")
    assert form["action"] == form["hx-post"] == f"{HERE}/prompt"
    assert form["hx-trigger"] == "submit, load"
    assert "a <b>" in found.text
    chosen = [given for given in found.all("option") if "selected" in given]
    assert len(chosen) == 1
    assert found.all("input", name="latent", value="5")
    assert page(f"{HERE}/prompt").all("form")[0]["hx-trigger"] == "submit"


def test_the_text_of_an_address_begins_with_its_own_line_ends(page):
    # HTML drops one line end after <textarea>; the template spends one of its own on that.
    words = page(f"{HERE}/prompt", text="\n\nx").words
    assert any(word == "\n\n\nx" for word in words)


def test_a_prompt_s_answer_shows_each_token_s_strongest_latents(post, suite):
    answer = post("prompt", prompted())
    found = checked_part(answer)
    specimen = make_specimen()
    f = clean_latents(specimen, suite, "to be or")
    strongest = int(f.amax(dim=0).argmax())
    assert f"Latent {strongest}" in found.text
    tokens = found.all("span")[: f.shape[0]]
    largest = float(f[:, strongest].max())
    for given, value in zip(tokens, f[:, strongest].tolist(), strict=True):
        shade = int(given["class"].split("shade-")[1])
        assert (shade == 0) == (value <= 0)
        assert abs(shade - 9 * value / largest) <= 1
    assert max(int(given["class"][-1]) for given in tokens) == 9
    rows = found.all("tr")[1:]
    assert len(rows) == f.shape[0]
    assert "hx-push-url" in answer.headers
    assert answer.headers["hx-push-url"].startswith(f"{HERE}/prompt?text=to+be+or&dictionary=")


@torch.no_grad()
def clean_latents(specimen, suite, text):
    tokens = specimen.encode(text)
    x = specimen.module.blocks[0](specimen.module.embed[tokens])[0]
    f = suite.load(NAME).encode(x)
    f[tokens[0] == 256] = 0
    return f


def test_a_latent_can_be_asked_for_by_number(post):
    found = checked_part(post("prompt", prompted(latent="7")))
    assert "Latent 7 " in found.text
    assert "Where else it fires" in found.text


def test_without_script_the_answer_is_a_whole_page(post):
    answer = post("prompt", prompted(), script=False)
    found = checked(answer)
    assert found.all("form")
    assert "On each token" in found.text
    assert "Plain" in checked(post("steer", steered(), script=False)).text


def test_hostile_prompts_are_shown_letter_for_letter(post):
    answer = post("prompt", prompted(text="<img src=x onerror=1>'\"&amp;"))
    found = checked_part(answer)
    assert not found.all("img")
    assert "<img src=x onerror=1>" in "".join(found.words).replace("\n", "")
    checked_part(post("steer", steered(text="<script>alert(1)</script>")))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"text": ""}, "the prompt is empty"),
        ({"text": "x" * 41}, "the prompt has 42 tokens; this model reads 40"),
        ({"text": "x" * 9_000}, "9,000 letters; 8,000 are read"),
        ({"dictionary": "blocks.0/w24_l0_3_s0"}, "did you mean"),
        ({"latent": "24"}, "latent 24 does not exist; there are 24"),
        ({"latent": "x"}, "latent is 'x'; give a whole number"),
        ({"latent": "9" * 30}, "give a whole number from 0"),
    ],
)
def test_prompts_that_cannot_be_read_are_told_in_the_page(post, fields, told):
    answer = post("prompt", prompted(**fields), code=400)
    found = checked_part(answer)
    assert told in found.text
    assert found.all("p", role="alert")


def test_steering_shows_both_completions_and_the_next_token(post, suite):
    from tenfold.rooms.scope.completion import complete
    from tenfold.rooms.scope.steer import Edit, place_edits, steering

    answer = post("steer", steered())
    found = checked_part(answer)
    specimen = make_specimen()
    tokens = specimen.encode("to be or")
    edits = place_edits(suite, {NAME: [Edit(latent=3, operation="add", value=8.0)]})
    plain = complete(specimen, tokens, count=6)
    with steering(specimen, edits):
        moved = complete(specimen, tokens, count=6)
    shown = [specimen.vocabulary[t] for row in (plain, moved) for t in row[0, -6:].tolist()]
    words = [word for word in found.words if word in shown]
    assert words[:12] == shown
    changed = [given for given in found.all("span") if "changed" in given["class"]]
    assert len(changed) == int((plain != moved).sum())
    assert "dictionary=blocks.0%2F" in answer.headers["hx-push-url"]
    assert "operation=add&value=8" in answer.headers["hx-push-url"]


def test_the_address_of_a_steered_page_fills_the_form_again(page, post):
    pushed = post("steer", steered(error="drop", temperature="0.5", seed="7")).headers
    found = page(pushed["hx-push-url"])
    for name, value in (("latent", "3"), ("value", "8"), ("temperature", "0.5"), ("seed", "7")):
        assert found.all("input", name=name, value=value), name
    chosen = [given.get("value") for given in found.all("option") if "selected" in given]
    assert "drop" in chosen
    assert len(found.all("fieldset")) == 3


def test_dropping_the_error_without_edits_changes_nothing_as_no_dictionary_is_named(post):
    found = checked_part(post("steer", steered(latent="", error="drop")))
    assert not [given for given in found.all("span") if "changed" in given["class"]]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"latent": "24"}, "latent 24 does not exist: the dictionary has 24"),
        ({"operation": "abate"}, "did you mean ablate"),
        ({"value": "nan"}, "value is 'nan'; give a number from -1e+06 to 1e+06"),
        ({"value": "much"}, "value is 'much'"),
        ({"count": "129"}, "count is '129'; give a whole number from 0 to 128"),
        ({"temperature": "-1"}, "temperature is '-1'"),
        ({"error": "loose"}, "unknown error term 'loose'"),
        ({"dictionary": "x"}, "unknown dictionary of the suite 'x'"),
        (
            {
                "dictionary": [NAME, f"blocks.0/w{LATENTS}_l0_4_s0"],
                "latent": ["1", "2"],
                "operation": ["ablate", "ablate"],
                "value": ["", ""],
            },
            "both stand at blocks.0; choose one",
        ),
        ({"dictionary": [NAME, NAME]}, "edits need as many of dictionary, latent"),
        ({name: [value] * 9 for name, value in EDIT.items()}, "9 edits; 8 can be made at once"),
    ],
)
def test_steering_that_makes_no_sense_is_told_in_the_page(post, fields, told):
    assert told in checked_part(post("steer", steered(**fields), code=400)).text


def test_prompts_from_other_sites_are_refused(client, small_model):  # noqa: ARG001
    answer = client.post(f"{HERE}/prompt", data=prompted(), headers={"origin": "http://x.example"})
    assert answer.status_code == 403


def test_models_that_read_no_text_say_so(post, monkeypatch):
    monkeypatch.setattr(
        workbench, "reopen", lambda *_, **__: make_specimen(encode=None, scores=None)
    )
    assert "small model reads no text" in checked_part(post("prompt", prompted(), code=400)).text


def test_a_model_that_is_not_the_suite_s_is_told_with_every_answer(post, monkeypatch):
    other = make_specimen(identity={"weights": "other"})
    monkeypatch.setattr(workbench, "reopen", lambda *_, **__: other)
    for kind, fields in (("prompt", prompted()), ("steer", steered())):
        assert "is not the small model that this suite" in checked_part(post(kind, fields)).text


def test_an_answer_that_takes_long_is_come_back_for(post, monkeypatch):
    gate = threading.Event()
    opened = []

    def slow(*_, **__):
        opened.append(1)
        assert gate.wait(20)
        return make_specimen()

    monkeypatch.setattr(workbench, "reopen", slow)
    monkeypatch.setattr(workbench, "PATIENCE_SECONDS", 0.05)
    waiting = checked_part(post("prompt", prompted()))
    (again,) = waiting.all("p", role="status")
    assert again["hx-post"] == f"{HERE}/prompt"
    assert "delay" in again["hx-trigger"]
    assert "Send the form again" in checked(post("prompt", prompted(), script=False)).text
    gate.set()
    monkeypatch.setattr(workbench, "PATIENCE_SECONDS", 20.0)
    assert "On each token" in checked_part(post("prompt", prompted())).text
    assert len(opened) == 1


def test_what_is_asked_is_read_as_it_is_written():
    prompt = PromptAsked(text="a\nb", dictionary=NAME, latent=3)
    assert PromptAsked.read(prompt.fields()) == prompt
    edits = (
        (NAME, EditAsked(latent=1, operation="clamp", value=-2.5)),
        (OTHER, EditAsked(latent=0, operation="ablate", value=0.0)),
    )
    steer = SteerAsked(text="x", edits=edits, error="drop", count=3, temperature=0.5, seed=9)
    assert SteerAsked.read(steer.fields()) == dataclasses.replace(steer, dictionary=NAME)


def test_line_ends_of_forms_become_those_of_texts():
    assert PromptAsked.read([("text", "a\r\nb")]).text == "a\nb"


def test_too_many_questions_are_refused(root):
    bench = workbench.Workbench()
    gate, running = threading.Event(), threading.Event()

    def hold():
        running.set()
        gate.wait(20)

    bench._worker.submit(hold)
    running.wait(20)
    for _ in range(workbench.WAITING_JOBS):
        bench._worker.submit(lambda: None)
    with pytest.raises(workbench.Busy, match="16 requests wait"):
        bench.ask(root / "scope" / SUITE, "q", lambda *_: None)
    gate.set()
    bench.close()


def test_an_answer_stops_when_the_server_goes_down_or_time_is_up(root, monkeypatch, small_model):  # noqa: ARG001
    down = []
    bench = workbench.Workbench(stopping=lambda: bool(down))
    path = root / "scope" / SUITE

    def answer(_opened, check):
        check()
        return "done"

    assert bench.ask(path, 1, answer, patience=20) == "done"
    monkeypatch.setattr(workbench, "WORK_SECONDS", -1.0)
    with pytest.raises(TenfoldError, match="more than -1 seconds; ask for less"):
        bench.ask(path, 2, answer, patience=20)
    down.append(1)
    with pytest.raises(TenfoldError, match="going down"):
        bench.ask(path, 3, answer, patience=20)
    bench.close()


def test_a_fault_of_our_own_is_raised_where_it_is_waited_for(root, small_model):  # noqa: ARG001
    bench = workbench.Workbench()

    def answer(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bench.ask(root / "scope" / SUITE, 1, answer, patience=20)
    bench.close()


def test_few_models_and_dictionaries_are_kept(tmp_path, monkeypatch, small_model):  # noqa: ARG001
    bench = workbench.Workbench()
    monkeypatch.setattr(workbench, "MOST_DICTIONARIES", 1)
    folders = [make_suite(tmp_path / name) for name in ("a", "b", "c")]

    def load(opened, _check):
        return bench.dictionary(opened, NAME) is bench.dictionary(opened, NAME)

    for folder in folders:
        assert bench.ask(folder, 1, load, patience=20)
    assert list(bench._opened) == folders[1:]
    assert len(bench._dictionaries) == 1
    bench.close()


@pytest.fixture
def manifest_from(suite):
    """Return a function from a subject's source to the manifest of a suite of it."""

    def make(source):
        subject = suite.manifest.subject | {"source": source}
        return dataclasses.replace(suite.manifest, subject=subject)

    return make


@pytest.fixture
def opened(monkeypatch):
    """Record what is opened instead of opening it."""
    from tenfold.rooms.scope import subjects

    calls = []

    def open_subject(cfg, *, options, device="cpu", trusted=True):  # noqa: ARG001
        calls.append((cfg.source, trusted, options.quiet))
        return make_specimen()

    monkeypatch.setattr(subjects, "open_subject", open_subject)
    return calls


def test_a_model_is_opened_again_without_trust(opened, manifest_from):
    workbench.reopen(manifest_from("tiny"))
    assert opened == [("tiny", False, True)]


def test_the_user_s_own_code_is_run_only_if_it_is_named_again(opened, manifest_from):
    saved = manifest_from("some/where/mine.py:network")
    with pytest.raises(TenfoldError, match=r"--subject some/where/mine\.py:network` if you trust"):
        workbench.reopen(saved)
    with pytest.raises(TenfoldError, match=r"the server may run other\.py:network"):
        workbench.reopen(saved, allowed="other.py:network")
    assert opened == []
    workbench.reopen(saved, allowed="moved/mine.py:network")
    assert opened == [("moved/mine.py:network", True, True)]


def test_no_code_is_run_for_another_kind_of_model(opened, manifest_from):
    workbench.reopen(manifest_from("tiny"), allowed="mine.py:network")
    assert opened == [("tiny", False, True)]

import json
import math

import numpy as np
import pytest

from tenfold.engine import lock
from tenfold.web.live import POINTS, Curves, parse_cursor, read_new, tell_status
from tenfold.web.places import Places, UnknownPlace
from tenfold.web.runs import LOG_BYTES, list_differences, list_rows, read_tail
from web.conftest import FIRST, SECOND, SUITE, checked_part
from web.small import add_metrics, make_run


def run_names(page):
    return [box["value"] for box in page.all("input", type="checkbox")]


def test_the_list_shows_every_run_newest_first(page):
    found = page("/")
    assert run_names(found) == [SUITE, SECOND, FIRST]
    assert "3 of 3 runs" in found.text
    assert [link["href"] for link in found.all("a") if "/runs/" in link.get("href", "")] == [
        f"/runs/{name}" for name in (SUITE, SECOND, FIRST)
    ]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"text": "FIRST"}, [FIRST]),
        ({"text": "train"}, [SECOND, FIRST]),
        ({"room": "scope"}, [SUITE]),
        ({"state": "running"}, []),
        ({"text": "second", "room": "jumprelu", "state": "done"}, [SECOND]),
    ],
)
def test_the_list_is_filtered_by_text_room_and_state(page, filters, names):
    found = page("/", **filters)
    assert run_names(found) == names
    assert ("None of the 3 runs fits" in found.text) == (not names)
    for name, value in filters.items():
        if name == "text":
            assert found.all("input", name="text", value=value)


def test_the_script_gets_the_rows_alone(client):
    found = checked_part(client.get("/", params={"text": "first"}, headers={"hx-request": "true"}))
    assert run_names(found) == [FIRST]
    assert not found.all("html")


def test_an_empty_folder_says_what_makes_a_run(settings, tmp_path):
    import dataclasses

    from web.conftest import checked, open_client

    with open_client(dataclasses.replace(settings, root=tmp_path / "none")) as client:
        assert "There are no runs yet" in checked(client.get("/")).text


def test_a_broken_run_is_listed_with_its_fault_and_has_no_page(page, root):
    (root / "jumprelu" / FIRST / "status.json").write_text("{")
    found = page("/")
    (box,) = found.all("input", value=FIRST)
    assert "disabled" in box
    assert "status.json is broken at line 1" in found.text
    assert "is broken at line 1" in page(f"/runs/{FIRST}", 404).text


def test_a_run_s_page_shows_state_metrics_config_and_log(page, root):
    run = root / "jumprelu" / FIRST
    (run / "log.txt").write_text("device cpu\n<script>alert(1)</script>\n")
    found = page(f"/runs/{FIRST}")
    assert "✓" not in found.text  # what marks a state is drawn by the style sheet
    for told in ("done", "3 / 9", "1 min 15 s", "device cpu", "<script>alert(1)</script>"):
        assert told in found.text, told
    figures = [f["data-metric"] for f in found.all("figure", **{"class": "curve"})]
    assert figures == ["train/loss", "train/l0"]
    assert len(found.all("svg")) == 2
    assert '"schema": 1' in found.text
    rows = found.all("tr", **{"data-last": "train/l0"})
    assert rows
    assert not found.all("iframe")


def test_a_report_is_shown_in_a_sandboxed_frame(page, client, root):
    (root / "jumprelu" / FIRST / "report.html").write_text("<p>the report")
    (frame,) = page(f"/runs/{FIRST}").all("iframe")
    assert frame["sandbox"] == "allow-scripts allow-downloads"
    assert client.get(frame["src"]).text == "<p>the report"


def test_checkpoints_and_results_are_listed(page, root):
    run = root / "jumprelu" / FIRST
    for step, done in (("00000012", True), ("00000020", True), ("00000024", False)):
        (run / "ckpt" / step).mkdir(parents=True)
        (run / "ckpt" / step / "tensors.safetensors").write_bytes(b"x" * 2_000)
        if done:
            (run / "ckpt" / step / "DONE").write_text("")
    (run / "out" / "part").mkdir(parents=True)
    (run / "out" / "part" / "table.csv").write_text("a,b\n")
    found = page(f"/runs/{FIRST}").text
    assert found.index(" 20 ") < found.index(" 12 ")
    assert "2.0 kB" in found
    assert "part/table.csv" in found
    assert " 24 " not in found.partition("Checkpoints")[2].partition("Results")[0]


def test_a_lost_run_says_how_it_goes_on(page, root):
    make_run(root, "2026-02-01_lost", state="running", step=4)
    assert "tenfold runs resume 2026-02-01_lost" in page("/runs/2026-02-01_lost").text


def test_a_run_with_a_suite_leads_to_its_page(page):
    links = page(f"/runs/{SUITE}").all("a", **{"class": "button"})
    assert [link["href"] for link in links] == [f"/rooms/scope/{SUITE}"]
    assert not page(f"/runs/{FIRST}").all("a", **{"class": "button"})


def test_an_unknown_run_is_told_with_the_nearest_names(page):
    assert "did you mean 2026-01-01_first" in page("/runs/2026-01-01_frst", 404).text


def test_names_with_odd_letters_have_pages_too(page, root):
    make_run(root, "a b&c?d#e%f")
    (link,) = [a["href"] for a in page("/", text="a b").all("a") if "/runs/" in a.get("href", "")]
    assert "a b&c?d#e%f" in page(link).text


def test_a_curve_is_sent_as_little_endian_floats(client):
    answer = client.get(f"/runs/{FIRST}/curve", params={"metric": "train/l0"})
    assert answer.headers["content-type"] == "application/octet-stream"
    found = np.frombuffer(answer.content, "<f4").reshape(2, -1)
    assert found.tolist() == [[0, 5, 10, 15], [10, 15, 20, 25]]
    missing = client.get(f"/runs/{FIRST}/curve", params={"metric": "train/x"})
    assert missing.status_code == 404


def test_long_curves_are_thinned_and_keep_both_ends(root):
    run = make_run(root, "long")
    add_metrics(run, [(s, "loss", s / 2 if s != 4_999 else None) for s in range(5_000)])
    series = Curves(run).look()["loss"]
    thin = series.thinned()
    assert thin.shape == (2, POINTS)
    assert (thin[0, 0], thin[0, -1]) == (0, 4_999)
    assert np.isnan(thin[1, -1])
    assert (np.diff(thin[0]) > 0).all()
    np.testing.assert_allclose(thin[1, :-1], thin[0, :-1] / 2)


def test_only_new_rows_are_read(root):
    run = root / "jumprelu" / FIRST
    curves = Curves(run)
    assert len(curves.look()["train/loss"].steps) == 20
    before = curves.cursor
    add_metrics(run, [(20, "train/loss", 0.5), (21, "new", math.nan)])
    news = read_new(run / "metrics.jsonl", before)
    assert [(row.step, row.name) for row in news.rows] == [(20, "train/loss"), (21, "new")]
    assert not news.restarted
    found = curves.look()
    assert len(found["train/loss"].steps) == 21
    assert math.isnan(found["new"].values[0])
    assert read_new(run / "metrics.jsonl", curves.cursor).rows == []


def test_a_line_that_is_being_written_is_read_once_it_is_whole(root):
    file = root / "jumprelu" / FIRST / "metrics.jsonl"
    cursor = read_new(file, parse_cursor("")).cursor
    line = json.dumps({"step": 30, "t": 1.0, "name": "train/loss", "value": 2.0})
    with file.open("a") as out:
        out.write(line[:20])
    torn = read_new(file, cursor)
    assert (torn.rows, torn.cursor) == ([], cursor)
    with file.open("a") as out:
        out.write(line[20:] + "\n")
    assert [row.step for row in read_new(file, cursor).rows] == [30]


def test_files_larger_than_a_chunk_are_read_whole(root, monkeypatch):
    from tenfold.web import live

    file = root / "jumprelu" / FIRST / "metrics.jsonl"
    whole = read_new(file, parse_cursor(""))
    monkeypatch.setattr(live, "_CHUNK", 100)
    assert read_new(file, parse_cursor("")) == whole
    assert len(whole.rows) == 24


def test_a_run_that_was_cut_back_starts_anew(root):
    run = root / "jumprelu" / FIRST
    curves = Curves(run)
    curves.look()
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "other").write_text("".join(lines[:5]))
    (run / "other").replace(run / "metrics.jsonl")
    assert read_new(run / "metrics.jsonl", curves.cursor).restarted
    assert len(curves.look()["train/loss"].steps) == 5
    (run / "metrics.jsonl").unlink()
    assert curves.look() == {}


def test_a_broken_line_is_told_with_its_place(page, root):
    file = root / "jumprelu" / FIRST / "metrics.jsonl"
    with file.open("a") as out:
        out.write("nonsense\n")
    assert "'nonsense' is no metric" in page(f"/runs/{FIRST}", 400).text


@pytest.mark.parametrize("text", ["", "x", "1", "1-", "-1", "a-b", "1-2-3"])
def test_what_is_no_cursor_is_the_beginning(text):
    assert parse_cursor(text).offset == 0


def test_a_cursor_is_read_as_it_is_written():
    assert str(parse_cursor("12-345")) == "12-345"


def events_of(text):
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
    return found


def test_events_tell_new_points_then_the_state_then_the_end(client, root):
    run = root / "jumprelu" / FIRST
    curves = Curves(run)
    curves.look()
    add_metrics(run, [(20, "train/loss", 0.5), (21, "train/loss", None)])
    answer = client.get(f"/runs/{FIRST}/events", params={"after": str(curves.cursor)})
    assert answer.headers["content-type"].startswith("text/event-stream")
    points, status, end = events_of(answer.text)
    assert points[:2] == (
        "points",
        {"restarted": False, "points": {"train/loss": [[20, 21], [0.5, None]]}},
    )
    assert status[0] == "status"
    assert status[1]["state"] == "done"
    assert end[:2] == ("end", "done")
    again = client.get(f"/runs/{FIRST}/events", headers={"last-event-id": points[2]})
    assert [event for event, *_ in events_of(again.text)] == ["status", "end"]


def test_events_of_an_unknown_run_are_refused_before_they_begin(client):
    assert client.get("/runs/none/events").status_code == 404


def test_events_tell_a_fault_and_end(client, root):
    file = root / "jumprelu" / FIRST / "metrics.jsonl"
    file.write_text("nonsense\n")
    (fault,) = events_of(client.get(f"/runs/{FIRST}/events").text)
    assert fault[0] == "fault"
    assert "is no metric" in fault[1]


def test_the_time_left_follows_from_the_rate_while_a_run_goes_on(root):
    run = make_run(root, "going", state="running", step=10, total=30, rate=4.0)
    with lock.hold(run):
        told = tell_status(run)
    assert (told["state"], told["left"], told["rate"]) == ("running", 5.0, 4.0)
    assert told["heartbeat"] > 0
    done = tell_status(make_run(root, "gone"))
    assert (done["left"], done["rate"], done["heartbeat"]) == (None, None, None)


def test_two_runs_are_compared_by_curves_and_by_what_differs(page):
    found = page("/compare", run=[FIRST, SECOND])
    figures = found.all("figure", **{"class": "curve"})
    assert [json.loads(figure["data-runs"]) for figure in figures] == [[FIRST, SECOND]] * 2
    assert "k 0 1" in found.text  # the field and its two values
    assert found.text.count(FIRST) >= 2


def test_metrics_that_only_one_run_has_are_compared_too(page, root):
    add_metrics(root / "jumprelu" / SECOND, [(0, "only", 1.0)])
    found = page("/compare", run=[FIRST, SECOND])
    (figure,) = found.all("figure", **{"data-metric": "only"})
    assert json.loads(figure["data-runs"]) == [SECOND]


def test_one_run_or_too_many_cannot_be_compared(page):
    assert "1 runs to compare; choose 2 to 6" in page("/compare", 400, run=[FIRST, FIRST]).text
    assert "0 runs to compare" in page("/compare", 400).text
    assert "7 runs" in page("/compare", 400, run=[str(i) for i in range(7)]).text


def test_differences_are_listed_for_each_run():
    saved = {
        name: {"room": "r", "verb": "v", "config": config}
        for name, config in (("a", {"x": 1, "y": 2}), ("b", {"x": 1, "y": 3}), ("c", {"y": 2}))
    }
    rows = {row["field"]: row["values"] for row in list_differences(saved)}
    assert rows["y"] == ["2", "3", "2"]
    assert rows["x"] == ["1", "1", "–"]


def test_the_tail_of_a_long_log_begins_with_a_whole_line(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("".join(f"line {i}\n" for i in range(20_000)))
    tail = read_tail(log)
    assert len(tail) <= LOG_BYTES
    assert tail.startswith("line ")
    assert tail.endswith("line 19999\n")
    assert read_tail(tmp_path / "none") == ""


def test_named_runs_and_folders_are_all_that_is_served(root, tmp_path):
    folder = tmp_path / "fetched"
    folder.mkdir()
    places = Places(root=root, named=(root / "jumprelu" / FIRST, folder))
    assert list(places.all()) == [FIRST, "fetched"]
    assert places.all()["fetched"].record is None
    assert [row["place"].name for row in list_rows(list(places.all().values()))] == [FIRST]
    with pytest.raises(UnknownPlace, match="unknown run '2026-01-02_second'"):
        places.find(SECOND)


def test_two_runs_of_one_name_keep_two_addresses(root):
    make_run(root, FIRST, room="other")
    places = Places(root=root).all()
    assert {FIRST, f"{FIRST}-2"} <= set(places)
    assert places[FIRST].path != places[f"{FIRST}-2"].path


def test_a_new_run_appears_within_a_second_or_so(root, monkeypatch):
    import time

    places = Places(root=root)
    assert "new" not in places.all()
    make_run(root, "new")
    later = time.monotonic() + 1.5
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert "new" in places.all()

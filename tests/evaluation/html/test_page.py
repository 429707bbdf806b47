"""The page of a report: its specifications, its text, and what a browser draws of it."""

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from keras_sare.evaluation.comparisons.stored_verdict import verdict_of
from keras_sare.evaluation.html import page, query_charts, query_sections
from keras_sare.evaluation.html.charts import HEIGHT
from keras_sare.evaluation.html.contents import QueryAnswer, read_contents
from keras_sare.evaluation.html.gallery import chosen_cases, most_found
from keras_sare.evaluation.html.query_charts import equal_domains
from keras_sare.evaluation.html.tables import MOST_ROWS
from keras_sare.evaluation.html.thumbnails import Thumbnails
from keras_sare.evaluation.measures.query_table import COLUMNS

MODELS = ("first", "second <b>")
QUERIES = 24
INTERVAL = {"value": 0.5, "low": 0.3125, "high": 0.625}
RECORD = {
    "protocol": {"name": "own", "text": "within 25 m", "radius": 25.0},
    "settings": {"batch": 8, "models": ["a", "b"]},
    "environment": {"tensorflow": "0.0.1", "devices": "a card"},
    "stages": [{"model": MODELS[1], "stage": "extract queries", "images": 24, "seconds": 6.0, "peak_bytes": 2**30}],
}
LOG = """epoch,loss,violating,recall@5,seconds_mining,seconds_training,seconds
0,,,0.5,0,0,2
1,0.7,0.6,0.6,1,5,7
2,0.5,0.4,0.7,1,5,6.5
"""


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """A folder as an evaluation of a run writes: the second model finds every query but each fourth."""
    folder = tmp_path_factory.mktemp("evaluation") / "town"
    (folder / "photos").mkdir(parents=True)
    photos = [str(folder / "photos" / f"{i}.jpg") for i in range(6)]
    for shade, path in enumerate(photos):
        Image.new("RGB", (64, 48), (40 * shade, 90, 200 - 30 * shade)).save(path)
    with (folder / "queries.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for model, step in zip(MODELS, (2, 4), strict=True):
            writer.writerows([model, *answer(i, i % step, photos, folder)] for i in range(QUERIES))
    (folder / "recall.json").write_text(
        json.dumps({model: report(r) for model, r in zip(MODELS, (12, 18), strict=True)})
    )
    measures = {model: {"measures": {"recall@1": INTERVAL, "mAP@5": {**INTERVAL, "high": None}}} for model in MODELS}
    (folder / "recall_measures.json").write_text(json.dumps(measures))
    (folder / "recall_by_dimension.json").write_text(json.dumps({MODELS[1]: {"64": report(12), "128": report(18)}}))
    (folder / "recall_by_image_size.json").write_text(json.dumps({MODELS[1]: {"shorter:96": report(6)}}))
    (folder / "evaluation.json").write_text(json.dumps(RECORD))
    (folder / "log.csv").write_text(LOG)
    return folder


def answer(i, hit, photos, folder):
    query = photos[i % 6] if i < 6 else str(folder / f"gone & {i}.jpg")
    distance = 3 + i if hit else 100 * (i + 1)
    return [query, 10 * i, 5.5, photos[1], distance, 0.5, int(bool(hit)), photos[2], json.dumps(photos[1:])]


def report(hits):
    recalls = [hits / QUERIES, 20 / QUERIES]
    return {
        "protocol": "recall@N within 25 m",
        "dataset": "town test",
        "queries": QUERIES,
        "queries_without_positive": 0,
        "database": 99,
        "ns": [1, 5],
        "recalls": recalls,
    }


@pytest.fixture(scope="module")
def written(evaluation):
    path = evaluation / "report.html"
    contents = read_contents(evaluation, {"loss": "sare_ind", "root": "</script><script>alert(1)"})
    return page.write_report(path, [contents]), path


class Elements(HTMLParser):
    """Elements of a page with their attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_specifications_hold_the_numbers_and_are_json(written):
    recall, verdict, dims, sizes, loss, violating, validation, time, stages, queries = written[0]
    assert json.loads(json.dumps(written[0])) == written[0]
    rows = recall["data"]["values"]
    assert [(row["model"], row["N"], row["recall"]) for row in rows[:2]] == [
        ("first", 1, 50.0),
        ("first", 5, pytest.approx(100 * 20 / 24)),
    ]
    assert [(row["low"], row["high"]) for row in rows if row["N"] == 1] == [(31.25, 62.5)] * 2
    assert not any(row.keys() & {"low", "high"} for row in rows if row["N"] == 5)  # Nothing was measured there.
    assert [row["value"] for row in loss["data"]["values"]] == [0.7, 0.5]
    assert [row["value"] for row in violating["data"]["values"]] == [0.6, 0.4]
    assert [row["epoch"] for row in validation["data"]["values"]] == [0, 1, 2]
    assert {row["part"]: row["seconds"] for row in time["data"]["values"]} == {
        "mining": 2,
        "training": 10,
        "other": 3.5,
    }
    assert stages["data"]["values"] == [{"run": MODELS[1], "part": "extract queries", "seconds": 6.0}]
    assert [(row["value"], row["N"], row["recall"]) for row in dims["data"]["values"]][::2] == [
        (64, 1, 50.0),
        (128, 1, 75.0),
    ]
    assert sizes["data"]["values"][0]["value"] == "shorter:96"
    [against] = [layer["data"]["values"] for layer in verdict["layer"] if "model" in str(layer["encoding"])][:1]
    assert [(row["model"], row["points"]) for row in against] == [("first", pytest.approx(-25))]
    assert [view["name"] for view in queries["vconcat"]] == ["map", "histogram", "photos"]


def test_metre_is_as_long_on_both_axes_of_the_map(written):
    map_ = written[0][-1]["vconcat"][0]
    (east, north) = (map_["encoding"][axis]["scale"]["domain"] for axis in "xy")
    assert (east[1] - east[0]) / map_["width"] == pytest.approx((north[1] - north[0]) / map_["height"])
    assert east[0] < 0 < 230 < east[1]


def test_map_histogram_and_photos_share_their_selections(written):
    map_, histogram, photos = written[0][-1]["vconcat"]
    filters = [[step["filter"] for step in view["transform"] if "filter" in step] for view in (map_, histogram, photos)]
    assert {"param": "area"} in filters[1]
    assert {"param": "area"} in filters[2]
    assert {"param": "distances"} in filters[2]
    assert map_["encoding"]["opacity"]["condition"]["param"] == "distances"


def test_page_loads_nothing_and_runs_no_text_of_strangers(written):
    text = written[1].read_text()
    elements = Elements(text)
    sources = [one[name] for _, one in elements.found for name in ("src", "href") if name in one]
    assert all(one.startswith(("data:", "#")) for one in sources)
    [policy] = [one["content"] for one in elements.of("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert len(elements.of("script")) == 2
    assert "second &lt;b&gt;" in text
    assert len(text) < 2_000_000


def test_page_reads_without_pictures(written):
    elements = Elements(written[1].read_text())
    assert elements.of("html") == [{"lang": "en"}]
    assert all(one["alt"] for one in elements.of("img"))
    assert len(elements.of("img")) > 20
    levels = [int(name[1]) for name, _ in elements.found if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1
    charts_ = [one for one in elements.of("div") if one.get("class") == "chart"]
    assert len(charts_) == 10
    assert all(one["role"] == "group" and one["aria-label"] for one in charts_)
    assert len(elements.of("details")) >= 4
    assert all(one.get("scope") in ("row", "col") for one in elements.of("th"))


def test_gains_and_the_farthest_failures_are_shown(evaluation):
    answers = read_contents(evaluation).answers
    cases = chosen_cases(answers, MODELS, most=3)
    assert [case.title for case in cases] == ["found by second <b>, missed by first"] * 3 + ["missed by second <b>"] * 3
    assert all(case.answer.hit for case in cases[:3])
    distances = [case.answer.distance for case in cases[3:]]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] == max(one.distance for one in answers if one.model == MODELS[1] and not one.hit)


def test_of_several_models_the_one_that_finds_most_is_shown_and_a_line_of_queries_has_a_low_map():
    answers = [
        QueryAnswer(model, f"{i}.jpg", 10.0 * i, 3.0, "a.jpg", 5.0, 0.5, i < count, "", ())
        for model, count in (("first", 1), ("best", 8), ("last", 4))
        for i in range(9)
    ]
    models = ["first", "best", "last"]
    assert most_found(answers, models) == "best"
    assert most_found(answers, ["first"]) == "first"
    assert {case.title for case in chosen_cases(answers, models)} == {"found by best, missed by first"}
    domains, height = equal_domains([{"east": 10.0 * i, "north": 3.0} for i in range(9)])
    assert height < HEIGHT / 2
    east, north = (last - first for first, last in domains)
    assert east / HEIGHT == pytest.approx(north / height)


def test_first_cases_of_each_kind_show_what_the_model_looks_at(evaluation, tmp_path):
    asked = []

    def overlays(query, match):
        asked.append(query)
        return {"a map": Image.new("RGB", (8, 8))}

    page.write_report(tmp_path / "report.html", [read_contents(evaluation)], overlays)
    labels = [one["alt"] for one in Elements((tmp_path / "report.html").read_text()).of("img")]
    # Only files that are there are looked at.
    assert 1 <= len(asked) <= 2 * query_sections.MOST_LOOKED_AT
    assert sum(label.startswith("a map: of query ") for label in labels) == len(asked)


def test_pictures_stay_within_their_bytes_and_lost_files_have_none(evaluation):
    files = sorted(map(str, (evaluation / "photos").iterdir()))
    each = len(Thumbnails(10**6).of(files[0]))
    limited = Thumbnails(2 * each + each // 2)
    assert [bool(limited.of(path)) for path in files] == [True, True, False, False, False, False]
    assert limited.left >= 0
    assert Thumbnails(10**6).of("nowhere.jpg") == ""


def test_many_queries_are_thinned_and_tables_say_what_they_leave_out(evaluation, monkeypatch, tmp_path):
    monkeypatch.setattr(query_charts, "MOST_POINTS", 20)
    answers = read_contents(evaluation).answers
    assert len(query_charts.shown_answers(answers)) == 16
    assert query_charts.shown_answers(answers[:20]) == answers[:20]
    assert MOST_ROWS == 200


def test_without_positions_there_is_a_page_without_map(evaluation, tmp_path):
    rows = list(csv.reader((evaluation / "queries.csv").read_text().splitlines()))
    for row in rows[1:]:
        row[2:4] = ["", ""]
        row[5] = ""
    with (tmp_path / "queries.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    shutil.copy(evaluation / "recall.json", tmp_path)
    recall, verdict = page.write_report(tmp_path / "report.html", [read_contents(tmp_path)])
    assert "layer" in recall
    assert "layer" in verdict
    assert "Best gains" in (tmp_path / "report.html").read_text()


def cells(text, caption):
    """Rows of a table: the text of each cell."""
    [rest] = [part for part in text.split("<table>")[1:] if part.startswith(f"<caption>{caption}</caption>")]
    rows = re.findall("<tr>(.*?)</tr>", rest.partition("</table>")[0])
    return [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_folders_stand_side_by_side_even_of_one_name(evaluation, tmp_path):
    """The other one has another batch, and was measured elsewhere."""
    other = tmp_path / "town"
    shutil.copytree(evaluation, other)
    changed = RECORD | {"settings": {**RECORD["settings"], "batch": 4}, "environment": {"tensorflow": "0.0.2"}}
    (other / "evaluation.json").write_text(json.dumps(changed))
    output = tmp_path / "report.html"
    recall, verdict, *_ = page.write_report(output, [read_contents(evaluation), read_contents(other)])
    assert {row["model"] for row in recall["data"]["values"]} == {
        f"{folder}: {model}" for folder in ("town", "town (2)") for model in MODELS
    }
    text = output.read_text()
    assert cells(text, "Settings") == [
        ["what", "town", "town (2)"],
        ["batch (differs)", "8", "4"],
        ["models", "a, b", "a, b"],
    ]
    places = cells(text, "Where it was measured")
    assert places[0] == ["what", "town", "town (2)", "this page"]
    assert places[1][:3] == ["tensorflow (differs)", "0.0.1", "0.0.2"]
    assert ["rules", "within 25 m", "within 25 m"] in cells(text, "Protocol")
    [against] = [row for row in cells(text, "Paired test against the best") if row[0] == "town (2): second &lt;b&gt;"]
    assert against[1:] == ["0.750", "+0.0 (+0.0 to +0.0)", "0", "0", "1", "no"]


def test_verdict_says_how_much_better_the_best_is_and_how_surely(written):
    """The second model finds 18 of 24 queries; 6 of them the first one misses, which finds none that the second does
    not: p is twice that of six heads in a row."""
    [head, row] = cells(written[1].read_text(), "Paired test against the best")
    assert dict(zip(head, row, strict=True)) == {
        "model": "first",
        "recall@1": "0.500",
        "minus second &lt;b&gt;, points": "-25.0 (-41.7 to -8.3)",
        "queries better": "0",
        "queries worse": "6",
        "p": "0.031",
        "beyond chance": "yes",
    }


def test_models_that_answered_other_queries_are_not_judged(evaluation):
    answers = read_contents(evaluation).answers
    assert verdict_of(answers).best == MODELS[1]
    assert verdict_of(answers[1:]) is None
    assert verdict_of(answers[:QUERIES]) is None


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("recall.json", "{", "recall.json' is damaged; write it again"),
        ("recall.json", "[]", "recall.json' must hold a JSON object"),
        ("recall.json", '{"a": {"ns": [1]}}', "recall.json' is damaged.*fields"),
        ("queries.csv", "model,query\n", "queries.csv' must have the columns .*Missing: easting"),
        ("evaluation.json", '{"stages": [{"model": "a"}]}', "evaluation.json' is damaged"),
        ("log.csv", "epoch,loss\n1,x\n", "log.csv' is damaged"),
    ],
)
def test_damaged_files_are_named(evaluation, tmp_path, file, text, message):
    shutil.copy(evaluation / "recall.json", tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_contents(tmp_path)


def test_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing to report .* neither recall.json nor log.csv"):
        read_contents(tmp_path)


@pytest.fixture(scope="module")
def opened(written, tmp_path_factory):
    """The page as headless Chromium makes it, and what it complained of."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("there is no chromium: install Debian's package of that name to see the page drawn")
    profile = tmp_path_factory.mktemp("profile")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=390,900",
        "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=20000",
        "--proxy-server=127.0.0.1:9",
        "--dump-dom",
        written[1].as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def test_browser_draws_every_chart_without_complaint(opened, written):
    elements = Elements(opened.stdout)
    assert [one["data-drawn"] for one in elements.of("body")] == [str(len(written[0]))]
    assert "CONSOLE" not in opened.stderr
    drawings = [one for one in elements.of("svg") if "marks" in one.get("class", "")]
    assert len(drawings) == len(written[0])
    labels = [one.get("aria-label", "") for one in elements.of("path")]
    assert sum("metres east: " in label for label in labels) == QUERIES
    pictures = elements.of("image")
    assert pictures
    assert all(one.get("href", one.get("xlink:href", "")).startswith("data:image/jpeg") for one in pictures)

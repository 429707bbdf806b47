"""Runs of a folder: listed, chosen, compared."""

import json
import re

import pytest

from keras_sare.evaluation.measures.query_table import COLUMNS
from trainers import report, runs
from trainers.config import ReportConfig, RunsConfig

RECALL = {"protocol": "p", "dataset": "d", "queries": 9, "queries_without_positive": 0, "database": 9, "ns": [1, 5]}


@pytest.fixture
def folder(tmp_path):
    """b ties with a at recall@5 and is better at recall@1, in its first epoch; c was not validated."""
    for name, rate, epochs in (("a", 0.1, "0,0.4,0.8\n1,0.5,0.9\n"), ("b", 0.2, "0,0.6,0.9\n1,0.7,0.8\n")):
        (tmp_path / name).mkdir()
        settings = {"learning_rate": rate, "loss": "sare_ind", "output": name}
        (tmp_path / name / "run.json").write_text(json.dumps(settings))
        (tmp_path / name / "log.csv").write_text(f"epoch,recall@1,recall@5\n{epochs}")
        (tmp_path / name / "recall.json").write_text(json.dumps({"trained": {**RECALL, "recalls": [rate, 0.5]}}))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{}")
    return tmp_path


def test_list_shows_best_epochs_and_only_the_settings_that_differ(folder, capsys):
    text = runs.run(RunsConfig(passed_on=("list", str(folder))))
    assert text.splitlines() == [
        "| run | best epoch | val recall@1 | val recall@5 | learning_rate |",
        "| --- | --- | --- | --- | --- |",
        "| a | 1 | 0.500 | 0.900 | 0.1 |",
        "| b | 0 | 0.600 | 0.900 | 0.2 |",
    ]
    assert capsys.readouterr().out == text + "\n"


def test_best_is_chosen_by_recall_at_5_and_then_by_smaller_n(folder):
    assert runs.run(RunsConfig(passed_on=("best", str(folder)))) == str(folder / "b")


def test_compare_shows_the_test_recall_of_all_models(folder):
    text = runs.run(RunsConfig(passed_on=("compare", str(folder))))
    assert "| a: trained | 0.100 | 0.500 |" in text
    assert "| b: trained / a: trained | 2.00 | 1.00 |" in text


def test_compare_judges_models_that_answered_the_same_queries(folder):
    for name, hits in (("a", "000000001"), ("b", "111111111")):
        rows = [f"trained,{i}.jpg,,,m.jpg,,0.5,{hit},p.jpg,[]" for i, hit in enumerate(hits)]
        (folder / name / "queries.csv").write_text("\n".join([",".join(COLUMNS), *rows, ""]))
    text = runs.run(RunsConfig(passed_on=("compare", str(folder))))
    assert "Verdict: best is **b: trained**, recall@1 1.000." in text
    assert "+88.9 points over **a: trained** (0.111)" in text


@pytest.mark.parametrize("given", [(), ("list",), ("worst", "runs"), ("list", "a", "b")])
def test_wrong_commands_are_named(given):
    with pytest.raises(ValueError, match="must be one of list, best, compare and a folder of runs"):
        runs.run(RunsConfig(passed_on=given))


def test_folder_without_validated_runs_is_named(folder):
    with pytest.raises(FileNotFoundError, match="no run with validation recall"):
        runs.run(RunsConfig(passed_on=("list", str(folder / "c"))))


def test_report_of_runs_holds_their_settings(folder):
    output = folder / "report.html"
    report.run(ReportConfig(run=(str(folder / "a"), str(folder / "b")), output=str(output)))
    text = output.read_text()
    rate = re.sub("<[^>]*>", " ", text.partition("learning_rate (differs)")[2].partition("</tr>")[0])
    assert rate.split() == ["0.1", "0.2"]
    assert "b: trained" in text
    with pytest.raises(ValueError, match="`run` or `evaluation` must name a folder"):
        report.run(ReportConfig(output=str(output)))

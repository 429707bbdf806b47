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


PRECISION = {"dataset": "toy", "queries": 9, "queries_without_positive": 0, "database": 9, "ks": [10]}


def retrieved(mean):
    return {**PRECISION, "protocol": "easy", "mean_average_precision": mean, "precisions": [mean / 2]}


@pytest.fixture
def retrieval(tmp_path):
    """m is best in its first epoch, n better in its last; beside them a reconstruction."""
    for name, tuples, log in (("m", 10, "0,0.5,0.6\n1,0.4,0.9\n"), ("n", 20, "0,0.5,0.6\n1,0.6,0.5\n")):
        (tmp_path / name / "toy").mkdir(parents=True)
        (tmp_path / name / "run.json").write_text(json.dumps({"tuples": tuples}))
        (tmp_path / name / "log.csv").write_text(f"epoch,mAP,mP@1\n{log}")
        table = {"reports": {"fine-tuned": {"easy": retrieved(tuples / 50)}}}
        (tmp_path / name / "toy" / "retrieval.json").write_text(json.dumps(table))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "sfm.npz").touch()
    summary = {"photos": 30, "in_dataset": 24, "models": 3, "clusters": 2}
    (tmp_path / "models" / "models.json").write_text(json.dumps({"summary": summary, "models": []}))
    return tmp_path


def test_runs_of_retrieval_are_listed_by_their_mean_average_precision_and_reconstructions_too(retrieval):
    assert runs.run(RunsConfig(passed_on=("list", str(retrieval)))).splitlines() == [
        "| run | best epoch | val mAP | val mP@1 | tuples |",
        "| --- | --- | --- | --- | --- |",
        "| m | 0 | 0.500 | 0.600 | 10 |",
        "| n | 1 | 0.600 | 0.500 | 20 |",
        "",
        "| reconstruction | photos | in models | models | clusters |",
        "| --- | --- | --- | --- | --- |",
        "| models | 30 | 24 | 3 | 2 |",
    ]
    assert runs.run(RunsConfig(passed_on=("best", str(retrieval)))) == str(retrieval / "n")
    (retrieval / "models" / "models.json").write_text("{}")
    with pytest.raises(ValueError, match="models.json' is damaged; write it again"):
        runs.run(RunsConfig(passed_on=("list", str(retrieval))))


def test_compare_shows_what_runs_of_retrieval_reach_on_each_test_set(retrieval):
    text = runs.run(RunsConfig(passed_on=("compare", str(retrieval))))
    assert "| n: fine-tuned | 40.0 (+20.0) | 20.0 |" in text
    report.run(ReportConfig(run=(str(retrieval / "m"), str(retrieval / "n")), output=str(retrieval / "page.html")))
    assert "Mean average precision and mean precision, per cent, on toy" in (retrieval / "page.html").read_text()
    (retrieval / "n" / "toy" / "retrieval.json").write_text('{"reports": {"fine-tuned": {"easy": {}}}}')
    with pytest.raises(ValueError, match="retrieval.json' is damaged; write it again: .*fields"):
        runs.run(RunsConfig(passed_on=("compare", str(retrieval))))


def test_runs_of_places_and_of_retrieval_have_no_best_together(folder, retrieval):
    assert "val mAP" in runs.run(RunsConfig(passed_on=("list", str(folder))))
    with pytest.raises(ValueError, match="of places a, b; of retrieval m, n"):
        runs.run(RunsConfig(passed_on=("best", str(folder))))


@pytest.mark.parametrize("given", [(), ("list",), ("worst", "runs"), ("list", "a", "b")])
def test_wrong_commands_are_named(given):
    with pytest.raises(ValueError, match="must be one of list, best, compare and a folder of runs"):
        runs.run(RunsConfig(passed_on=given))


def test_folder_without_validated_runs_is_named(folder):
    with pytest.raises(FileNotFoundError, match="no run that has been validated"):
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

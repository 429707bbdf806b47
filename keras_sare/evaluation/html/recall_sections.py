"""Sections of a report page on what was measured."""

from collections.abc import Mapping, Sequence

from keras_sare.evaluation.comparisons.stored_verdict import verdict_of
from keras_sare.evaluation.html import charts
from keras_sare.evaluation.html.contents import SWEEPS, Contents
from keras_sare.evaluation.html.parts import Drawings, details, section
from keras_sare.evaluation.html.tables import escaped, rows_table
from keras_sare.evaluation.retrieval_report import RetrievalReport
from keras_sare.evaluation.verdict import SIGNIFICANCE, Verdict


def recall_sections(contents: Sequence[Contents], drawings: Drawings) -> list[str]:
    """Recall with its intervals, and other measures; nothing where none was measured."""
    reports = {name: report for one in contents for name, report in one.reports.items()}
    if not reports:
        return []
    first = next(iter(reports.values()))
    about = (
        f"{first.dataset}, {first.protocol}: {first.queries} queries "
        f"({first.queries_without_positive} without a positive), {first.database} database images. Bands: 95 % "
        "intervals by bootstrap over the queries."
    )
    measures = {model: found for one in contents for model, found in one.measures.items()}
    rows = charts.recall_rows(reports, measures)
    others = [
        {"model": model}
        | {name: _with_interval(name, one) for name, one in found.items() if not name.startswith("recall@")}
        for model, found in measures.items()
    ]
    parts = [f"<p>{escaped(about)}</p>", drawings.place(charts.recall_chart(rows))]
    parts += [details(rows_table("Recall, per cent", rows))]
    if others:
        parts.append(rows_table("Other measures, with 95 % intervals", others))
    return [section("Recall", *parts)]


def retrieval_sections(contents: Sequence[Contents]) -> list[str]:
    """Tables of image retrieval, one for each test set; nothing where there is none."""
    tables: dict[str, list[dict[str, object]]] = {}
    for one in contents:
        for test_set, reports in one.retrieval.items():
            tables.setdefault(test_set, []).extend(
                {"model": name} | _precisions(each) for name, each in reports.items()
            )
    title = "Mean average precision and mean precision, per cent, on"
    parts = [rows_table(f"{title} {test_set}", rows) for test_set, rows in tables.items()]
    return [section("Image retrieval", *parts)] if parts else []


def _precisions(reports: Mapping[str, RetrievalReport]) -> dict[str, object]:
    found: dict[str, object] = {
        f"mAP {name}": f"{100 * one.mean_average_precision:.1f}" for name, one in reports.items()
    }
    return found | {f"mP@10 {name}": f"{100 * one.at(10):.1f}" for name, one in reports.items() if 10 in one.ks}


def verdict_sections(contents: Sequence[Contents], drawings: Drawings) -> list[str]:
    """The paired test between all models that answered the same queries; nothing of a single one."""
    verdict = verdict_of([answer for one in contents for answer in one.answers])
    if verdict is None:
        return []
    rows = [_against(verdict, name) for name in verdict.against]
    words = (
        f"Best is {verdict.best}, {verdict.measure} {verdict.values[verdict.best]:.3f}. Each other model is compared "
        "with it on the same queries: the difference with its 95 % interval, by paired bootstrap over the queries, and "
        f"the exact McNemar test; beyond chance is p below {SIGNIFICANCE:g}, divided by the number of pairs of models."
    )
    saved = [
        f"{one.name} saved {one.verdict['saved']} as model.keras ({one.verdict.get('reason', '')})."
        for one in contents
        if "saved" in one.verdict
    ]
    parts = [f"<p>{escaped(text)}</p>" for text in (words, *saved)]
    drawn = drawings.place(charts.verdict_chart(verdict))
    return [section("Which model is better", *parts, drawn, rows_table("Paired test against the best", rows))]


def _against(verdict: Verdict, name: str) -> dict[str, object]:
    one = verdict.against[name]
    high, low = (0 - 100 * bound for bound in one.interval)
    return {
        "model": name,
        verdict.measure: f"{verdict.values[name]:.3f}",
        f"minus {verdict.best}, points": f"{0 - 100 * one.difference:+.1f} ({low:+.1f} to {high:+.1f})",
        "queries better": one.lost,
        "queries worse": one.gained,
        "p": f"{one.p_value:.2g}",
        "beyond chance": "yes" if verdict.is_beyond_chance(name) else "no",
    }


def sweep_sections(contents: Sequence[Contents], drawings: Drawings) -> list[str]:
    """Recall against dimension, database size and image size, as far as it was measured."""
    sections = []
    for by in SWEEPS:
        found = {model: reports for one in contents for model, reports in one.sweeps.get(by, {}).items()}
        if rows := charts.sweep_rows(found):
            table = details(rows_table(f"Recall, per cent, by {by}", rows))
            sections.append(section(f"Recall against {by}", drawings.place(charts.sweep_chart(rows, by)), table))
    return sections


def _with_interval(name: str, measure: Mapping[str, float | None]) -> str:
    form = ".1f" if name.endswith(", m") else ".3f"
    value, low, high = (measure.get(part) for part in ("value", "low", "high"))
    if value is None:
        return ""
    return f"{value:{form}}" if low is None or high is None else f"{value:{form}} ({low:{form}} to {high:{form}})"

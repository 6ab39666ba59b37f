"""Tables as rows, as Markdown and on a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from qworkbench.report.evidence import collect
from qworkbench.report.tables import (
    MINUS,
    Table,
    count,
    duration,
    number,
    probability,
    score_table,
    tables_of,
    to_markdown,
    to_rich,
)
from qworkbench.runs import RunRecord

Make = Callable[..., list[RunRecord]]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(-0.12345), f"{MINUS}0.123"),
        (number(0.5, sign=True), "+0.500"),
        (number(None), "\N{EN DASH}"),
        (count(1234567.0), "1,234,567"),
        (duration(0.0314), "31 ms"),
        (duration(12.34), "12.3 s"),
        (duration(90.0), "1.5 min"),
        (duration(5400.0), "1.5 h"),
        (probability(0.0004), "< 0.001"),
        (probability(0.0214), "0.021"),
    ],
)
def test_numbers_read_well(shown: str, expected: str) -> None:
    assert shown == expected


def test_score_table_has_a_row_for_each_model_and_cells_for_each_header(make: Make) -> None:
    (result,) = collect(make("moons")).datasets
    table = score_table(result)
    assert table.headers[:4] == ("model", "kind", "accuracy", "95% interval")
    assert table.headers[-3:] == ("parameters", "circuits / fold", "time / fold")
    assert {row[0] for row in table.rows} == {m.name for m in result.models}
    assert all(len(row) == len(table.headers) for row in table.rows)
    best = table.rows[0]
    assert best[2] == f"{result.models[0].mean:.3f}"
    assert table.marks == tuple(row[1] for row in table.rows)


def test_intervals_of_a_share_stay_between_zero_and_one() -> None:
    spec = {"dataset": "d", "model": "m", "quantum": False, "protocol": {"folds": 3, "metric": "accuracy"}}
    records = [RunRecord("fold", spec | {"fold": f}, {"score": s}) for f, s in enumerate((1.0, 1.0, 0.9))]
    (result,) = collect(records).datasets
    estimate = result.models[0].estimate
    assert estimate is not None and estimate.high > 1
    assert score_table(result).rows[0][3].endswith(", 1.000]")


def test_every_table_is_rectangular_and_quantum_rows_have_classical_company(
    everything: list[RunRecord],
) -> None:
    tables = tables_of(everything)
    titles = [table.title for table in tables]
    assert titles[0] == "collider_dijets: scores"
    assert "adhoc_kernel" in titles and titles[-1] == "Failures"
    for table in tables:
        assert all(len(row) == len(table.headers) for row in table.rows)
        if "quantum" in table.marks and "difference" not in table.title:
            assert "classical" in table.marks, table.title


def test_markdown_escapes_pipes_and_line_breaks() -> None:
    table = Table("t", ("a", "b"), (("x|y", "1\n2"), ("plain", "3")), note="a note")
    assert to_markdown(table).splitlines() == [
        "**t**",
        "",
        "| a | b |",
        "| :-- | --: |",
        "| x\\|y | 1 2 |",
        "| plain | 3 |",
        "",
        "a note",
    ]


def test_terminal_rendering_shows_names_as_they_are(everything: list[RunRecord]) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    for table in tables_of(everything):
        console.print(to_rich(table))
    console.print(to_rich(Table("[bold]t[/bold]", ("a",), (("[red]x[/red]",),))))
    text = stream.getvalue()
    assert "quantum_kernel" in text and "[red]x[/red]" in text and "[bold]t[/bold]" in text
    assert "ValueError: expected 4 features, got 3" in text

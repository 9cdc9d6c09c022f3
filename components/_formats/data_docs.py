"""Runs Great Expectations on the flags, one expectation per rule, and writes the Data Docs.

Data Docs do not escape values of the data, so the expectations see only flags and hashed ids. Nor
do they work without scripts and styles from seven hosts on the internet: what loads is taken out.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from components._frame.files import written

if TYPE_CHECKING:
    from great_expectations.data_context.store.store import DataDocsSiteConfigTypedDict

EXAMPLES = 20
_SEVERITY = {"error": "critical", "quarantine": "warning", "repair": "info", "warn": "info"}
_EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_RANDOM = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)
_LOADED = re.compile(
    r"<(?:link|img|iframe)\b[^>]*(?:href|src)\s*=\s*[\"']?(?:https?:)?//[^>]*>", re.IGNORECASE
)
_ADDRESS = re.compile(r"url\(\s*[\"']?(?:https?:)?//[^)]*\)", re.IGNORECASE)
_STYLE = (
    "<style>body{font-family:sans-serif;margin:2rem}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.3rem .6rem;text-align:left}</style>"
)
_NOW = re.compile(r"\b\d{8}T\d{6}\.\d{6}Z")


@dataclass(frozen=True)
class Expectation:
    """A rule as Great Expectations shows it.

    Attributes:
        code: of the rule.
        finds: what it finds.
        policy: of the rule.
        flag: `(n_docs,)` bool.
    """

    code: str
    finds: str
    policy: str
    flag: np.ndarray


def expect(ids: list[str], expectations: list[Expectation], data_docs: Path) -> dict[str, Any]:
    """Run the expectations on one frame of flags and write the Data Docs.

    Returns:
        How many expectations were declared, executed and passed.

    Raises:
        RuntimeError: Great Expectations ran other expectations than declared, or counted other
            documents than the rules did.
    """
    frame = pd.DataFrame({e.code: e.flag for e in expectations})
    frame.insert(0, "document", [hashlib.sha256(i.encode()).hexdigest()[:12] for i in ids])
    with written(data_docs) as folder:
        counts = _run(frame, expectations, folder)
        _make_reproducible(folder)
        _keep_to_itself(folder)
    declared = {e.code: int(e.flag.sum()) for e in expectations}
    if counts != declared:
        raise RuntimeError(f"Expectations declared {declared}, executed {counts}.")
    passed = sum(count == 0 for count in counts.values())
    return {"declared": len(declared), "executed": len(counts), "passed": passed}


def _run(frame: pd.DataFrame, expectations: list[Expectation], folder: Path) -> Mapping[str, int]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read on import
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.datasource.fluent import PandasDatasource

    context = gx.get_context(mode="ephemeral")
    assert isinstance(context, EphemeralDataContext)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for site in context.get_site_names():
        context.delete_data_docs_site(site)
    context.add_data_docs_site("data_docs", _site(folder))
    source = context.data_sources.add_pandas("corpus")
    assert isinstance(source, PandasDatasource)
    batch = source.add_dataframe_asset("flags").add_batch_definition_whole_dataframe("documents")
    suite = context.suites.add(gx.ExpectationSuite("annotations"))
    for expectation in expectations:
        suite.add_expectation(_unflagged(expectation))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="annotations", data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name="annotations",
            validation_definitions=[definition],
            result_format={
                "result_format": "SUMMARY",
                "unexpected_index_column_names": ["document"],
                "partial_unexpected_count": EXAMPLES,
            },
        )
    )
    result = checkpoint.run(
        batch_parameters={"dataframe": frame},
        run_id=RunIdentifier(run_name="validate", run_time=_EPOCH),
    )
    with _errors_raised():
        context.build_data_docs()
    [validation] = result.run_results.values()
    return {
        r.expectation_config.kwargs["column"]: r.result["unexpected_count"]
        for r in validation.results
        if r.expectation_config is not None
    }


class _ErrorMessages(logging.Handler):
    """Collects the messages of errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _errors_raised() -> Iterator[None]:
    """Raise the errors of writing pages, which Great Expectations only logs."""
    logger, errors = logging.getLogger("great_expectations.render"), _ErrorMessages()
    logger.addHandler(errors)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(errors)
    if errors.messages:
        cause = errors.messages[0].strip().strip('".').splitlines()[-1]
        raise RuntimeError(f"The Data Docs could not be written: {cause}")


def _unflagged(expectation: Expectation) -> Any:
    from great_expectations.expectations import ExpectColumnValuesToBeInSet
    from great_expectations.expectations.metadata_types import FailureSeverity

    return ExpectColumnValuesToBeInSet(
        column=expectation.code,
        value_set=[False],
        severity=FailureSeverity(_SEVERITY[expectation.policy]),
        notes=f"{expectation.finds}. Policy: {expectation.policy}.",
    )


def _site(folder: Path) -> DataDocsSiteConfigTypedDict:
    return {
        "class_name": "SiteBuilder",
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.resolve()),
        },
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _make_reproducible(folder: Path) -> None:
    """Replace the random ids and times in the pages, so that a rerun gives the same bytes."""
    for page in sorted(folder.rglob("*.html")):
        text = _numbered(page.read_text(encoding="utf-8"))
        page.write_text(_NOW.sub("20000101T000000.000000Z", text), encoding="utf-8")


def _keep_to_itself(folder: Path) -> None:
    """Remove all scripts and whatever is loaded from elsewhere; the tables are plain HTML.

    Only the table of the index is made by a script, so the index becomes a list of the pages.
    """
    for style in sorted(folder.rglob("*.css")):
        style.write_text(_ADDRESS.sub("none", style.read_text(encoding="utf-8")), encoding="utf-8")
    for page in sorted(folder.rglob("*.html")):
        text = _LOADED.sub("", _SCRIPT.sub("", page.read_text(encoding="utf-8")))
        text = _ADDRESS.sub("none", text)
        page.write_text(text.replace("</head>", f"{_STYLE}</head>", 1), encoding="utf-8")
    names = sorted(page.relative_to(folder).as_posix() for page in folder.rglob("*.html"))
    links = "".join(f'<li><a href="{n}">{n}</a></li>' for n in names if n != "index.html")
    index = f'<!doctype html><meta charset="utf-8"><title>Data Docs</title>{_STYLE}<ul>{links}</ul>'
    (folder / "index.html").write_text(index, encoding="utf-8")


def _numbered(text: str) -> str:
    """Number the random ids of a page, in the order in which they first appear."""
    seen: dict[str, str] = {}
    return _RANDOM.sub(lambda match: seen.setdefault(match[0], f"id-{len(seen)}"), text)

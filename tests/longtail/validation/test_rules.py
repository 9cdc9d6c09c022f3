"""Faults of every kind, each in 1% of a clean corpus: only the right rule finds it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from longtail.validation.corpus_view import CorpusView, Limits, Rows
from longtail.validation.label_cleaning import REPAIRS, Spelling, clean_labels
from longtail.validation.label_history import Fate
from longtail.validation.rules import RULES, flag_documents

N_DOCS, N_FAULTS = 1500, 15
LABELS = ["alpha", "bravos", "charlie", "deltas", "echoes", "foxtrot", "golfing", "hotels"]
LIMITS = Limits(
    least_words=3,
    most_characters=5000,
    most_labels=5,
    least_support=3,
    near_similarity=0.8,
    usual_language_share=0.05,
    most_disagreement=0.8,
    periods=4,
    significance=0.001,
    least_rate_ratio=3.0,
)


@dataclass
class Corpus:
    """Columns that a fault may change; document k of the first N_FAULTS is its victim."""

    columns: dict[str, list[Any]]
    judgments: list[tuple[str, str, list[str]]]
    spelling: Spelling = field(
        default_factory=lambda: Spelling(
            {"a": "alpha"}, {"foxes": Fate(("foxtrot",)), "tangos": Fate(("alpha", "bravos"), True)}
        )
    )

    def view(self, policy: dict[str, str]) -> CorpusView:
        c = self.columns
        cleaned = clean_labels(c["labels"], policy, self.spelling)
        ids, annotators, labels = zip(*self.judgments, strict=True)
        return CorpusView(
            ids=c["id"],
            texts=c["text"],
            labels=cleaned.labels,
            limits=LIMITS,
            flags=cleaned.flags,
            allowed=None,
            splits=c["split"],
            annotators=c["annotator"],
            dates=np.array(c["annotated_at"], dtype="datetime64[us]"),
            split_labels=frozenset(["tangos"]),
            joined_labels=frozenset(["victors"]),
            rows=Rows(list(ids), list(annotators), list(labels)),
        )


def clean_corpus() -> Corpus:
    rng = np.random.RandomState(0)
    syllables = [c + v for c in "bdfgklmnprst" for v in "aeiou"]
    words = ["".join(rng.choice(syllables, 3)) for _ in range(3000)]
    small = ["the", "of", "and", "is", "for", "with"]
    columns: dict[str, list[Any]] = {n: [] for n in ("id", "text", "labels", "annotator")}
    judgments = []
    for k in range(N_DOCS):
        text = " ".join([*rng.choice(words, 24), *rng.choice(small, 6)])
        labels = sorted(rng.choice(LABELS, 1 + rng.randint(2), replace=False).tolist())
        who = rng.choice(["ada", "ben", "cleo"], 2, replace=False).tolist()
        for name, value in zip(columns, (f"doc-{k}", text, labels, who[0]), strict=True):
            columns[name].append(value)
        judgments += [(f"doc-{k}", name, labels) for name in who]
    columns["split"] = [(None, "train", "val", "test")[k % 4] for k in range(N_DOCS)]
    start = np.datetime64("2024-01-01")
    columns["annotated_at"] = [start + np.timedelta64(int(d), "D") for d in rng.permutation(N_DOCS)]
    return Corpus(columns, judgments)


def _cell(name: str, change: Callable[[Any, int], Any]) -> Callable[[Corpus], None]:
    """Change one cell of each victim."""

    def inject(corpus: Corpus) -> None:
        column = corpus.columns[name]
        for k in range(N_FAULTS):
            column[k] = change(column[k], k)

    return inject


def _label(change: Callable[[str, int], str | None]) -> Callable[[Corpus], None]:
    """Change the first label of each victim, which is `foxtrot` from now on."""
    return _cell("labels", lambda labels, k: [change("foxtrot", k)])


def _copied(change: Callable[[str], str], conflict: bool, across: bool) -> Callable[[Corpus], None]:
    """Victims come in pairs of one text."""

    def inject(corpus: Corpus) -> None:
        c = corpus.columns
        for k in range(0, N_FAULTS - 1, 2):
            c["text"][k + 1] = change(c["text"][k])
            c["labels"][k] = ["alpha"]
            c["labels"][k + 1] = ["charlie"] if conflict else ["alpha"]
            c["split"][k : k + 2] = ["train", "test"] if across else ["train", "train"]

    return inject


def _disagreement(corpus: Corpus) -> None:
    for k in range(N_FAULTS):
        document, who, labels = corpus.judgments[2 * k]
        corpus.judgments[2 * k] = (document, who, [next(x for x in LABELS if x not in labels)])
        corpus.judgments[2 * k + 1] = (document, corpus.judgments[2 * k + 1][1], labels)


def _annotator_shift(corpus: Corpus) -> None:
    """Only Ada gives a label that nobody else uses."""
    mine = [j for j, (_, who, _) in enumerate(corpus.judgments) if who == "ada"][:N_FAULTS]
    for j in mine:
        document, who, labels = corpus.judgments[j]
        corpus.judgments[j] = (document, who, [*labels, "ada-only"])


def _period_shift(corpus: Corpus) -> None:
    """The last documents have a label of their own."""
    order = np.argsort(corpus.columns["annotated_at"])
    for k in order[-N_FAULTS:]:
        corpus.columns["labels"][k] = [*corpus.columns["labels"][k], "late"]


def _nearly(text: str) -> str:
    return text + " added"


GERMAN = "Der Bericht ist nicht von der Abteilung, die für das Archiv und den Versand sorgt."
FAULTS: dict[str, Callable[[Corpus], None]] = {
    "blank_id": _cell("id", lambda v, k: " " * k),
    "repeated_id": _cell("id", lambda v, k: f"doc-{min(k - k % 2, N_FAULTS)}"),
    "unknown_split": _cell("split", lambda v, k: "Train"),
    "empty_text": _cell("text", lambda v, k: " \n" * k),
    "tiny_text": _cell("text", lambda v, k: f"text {k}"),
    "huge_text": _cell("text", lambda v, k: " ".join(f"{v} {i}" for i in range(40))),
    "mojibake": _cell("text", lambda v, k: v + " prÃ©sentÃ©"),
    "replacement_character": _cell("text", lambda v, k: v + " pr\ufffdsent"),
    "control_character": _cell("text", lambda v, k: v + " a\x00b"),
    "other_language": _cell("text", lambda v, k: f"{GERMAN} Nummer {k}, {v[:20]}"),
    "blank_label": _cell("labels", lambda v, k: [*v, None if k % 2 else " "]),
    "label_white_space": _label(lambda label, k: f" {label}"),
    "label_alias": _cell("labels", lambda v, k: ["a"]),
    "old_label": _cell("labels", lambda v, k: ["foxes"]),
    "joined_label": _cell("labels", lambda v, k: ["victors"]),
    "split_label": _cell("labels", lambda v, k: ["tangos"]),
    "repeated_label": _cell("labels", lambda v, k: [*v, v[0]]),
    "no_label": _cell("labels", lambda v, k: []),
    "many_labels": _cell("labels", lambda v, k: LABELS[:6]),
    "case_variant": _label(lambda label, k: "Foxtrot"),
    "space_variant": _label(lambda label, k: "fox-trot"),
    "spelling_variant": _label(lambda label, k: "foxtort"),
    "rare_label": _cell("labels", lambda v, k: [*v, f"only {k}"]),
    "duplicate_conflict": _copied(str.upper, conflict=True, across=False),
    "near_duplicate_conflict": _copied(_nearly, conflict=True, across=False),
    "duplicate_across_splits": _copied(str.upper, conflict=False, across=True),
    "near_duplicate_across_splits": _copied(_nearly, conflict=False, across=True),
    "annotators_disagree": _disagreement,
    "annotator_shift": _annotator_shift,
    "period_shift": _period_shift,
}
# A fault that is true under a second rule: ids of spaces, labels of spaces, and a label with a
# space that nobody repairs.
ALSO = {"label_white_space": {"space_variant"}, "blank_label": {"space_variant"}}


@pytest.fixture(scope="module")
def clean() -> Corpus:
    return clean_corpus()


def raised(corpus: Corpus, off: str | None = None, allowed: bool = False) -> dict[str, int]:
    """Rules that flag documents, and how many; repairs only warn."""
    policy = dict.fromkeys(RULES, "warn") | ({off: "off"} if off else {})
    view = corpus.view(policy)
    if allowed:
        object.__setattr__(view, "allowed", frozenset(LABELS))
    flags = flag_documents(view, policy)
    assert all(flag is not None for code, flag in flags.items() if code != "unknown_label")
    return {c: int(f.sum()) for c, f in flags.items() if f is not None and f.any()}


def test_every_rule_has_a_fault() -> None:
    assert set(FAULTS) | {"unknown_label"} == set(RULES)
    assert set(REPAIRS) <= set(RULES)
    assert len(FAULTS) >= 15


def test_clean_corpus_raises_nothing(clean: Corpus) -> None:
    assert raised(clean, allowed=True) == {}


@pytest.mark.parametrize("code", FAULTS)
def test_fault_is_found_by_its_rule_and_passes_without_it(clean: Corpus, code: str) -> None:
    corpus = copy.deepcopy(clean)
    FAULTS[code](corpus)
    found = raised(corpus)
    pairs = "duplicate" in code or code == "repeated_id"
    assert found[code] == (N_FAULTS - 1 if pairs else N_FAULTS)
    assert set(found) <= {code} | ALSO.get(code, set())
    without = raised(corpus, off=code)
    assert code not in without


def test_unknown_label(clean: Corpus) -> None:
    corpus = copy.deepcopy(clean)
    _label(lambda label, k: "unheard-of")(corpus)
    assert raised(corpus, allowed=True) == {"unknown_label": N_FAULTS}
    assert raised(corpus, allowed=False) == {}


def test_a_sentence_without_spaces_is_not_tiny(clean: Corpus) -> None:
    corpus = copy.deepcopy(clean)
    corpus.columns["text"][:3] = ["本软件包提供了工具", "データを解析する", "短い"]
    assert np.flatnonzero(RULES["tiny_text"].flag(corpus.view(dict.fromkeys(RULES, "warn")))) == [2]


def test_rule_without_its_column_does_not_apply(clean: Corpus) -> None:
    policy = dict.fromkeys(RULES, "warn")
    view = clean.view(policy)
    for name in ("splits", "annotators", "dates", "rows"):
        object.__setattr__(view, name, None)
    flags = flag_documents(view, policy)
    assert {code for code, flag in flags.items() if flag is None} == {
        "unknown_split",
        "unknown_label",
        "duplicate_across_splits",
        "near_duplicate_across_splits",
        "annotators_disagree",
        "annotator_shift",
        "period_shift",
    }


def test_label_that_an_annotator_never_gives_flags_the_documents_without_it(clean: Corpus) -> None:
    corpus = copy.deepcopy(clean)
    corpus.judgments = [
        (document, who, [x for x in labels if who != "ada" or x != "alpha"])
        for document, who, labels in corpus.judgments
    ]
    corpus.columns["labels"] = [["bravos"] for _ in range(N_DOCS)]
    view = corpus.view(dict.fromkeys(RULES, "warn"))
    [shift] = [s for s in view.annotator_shifts if s.group == "ada"]
    assert (shift.count, shift.ratio < 0.01) == (0, True)
    flags = RULES["annotator_shift"].flag(view)
    assert flags is not None
    ada = {document for document, who, _ in corpus.judgments if who == "ada"}
    assert set(np.array(view.ids)[flags]) == ada

"""The pieces of validation, on hand-made cases and by invariants."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_info, threadpool_limits

from longtail.corpora.reuters import reuters_records
from longtail.spreadsheet import harmless, original
from longtail.validation import label_errors
from longtail.validation.duplicates import (
    duplicate_groups,
    mixed_groups,
    near_duplicate_pairs,
    text_keys,
    words,
)
from longtail.validation.encoding import CONTROL, MOJIBAKE, contains
from longtail.validation.label_errors import leave_one_out, suspects, text_features
from longtail.validation.label_variants import (
    case_variants,
    one_edit,
    space_variants,
    spelling_variants,
)
from longtail.validation.language import in_unusual_language, language
from longtail.validation.shifts import periods, shifts
from tests.builders.paths import REUTERS


def test_keys_and_groups() -> None:
    keys = text_keys(["A b!", "a  B", "c", "--", "", "C?"])
    assert keys == ["a b", "a b", "c", "", "", "c"]
    group = duplicate_groups(keys)
    assert group.tolist() == [0, 0, 1, -1, -1, 1]
    sets = [frozenset(s) for s in ("xy", "yx", "x", "x", "y", "y")]
    assert mixed_groups(group, sets).tolist() == [False, False, True, False, False, True]
    splits = ["train", None, "test", "train", "test", "val"]
    assert mixed_groups(group, splits).tolist() == [False, False, True, False, False, True]


def test_nothing_to_compare() -> None:
    assert duplicate_groups([]).tolist() == []
    assert mixed_groups(np.array([-1]), ["a"]).tolist() == [False]
    assert near_duplicate_pairs([], 0.8).shape == (0, 2)
    assert near_duplicate_pairs(["", "one two", "one two"], 0.8).shape == (0, 2)


@pytest.mark.parametrize("seed", range(3))
def test_near_duplicates_are_those_of_a_full_comparison(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(500)]
    keys = []
    for _ in range(60):
        text = rng.choice(words, 40).tolist()
        changed = text.copy()
        changed[int(rng.integers(40))] = "other"  # Jaccard index at least 35/41
        far = text[:20] + rng.choice(words, 20).tolist()
        keys += [" ".join(t) for t in (text, changed, far)]
    shingles = [{tuple(k.split()[i : i + 3]) for i in range(38)} for k in keys]
    expected = {
        (a, b)
        for a in range(len(keys))
        for b in range(a + 1, len(keys))
        if len(shingles[a] & shingles[b]) >= 0.8 * len(shingles[a] | shingles[b])
    }
    found = {tuple(pair) for pair in near_duplicate_pairs(keys, 0.8).tolist()}
    assert found <= expected
    assert len(found) >= 0.95 * len(expected) >= 50


def test_many_copies_of_a_form_letter_cost_two_pairs_each() -> None:
    letter = " ".join(f"w{i}" for i in range(50))
    pairs = near_duplicate_pairs([f"{letter} n{i}" for i in range(300)], 0.8)
    assert set(pairs.ravel().tolist()) == set(range(300))
    assert len(pairs) <= 2 * 300 * 16


def test_one_long_word_neither_stops_the_search_nor_hides_its_neighbors() -> None:
    """Beyond the characters that are read nothing may be left of a text, not even a word triple."""
    letter = " ".join(f"w{i}" for i in range(50))
    long = "x" * 60_000 + " one two"
    assert near_duplicate_pairs([letter, f"{letter} end", long], 0.8).tolist() == [[0, 1]]
    # In the middle it used to take the hashes of the text behind it, and come between two copies.
    keys = [letter, "y" * 60_000 + " one two", f"{letter} end", long, "z" * 60_000 + " one two"]
    assert near_duplicate_pairs(keys, 0.8).tolist() == [[0, 2]]


def test_characters_are_words_where_the_script_has_no_spaces() -> None:
    assert words("gpu搭載の ノート pc") == ["gpu", *"搭載のノート", "pc"]
    assert words("ภาษา thai") == [*"ภาษา", "thai"]
    assert words("한국어 텍스트") == ["한국어", "텍스트"]  # Korean writes spaces
    assert words("") == []


SENTENCES = {
    "chinese": (
        "本软件包提供了一个用于分析网络数据的命令行工具，支持多种文件格式和插件扩展功能。",
        "本软件包提供了一个用于分析网络数据的命令行工具，支持多种文件格式和插件扩展能力。",
        "这个程序可以在桌面上显示当前的天气情况，并根据用户所在的位置自动更新预报内容。",
    ),
    "japanese": (
        "このパッケージには、ネットワークのデータを解析するためのコマンドラインツールが含まれています。",
        "このパッケージには、ネットワークのデータを解析するためのコマンドラインツールが入っています。",
        "デスクトップに現在の天気を表示し、利用者の位置に応じて予報を自動的に更新するプログラムです。",
    ),
    "thai": (
        "แพ็คเกจนี้มีเครื่องมือบรรทัดคำสั่งสำหรับวิเคราะห์ข้อมูลเครือข่ายและรองรับไฟล์หลายรูปแบบ",
        "แพ็คเกจนี้มีเครื่องมือบรรทัดคำสั่งสำหรับวิเคราะห์ข้อมูลเครือข่ายและรองรับไฟล์หลายชนิด",
        "โปรแกรมนี้แสดงสภาพอากาศปัจจุบันบนหน้าจอและปรับปรุงการพยากรณ์โดยอัตโนมัติตามตำแหน่งของผู้ใช้",
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_near_copies_without_spaces_between_words(name: str) -> None:
    assert near_duplicate_pairs(text_keys(SENTENCES[name]), 0.8).tolist() == [[0, 1]]


@pytest.mark.skipif(not REUTERS.exists(), reason="no reuters21578.tar.gz in ../shared/data")
@pytest.mark.slow
def test_duplicates_of_reuters() -> None:
    with tarfile.open(REUTERS) as archive:
        members = [m for m in archive.getmembers() if m.name.endswith(".sgm")]
        files = [archive.extractfile(m).read().decode("latin-1") for m in members]  # type: ignore[union-attr]
    records = reuters_records(files)
    group = duplicate_groups(text_keys([r["text"] for r in records]))
    conflict = mixed_groups(group, [frozenset(r["labels"]) for r in records])
    across = mixed_groups(group, [r["split"] for r in records])
    counts = (int(group.max()) + 1, len(set(group[conflict])), len(set(group[across])))
    assert counts == (115, 27, 6)


def test_label_variants() -> None:
    freq = {"Sport": 3, "sport": 50, "real-estate": 2, "real estate": 9, "Real Estate": 9}
    assert case_variants(freq) == {"Sport": "sport", "real estate": "Real Estate"}
    assert space_variants(freq) == {"real-estate": "Real Estate"}


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("use::printing", "use::pritning", True),
        ("use::printing", "use::printings", True),
        ("use::printing", "use::prining", True),
        ("use::printing", "use::prinking", True),
        ("use::printing", "use::prinkinq", False),
        ("tcp", "udp", False),
        ("tcp", "tdp", False),
        ("report2024", "report2025", False),
        ("use::printing", "using::printing", False),
        ("a::printing", "b::pritning", False),
        ("same", "same", False),
    ],
)
def test_one_edit(a: str, b: str, expected: bool) -> None:
    assert one_edit(a, b) is one_edit(b, a) is expected


def test_spelling_variants_are_rare_and_never_occur_with_the_label() -> None:
    freq = {
        "printing": 100,
        "pritning": 10,
        "singers": 100,
        "singer": 11,
        "females": 9,
        "female": 90,
    }
    together = lambda a, b: {a, b} == {"females", "female"}  # noqa: E731
    assert spelling_variants(freq, together) == {"pritning": "printing"}


@pytest.mark.parametrize("text", ["prÃ©sentÃ©", "itâ€™s", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "ðŸ˜€"])
def test_mojibake(text: str) -> None:
    assert contains(MOJIBAKE, [text]).tolist() == [True]


@given(st.text(alphabet="äöüßéèçñøåœžščřĂșťлистιαあ語🙂“”’–… abc", max_size=60))
def test_sound_text_is_not_mojibake_but_its_misreading_is(text: str) -> None:
    assert not contains(MOJIBAKE, [text])[0]
    wrong = ("é" + text).encode().decode("latin-1")
    assert contains(MOJIBAKE, [wrong])[0]


def test_control_characters() -> None:
    texts = ["a\tb\nc\r\n\f", "a\x00", "\x1b[0m", "\x85", "\x7f"]
    assert contains(CONTROL, texts).tolist() == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The tools of this package are for the analysis of data from the web", "english"),
        ("Das Paket ist nicht mit dem System und der Bibliothek für die Anzeige", "german"),
        ("Le paquet est dans la liste des outils pour les images du web", "french"),
        ("Это пакет для работы с изображениями", "cyrillic"),
        ("このパッケージは画像処理のためのものです", "kana"),
        ("Intel Core i7 i5 i3 reporting", None),
        ("12 34 56", None),
    ],
)
def test_language(text: str, expected: str | None) -> None:
    assert language(text) == expected


def test_in_unusual_language() -> None:
    languages = ["english"] * 18 + ["german", None, "french"]
    assert np.flatnonzero(in_unusual_language(languages, 0.1)).tolist() == [18, 20]
    assert not in_unusual_language(languages, 0.05).any()
    assert not in_unusual_language([None, None], 0.5).any()


def test_periods_never_cut_through_a_moment() -> None:
    days = ["2024-01-01"] * 5 + ["2024-01-02", "2024-01-03", "NaT", "2024-01-04"]
    number, names = periods(np.array(days, dtype="datetime64[us]"), 2)
    assert number.tolist() == [0] * 5 + [1, 1, -1, 1]
    assert names == ["2024-01-01 … 2024-01-01", "2024-01-02 … 2024-01-04"]


def test_shift_is_a_binomial_test_corrected_over_all_cells() -> None:
    group = np.repeat([0, 1], 100)
    dense = np.zeros((200, 2), dtype=np.int8)
    dense[:20, 0] = 1  # twenty in the first group, none in the second
    dense[::10, 1] = 1
    [first, second] = shifts(sp.csr_matrix(dense), group, ["a", "b"], 0.01, 3.0)
    p = 2 * binom.cdf(0, 20, 0.5)
    assert {first.group, second.group} == {"a", "b"}
    assert (first.label, first.count + second.count, first.expected) == (0, 20, 10)
    assert first.p_value == pytest.approx(p * 4 / 2)  # two of four cells are this small
    assert shifts(sp.csr_matrix(dense), group, ["a", "b"], 0.01, 100.0) == []
    assert shifts(sp.csr_matrix(dense), np.zeros(200, int), ["a"], 0.01, 3.0) == []


def test_leave_one_out_is_refitting_without_the_document() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4))
    targets = sp.csr_matrix((rng.random((30, 3)) < 0.4).astype(np.int8))
    [(_, scores)] = leave_one_out(features, targets, np.arange(3), ridge=2.0)
    for k in range(30):
        others = np.arange(30) != k
        model = Ridge(alpha=2.0, fit_intercept=False).fit(
            features[others], targets[others].toarray()
        )
        np.testing.assert_allclose(scores[k], model.predict(features[[k]])[0], atol=1e-9)


def test_planted_label_errors_lead_both_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    topics = rng.integers(4, size=400)
    texts = [" ".join(f"t{topic}w{i}" for i in rng.integers(30, size=12)) for topic in topics]
    labels = topics.copy()
    labels[:10] = (topics[:10] + 1) % 4
    targets = sp.csr_matrix(np.eye(4, dtype=np.int8)[labels])
    found = suspects(text_features(texts, 50, 0), targets, 10)
    for kind, truth in (("wrong", labels), ("missing", topics)):
        ranked = [s for s in found if s.kind == kind]
        pairs = {(s.document, s.label) for s in ranked}
        assert pairs <= {(k, truth[k]) for k in range(10)}  # whoever is doubted is at fault
        assert len(pairs) >= 8
        assert [s.score for s in ranked] == sorted((s.score for s in ranked), reverse=True)
    assert found == suspects(text_features(texts, 50, 0), targets, 10)
    for cells in (1, 800):  # a label at a time, two labels at a time
        monkeypatch.setattr(label_errors, "CELLS", cells)
        again = suspects(text_features(texts, 50, 0), targets, 10)
        assert [(s.kind, s.document, s.label) for s in again] == [
            (s.kind, s.document, s.label) for s in found
        ]
        assert [s.score for s in again] == pytest.approx([s.score for s in found], abs=1e-4)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), max_size=40), st.integers(1, 10))
def test_the_best_candidates_are_the_first_of_all_in_order(values: list[float], top: int) -> None:
    rank = np.array(values).reshape(-1, 2 if len(values) % 2 == 0 else 1)
    candidate = rank != 1
    cells = [(k, i, float(rank[k, i])) for k, i in zip(*np.nonzero(candidate), strict=True)]
    expected = sorted(cells, key=lambda cell: -cell[2])[:top]
    assert label_errors._best(rank, candidate, top) == expected


def test_texts_are_reduced_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several took twenty times as long beside another process, and their sums differ."""
    seen: list[int] = []

    class Watched(label_errors.TruncatedSVD):
        def fit_transform(self, tfidf: sp.csr_matrix, y: None = None) -> np.ndarray:
            pools = threadpool_info()
            seen.extend(pool["num_threads"] for pool in pools if pool["user_api"] == "blas")
            return super().fit_transform(tfidf, y)

    monkeypatch.setattr(label_errors, "TruncatedSVD", Watched)
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(900, size=30)) for _ in range(600)]
    with threadpool_limits(2, user_api="blas"):
        of_two = text_features(texts, 64, 0)
    with threadpool_limits(1, user_api="blas"):
        of_one = text_features(texts, 64, 0)
    assert set(seen) == {1}
    assert of_two.tobytes() == of_one.tobytes()


def test_rare_labels_are_not_judged() -> None:
    targets = np.zeros((20, 2), dtype=np.int8)
    targets[:4, 0] = 1
    targets[:16, 1] = 1
    features = text_features([f"w{i}" for i in range(20)], 10, 0)
    assert suspects(features, sp.csr_matrix(targets), 5) == []


@given(st.text(max_size=20))
def test_harmless_can_be_undone(cell: str) -> None:
    assert original(harmless(cell)) == cell
    assert not harmless(cell).startswith(("=", "+", "-", "@", "\t", "\r"))

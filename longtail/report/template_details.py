"""The page's later parts: calibration, confusions, worst errors, suspects, split, lineage."""

from __future__ import annotations

CALIBRATION = """
<section id="calibration"><h2>Calibration</h2>
<p>Expected calibration error over all pairs of document and label. Losses made for the long tail\
 raise the scores of rare labels on purpose: read a score as a rank against its threshold, not as a\
 probability, where the error is large.</p>
<div class="figures">{{ m.figure("reliability", "Share of positives against mean score, by group;\
 on the dashed line a score is a probability.") }}
<div class="wide" role="region" tabindex="0" aria-label="Calibration error by group"><table>
<thead><tr><th scope="col" class="text">Group</th><th scope="col">ECE</th><th scope="col">Pairs\
</th><th scope="col">Pairs scored 0.5 or more</th></tr></thead><tbody>
{% for name, c in d.calibration.items() %}<tr><th scope="row" class="text">{{ name }}</th>\
<td>{{ '%.4f'|format(c.ece) }}</td><td>{{ c.bins|sum(attribute="n") }}</td>\
<td>{{ c.bins|selectattr("low", "ge", 0.5)|sum(attribute="n") }}</td></tr>{% endfor %}
</tbody></table></div></div></section>
"""

CONFUSION = """
<section id="confusion"><h2>Confusions</h2>
<p>One label missed and another predicted wrongly in the same document, ranked by lift: how much\
 more often the two errors meet than if they were independent.</p>
{% if d.confusion %}<div class="wide tall" role="region" tabindex="0" \
aria-label="Pairs of confused labels"><table>
<thead><tr><th scope="col" class="text">Missed</th><th scope="col" class="text">Predicted instead\
</th><th scope="col">Together</th><th scope="col">Missed in all</th><th scope="col">Wrong in all\
</th><th scope="col">Lift</th><th scope="col" class="text">Examples</th></tr></thead><tbody>
{% for p in d.confusion %}<tr><th scope="row" class="text"><bdi>{{ p.missed }}</bdi></th>\
<td class="text"><bdi>{{ p.predicted }}</bdi></td><td>{{ p.n_docs }}</td>\
<td>{{ p.n_missed }}</td><td>{{ p.n_predicted }}</td><td>{{ '%.1f'|format(p.lift) }}</td>\
<td class="text">{% for row in p.documents %}<a href="#doc-{{ row }}">\
<bdi>{{ d.documents[row|string].id }}</bdi></a>{{ ", " if not loop.last }}{% endfor %}</td></tr>\
{% endfor %}</tbody></table></div>
<details id="quoted"><summary>The documents quoted</summary>
{% for row in quoted %}{% set doc = d.documents[row] %}<article class="quote" id="doc-{{ row }}">\
<h4><bdi>{{ doc.id }}</bdi></h4><p class="words">{{ doc.text }}{{ " …" if doc.cut }}</p>
<p class="meta">Labels {{ m.tags(doc.labels) }} Predicted {{ prediction_tags(doc) }}</p></article>
{% endfor %}</details>
{% else %}{{ m.empty("No pair of labels was confused in two or more documents.") }}{% endif %}
</section>
"""

ERRORS = """
<section id="errors"><h2>Worst errors</h2>
<p>Confident and wrong, in turn from each group, each label once. Words that pushed the label's\
 logit up are blue, those that pushed it down orange and dotted; integrated gradients against the\
 same text with every word blanked out.{% if d.thresholds.blend_weight %} They explain the network,\
 not the baseline that is blended in.{% endif %}</p>
{% for e in d.errors %}{% set doc = d.documents[e.document|string] %}{% set a = e.attribution %}
<article class="quote"><h3 style="margin-top:0"><bdi>{{ e.label }}</bdi> <span class="tag wrong">\
{{ e.kind }}</span><span class="tag">{{ e.group }}</span></h3>
<p class="meta">Document <bdi>{{ doc.id }}</bdi> · score {{ '%.3f'|format(e.score) }}, threshold\
 {{ '%.3f'|format(e.threshold) }}</p>
<p class="words">{{ words(a.pieces) }}{{ " …" if a.cut }}</p>
<p class="meta">Labels {{ m.tags(doc.labels) }} Predicted {{ prediction_tags(doc) }}</p>
<p class="meta">Logit {{ '%.2f'|format(a.logit) }}, blank text\
 {{ '%.2f'|format(a.baseline_logit) }}; the attributions miss the difference\
 by {{ '%.3f'|format(a.gap) }}{{ convergence(a) }}.</p></article>
{% else %}{{ m.empty("The model made no error on the test documents.") }}{% endfor %}
<h3 id="tokens">Over-fitted tokens</h3>
<p>Words that drive the false positives of the labels that have most of them, how often they occur\
 in training documents with and without the label, and training documents that could teach the\
 difference.</p>
{% for t in d.tokens %}<article class="quote"><h4><bdi>{{ t.label }}</bdi></h4>
<p class="meta">False positives: {{ t.n_wrong }}, of which explained: {{ t.n_explained }}</p>
<div class="wide" role="region" tabindex="0" aria-label="Tokens driving {{ t.label }}"><table>
<thead><tr><th scope="col" class="text">Word</th><th scope="col">Mean push on the logit</th>\
<th scope="col">Training documents with the label</th><th scope="col">without it</th></tr></thead>\
<tbody>{% for w in t.words %}<tr><th scope="row" class="text"><bdi>{{ w.word }}</bdi></th>\
<td>{{ '%+.2f'|format(w.attribution) }}</td><td>{{ w.with_label }}</td><td>{{ w.without_label }}\
</td></tr>{% endfor %}</tbody></table></div>
{% if t.hard_negatives %}<details><summary>Candidates for hard negatives</summary>
{% for n in t.hard_negatives %}<p><bdi>{{ n.id }}</bdi>: {{ n.text }} … {{ m.tags(n.labels) }}</p>\
{% endfor %}</details>{% else %}<p class="meta">No training document without the label has these\
 words: nothing can teach the difference yet.</p>{% endif %}</article>
{% else %}{{ m.empty("No label has false positives to explain.") }}{% endfor %}</section>
"""

SUSPECTS = """
<section id="suspects"><h2>Suspected label errors</h2>
{% if d.suspects.rows %}<p>{{ d.suspects.rows|length }} of {{ d.suspects.total }}, the most\
 suspicious of each kind first; <code>reports/validate/suspects.csv</code> has all of them, ready\
 for an annotation tool. The score is how far the label's out-of-fold score lies on the wrong\
 side.</p>
{% for kind, rows in d.suspects.rows|groupby("kind")|reverse %}{% set title =\
 {"wrong": "Labels that should not be there", "missing": "Labels that are missing"}.get(kind, kind)\
 %}<h3>{{ title }}</h3><div class="wide tall" role="region" tabindex="0" aria-label="{{ title }}">\
<table><thead><tr><th scope="col">Rank</th><th scope="col" class="text">Label</th>\
<th scope="col" class="text">Document</th><th scope="col">Score</th></tr></thead><tbody>
{% for s in rows %}<tr><td>{{ s.rank }}</td><th scope="row" class="text"><bdi>{{ s.label }}</bdi>\
</th><td class="text"><bdi>{{ s.id }}</bdi></td><td>{{ s.score }}</td></tr>
<tr class="below"><td></td><td colspan="3" class="text note"><bdi>{{ s.text }}</bdi></td></tr>
{% endfor %}</tbody></table></div>{% endfor %}
{% else %}{{ m.empty("The validate stage named no suspects.") }}{% endif %}</section>
"""

LINEAGE = """
<section id="split"><h2>Split quality</h2>
{% if split_rows %}{{ m.table(split_columns, split_rows,\
 "The split beside the published procedure") }}{% endif %}\
{% if split_facts %}<details><summary>All figures of the split</summary>\
{{ m.facts(split_facts) }}</details>{% else %}{{ m.empty("The split stage left no report.") }}\
{% endif %}</section>
<section id="drift"><h2>Drift</h2>{% if drift %}{{ m.facts(drift) }}{% else %}\
{{ m.empty("Not measured for this run.") }}{% endif %}</section>
<section id="lineage"><h2>Data and lineage</h2>
{% if findings_rows %}{{ m.table(findings_columns, findings_rows, "Findings of the data checks") }}\
{% else %}{{ m.empty("The data checks found nothing.") }}{% endif %}
<h3>Inputs</h3>{{ m.facts(d.lineage) }}
<h3>Training</h3>{% if d.summary %}{{ m.facts(training_facts) }}\
{% if training_rows %}{{ m.table(training_columns, training_rows, "Losses tried, on val") }}\
{% endif %}{% else %}{{ m.empty("The train stage left no summary.") }}{% endif %}
<h3>Registered version</h3>{% if version_facts %}{{ m.facts(version_facts) }}{% else %}\
{{ m.empty("Commit, parameters, time and hardware are known once the gate has judged a registered\
 version.") }}{% endif %}
<footer>Figures of this page: <code>reports/report.json</code>; every label:\
 <code>reports/figures/labels.csv</code>.</footer></section>
"""

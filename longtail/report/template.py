"""The page's HTML, one Jinja template per part; `longtail.report.page.render` fills them in."""

from __future__ import annotations

from longtail.report.template_details import CALIBRATION, CONFUSION, ERRORS, LINEAGE, SUSPECTS

MACROS = """
{%- macro value(v, low=None, high=None, plain=false) -%}
{{ number(v, plain) }}{% if low is not none %}<span class="ci">{{ number(low, plain) }}\
–{{ number(high, plain) }}</span>{% endif %}
{%- endmacro -%}
{%- macro cell(row, metric) -%}
{% if row.support %}<td class="heat" style="--v:{{ '%.3f'|format(row[metric] or 0) }}">\
{{ value(row[metric], row.intervals[metric][0], row.intervals[metric][1]) }}</td>\
{% else %}<td>–</td>{% endif %}
{%- endmacro -%}
{%- macro figure(name, text) -%}
{% if figures[name] is defined %}<figure><div role="img" aria-label="{{ text }}">\
{{ figures[name] }}</div><figcaption>{{ text }}</figcaption></figure>{% endif %}
{%- endmacro -%}
{%- macro tags(names, cls="") -%}
{% for name in names %}<span class="tag {{ cls }}"><bdi>{{ name }}</bdi></span>{% else %}\
<span class="meta">none</span>{% endfor %}
{%- endmacro -%}
{%- macro empty(text) -%}<p class="empty">{{ text }}</p>{%- endmacro -%}
{%- macro table(columns, rows, caption) -%}
<div class="wide" role="region" tabindex="0" aria-label="{{ caption }}"><table>
<caption>{{ caption }}</caption>
<thead><tr>{% for c in columns %}<th scope="col"{% if not rows or rows[0][loop.index0] is string \
%} class="text"{% endif %}>{{ c }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr>{% for v in row %}<td{% if v is string %} class="text"{% endif %}>\
<bdi>{{ plain(v) }}</bdi></td>{% endfor %}</tr>{% endfor %}</tbody></table></div>
{%- endmacro -%}
{%- macro facts(mapping) -%}
<dl class="facts">{% for k, v in mapping.items() %}{% if v is mapping %}<dt>{{ k }}</dt>\
<dd>{{ facts(v) }}</dd>{% else %}<dt>{{ k }}</dt><dd><bdi>{{ plain(v) }}</bdi></dd>{% endif %}\
{% endfor %}</dl>
{%- endmacro -%}
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';\
 style-src 'unsafe-inline'; img-src data:; script-src '{{ script_hash }}'">
<title>{{ title }}</title><style>{{ css }}</style></head>
<body><a class="skip" href="#main">Skip to the report</a>
<div class="frame"><nav aria-label="Contents"><p>Contents</p><ol>
{% for anchor, name in contents %}<li><a href="#{{ anchor }}">{{ name }}</a></li>{% endfor %}
</ol></nav><main id="main">
<header><h1>{{ title }}</h1>
<p class="lead">{{ '{:,}'.format(d.totals.n_docs) }} test documents,\
 {{ '{:,}'.format(d.totals.n_labels) }} labels, {{ '{:,}'.format(d.totals.support) }} label\
 assignments. F1, precision and recall in per cent,\
 {{ percent(d.totals.level) }} % bootstrap intervals over documents beside them.</p></header>
{% include "decision" %}{% include "headline" %}{% include "slices" %}{% include "documents" %}
{% include "labels" %}{% include "figures" %}{% include "thresholds" %}{% include "calibration" %}
{% include "confusion" %}{% include "errors" %}{% include "suspects" %}{% include "lineage" %}
</main></div><script>{{ js }}</script></body></html>
"""

DECISION = """
<section id="decision" class="verdict {{ verdict.tone }}" aria-labelledby="decision-title">
<h2 id="decision-title">{{ verdict.title }}</h2><p>{{ verdict.text }}</p></section>
{% if decision and decision.rules %}
<div class="wide" role="region" tabindex="0" aria-label="Rules of the decision"><table>
<caption>Every rule and what it found. Differences are challenger minus the model compared with,\
 in points.</caption>
<thead><tr><th scope="col" class="text">Rule</th><th scope="col" class="text">Metric</th>\
<th scope="col" class="text">Slice</th><th scope="col">Challenger</th><th scope="col">Compared\
</th><th scope="col">Difference</th><th scope="col">Limit</th><th scope="col" class="text">Verdict\
</th></tr></thead><tbody>
{% for r in decision.rules %}<tr><th scope="row" class="text">{{ r.rule }}</th>\
<td class="text">{{ r.metric }}</td><td class="text">{{ r.slice }}</td>\
<td>{{ measure(r.challenger, r) }}</td><td>{{ measure(r.champion, r) }}</td>\
<td>{{ signed(r.difference) }}{% if r.interval %}<span class="ci">{{ signed(r.interval[0]) }} to\
 {{ signed(r.interval[1]) }}</span>{% endif %}</td><td>{{ measure(r.limit, r) }}</td>\
<td class="text {{ tone(r.verdict) }}">{{ r.verdict }}</td></tr>
{% if r.reason and (r.verdict != "passed" or r.challenger is none) %}<tr class="below">\
<td colspan="8" class="text note">{{ r.reason }}</td></tr>{% endif %}
{% endfor %}</tbody></table></div>
{% if decision.labels_added or decision.labels_removed %}<p>Labels added: \
{{ m.tags(decision.labels_added or []) }} Labels removed: \
{{ m.tags(decision.labels_removed or []) }}</p>{% endif %}{% endif %}
"""

HEADLINE = """
<section id="headline"><h2>Headline</h2>
<dl class="tiles">{% for t in tiles %}<div><dt>{{ t.title }}</dt><dd class="big">{{ t.value }}</dd>\
<dd class="sub">{% if t.low is not none %}{{ t.low }}–{{ t.high }}{% else %}&nbsp;{% endif %}</dd>\
{% if t.difference is not none %}<dd class="sub"><span class="{{ 'up' if t.up else 'down' }}">\
{{ t.difference }}</span> {{ t.against }}</dd>{% endif %}</div>{% endfor %}</dl>
<div class="wide" role="region" tabindex="0" aria-label="Headline metrics"><table>
<thead><tr><th scope="col" class="text">Metric</th>{% for model in d.models %}<th scope="col">\
{{ model.title }}</th>{% endfor %}{% if champion %}<th scope="col">Champion</th>{% endif %}</tr>\
</thead><tbody>
{% for row in d.headline %}{% set bare = row.metric in ("labels_with_f1", "hamming_loss") %}\
<tr><th scope="row" class="text">{{ row.title }}</th>{% for model in d.models %}\
{% set v = row['values'][model.name] %}<td>{{ m.value(v[0], v[1], v[2], bare) }}</td>{% endfor %}\
{% if champion %}{% set v = champion.get(row.metric, (none, none, none)) %}\
<td>{{ m.value(v[0], v[1], v[2], bare) }}</td>{% endif %}</tr>
{% endfor %}</tbody></table></div>
<p class="note">{{ champion_note }}</p></section>
"""

SLICES = """
<section id="slices"><h2>By label frequency</h2>
<p>HEAD: labels with at least {{ d.totals.head }} training documents; TAIL: at most\
 {{ d.totals.tail }}; MEDIUM between them. ZERO lies across: labels without a single true positive,\
 left out of the totals. Slices under 30 positives are in grey italics and decide nothing.</p>
<div class="wide" role="region" tabindex="0" aria-label="Metrics by label frequency"><table>
<thead><tr><th scope="col" class="text">Slice</th><th scope="col" class="text">Model</th>\
<th scope="col">Labels</th><th scope="col">Support</th>{% for a in ("Micro", "Macro") %}\
{% for b in ("P", "R", "F1") %}<th scope="col">{{ a }} {{ b }}</th>{% endfor %}{% endfor %}</tr>\
</thead>
{% for name, rows in matrix %}<tbody class="part">{% for title, row in rows %}\
<tr{% if row.greyed %} class="small"{% endif %}>{% if loop.first %}<th scope="rowgroup" \
class="text" rowspan="{{ rows|length }}">{{ name }}</th>{% endif %}\
<td class="text">{{ title }}</td><td>{{ row.n_labels }}</td><td>{{ row.support }}</td>\
{% if name == "ZERO" %}<td colspan="{{ matrix_metrics|length }}" class="text note">none of them\
 found on any test document</td>{% else %}{% for metric in matrix_metrics %}\
{{ m.cell(row, metric) }}{% endfor %}{% endif %}</tr>{% endfor %}</tbody>
{% endfor %}</table></div></section>
"""

DOCUMENTS = """
<section id="documents"><h2>By kind of document</h2>
<p>Of {{ main.title }}. Macro-F1 is the mean over the labels that occur in the slice.\
 {{ d.totals.truncated }} of {{ d.totals.n_docs }} documents are longer than the\
 {{ d.totals.max_length }} tokens that the model reads.</p>
{% for part in document_slices %}<h3>{{ part.title }}</h3>{% if part.rows %}
<div class="wide" role="region" tabindex="0" aria-label="{{ part.title }}"><table>
<thead><tr><th scope="col" class="text">Slice</th><th scope="col">Documents</th>\
<th scope="col">Labels</th><th scope="col">Support</th><th scope="col">Micro P</th>\
<th scope="col">Micro R</th><th scope="col">Micro F1</th><th scope="col">Macro F1</th>\
<th scope="col">P@1</th></tr></thead><tbody>
{% for row in part.rows %}<tr{% if row.greyed %} class="small"{% endif %}><th scope="row" \
class="text"><bdi>{{ row.name }}</bdi></th><td>{{ row.n_docs }}</td><td>{{ row.n_labels }}</td>\
<td>{{ row.support }}</td>{% for metric in document_metrics %}{{ m.cell(row, metric) }}\
{% endfor %}<td>{{ number(row.precision_at_1) }}</td></tr>{% endfor %}</tbody></table></div>
{% else %}{{ m.empty(part.missing) }}{% endif %}{% endfor %}</section>
"""

LABELS = """
<section id="labels"><h2>Labels</h2>
<p>{{ label_note }} A column's head sorts by it. “Never predicted” labels got no prediction on any\
 test document.</p>
<div class="tools" id="label-tools" hidden><label for="label-search">Search\
<input id="label-search" type="search" autocomplete="off"></label>\
<label for="label-group">Group<select id="label-group"><option value="">all</option>\
{% for g in groups %}<option>{{ g }}</option>{% endfor %}</select></label>\
<label for="label-only">Show<select id="label-only"><option value="">all labels</option>\
<option value="never">never predicted</option><option value="zero">no true positive</option>\
<option value="lost">worse than {{ lost_against }}</option></select></label>\
<output id="label-count" for="label-search label-group label-only"></output></div>
<div class="wide tall" role="region" tabindex="0" aria-label="Metrics per label">\
<table id="label-table"><thead><tr><th scope="col" class="text" data-kind="text">Label</th>\
<th scope="col" class="text" data-kind="text">Group</th>{% for h in ("Train", "Val", "Test",\
 "Threshold", "P", "R", "F1", "TP", "FP", "FN") %}<th scope="col">{{ h }}</th>{% endfor %}\
<th scope="col">Δ baseline</th>{% if champion %}<th scope="col">Δ champion</th>{% endif %}</tr>\
</thead><tbody>
{% for r in label_rows %}<tr data-group="{{ r.group }}" data-flags="{{ r.flags }}">\
<th scope="row" class="text name"><bdi title="{{ r.label }}">{{ r.label }}</bdi>\
{% if r.never %} <span class="tag wrong">never predicted</span>{% endif %}</th>\
<td class="text">{{ r.group }}</td>\
<td>{{ r.train }}</td><td>{{ r.val }}</td><td>{{ r.test }}</td>\
<td>{{ '%.3f'|format(r.threshold) }}</td>\
<td>{{ number(r.precision) }}</td><td>{{ number(r.recall) }}</td><td>{{ number(r.f1) }}</td>\
<td>{{ r.tp }}</td><td>{{ r.fp }}</td><td>{{ r.fn }}</td>{% for x in ((r.over_baseline,\
 r.over_champion) if champion else (r.over_baseline,)) %}\
<td data-v="{{ '%.4f'|format(x) if x is not none else '' }}"\
{% if x %} class="{{ 'up' if x > 0 else 'down' }}"{% endif %}>{{ signed(x) }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div></section>
"""

FIGURES = """
<section id="figures"><h2>The corpus and the models in figures</h2>
{% if statistics_rows %}{{ m.table(statistics_columns, statistics_rows, "Dataset statistics") }}\
{% else %}{{ m.empty("The frequencies stage left no dataset statistics.") }}{% endif %}
<div class="figures">
{{ m.figure("label_frequency", "Training documents per label, most frequent first; the dashed lines\
 part HEAD, MEDIUM and TAIL.") }}
{{ m.figure("cooccurrence", "Co-occurrence in the training documents: how often a document with\
 label j also has label i, for the " ~ d.cooccurrence.labels|length ~ " most frequent labels.") }}
{{ m.figure("group_sizes", "Documents per label in train, val and test, by group; 0.5 stands\
 for none.") }}
{{ m.figure("metrics_by_group", "F1 by group and model, with intervals.") }}
{{ m.figure("labels_predicted", "Share of the labels that each model predicts at least once.") }}
{{ m.figure("history", "F1 on the val documents while training, by loss.") }}
</div>{% if d.cooccurrence.pairs %}<h3>Strongest pairs</h3>
<div class="wide" role="region" tabindex="0" aria-label="Strongest pairs of labels"><table>
<thead><tr><th scope="col" class="text">Label i</th><th scope="col" class="text">given label j</th>\
<th scope="col">Documents</th><th scope="col">p(i | j)</th></tr></thead><tbody>
{% for p in d.cooccurrence.pairs %}<tr><th scope="row" class="text"><bdi>{{ p.i }}</bdi></th>\
<td class="text"><bdi>{{ p.j }}</bdi></td><td>{{ p.n }}</td><td>{{ number(p.p) }}</td></tr>\
{% endfor %}</tbody></table></div>{% endif %}</section>
"""

THRESHOLDS = """
<section id="thresholds"><h2>Thresholds, precision and recall</h2>
<p>Tuned on the val documents, objective <code>{{ d.thresholds.objective }}</code>.\
{% if d.thresholds.blend_weight %} The model's logit is blended with the baseline's margin, whose\
 weight is {{ d.thresholds.blend_weight }}.{% endif %} The dots mark where each model's thresholds\
 put it.</p>
<div class="figures">{{ m.figure("precision_recall", "Micro-precision against micro-recall on the\
 test documents, one threshold for all labels moving along each line.") }}
<div>{{ m.table(["Model", "Group", "Lowest", "Median", "Highest"], threshold_rows,\
 "Thresholds in use") }}</div></div></section>
"""

TEMPLATES = {
    "macros": MACROS,
    "page": '{% import "macros" as m with context %}' + PAGE,
    "decision": DECISION,
    "headline": HEADLINE,
    "slices": SLICES,
    "documents": DOCUMENTS,
    "labels": LABELS,
    "figures": FIGURES,
    "thresholds": THRESHOLDS,
    "calibration": CALIBRATION,
    "confusion": CONFUSION,
    "errors": ERRORS,
    "suspects": SUSPECTS,
    "lineage": LINEAGE,
}

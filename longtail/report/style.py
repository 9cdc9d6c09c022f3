"""The page's style sheet: system fonts, light and dark, phone, print."""

from __future__ import annotations

CSS = """
:root{color-scheme:light dark;--paper:#fcfcfa;--raised:#fff;--ink:#1d2430;--muted:#5b6472;
--line:#dfe3e8;--series-1:#2f6f8f;--series-2:#b5602c;--series-3:#8a93a0;--series-4:#7d6aa8;
--series-5:#4f8455;--series-6:#b0527c;--series-7:#a3902a;
--good:#2c6e49;--bad:#a63a32;--accent:var(--series-1);
--good-tint:#e8f2ec;--bad-tint:#f9eae8;--plain-tint:#eef1f4}
@media (prefers-color-scheme:dark){:root{--paper:#14171c;--raised:#1a1e25;--ink:#e4e7eb;
--muted:#a3abb7;--line:#2e343d;--series-1:#74b3d1;--series-2:#e0995f;--series-3:#7c8694;
--series-4:#ab9ad6;--series-5:#86bb8c;--series-6:#e08fb4;--series-7:#d6c25c;
--good:#7fc79c;--bad:#f0958c;
--good-tint:#1b2c23;--bad-tint:#352120;--plain-tint:#22272f}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:1rem}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
-webkit-text-size-adjust:100%;overflow-wrap:anywhere}
.frame{display:grid;grid-template-columns:13rem minmax(0,1fr);gap:3.5rem;max-width:80rem;
margin:0 auto;padding:0 2rem}
nav{position:sticky;top:0;align-self:start;padding:3.2rem 0;font-size:.87rem;
max-height:100vh;overflow:auto}
nav p{margin:0 0 .8rem;font-weight:650}
nav ol{list-style:none;margin:0;padding:0;border-left:1px solid var(--line)}
nav a{display:block;padding:.2rem 0 .2rem .9rem;color:var(--muted);text-decoration:none}
nav a:hover,nav a:focus-visible{color:var(--ink)}
main{padding:2.6rem 0 6rem;min-width:0}
h1{font-size:1.75rem;line-height:1.25;font-weight:650;letter-spacing:-.015em;margin:0 0 .3rem}
h2{font-size:1.22rem;font-weight:650;letter-spacing:-.01em;margin:0 0 .35rem}
h3{font-size:.98rem;font-weight:650;margin:2rem 0 .4rem}
section{margin-top:3.6rem}
p{margin:.4rem 0 .8rem;max-width:68ch}
.lead,.note,figcaption,caption{color:var(--muted)}
.note,figcaption,caption{font-size:.87rem}
.empty{color:var(--muted);border-left:3px solid var(--line);padding:.1rem 0 .1rem .9rem}
a{color:var(--accent);text-underline-offset:.15em}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:2px}
code{font:.88em/1.4 ui-monospace,"SF Mono",Menlo,Consolas,monospace}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:1rem;background:var(--raised);
padding:.5rem 1rem;z-index:9}
.verdict{border-left:4px solid var(--muted);background:var(--plain-tint);
padding:1rem 1.3rem;margin:1.4rem 0 0;border-radius:0 6px 6px 0}
.verdict.good{border-color:var(--good);background:var(--good-tint)}
.verdict.bad{border-color:var(--bad);background:var(--bad-tint)}
.verdict h2{margin:0}.verdict p{margin:.25rem 0 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:1.6rem 2rem;
margin:1.6rem 0 1.8rem;padding:0}
.tiles div{border-top:2px solid var(--line);padding-top:.6rem}
.tiles dt{font-size:.87rem;color:var(--muted)}
.tiles dd{margin:0;font-variant-numeric:tabular-nums}
.tiles .big{font-size:2.1rem;line-height:1.2;font-weight:600;letter-spacing:-.02em}
.tiles .sub{font-size:.84rem;color:var(--muted)}
.up{color:var(--good)}.down{color:var(--bad)}
.wide{overflow-x:auto;margin:.8rem 0 1rem;-webkit-overflow-scrolling:touch}
.tall{max-height:36rem;overflow:auto;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;width:100%;font-size:.87rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:0 0 .5rem;max-width:calc(100vw - 2.5rem)}
th,td{padding:.38rem .7rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--line);
white-space:nowrap}
th:first-child,td:first-child{padding-left:.2rem}
thead th{color:var(--muted);font-weight:550;vertical-align:bottom;
border-bottom:1px solid var(--muted)}
tbody th{font-weight:550}
table{overflow-wrap:break-word}thead th{white-space:normal}
.text,th.text,td.text{text-align:left;white-space:normal}
.text bdi{display:inline-block;max-width:17rem}.note bdi{max-width:none}
.name bdi{max-height:4.7em;overflow:hidden}
tr:has(+.below)>*{border-bottom:0}.below td{padding-top:0}
#label-table th,#label-table td{padding:.32rem .5rem}
tbody.part td:first-child{padding-left:.7rem}
td.small,tr.small td,tr.small th{color:var(--muted);font-style:italic}
.ci{display:block;font-size:.76rem;color:var(--muted)}
.heat{background:color-mix(in srgb,var(--accent) calc(var(--v)*24%),transparent)}
.heat .ci{color:inherit}tr.small .heat{background:none}
tbody.part{border-top:2px solid var(--line)}
.tall thead th{position:sticky;top:0;background:var(--paper);z-index:1}
th button{all:unset;cursor:pointer;color:inherit;text-decoration:underline dotted;
text-underline-offset:.3em}
th button:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
th button::after{padding-left:.2em}
th[aria-sort=ascending] button::after{content:"\\2191";content:"\\2191" / ""}
th[aria-sort=descending] button::after{content:"\\2193";content:"\\2193" / ""}
.tools{display:flex;flex-wrap:wrap;gap:.8rem 1.2rem;align-items:end;margin:1rem 0 .4rem}
.tools[hidden]{display:none}
.tools label{display:grid;gap:.2rem;font-size:.84rem;color:var(--muted)}
input,select{font:inherit;color:inherit;background:var(--raised);border:1px solid var(--muted);
border-radius:5px;padding:.35rem .6rem;min-width:12rem;max-width:100%;height:2.3rem}
.tools output{font-size:.87rem;color:var(--muted);padding-bottom:.4rem}
figure{margin:0;min-width:0}
figure svg{width:100%;height:auto;display:block}
figure svg text{font-family:inherit!important}
figcaption{margin-top:.4rem}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,25rem),1fr));
gap:2.4rem 3rem;margin:1.4rem 0}
.tag{display:inline-block;padding:.02rem .5rem;margin:.1rem .25rem .1rem 0;border-radius:4px;
background:var(--plain-tint);font-size:.84rem}
.tag.wrong{background:var(--bad-tint)}.tag.right{background:var(--good-tint)}
.quote{border:1px solid var(--line);background:var(--raised);border-radius:8px;
padding:1rem 1.2rem;margin:0 0 1rem}
.quote h4{margin:0 0 .35rem;font-size:.95rem;font-weight:600}
.quote p{margin:.3rem 0;max-width:78ch}.tag{max-width:100%}
.quote .meta{font-size:.84rem;color:var(--muted)}
.words{line-height:1.8;unicode-bidi:isolate}
.words i{font-style:normal;border-radius:3px;padding:.05em 0}
.words i.p{background:color-mix(in srgb,var(--series-1) calc(var(--a)*36%),transparent)}
.words i.n{background:color-mix(in srgb,var(--series-2) calc(var(--a)*36%),transparent);
text-decoration:underline dotted}
bdi{unicode-bidi:isolate}
dl.facts{display:grid;grid-template-columns:minmax(8rem,15rem) 1fr;gap:.25rem 1.4rem;
margin:.6rem 0;font-size:.9rem}
dl.facts dt{color:var(--muted)}dl.facts dd{margin:0;font-variant-numeric:tabular-nums}
details summary{cursor:pointer;color:var(--accent);margin:.5rem 0}
footer{margin-top:4rem;border-top:1px solid var(--line);padding-top:1rem;font-size:.87rem;
color:var(--muted)}
@media (max-width:68rem){.frame{display:block;padding:0 1.15rem}
nav{position:static;padding:1.4rem 0 0;max-height:none}
nav p{display:none}
nav ol{display:flex;flex-wrap:wrap;border:0;gap:0 1.1rem}nav a{padding:.25rem 0}
main{padding-top:1.4rem}section{margin-top:2.8rem}}
@media (max-width:34rem){body{font-size:14.5px}.tiles{grid-template-columns:1fr 1fr;gap:1.1rem}
.tiles .big{font-size:1.65rem}dl.facts{grid-template-columns:1fr}dl.facts dd{margin:0 0 .5rem}
.quote{padding:.8rem .9rem}.text bdi{max-width:9.5rem}
.note bdi{max-width:none}th,td{padding:.38rem .5rem}}
@media print{:root{--paper:#fff;--raised:#fff;--ink:#000;--muted:#444;--line:#ccc}
body{font-size:9.5pt}nav,.tools,.skip{display:none!important}.frame{display:block;padding:0}
.wide,.tall{overflow:visible;max-height:none}.tall thead th{position:static}
thead{display:table-header-group}tr,figure,.quote{break-inside:avoid}h2,h3{break-after:avoid}
section{margin-top:1.6rem}th,td{white-space:normal;padding:.2rem .35rem}
#label-table{font-size:7pt}#label-table th,#label-table td{padding:.1rem .2rem}
#label-table .text bdi{max-width:9rem}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""

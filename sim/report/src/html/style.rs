//! The page's style sheet: two colour schemes, paper, and the variables charts use.

/// Inline CSS.
pub const CSS: &str = "
:root { --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --grid: #d9dee4; --line: #d0d7de; --panel: #f6f8fa;
  --pass: #116b37; --fail: #b3261e; --bar: #3d73bd;
  --s0: #1f6fd0; --s1: #d9730d; --s2: #1f8f50; --s3: #c4322b; --s4: #7c55c3; --s5: #86633f; --s6: #c7468f; --s7: #5f6b78;
  --s8: #0f8b8d; --s9: #a3a11a; --s10: #5c4bd3; --s11: #9e5a5a; --s12: #2b2f36; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa5b1; --paper: #14171b; --grid: #30363d;
  --line: #3a424b; --panel: #1c2127; --pass: #5fcf8c; --fail: #ff8a80; --bar: #5b93e0;
  --s0: #64a8ff; --s1: #ffa24d; --s2: #58cf8d; --s3: #ff7b72; --s4: #b99cff; --s5: #d0a878; --s6: #ff8cc6; --s7: #a9b4c0;
  --s8: #4fd1d3; --s9: #d8d64f; --s10: #a79bff; --s11: #e0a3a3; --s12: #f2f4f6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 68rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line); }
p { margin: .4rem 0; }
.shows { white-space: pre-line; font-size: 1.05rem; }
.note { color: var(--soft); overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.25rem; margin: .75rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: .92em; overflow-wrap: anywhere; }
ul.plain { list-style: none; padding: 0; }
ul.plain li { margin: .35rem 0; }
.pass, .fail { font-weight: 700; }
.pass { color: var(--pass); }
.fail { color: var(--fail); }
figure { margin: .75rem 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; }
figure svg .ink { fill: var(--ink); }
figure svg .soft { fill: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; margin: .3rem 0; padding: 0; font-size: .9rem; }
.legend i { display: inline-block; width: 1.4rem; height: .3rem; margin-right: .4rem; vertical-align: middle; }
.scale { display: flex; align-items: center; gap: .5rem; font-size: .9rem; color: var(--soft); }
.scale i { display: inline-block; width: 1.6rem; height: .8rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
details { margin: .5rem 0; }
details > dl, details > details { margin-left: 1.1rem; }
summary { cursor: pointer; color: var(--soft); }
.legend i, .scale i, figure svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
@media print { :root { --ink: #000; --soft: #444; --paper: #fff; --grid: #ccc; --line: #bbb; --panel: #fff; --pass: #0b5; --fail: #b00; }
  body { max-width: none; padding: 0; font-size: 11px; }
  details::details-content { content-visibility: visible; block-size: auto; }
  figure, tr, li { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; } }
";

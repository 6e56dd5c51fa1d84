"""How pages look, by day and by night."""

STYLE = """
:root { --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --back: #ffffff; --card: #f5f7fa; --mark: #2563a8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa5b4; --line: #333b47; --back: #14181e; --card: #1c222b; --mark: #6aa9ec; }
}
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p { color: var(--soft); margin: 0 0 1rem; }
section { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; font-size: .85rem; }
th.name, td.name, tbody th, .matrix thead th:first-child { text-align: left; }
tbody th { font-weight: 500; }
.name { max-width: 26rem; overflow: hidden; text-overflow: ellipsis; }
small { color: var(--soft); border: 1px solid var(--line); border-radius: .5rem; padding: 0 .4rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; margin-top: 1.2rem; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.tiles b { display: block; font-size: 1.6rem; font-weight: 600; line-height: 1.2; }
.tiles span { display: block; }
.tiles i { display: block; font-style: normal; font-size: .85rem; color: var(--soft); }
.matrix td, .matrix thead th { text-align: center; }
.matrix td { border: 1px solid var(--line); }
.s1 { background: color-mix(in srgb, var(--mark) 10%, transparent); }
.s2 { background: color-mix(in srgb, var(--mark) 18%, transparent); }
.s3 { background: color-mix(in srgb, var(--mark) 26%, transparent); }
.s4 { background: color-mix(in srgb, var(--mark) 34%, transparent); }
.s5 { background: color-mix(in srgb, var(--mark) 42%, transparent); }
.s6 { background: color-mix(in srgb, var(--mark) 50%, transparent); }
.s7 { background: color-mix(in srgb, var(--mark) 58%, transparent); }
.s8 { background: color-mix(in srgb, var(--mark) 66%, transparent); }
.beside { display: flex; flex-wrap: wrap; gap: 2rem; align-items: center; }
svg text { font-size: 12px; fill: var(--soft); }
.frame { fill: none; stroke: var(--line); }
.ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
.range { stroke: var(--mark); stroke-width: 2; opacity: .55; }
.dot { fill: var(--mark); opacity: .85; }
.open { fill: none; stroke: var(--mark); stroke-width: 1.5; }
"""

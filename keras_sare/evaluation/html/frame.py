"""What stands around a report page's sections: style, script, and the policy that keeps it off the network."""

import functools
import json
from collections.abc import Sequence
from typing import Any

from keras_sare.evaluation.html.tables import escaped

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "base-uri 'none'; form-action 'none'"
)
"""Of the browser: nothing is loaded from anywhere."""

_STYLE = """
:root { color-scheme: light; font: 16px/1.5 system-ui, sans-serif; color: #1f2328; background: #fff; }
body { max-width: 62rem; margin: 0 auto; padding: 0 1rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d0d7de; }
h3 { margin: 1rem 0 0; font-size: 1rem; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; }
.chart { width: 100%; min-height: 1rem; }
.chart .vega-bind { display: block; margin: .5rem 0; }
.chart select { font: inherit; max-width: 70vw; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { border: 1px solid #d0d7de; padding: .2rem .5rem; text-align: left; overflow-wrap: normal; }
.short { white-space: nowrap; }
details { margin: .5rem 0; } summary { cursor: pointer; }
.cards { list-style: none; padding: 0; } .cards li { border-bottom: 1px solid #d0d7de; padding: .5rem 0; }
.cards p { margin: 0; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .5rem; }
figure { margin: 0; } figure img { width: 100%; display: block; } .right img { outline: 4px solid #1a7f37; }
figcaption { padding-top: .4rem; font-size: .8rem; line-height: 1.25; }
:focus-visible { outline: 3px solid #0072B2; }
"""

_SCRIPT = """
const specifications = JSON.parse(document.getElementById("specifications").textContent);
const fit = (specification, width) => {
  for (const view of specification.vconcat ?? []) {
    if (view.name === "map") view.height *= (width - 80) / view.width;
    view.width = width - 80;
    if (view.name === "photos") {
      view.mark.width = view.width / 7 - 4;
      view.mark.height = view.mark.width * 0.75;
      view.height = 6 * (view.mark.height + 6);
    }
  }
  return specification;
};
let drawn = [];
let last = 0;
const draw = async () => {
  if (document.body.clientWidth === last) return;
  last = document.body.clientWidth;
  for (const view of drawn) view.finalize();
  drawn = [];
  for (const [i, specification] of specifications.entries()) {
    const place = document.getElementById("chart" + i);
    const copy = fit(structuredClone(specification), Math.min(place.clientWidth, 760));
    drawn.push(await vegaEmbed(place, copy, { actions: false, renderer: "svg" }));
  }
  document.body.dataset.drawn = specifications.length;
};
addEventListener("resize", lodashDebounce(draw, 300));
draw();
"""


@functools.cache
def libraries() -> str:
    """Vega, Vega-Lite, vega-embed and the script of the page, as one.

    Raises:
        ImportError: vl-convert is not installed; the message says how.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise ImportError("A report needs Altair and vl-convert: pip install 'keras-sare[report]'") from error
    bundle = str(vl_convert.javascript_bundle(_SCRIPT, vl_version="6.4"))
    if "</script" in bundle.lower():
        raise ValueError("vl-convert's JavaScript must not end a script element. Use vl-convert-python 1.9.")
    return bundle


def page(title: str, sections: Sequence[str], specifications: Sequence[dict[str, Any]]) -> str:
    """The whole page.

    Args:
        title: of it, plain text.
        sections: HTML.
        specifications: Vega-Lite, drawn in the elements `chart0`, `chart1` ...; without any the page has no script.

    Raises:
        ImportError: there are some, and vl-convert is not installed.
    """
    text = json.dumps(specifications, separators=(",", ":")).replace("<", "\\u003c")
    script = (
        f"""<script type="application/json" id="specifications">{text}</script>
<script type="module">{libraries()}</script>"""
        if specifications
        else ""
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>{escaped(title)}</title><style>{_STYLE}</style></head>
<body><a class="skip" href="#content">To the content</a>
<header><h1>{escaped(title)}</h1></header>
<main id="content">{"".join(sections)}</main>
{script}
</body></html>
"""

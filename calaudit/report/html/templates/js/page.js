// What all parts share: the packed values, elements, the tooltip, the look of charts.

const byId = (id) => document.getElementById(id);

async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpackJson(base64) {
  return JSON.parse(new TextDecoder().decode(await unpack(base64)));
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const MARKS = { PASS: "✓", REGRESSED: "✗", INCONCLUSIVE: "?" };
const WORDS = { PASS: "passed", REGRESSED: "regressed", INCONCLUSIVE: "inconclusive" };

// a control's verdict decides nothing: "REGRESSED control"
const CONTROL = / control$/;
const ofControl = (verdict) => CONTROL.test(verdict);
const said = (verdict) => verdict.replace(CONTROL, "");
const markOf = (verdict) => (ofControl(verdict) ? `(${MARKS[said(verdict)]})` : MARKS[verdict] || "");
const wordOf = (verdict) => `${WORDS[said(verdict)] || "not gated"}${ofControl(verdict) ? " (control)" : ""}`;

// What an INT8 engine's verdict has to be told with: "passed, but 22 of 28 products in INT8"
const SHORT = "†";
const markWith = (verdict, caveat) => {
  const mark = markOf(verdict);
  return mark && caveat ? mark.replace(MARKS[said(verdict)], `${MARKS[said(verdict)]}${SHORT}`) : mark;
};
const wordWith = (verdict, caveat) =>
  (verdict && caveat ? `${wordOf(verdict)}, ${said(verdict) === "PASS" ? "but" : "with"} ${caveat}` : wordOf(verdict));

// Vega's tooltips as rows of text. Its own handler sets style attributes, which this page forbids.
function showTip(_handler, event, _item, value) {
  const tip = byId("tip");
  tip.hidden = value === null || value === undefined || value === "";
  if (tip.hidden) return;
  const rows = typeof value === "object" ? Object.entries(value) : [["", value]];
  tip.replaceChildren(...rows.map(([name, text]) => {
    const row = element("div");
    row.append(element("span", name), element("span", String(text)));
    return row;
  }));
  const box = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
  const below = event.clientY + 16 + box.height < innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? event.clientY + 16 : event.clientY - box.height - 12}px`;
}

// Colours are CSS variables: charts follow the theme and print without being drawn again.
const COLOURS = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => `var(--s${i})`);
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
const LOOK = {
  background: "transparent",
  font: FONT,
  view: { stroke: null },
  axis: {
    labelColor: "var(--ink)", titleColor: "var(--muted)", gridColor: "var(--grid)",
    domainColor: "var(--line)", tickColor: "var(--line)", labelFontSize: 12, titleFontSize: 12,
    titleFontWeight: "normal", labelLimit: 0,
  },
  legend: {
    labelColor: "var(--ink)", titleColor: "var(--muted)", labelFontSize: 12, titleFontSize: 12,
    titleFontWeight: "normal", orient: "top", labelLimit: 0, layout: { top: { direction: "vertical" } }, symbolStrokeWidth: 2,
    symbolBaseStrokeColor: "var(--muted)", symbolBaseFillColor: "var(--muted)",
  },
  header: { labelColor: "var(--ink)", labelFontSize: 12, labelFontWeight: 600, labelLimit: 0 },
  axisQuantitative: { grid: true },
  rule: { color: "var(--muted)" },
  tick: { color: "var(--ink)" },
};

// Distinct names for Vega, whose categories are texts: slices may share what is visible of a name.
const key = (index) => String(index);
const LINE = 14;
const pen = document.createElement("canvas").getContext("2d");

function widthOf(text) {
  pen.font = `600 12px ${FONT}`;
  return pen.measureText(text).width;
}

// A name in as many lines as it takes to be shown whole; within words only where one is too long.
function folded(name, room) {
  const lines = [];
  let line = "";
  for (const word of String(name).split(/(?<= )/u)) {
    if (line && widthOf((line + word).trimEnd()) > room) {
      lines.push(line.trimEnd());
      line = "";
    }
    for (const character of word) {
      if (line && widthOf(line + character.trimEnd()) > room) {
        lines.push(line);
        line = "";
      }
      line += character;
    }
  }
  return [...lines, line.trimEnd()];
}

// What an axis needs to show names whole: folded where they take more than their share.
function labelsOf(names, width) {
  const lines = names.map((name) => folded(name, Math.min(260, 0.42 * width)));
  const of = (values) => `${JSON.stringify(values)}[toNumber(datum.label)]`;
  return {
    labelExpr: of(lines),
    labelOffset: { expr: of(lines.map((each) => -LINE * (each.length - 1) / 2)) },
    labelLineHeight: LINE,
  };
}

// Lines that the longest of some names take.
const linesOf = (names, width) => Math.max(1, ...names.map((name) => folded(name, Math.min(260, 0.42 * width)).length));

// A legend in as many columns as its names leave room for beside what the axis's labels take.
function legendOf(names, width, labels = Math.min(260, 0.42 * width)) {
  const beside = width - labels - 10;
  const room = beside - 40;
  const lines = Object.fromEntries(names.map((name) => [name, folded(name, room)]));
  const widest = Math.max(1, ...Object.values(lines).flat().map(widthOf)) + 40;
  return {
    columns: Math.max(1, Math.min(names.length, Math.floor(beside / widest))),
    ...(Object.values(lines).some((each) => each.length > 1) ? { labelExpr: `${JSON.stringify(lines)}[datum.label]` } : {}),
  };
}

// Within closed details a place has no width of its own: it will have about its part's.
const roomOf = (id) => byId(id).clientWidth || byId(id).closest("section").clientWidth - 48;

const drawn = new Map();

// Charts are as wide as their place, labels included. Vega-Lite's own way to say so warns on every
// chart with steps, so it is said to Vega.
const fitted = (compiled) => ({ ...compiled, autosize: { type: "fit-x", contains: "padding" } });

async function draw(id, spec) {
  const place = byId(id);
  const whole = !spec.facet;
  if (whole) spec = { ...spec, width: roomOf(id) };
  const turn = (drawn.get(id)?.turn || 0) + 1;
  drawn.get(id)?.view?.finalize();
  drawn.set(id, { turn });
  const made = await vegaEmbed(place, spec, {
    ast: true, renderer: "svg", actions: false, defaultStyle: false, mode: "vega-lite",
    tooltip: showTip, config: LOOK, ...(whole ? { patch: fitted } : {}),
  });
  if (drawn.get(id).turn === turn) drawn.get(id).view = made.view;
  else made.view.finalize();
  return made.view;
}

function again(start) {
  let width = innerWidth, timer;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(start, 150);
  });
}

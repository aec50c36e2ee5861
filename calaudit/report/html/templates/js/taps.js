// Ranges: amax of every tensor by set and method, and one tensor's distributions.

const MOST_TAPS = 16;
const METHOD_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"];
const DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 1], [1, 3]];

class Taps {
  constructor(taps) {
    this.taps = taps;
    for (const id of ["tap", "tap-method", "tap-behind"])
      byId(id)?.addEventListener("change", () => this.one());
    byId("tap-tools").addEventListener("submit", (event) => event.preventDefault());
    const spreads = taps.taps.map((tap) => tap.spread);
    byId("tap").value = String(spreads.indexOf(Math.max(...spreads)));
    again(() => this.update());
  }

  update() { return Promise.all([this.overview(), this.one()]); }


  get methods() { return byId("tap-method")?.value ? [byId("tap-method").value] : this.taps.methods; }

  colour(room) {
    const recipes = new Map(this.taps.sets.map(([, label, place]) => [label, place]));
    const labels = [...recipes.keys()];
    return {
      field: "recipe", type: "nominal", title: null, legend: legendOf(labels, room, 90),
      scale: { domain: labels, range: labels.map((label) => COLOURS[recipes.get(label) % COLOURS.length]) },
    };
  }

  amaxValues(index, columns) {
    const tap = this.taps.taps[index];
    return columns.filter((column) => tap.amax[column] !== null).map((column) => {
      const [set, method] = this.taps.columns[column];
      return {
        tap: key(index), recipe: this.taps.recipes[column], method, amax: tap.amax[column],
        tip: { tensor: tap.name, set, method, amax: tap.amax[column].toPrecision(4), "values clipped": share(tap.clipped[column]) },
      };
    });
  }

  async overview() {
    const every = this.taps.taps.map((_, i) => i);
    const columns = this.taps.columns.map((_, i) => i);
    const kept = new Set([...every].sort((a, b) => this.taps.taps[b].spread - this.taps.taps[a].spread).slice(0, MOST_TAPS));
    const shown = every.filter((i) => kept.has(i));
    byId("taps-note").textContent = (every.length > shown.length ? `The ${shown.length} of ${every.length} tensors whose amax differs most. ` : "") +
      "Click one to see its distributions.";
    const room = roomOf("taps-chart"), names = this.taps.taps.map((tap) => tap.name);
    const view = await draw("taps-chart", {
      height: { step: Math.max(17, LINE * linesOf(shown.map((i) => names[i]), room)) },
      description: "amax of every tensor, per calibration set and method",
      data: { values: shown.flatMap((i) => this.amaxValues(i, columns)) },
      mark: { type: "point", filled: true, size: 46, opacity: 0.8, cursor: "pointer" },
      encoding: {
        y: { field: "tap", type: "nominal", sort: shown.map(key), title: null, axis: { ...labelsOf(names, room), grid: true, domain: false, ticks: false, labelPadding: 8 } },
        x: { field: "amax", type: "quantitative", title: "amax", scale: { type: "log", nice: false, padding: 12 }, axis: { tickCount: room < 600 ? 3 : 6, format: "~g" } },
        color: this.colour(room),
        shape: { field: "method", type: "nominal", title: null, legend: legendOf(this.taps.methods, room, 90), scale: { domain: this.taps.methods, range: METHOD_SHAPES } },
        tooltip: { field: "tip" },
      },
    });
    view.addEventListener("click", (_event, item) => {
      if (item?.datum?.tap === undefined) return;
      byId("tap").value = item.datum.tap;
      this.one();
      byId("tap-tools").scrollIntoView({ block: "nearest" });
    });
  }

  // Share of values per doubling of |x| over each bin, at the bin's middle.
  curve(group, first) {
    return group.map((density, i) => {
      const edge = (k) => 2 ** (Math.floor(k / 8) - 127) * (1 + (k % 8) / 8);
      return { x: Math.sqrt(edge(first + i) * edge(first + i + 1)), y: density > 0 ? density : null };
    }).filter((point) => point.y !== null);
  }

  async one() {
    const index = Number(byId("tap").value), tap = this.taps.taps[index];
    const behind = byId("tap-behind")?.value ?? "";
    const slices = behind === "*" ? this.taps.slices.map((_, i) => i) : behind === "" ? [] : [Number(behind)];
    const values = this.taps.sets.flatMap(([set, recipe], i) => this.curve(tap.sets[i], tap.first).map((point) => ({ ...point, set, recipe })));
    const shadows = slices.flatMap((i) => this.curve(tap.slices[i], tap.first).map((point) => ({ ...point, slice: key(i), tip: { slice: this.taps.slices[i] } })));
    const columns = this.taps.columns.map((_, i) => i).filter((i) => this.methods.includes(this.taps.columns[i][1]));
    const seen = [...values, ...shadows];
    const room = roomOf("tap-chart");
    const x = {
      field: "x", type: "quantitative", title: folded(`|x| of ${tap.name}`, 0.6 * room), scale: { type: "log", nice: false },
      axis: { values: ticks(seen.map((point) => point.x), [1, 2, 5]), format: "~g" },
    };
    const y = {
      field: "y", type: "quantitative", title: "share of values per doubling", scale: { type: "log", nice: true },
      axis: { values: ticks(seen.map((point) => point.y), [1]), labelExpr: "format(100 * datum.value, '~g') + ' %'" },
    };
    await draw("tap-chart", {
      height: 225,
      description: `Distribution of |x| of ${tap.name} in each calibration set, and each set's and method's amax`,
      layer: [
        ...(shadows.length ? [{ data: { values: shadows }, mark: { type: "line", color: "var(--muted)", strokeWidth: slices.length > 1 ? 1 : 2.5, opacity: slices.length > 1 ? 0.35 : 0.7 },
          encoding: { x, y, detail: { field: "slice" }, tooltip: { field: "tip" } } }] : []),
        { data: { values }, mark: { type: "line", strokeWidth: 1.7 }, encoding: { x, y, color: this.colour(room), detail: { field: "set" } } },
        { data: { values: this.amaxValues(index, columns) }, mark: { type: "rule", strokeWidth: 1.8 },
          encoding: {
            x: { field: "amax", type: "quantitative" }, color: this.colour(room), tooltip: { field: "tip" },
            strokeDash: { field: "method", type: "nominal", title: null, legend: legendOf(this.taps.methods, room, 90), scale: { domain: this.taps.methods, range: DASHES } },
          } },
      ],
    });
  }
}

// Powers of ten, and what lies between them, over the decades that values span.
function ticks(values, steps) {
  const logs = values.map(Math.log10);
  const decades = [];
  for (let d = Math.floor(Math.min(...logs)); d <= Math.ceil(Math.max(...logs)); d++) decades.push(d);
  return decades.flatMap((d) => steps.map((step) => step * 10 ** d));
}

const share = (value) => (value === null ? "–" : value === 0 ? "none" : `${(100 * value).toPrecision(2)} %`);

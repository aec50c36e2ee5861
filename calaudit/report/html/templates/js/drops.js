// Drops with intervals: one row per slice, one mark per group of engines, which is its worst.

const FEW_SLICES = 6;
const VERDICT_SHAPES = [["regressed", "diamond"], ["inconclusive", "triangle-up"], ["passed", "circle"],
  ["not gated", "square"]];

class Drops {
  constructor(heat) {
    this.heat = heat;
    this.every = false;
    byId("drops-all").addEventListener("click", () => {
      this.every = !this.every;
      this.update();
    });
    heat.onChange(() => this.update());
    again(() => this.update());
  }

  values(slices) {
    return slices.flatMap((slice) => this.heat.groups().flatMap((group) => {
      const found = this.heat.measured(slice, group).filter((entry) => entry[DROP] !== null);
      return found.length ? [this.value(slice, group, found)] : [];
    }));
  }

  value(slice, group, found) {
    const { view, metric } = this.heat, entry = this.heat.worst(found);
    const [, , unit, , scored] = view.metrics[metric], { set } = this.heat.all[group];
    const [calibset, method, caveat] = view.cells[entry[CELL]];
    return {
      slice: key(slice), set, drop: entry[DROP], low: entry[LOW] ?? entry[DROP],
      high: entry[HIGH] ?? entry[DROP], gate: entry[GATE], verdict: wordOf(entry[VERDICT]),
      tip: {
        slice: view.slices[slice][0], set: calibset, method,
        drop: `${entry[TEXT]} ${unit}`, interval: entry[INTERVAL],
        verdict: wordWith(entry[VERDICT], caveat), [scored]: entry[FACT][2],
        ...(entry[FACT][6] ? { why: entry[FACT][6] } : {}),
        ...(found.length > 1 ? { "worst of": `${found.length} engines, ${spanOf(found)}` } : {}),
      },
    };
  }

  // The first rows as the table was sorted; else the worst, also under controls, in its order.
  few(measured) {
    if (this.heat.sorted) return measured.slice(0, FEW_SLICES);
    const found = new Map(measured.map((slice) => [this.heat.worst(
      this.heat.groups().flatMap((group) => this.heat.measured(slice, group))), slice]));
    const kept = new Set(this.heat.ordered([...found.keys()]).map((entry) => found.get(entry)).slice(0, FEW_SLICES));
    return measured.filter((slice) => kept.has(slice));
  }

  async update() {
    const shown = new Set(this.heat.shownRows());
    const measured = this.heat.order.filter((slice) => shown.has(slice) &&
      this.heat.groups().some((group) => this.heat.entry(slice, group)));
    const slices = this.every ? measured : this.few(measured);
    const more = byId("drops-all");
    more.hidden = measured.length <= FEW_SLICES;
    more.textContent = this.every ? `Show ${FEW_SLICES} slices` : `Show all ${measured.length} slices`;
    const values = this.values(slices);
    const metric = this.heat.view.metrics[this.heat.metric];
    const level = this.heat.view.level;
    byId("drops-note").textContent = (values.length ? "" : "Nothing to show. ") +
      (this.heat.view.groups.some(([, cells]) => cells.length > 1) ? "Of a set's engines, the worst. " : "") +
      `Dashed: what the gate accepts. ${level ? `Lines: ${level} intervals.` : "Lines: intervals."}`;
    if (values.length) await draw("drops-chart", this.spec(values, slices, metric));
    else byId("drops-chart").replaceChildren();
  }

  spec(values, slices, metric) {
    const sets = this.heat.view.groups.map(([label]) => label);
    const used = sets.filter((set) => values.some((value) => value.set === set));
    const names = this.heat.view.slices.map((slice) => slice[0]);
    const gates = [...new Set(values.map((value) => value.gate).filter((gate) => gate !== null))];
    const room = roomOf("drops-chart");
    const lines = linesOf(slices.map((slice) => names[slice]), room);
    const y = {
      field: "slice", type: "nominal", sort: slices.map(key), title: null,
      axis: { ...labelsOf(names, room), domain: false, ticks: false, labelPadding: 8, grid: false },
      scale: { paddingInner: 0.3, paddingOuter: 0.15 },
    };
    const offset = { field: "set", type: "nominal", sort: used, scale: { paddingOuter: 0.1 } };
    const colour = {
      field: "set", type: "nominal", title: null, sort: used, legend: legendOf(used, room),
      scale: { domain: used, range: used.map((set) => COLOURS[sets.indexOf(set) % COLOURS.length]) },
    };
    const x = {
      type: "quantitative", title: folded(`drop of ${metric[1]}${metric[2] ? `, ${metric[2]}` : ""}`, 0.5 * room),
      scale: { nice: true, zero: true }, axis: { tickCount: room < 600 ? 4 : 8 },
    };
    const tooltip = { field: "tip" };
    const verdicts = [...new Set(values.map((value) => value.verdict))];
    return {
      height: { step: Math.max(used.length > 1 ? 7 : 20, LINE * lines / used.length), for: "offset" },
      description: `Drop of ${metric[1]} with its interval, per slice and calibration set`,
      data: { values },
      layer: [
        { data: { values: [{ at: 0 }] }, mark: { type: "rule", color: "var(--muted)", strokeWidth: 1 },
          encoding: { x: { field: "at", type: "quantitative" } } },
        ...(gates.length ? [{ data: { values: gates.map((at) => ({ at })) },
          mark: { type: "rule", color: "var(--bad)", strokeDash: [5, 4], strokeWidth: 1.3 },
          encoding: { x: { field: "at", type: "quantitative" } } }] : []),
        { mark: { type: "rule", strokeWidth: 2.2, opacity: 0.75 },
          encoding: { x: { field: "low", ...x }, x2: { field: "high" }, y, yOffset: offset, color: colour, tooltip } },
        { mark: { type: "point", filled: true, size: 64, opacity: 1, strokeWidth: 1.5, stroke: "var(--card)" },
          encoding: {
            x: { field: "drop", ...x }, y, yOffset: offset, color: colour, tooltip,
            shape: {
              field: "verdict", type: "nominal", title: null,
              scale: { domain: VERDICT_SHAPES.flatMap(([word]) => [word, `${word} (control)`]), range: VERDICT_SHAPES.flatMap(([, shape]) => [shape, shape]) },
              legend: { values: verdicts, ...legendOf(verdicts, room) },
            },
            size: { condition: { test: "indexof(datum.verdict, 'regressed') == 0", value: 105 }, value: 64 },
          } },
      ],
    };
  }
}

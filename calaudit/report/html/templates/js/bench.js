// Engines by speed and by what they lose on their worst slice, one chart per target.

class Gains {
  constructor({ measures, charts }, groups) {
    this.measures = measures;
    this.charts = charts;
    this.names = groups.map(([label]) => label);
    byId("bench-measure")?.addEventListener("change", () => this.update());
    again(() => this.update());
  }

  async update() {
    const at = Number(byId("bench-measure")?.value || 0);
    await Promise.all(this.charts.map((chart, place) => this.show(chart, place, chart.measures[at])));
  }

  async show(chart, place, measure) {
    const id = `bench-chart-${place}`;
    const left = measure?.left || [];
    byId(`bench-note-${place}`).textContent = (measure ? "" : "Nothing was compared by this here. ") +
      (left.length ? `Without a speed or a loss: ${left.join(", ")}. ` : "") +
      (measure && chart.gate !== null ? "Dashed: the gate." : "");
    if (!measure) return byId(id).replaceChildren();
    return draw(id, this.spec(chart, measure, roomOf(id)));
  }

  colour(group) {
    return group < 0 ? "var(--ink)" : COLOURS[group % COLOURS.length];
  }

  spec(chart, measure, room) {
    const values = measure.points.map((point) => ({ ...point, group: key(point.group) }));
    const used = [...new Set(measure.points.map((point) => point.group))].sort((a, b) => a - b);
    const names = Object.fromEntries(used.map((group) => [key(group), measure.points.find((point) => point.group === group).label || this.names[group]]));
    const shown = used.map((group) => names[group]);
    const folds = legendOf(shown, room, 60);
    const labels = Object.fromEntries(used.map((group) => [key(group), folded(names[group], room - 110)]));
    const colour = {
      field: "group", type: "nominal", title: null,
      scale: { domain: used.map(key), range: used.map((group) => this.colour(group)) },
      legend: { columns: folds.columns, labelExpr: `${JSON.stringify(labels)}[datum.label]`, symbolType: "circle", symbolOpacity: 1 },
    };
    const x = { type: "quantitative", title: folded(measure.x, room - 80), scale: { zero: false, nice: true, padding: 14 }, axis: { tickCount: room < 500 ? 4 : 8 } };
    const y = { type: "quantitative", title: folded(chart.y, 230), scale: { zero: true, nice: true } };
    const tooltip = { field: "tip" };
    const words = [...new Set(values.map((value) => value.verdict))];
    const shapes = [...VERDICT_SHAPES, ["FP32", "cross"]];
    const pale = { condition: { test: "datum.beaten", value: 0.3 }, value: 1 };
    const at = (field, value, mark) => ({
      data: { values: [{ at: value }] }, mark: { type: "rule", ...mark }, encoding: { [field]: { field: "at", type: "quantitative" } },
    });
    const shape = {
      field: "verdict", type: "nominal", title: null,
      scale: { domain: shapes.map(([word]) => word), range: shapes.map(([, name]) => name) },
      legend: { values: words, ...legendOf(words, room, 60) },
    };
    const some = (test, mark, encoding) => {
      const own = values.filter(test);
      return own.length ? [{ data: { values: own }, mark, encoding: { ...encoding, tooltip } }] : [];
    };
    const point = { x: { field: "speed", ...x }, y: { field: "loss", ...y } };
    return {
      height: 280,
      description: `${chart.y} against speed, ${measure.x}, of each engine with intervals`,
      layer: [
        at("x", 1, { color: "var(--muted)", strokeWidth: 1 }),
        at("y", 0, { color: "var(--muted)", strokeWidth: 1 }),
        ...(chart.gate === null ? [] : [at("y", chart.gate, { color: "var(--bad)", strokeDash: [5, 4], strokeWidth: 1.3 })]),
        ...some(({ slow, fast }) => slow !== null && fast !== null, { type: "rule", strokeWidth: 1.6, opacity: 0.55 },
          { x: { field: "slow", ...x }, x2: { field: "fast" }, y: point.y, color: colour }),
        ...some(({ low, high }) => low !== null && high !== null, { type: "rule", strokeWidth: 1.6, opacity: 0.55 },
          { x: point.x, y: { field: "low", ...y }, y2: { field: "high" }, color: colour }),
        ...some(({ pareto }) => pareto, { type: "point", shape: "circle", size: 230, color: "var(--ink)", strokeWidth: 1.2, opacity: 0.8 }, point),
        ...some(({ control }) => !control, { type: "point", filled: true, size: 70, stroke: "var(--card)", strokeWidth: 1 },
          { ...point, color: colour, shape, opacity: pale }),
        ...some(({ control }) => control, { type: "point", filled: false, fill: "var(--card)", size: 70, strokeWidth: 1.8, opacity: 1 },
          { ...point, color: colour, shape }),
        ...some(({ label }) => label, { type: "text", dy: -14, color: "var(--ink)", fontSize: 12 }, { ...point, text: { field: "label" } }),
      ],
    };
  }
}

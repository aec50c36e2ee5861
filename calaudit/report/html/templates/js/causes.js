// Predicted harm of one engine at a time, and the curve of ranges exchanged.

class Causes {
  constructor(curves) {
    this.curves = curves;
    byId("harm-cell")?.addEventListener("change", () => this.choose());
    byId("curve")?.addEventListener("change", () => this.update());
    this.choose();
    if (curves.length) again(() => this.update());
  }

  choose() {
    for (const table of document.querySelectorAll(".harm-table"))
      table.hidden = table.dataset.table !== byId("harm-cell").value;
  }

  async update() {
    if (!this.curves.length) return;
    const { title, metric, unit, gate, points } = this.curves[Number(byId("curve").value)];
    const values = points.map(({ k, added, left, low, high, text }) => ({
      k: key(k), left, low, high,
      tip: { "ranges exchanged": k, "the last of them": added, "drop left": `${text} ${unit}` },
    }));
    const x = { field: "k", type: "ordinal", sort: values.map((value) => value.k), title: "ranges exchanged", axis: { labelAngle: 0 } };
    const y = { type: "quantitative", title: folded(`drop of ${metric} left${unit ? `, ${unit}` : ""}`, 200), scale: { zero: true } };
    byId("curve-note").textContent = `${title}. In the order of predicted harm, on the slice's tuning rows. Bars: intervals of all experiments at once.` +
      (gate === null ? "" : " Dashed: the gate.");
    await draw("curve-chart", {
      height: 210,
      description: `Drop of ${metric} that is left after ranges of some tensors were exchanged`,
      data: { values },
      layer: [
        { data: { values: [{ at: 0 }] }, mark: { type: "rule", color: "var(--muted)", strokeWidth: 1 }, encoding: { y: { field: "at", type: "quantitative" } } },
        ...(gate === null ? [] : [{ data: { values: [{ at: gate }] }, mark: { type: "rule", color: "var(--bad)", strokeDash: [5, 4], strokeWidth: 1.3 },
          encoding: { y: { field: "at", type: "quantitative" } } }]),
        { mark: { type: "line", color: "var(--s0)", strokeWidth: 1.5, opacity: 0.6 }, encoding: { x, y: { field: "left", ...y } } },
        { mark: { type: "rule", color: "var(--s0)", strokeWidth: 2.2, opacity: 0.75 }, encoding: { x, y: { field: "low", ...y }, y2: { field: "high" }, tooltip: { field: "tip" } } },
        { mark: { type: "point", filled: true, size: 64, color: "var(--s0)", opacity: 1 }, encoding: { x, y: { field: "left", ...y }, tooltip: { field: "tip" } } },
      ],
    });
  }
}

// Places that changed hands in the top k, from head to tail and back.

const FLOWS = ["head → head", "head → tail", "tail → head", "tail → tail"];
const FLOW_COLOURS = ["var(--quiet)", "var(--s0)", "var(--s1)", "var(--calm)"];

class Rankings {
  constructor(rankings) {
    this.rankings = rankings;
    for (const id of ["flow-slice", "flow-cut"]) byId(id)?.addEventListener("change", () => this.update());
    again(() => this.update());
  }

  // Of a group the engine under which most places change.
  most(flows, label) {
    const moved = (flow) => flow.shares.reduce((sum, share) => sum + share, 0);
    return flows.length ? [{ label, ...flows.reduce((a, b) => (moved(b) > moved(a) ? b : a)) }] : [];
  }

  async update() {
    const slice = Number(byId("flow-slice").value), cut = Number(byId("flow-cut")?.value ?? 0);
    const own = this.rankings.flows.filter((flow) => flow.slice === slice && flow.cut === cut);
    const found = this.rankings.groups.flatMap(([label, engines]) => this.most(own.filter((flow) => engines.includes(flow.engine)), label));
    byId("flow-note").textContent = found.length ? "" : "No long tail is defined, so there is no flow.";
    if (!found.length) return void byId("flow-chart").replaceChildren();
    const labels = found.map((flow) => flow.label);
    const values = found.flatMap(({ engine, shares, texts }, place) => FLOWS.map((flow, i) => ({
      engine: key(place), flow, order: i, share: shares[i],
      tip: { engine: this.rankings.engines[engine], flow, "of all places": texts[i] },
    })));
    const room = roomOf("flow-chart");
    await draw("flow-chart", {
      height: { step: Math.max(24, LINE * linesOf(labels, room)) },
      description: "Share of the top-k positions whose item changed, by part of the catalogue",
      data: { values },
      mark: { type: "bar", height: { band: 0.68 }, stroke: "var(--card)", strokeWidth: 1 },
      encoding: {
        y: { field: "engine", type: "nominal", sort: labels.map((_, i) => key(i)), title: null, axis: { ...labelsOf(labels, room), domain: false, ticks: false, labelPadding: 8 } },
        x: { field: "share", type: "quantitative", title: folded("share of all positions whose item changed", 0.5 * room), axis: { format: ".1%", tickCount: room < 600 ? 3 : 6 } },
        color: { field: "flow", type: "nominal", title: null, legend: legendOf(FLOWS, room), scale: { domain: FLOWS, range: FLOW_COLOURS } },
        order: { field: "order" }, tooltip: { field: "tip" },
      },
    });
  }
}

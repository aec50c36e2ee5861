// Composition of the calibration sets against the pool.

const MOST_HELD = 8;

function drawSets(sets, names) {
  const gap = new Map();
  for (const { rows } of sets)
    for (const [slice, , share, pool] of rows)
      if (share !== null && pool !== null)
        gap.set(slice, Math.max(gap.get(slice) || 0, Math.abs(share - pool)));
  const all = [...new Set(sets.flatMap(({ rows }) => rows.map((row) => row[0])))].filter((i) => i !== 0 || names[0] !== "all");
  const kept = new Set([...all].sort((a, b) => (gap.get(b) || 0) - (gap.get(a) || 0)).slice(0, MOST_HELD));
  const slices = all.filter((slice) => kept.has(slice));
  byId("sets-note").textContent = all.length > slices.length
    ? `The ${slices.length} slices that differ most, of ${all.length}.` : "";
  if (!slices.length) return undefined;
  const values = sets.flatMap(({ name, rows }, index) => rows.filter(([slice]) => kept.has(slice))
    .map(([slice, n, share, pool]) => ({
      set: key(index), slice: key(slice), share, pool,
      tip: { slice: names[slice], set: name, samples: String(n), "of the set": percent(share), "of the pool": percent(pool) },
    })));
  const start = () => draw("sets-chart", setsSpec(values, sets.map((set) => set.name), slices, names));
  again(start);
  return start();
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);

function setsSpec(values, sets, slices, names) {
  const columns = Math.min(sets.length, innerWidth < 760 ? 1 : 4);
  const width = roomOf("sets-chart");
  const aside = Math.min(250, 0.42 * width);
  const room = width - aside - 25;
  const y = {
    field: "slice", type: "nominal", sort: slices.map(key), title: null,
    axis: { ...labelsOf(names, aside / 0.42), domain: false, ticks: false, labelPadding: 8 },
  };
  const x = { type: "quantitative", title: null, axis: { format: "%", tickCount: 3 }, scale: { domainMin: 0 } };
  return {
    description: "Share of each calibration set that lies in each slice, against the pool's",
    data: { values },
    facet: { field: "set", type: "nominal", sort: sets.map((_, i) => key(i)), title: null, header: { labelExpr: labelsOf(sets, Math.max(90, room / columns - 26) / 0.42).labelExpr, labelLineHeight: LINE } },
    columns, spacing: 22,
    spec: {
      width: Math.max(90, room / columns - 26), height: { step: Math.max(18, LINE * linesOf(slices.map((slice) => names[slice]), aside / 0.42)) },
      layer: [
        { mark: { type: "bar", height: { band: 0.6 }, cornerRadiusEnd: 2, opacity: 0.85 },
          encoding: {
            y, x: { field: "share", ...x }, tooltip: { field: "tip" },
            color: { field: "set", type: "nominal", legend: null, scale: { domain: sets.map((_, i) => key(i)), range: sets.map((_, i) => COLOURS[i % COLOURS.length]) } },
          } },
        { mark: { type: "tick", color: "var(--ink)", thickness: 2, height: { band: 0.9 } },
          encoding: { y, x: { field: "pool", ...x }, tooltip: { field: "tip" } } },
      ],
    },
  };
}

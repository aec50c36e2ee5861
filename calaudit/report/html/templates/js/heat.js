// The heat map: metric, columns and rows chosen, sorted, read with the keyboard.

const CELL = 2, DROP = 3, LOW = 4, HIGH = 5, GATE = 6, VERDICT = 7, SHADE = 8, TEXT = 9, INTERVAL = 10,
  FACT = 11;

class Heat {
  constructor(view) {
    this.view = view;
    // columns of single engines, then those that stand for all engines of a group
    this.all = [
      ...view.cells.map(([set, method], i) => ({ set, method, cells: [i] })),
      ...view.groups.map(([set, cells, method]) => ({ set, method, cells })),
    ];
    this.entries = new Map(view.entries.map((e) => [`${e[0]} ${e[1]} ${e[2]}`, e]));
    this.known = new Set(view.entries.map((e) => `${e[0]} ${e[1]}`));
    this.table = byId("heat");
    this.rows = [...this.table.tBodies[0].rows];
    this.listeners = [];
    this.sorted = null;
    this.at = null;
    this.prepareGrid();
    this.prepareSorting();
    for (const id of ["metric", "set", "method", "verdict", "intervals", "every"])
      byId(id)?.addEventListener("change", () => this.update());
    byId("filter").addEventListener("input", () => this.update());
    byId("tools").addEventListener("submit", (event) => event.preventDefault());
    byId("tools").addEventListener("reset", () => setTimeout(() => {
      this.sorted = null;
      this.update();
    }));
    this.update();
  }

  get metric() { return Number(byId("metric").value); }

  // The entries of a column's engines that the choices leave.
  measured(row, column) {
    return this.engines(column).map((cell) => this.entries.get(`${this.metric} ${row} ${cell}`)).filter(Boolean);
  }

  engines(column) {
    const method = byId("method").value;
    return this.all[column].cells.filter((cell) => !method || this.view.cells[cell][1] === method);
  }

  entry(row, column) { return this.worst(this.measured(row, column)); }

  // The worst of several entries stands for all: by verdict, also a control's, then by drop. A pass
  // that has to be told with something is worse than another.
  worst(entries) { return this.ordered(entries)[0]; }

  ordered(entries) {
    const gravity = (entry) => {
      const rank = ["REGRESSED", "INCONCLUSIVE", "PASS", ""].indexOf(said(entry[VERDICT]));
      const plain = rank === 2 && this.view.cells[entry[CELL]][2] ? 0 : 1;
      return [rank, plain, entry[DROP] === null ? Infinity : -entry[DROP]];
    };
    return [...entries].sort((a, b) => {
      const [x, y] = [gravity(a), gravity(b)];
      const at = x.findIndex((value, i) => value !== y[i]);
      return at < 0 ? 0 : x[at] < y[at] ? -1 : 1;
    });
  }

  get folded() { return Boolean(byId("every")) && !byId("every").checked; }

  get firstGroup() { return this.view.cells.length; }

  // Groups that the choices leave, as columns.
  groups() {
    const set = byId("set").value;
    return this.view.groups.map((_, i) => this.firstGroup + i).filter((column) =>
      (set === "" || column === this.firstGroup + Number(set)) && this.engines(column).length);
  }

  // Columns of the table that the choices leave.
  columns() {
    const groups = this.groups();
    if (this.folded) return groups;
    const kept = new Set(groups.flatMap((column) => this.engines(column)));
    return this.view.cells.map((_, i) => i).filter((i) => kept.has(i));
  }

  // Slices that the metric was measured on: one of images says nothing of slices of objects.
  measurable() {
    const rows = this.rows.filter((row) => this.known.has(`${this.metric} ${row.dataset.row}`));
    return new Set(rows.length ? rows : this.rows);
  }

  shownRows() { return this.rows.filter((row) => !row.hidden).map((row) => Number(row.dataset.row)); }

  onChange(listener) { this.listeners.push(listener); }

  update() {
    const columns = new Set(this.columns());
    const text = byId("filter").value.trim().toLocaleLowerCase();
    const verdict = byId("verdict").value;
    const measurable = this.measurable();
    this.table.parentElement.classList.toggle("intervals", byId("intervals").checked);
    for (const row of this.rows) {
      const index = Number(row.dataset.row);
      const found = this.fillRow(row, index, columns);
      const named = this.view.slices[index][0].toLocaleLowerCase().includes(text);
      row.hidden = !named || !measurable.has(row) || (verdict !== "" && !found.some((e) => e[VERDICT] === verdict));
    }
    this.hideColumns(columns);
    this.sort();
    this.tell();
    this.keepFocusable();
    for (const listener of this.listeners) listener();
  }

  fillRow(row, index, columns) {
    const found = [];
    let reference = "–", n = row.cells[1].dataset.n;
    for (const cell of row.cells) {
      if (cell.dataset.column === undefined) continue;
      const column = Number(cell.dataset.column);
      const entry = this.entry(index, column);
      cell.hidden = !columns.has(column);
      this.fillCell(cell, entry);
      if (entry) [reference, , n] = entry[FACT];
      if (entry && columns.has(column)) found.push(entry);
    }
    row.cells[1].firstChild.data = `${n.split(" ")[0]} `;
    row.cells[2].textContent = reference;
    return found;
  }

  fillCell(cell, entry) {
    const caveat = entry ? this.view.cells[entry[CELL]][2] : "";
    cell.className = `${Number(cell.dataset.column) < this.firstGroup ? "one" : "folded"} ${entry ? entry[SHADE] : ""}`;
    const verdict = byId("verdict").value;
    if (verdict && entry && entry[VERDICT] !== verdict) cell.classList.add("aside");
    if (!entry) return void cell.replaceChildren("–");
    const mark = element("span", markWith(entry[VERDICT], caveat), `m ${entry[VERDICT]}`);
    mark.setAttribute("aria-hidden", "true");
    const parts = [entry[TEXT], mark, element("span", ` ${wordWith(entry[VERDICT], caveat)}`, "unseen")];
    if (entry[INTERVAL]) parts.push(element("small", entry[INTERVAL], "ci"));
    cell.replaceChildren(...parts);
  }

  hideColumns(columns) {
    const [sets, heads] = this.table.tHead.rows;
    for (const head of heads.cells)
      if (head.dataset.column !== undefined) head.hidden = !columns.has(Number(head.dataset.column));
    [...sets.querySelectorAll(".folded")].forEach((set, i) => { set.hidden = !columns.has(this.firstGroup + i); });
    let column = 0;
    for (const set of sets.querySelectorAll(".one")) {
      set.dataset.span ??= set.colSpan;
      let span = 0;
      for (let i = 0; i < Number(set.dataset.span); i++) span += columns.has(column++) ? 1 : 0;
      set.hidden = span === 0;
      set.colSpan = Math.max(1, span);
    }
  }

  prepareSorting() {
    for (const button of this.table.tHead.querySelectorAll("button")) {
      button.disabled = false;
      button.addEventListener("click", () => {
        const by = button.dataset.sort;
        const first = by === "name" ? "ascending" : "descending";
        const other = first === "ascending" ? "descending" : "ascending";
        const flipped = this.sorted?.by === by && this.sorted.way === first;
        this.sorted = { by, way: flipped ? other : first };
        this.sort();
        this.keepFocusable();
        for (const listener of this.listeners) listener();
      });
    }
  }

  sortValue(row, by) {
    const index = Number(row.dataset.row);
    if (by === "name") return this.view.slices[index][0];
    if (by === "n") return this.view.slices[index][1];
    if (by === "reference") {
      const number = parseFloat(row.cells[2].textContent.replace("−", "-"));
      return Number.isNaN(number) ? null : number;
    }
    return this.entry(index, Number(by))?.[DROP] ?? null;
  }

  sort() {
    for (const head of this.table.tHead.rows[1].cells) {
      const by = head.querySelector("button").dataset.sort;
      if (this.sorted?.by === by) head.setAttribute("aria-sort", this.sorted.way);
      else head.removeAttribute("aria-sort");
    }
    const order = [...this.rows];
    if (this.sorted) {
      const { by, way } = this.sorted, sign = way === "ascending" ? 1 : -1;
      const values = new Map(order.map((row) => [row, this.sortValue(row, by)]));
      order.sort((a, b) => {
        const [x, y] = [values.get(a), values.get(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
      });
    }
    this.table.tBodies[0].append(...order);
    this.order = order.map((row) => Number(row.dataset.row));
  }

  tell() {
    const metric = this.view.metrics[this.metric];
    const shown = this.rows.filter((row) => !row.hidden).length;
    byId("heat-caption").textContent = `${metric[1]}, drop${metric[2] ? ` in ${metric[2]}` : ""}`;
    byId("status").textContent = `${shown} of ${this.measurable().size} slices shown; ` +
      `${metric[1]}${metric[2] ? ` in ${metric[2]}` : ""}.`;
  }

  // One cell takes part in the tab order; arrow keys move it (the grid pattern of WAI-ARIA).
  prepareGrid() {
    const body = this.table.tBodies[0];
    for (const cell of body.querySelectorAll("td[data-column]")) cell.tabIndex = -1;
    body.addEventListener("focusin", (event) => this.read(event.target.closest("td[data-column]"), true));
    body.addEventListener("mouseover", (event) => this.read(event.target.closest("td[data-column]"), false));
    body.addEventListener("keydown", (event) => this.move(event));
  }

  keepFocusable() {
    const usable = this.at && !this.at.hidden && !this.at.parentElement.hidden;
    if (usable) return;
    if (this.at) this.at.tabIndex = -1;
    this.at = [...this.table.tBodies[0].rows].filter((row) => !row.hidden)
      .flatMap((row) => [...row.cells]).find((c) => c.dataset.column !== undefined && !c.hidden) || null;
    if (this.at) this.at.tabIndex = 0;
  }

  move(event) {
    const cell = event.target.closest("td[data-column]");
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = [...this.table.tBodies[0].rows].filter((row) => !row.hidden);
    const across = (row) => [...row.cells].filter((c) => c.dataset.column !== undefined && !c.hidden);
    const y = rows.indexOf(cell.parentElement), x = across(cell.parentElement).indexOf(cell);
    const last = across(rows[y]).length - 1;
    const [toY, toX] = {
      ArrowUp: [y - 1, x], ArrowDown: [y + 1, x], ArrowLeft: [y, x - 1], ArrowRight: [y, x + 1],
      Home: [y, 0], End: [y, last], PageUp: [0, x], PageDown: [rows.length - 1, x],
    }[event.key] || [];
    if (toY === undefined) return;
    event.preventDefault();
    const next = rows[toY] && across(rows[toY])[toX];
    if (next) next.focus();
  }

  read(cell, focused) {
    if (!cell) return;
    if (focused && cell !== this.at) {
      if (this.at) this.at.tabIndex = -1;
      this.at = cell;
      cell.tabIndex = 0;
    }
    const row = Number(cell.parentElement.dataset.row), column = Number(cell.dataset.column);
    const strip = byId("strip");
    strip.replaceChildren(element("b", this.view.slices[row][0]));
    const found = this.measured(row, column), entry = this.worst(found);
    if (!entry) return void strip.append(` under ${this.all[column].set}: not measured`);
    const [calibset, method, caveat] = this.view.cells[entry[CELL]];
    strip.append(` under ${calibset}, ${method}${found.length > 1 ? ` (the worst of ${found.length})` : ""}: `);
    const [, , unit, , scored] = this.view.metrics[this.metric];
    strip.append(element("b", `drop ${entry[TEXT]}${unit ? ` ${unit}` : ""}`));
    if (entry[INTERVAL]) strip.append(` (${entry[INTERVAL]})`);
    if (entry[GATE] !== null) strip.append(`, gate ${entry[GATE]}`);
    strip.append(", ", element("b", wordWith(entry[VERDICT], caveat), entry[VERDICT]));
    const labels = this.view.facts.map((label) => (label === "n" ? scored : label));
    entry[FACT].forEach((fact, i) => { if (fact) strip.append(` · ${labels[i]} ${fact}`); });
    if (found.length > 1) strip.append(` · the others ${spanOf(found.filter((each) => each !== entry))}`);
  }
}

// Drops from the least to the most: "0.2 to 2.0".
function spanOf(entries) {
  const sorted = entries.filter((entry) => entry[DROP] !== null).sort((a, b) => a[DROP] - b[DROP]);
  if (!sorted.length) return "not measured";
  const [least, most] = [sorted[0][TEXT], sorted[sorted.length - 1][TEXT]];
  return least === most ? least : `${least} to ${most}`;
}

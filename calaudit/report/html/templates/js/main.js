// Starts every part that the page has.

function offerJson() {
  const link = byId("json");
  const packed = link.getAttribute("href").split(",")[1];
  link.textContent = link.download = link.download.replace(/\.gz$/, "");
  link.addEventListener("click", async (event) => {
    if (link.href.startsWith("blob:")) return;
    event.preventDefault();
    link.href = URL.createObjectURL(new Blob([await unpack(packed)], { type: "application/json" }));
    link.click();
  });
}

function offerThemes() {
  const root = document.documentElement;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
}

// On paper details can't be opened: those that matter are open there, and as they were afterwards.
function openForPaper() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details[data-print]:not([open])")];
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of opened) each.open = false;
  });
}

// Charts are drawn at once, in sight or not: a picture of the whole page shows them all.
async function start() {
  const view = await unpackJson(byId("view").textContent);
  document.documentElement.classList.remove("no-script");
  offerThemes();
  offerJson();
  openForPaper();
  const charts = [];
  if (byId("heat")) charts.push(new Drops(new Heat(view)));
  if (view.bench) charts.push(new Gains(view.bench, view.groups));
  if (byId("causes")) charts.push(new Causes(view.curves || []));
  if (view.taps) charts.push(new Taps(view.taps));
  if (view.rankings) charts.push(new Rankings(view.rankings));
  const drawing = charts.map((each) => each.update());
  if (view.sets) drawing.push(drawSets(view.sets, view.held));
  await Promise.all(drawing);
  document.documentElement.dataset.ready = "true";
}

start();

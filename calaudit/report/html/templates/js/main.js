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

async function start() {
  const view = await unpackJson(byId("view").textContent);
  document.documentElement.classList.remove("no-script");
  offerThemes();
  offerJson();
  if (byId("heat")) new Drops(new Heat(view));
  if (view.sets) drawSets(view.sets, view.held);
  if (view.taps) new Taps(view.taps);
  if (view.rankings) new Rankings(view.rankings);
  document.documentElement.dataset.ready = "true";
}

start();

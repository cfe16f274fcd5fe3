"use strict";
// Draws the page's plots and keeps them in the page's colours; cells open their evidence. Without
// this script the cells are links, the evidence a list, and every plot has its figures in a table.
(() => {
  const root = document.documentElement;

  // ---- colours: from the style sheet, read through an element, since light-dark() is resolved there

  function colours() {
    const probe = document.createElement("i");
    probe.style.color = "var(--rule)";
    document.body.append(probe);
    const rule = getComputedStyle(probe).color;
    probe.remove();
    const body = getComputedStyle(document.body);
    return { ink: body.color, paper: body.backgroundColor, rule, font: body.fontFamily };
  }

  function coloured(layout, colour) {
    const clear = "rgba(0,0,0,0)";
    const font = { family: colour.font, size: 12, ...layout.font, color: colour.ink };
    const made = {
      ...layout,
      font,
      paper_bgcolor: clear,
      plot_bgcolor: clear,
      hoverlabel: { ...layout.hoverlabel, bgcolor: colour.paper, bordercolor: colour.rule, font },
      legend: { ...layout.legend, bgcolor: clear },
      modebar: { bgcolor: clear, color: colour.ink },
    };
    const axes = Object.keys(layout).filter((key) => /^[xy]axis[0-9]*$/.test(key));
    for (const name of new Set(["xaxis", "yaxis", ...axes])) {
      const lines = { gridcolor: colour.rule, linecolor: colour.rule, zerolinecolor: colour.rule };
      made[name] = { automargin: true, ...layout[name], ...lines };
    }
    return made;
  }

  // ---- plots

  const places = [...document.querySelectorAll("[data-plot]")];
  const drawn = [];

  // plotly lies deflated in the page; the policy allows the script that it becomes, and no other.
  async function unpack() {
    const packed = document.getElementById("plotly");
    const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
    packed.remove();
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  // One legend for all of them: who is pinned stands out, who is hidden is in none.
  const legend = document.getElementById("labels");
  const named = new Set([...(legend?.children ?? [])].map((one) => one.dataset.group));
  const pinned = new Set();
  const hidden = new Set();
  const FADED = 0.12;

  // Of a plot's traces those that the legend names, and how each is to look.
  function looks(traces) {
    const at = traces.flatMap((trace, place) => (named.has(trace.legendgroup) ? [place] : []));
    const groups = at.map((place) => traces[place].legendgroup);
    const own = at.map((place) => traces[place].opacity ?? 1);
    const visible = groups.map((group) => !hidden.has(group));
    const faded = (group) => pinned.size && !pinned.has(group);
    return { at, change: { visible, opacity: own.map((o, k) => (faded(groups[k]) ? FADED * o : o)) } };
  }

  function turn(set, button) {
    const { group } = button.parentElement.dataset;
    if (!set.delete(group)) set.add(group);
    button.setAttribute("aria-pressed", String(set.has(group)));
    for (const [place, , traces] of drawn) {
      const { at, change } = looks(traces);
      if (at.length && place.querySelector("svg")) Plotly.restyle(place, change, at);
    }
  }

  if (legend) legend.hidden = false;
  for (const button of legend?.querySelectorAll("button") ?? []) {
    const set = button.className === "pin" ? pinned : hidden;
    button.addEventListener("click", () => turn(set, button));
  }

  const touched = matchMedia("(pointer: coarse)").matches;
  let unpacked;

  function cannot(place, words) {
    place.textContent = words;
    place.style.height = "";
  }

  async function draw(place) {
    watcher.unobserve(place);
    if (begun.has(place)) return;
    begun.add(place);
    try {
      await (unpacked ??= unpack());
    } catch (error) {
      console.error("plotly", error); // a browser from before 2023: every figure is in a table
      cannot(place, "This browser cannot draw the picture.");
      return;
    }
    const held = document.getElementById(`data-${place.dataset.plot}`);
    const { traces, layout } = JSON.parse(held.textContent);
    layout.height = Number(held.dataset.height);
    layout.margin = { l: 60, r: 16, t: 16, b: 48, ...layout.margin };
    if (touched) layout.dragmode = false; // a finger scrolls the page
    drawn.push([place, layout, traces]);
    const settings = { responsive: true, displayModeBar: false, showTips: false };
    try {
      const { at, change } = looks(traces);
      const made = [...traces];
      at.forEach((of, k) => {
        made[of] = { ...traces[of], visible: change.visible[k], opacity: change.opacity[k] };
      });
      await Plotly.newPlot(place, made, coloured(layout, colours()), settings);
    } catch (error) {
      // One that fails leaves the others, and its own figures in their table.
      console.error(place.dataset.plot, error);
      cannot(place, "This picture could not be drawn.");
    }
    root.dataset.drawn = String(Number(root.dataset.drawn) + 1);
  }

  // A plot is drawn when it is about to be seen, and all of them before the page is printed.
  const begun = new Set();
  const watcher = new IntersectionObserver(
    (seen) => seen.filter((of) => of.isIntersecting).forEach((of) => draw(of.target)),
    { rootMargin: "400px" },
  );
  addEventListener("beforeprint", () => places.forEach(draw));

  function recolour() {
    for (const [place, layout] of drawn) {
      if (!place.layout || !place.querySelector("svg")) continue; // not drawn, or not yet
      const made = coloured(layout, colours());
      const { font, hoverlabel } = made;
      const change = { font, hoverlabel };
      for (const name of Object.keys(made).filter((key) => /^[xy]axis/.test(key))) {
        // Only the colours: ranges are the reader's by now.
        for (const part of ["gridcolor", "linecolor", "zerolinecolor"]) {
          change[`${name}.${part}`] = made[name][part];
        }
      }
      Plotly.relayout(place, change);
    }
  }

  // ---- light or dark: the system's, until the button is pressed

  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  function show() {
    button.setAttribute("aria-pressed", String(isDark()));
    recolour();
  }
  button.hidden = false;
  button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);

  // ---- cells and their evidence

  const cells = new Map();
  for (const cell of document.querySelectorAll("[data-opens]")) {
    const details = document.getElementById(cell.dataset.opens);
    cells.set(details, cell);
    cell.setAttribute("role", "button");
    cell.setAttribute("aria-controls", details.id);
    cell.setAttribute("aria-expanded", String(details.open));
    const turn = (event) => {
      event.preventDefault();
      details.open = !details.open;
      if (!details.open) return;
      const summary = details.querySelector("summary");
      summary.focus({ preventScroll: true });
      details.scrollIntoView({ block: "nearest" });
    };
    cell.addEventListener("click", turn);
    cell.addEventListener("keydown", (event) => {
      if (event.key === " ") turn(event);
    });
    details.addEventListener("toggle", () => {
      cell.setAttribute("aria-expanded", String(details.open));
      // Closed evidence is not shown: who closed it goes back to where it was opened.
      const left = document.activeElement;
      if (!details.open && (left === document.body || details.contains(left))) cell.focus();
    });
  }
  const all = document.getElementById("all-evidence");
  if (all && cells.size) {
    all.parentElement.hidden = false;
    all.addEventListener("click", () => {
      const open = all.getAttribute("aria-expanded") !== "true";
      for (const details of cells.keys()) details.open = open;
      all.setAttribute("aria-expanded", String(open));
      all.textContent = open ? "Hide the evidence" : "Show all evidence";
      all.focus();
    });
  }

  // ---- commands, to copy

  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      getSelection().selectAllChildren(code); // where there is no clipboard it is at least chosen
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Chosen";
      }
    });
  }

  // On a narrow screen a neighbourhood begins with its middle.
  for (const worst of document.querySelectorAll(".window .worst")) {
    const region = worst.closest(".scroll");
    region.scrollLeft = worst.offsetLeft + worst.offsetWidth / 2 - region.clientWidth / 2;
  }

  // A link to evidence opens it, also from outside the page.
  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = target?.closest("details");
    if (!details) return;
    details.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  reveal();

  root.dataset.drawn = "0";
  for (const place of places) watcher.observe(place);
})();

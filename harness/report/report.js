"use strict";
// The page is whole without this: it only sorts tables, reads plots under the pointer and
// opens what is closed before printing.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => {
    if (!head.dataset.by) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(table, column, head.dataset.by === "number", down);
    });
  });
}

function sort(table, column, numeric, down) {
  // An objective is a body of two rows that stay together; elsewhere a row is a row.
  const bodies = [...table.tBodies];
  const many = bodies.length > 1;
  const items = many ? bodies : [...bodies[0].rows];
  const key = (item) => {
    const { cells } = many ? item.rows[0] : item;
    const cell = cells[Math.min(column, cells.length - 1)];  // one that spans several comes before the last
    const text = cell.dataset.sort ?? cell.textContent;
    return numeric ? Number.parseFloat(text) : text;
  };
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (!numeric) return down ? y.localeCompare(x) : x.localeCompare(y);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return down ? y - x : x - y;
  };
  const parent = many ? table : bodies[0];
  parent.append(...items.sort(compare));
}

for (const plot of document.querySelectorAll("svg.plot")) {
  const points = JSON.parse(plot.dataset.points);
  const guide = plot.querySelector(".guide");
  const readout = plot.closest("figure").querySelector(".readout");
  const show = (index) => {
    const [x, words] = points[index];
    guide.setAttribute("x1", x);
    guide.setAttribute("x2", x);
    guide.removeAttribute("hidden");
    readout.hidden = false;
    readout.textContent = words;
  };
  plot.addEventListener("pointermove", (event) => {
    const scale = plot.viewBox.baseVal.width / plot.getBoundingClientRect().width;
    const at = (event.clientX - plot.getBoundingClientRect().left) * scale;
    const far = points.map(([x]) => Math.abs(x - at));
    show(far.indexOf(Math.min(...far)));
  });
}

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((details) => (details.open = true));
});
addEventListener("afterprint", () => opened.forEach((details) => (details.open = false)));

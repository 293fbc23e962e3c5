"use strict";
(() => {
  const models = JSON.parse(document.getElementById("models").textContent);
  const figure = document.getElementById("figure");
  const tip = document.getElementById("tip");
  const live = document.getElementById("live");
  const search = document.getElementById("search");
  const count = document.getElementById("count");
  const body = document.querySelector("tbody");
  const rows = new Map([...body.rows].map((row) => [Number(row.dataset.model), row]));
  const points = [...figure.querySelectorAll(".model")];
  const reach = 28;
  let current = null;

  const shown = () => points.filter((p) => p.getClientRects().length && !p.classList.contains("dim"));
  const middle = (point) => {
    const box = point.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };

  function show(point, say) {
    hide();
    current = point;
    const number = Number(point.dataset.model);
    for (const other of points) other.classList.toggle("on", Number(other.dataset.model) === number);
    rows.get(number)?.classList.add("on");
    const { name, lines } = models[number];
    const head = document.createElement("b");
    head.textContent = name;
    tip.replaceChildren(head, ...lines.map((line) => {
      const part = document.createElement("div");
      part.textContent = line;
      return part;
    }));
    tip.hidden = false;
    const [x, y] = middle(point);
    const frame = figure.getBoundingClientRect();
    const left = Math.min(Math.max(x - frame.x + 14, 4), Math.max(frame.width - tip.offsetWidth - 4, 4));
    const above = y - frame.y - tip.offsetHeight - 14;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 0 ? above : y - frame.y + 18}px`;
    if (say) live.textContent = [name, ...lines].join(". ");
  }

  function hide() {
    for (const point of points) point.classList.remove("on");
    for (const row of rows.values()) row.classList.remove("on");
    tip.hidden = true;
    current = null;
  }

  function nearest(event) {
    let best = null;
    let least = reach;
    for (const point of shown()) {
      const [x, y] = middle(point);
      const distance = Math.hypot(x - event.clientX, y - event.clientY);
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  }

  function follow(event) {
    const point = nearest(event);
    if (point && point !== current) show(point, false);
    if (!point && current) hide();
  }
  figure.addEventListener("pointermove", follow);
  figure.addEventListener("pointerdown", follow);
  figure.addEventListener("pointerleave", hide);
  figure.addEventListener("blur", hide);
  figure.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const axis = event.key === "ArrowUp" || event.key === "ArrowDown" ? 1 : 0;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    const order = shown().map((point) => [point, middle(point)]);
    if (!order.length) return;
    order.sort((a, b) => a[1][axis] - b[1][axis] || a[1][1 - axis] - b[1][1 - axis]);
    let place = order.findIndex(([point]) => point === current);
    if (event.key === "Home" || (place < 0 && step > 0)) place = 0;
    else if (event.key === "End" || place < 0) place = order.length - 1;
    else place = Math.min(Math.max(place + step, 0), order.length - 1);
    show(order[place][0], true);
  });

  const pressed = (group) =>
    new Set([...document.querySelectorAll(`[data-${group}][aria-pressed=true]`)].map((b) => b.dataset[group]));

  function filter() {
    const words = search.value.trim().toLowerCase();
    const families = pressed("family");
    const kinds = pressed("kind");
    let left = 0;
    models.forEach((model, number) => {
      const fits = model.name.toLowerCase().includes(words)
        && (!families.size || families.has(model.family))
        && (!kinds.size || [...kinds].every((kind) => model.kinds.includes(kind)));
      left += fits;
      rows.get(number).hidden = !fits;
      for (const point of points) {
        if (Number(point.dataset.model) === number) point.classList.toggle("dim", !fits);
      }
    });
    count.textContent = `${left} of ${models.length} models`;
    hide();
  }
  search.addEventListener("input", filter);
  for (const button of document.querySelectorAll(".keys button")) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      filter();
    });
  }

  for (const button of body.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const number = button.closest("tr").dataset.model;
      const point = points.find((p) => p.dataset.model === number && p.getClientRects().length);
      if (point) {
        figure.scrollIntoView({ block: "nearest" });
        show(point, true);
      }
    });
  }

  const heads = [...document.querySelectorAll("thead th")];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
      const sorted = [...rows.values()].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        // What is not known comes last, whichever way.
        if (!x || !y) return x ? -1 : y ? 1 : 0;
        const numeric = !Number.isNaN(Number(x)) && !Number.isNaN(Number(y));
        return (numeric ? x - y : x.localeCompare(y)) * (up ? 1 : -1);
      });
      body.append(...sorted);
    });
  });
})();

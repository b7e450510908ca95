"use strict";
(() => {
  const root = document.documentElement;
  addEventListener("error", (event) => { root.dataset.error = event.message; });

  const make = (tag, attributes = {}, ...children) => {
    const svg = ["svg", "path"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children); // texts stay texts, whatever is in them
    return node;
  };

  // light or dark
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // tables: a click on a heading sorts by it, the next one the other way round; empty cells stay at the end
  const key = (row, column) => row.cells[column].dataset.value;
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : column > 0;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [x, y] = [key(a, column), key(b, column)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = column === 0 ? x.localeCompare(y) : Number(x) - Number(y);
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    }));
  }

  // pictures
  let count = 0;
  const example = (data) => {
    const name = `e${count++}`;
    const before = make("img", { class: "before", src: data.low, alt: "" });
    const after = make("img", { class: "after", width: data.width, height: data.height });
    const tag = make("span", { class: "tag right" });
    const cut = make("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `${data.name}: before and after` });
    const stage = make("div", { class: "stage" }, after, before, make("span", { class: "tag left" }, "before"), tag,
      make("span", { class: "knob" }, "↔"), cut);
    cut.addEventListener("input", () => stage.style.setProperty("--cut", `${cut.value}%`));
    const error = make("img", { alt: "" });
    const curve = make("path", { class: "h-after" });
    const plot = make("svg", { viewBox: "0 -4 256 68", preserveAspectRatio: "none", role: "img", "aria-label": "histogram" },
      curve, make("path", { class: "h-low", d: data.curves[0] }), make("path", { class: "h-target", d: data.curves[1] }));
    const figures = make("p", { class: "figures" });
    const show = (model) => {
      after.src = model.after;
      after.alt = `${data.name} by ${model.title}`;
      tag.textContent = model.title;
      error.src = model.error;
      curve.setAttribute("d", `${model.curve}L256,60L0,60`);
      figures.replaceChildren(...model.figures.map(([what, value]) => make("span", {}, what, make("b", {}, value))));
    };
    const pick = make("fieldset", { class: "pick", "aria-label": "model" }, ...data.models.map((model, i) => {
      const radio = make("input", { type: "radio", name });
      radio.checked = i === 0;
      radio.addEventListener("change", () => show(model));
      return make("label", {}, radio, model.title);
    }));
    const target = make("figure", {}, make("figcaption", {}, "target"), make("img", { src: data.target, alt: "target" }));
    const map = make("figure", {}, make("figcaption", {}, make("span", { class: "first" }, "error 0"),
      make("span", { class: "scale" }), make("span", {}, `${data.scale}`)), error);
    const keys = make("span", { class: "key" }, make("i", {}, "before"), make("i", { class: "k-after" }, "after"),
      make("i", { class: "k-target" }, "target"));
    const histogram = make("figure", { class: "hist" }, make("figcaption", {}, "brightness", keys), plot);
    if (data.models.length) show(data.models[0]);
    return make("article", { class: "example" }, make("h4", {}, `${data.name} `, make("span", {}, data.heading)),
      pick, make("div", { class: "views" }, make("div", {}, stage, figures), make("div", { class: "side" }, target, map)),
      histogram);
  };
  const examples = JSON.parse(document.getElementById("examples").textContent);
  for (const place of document.querySelectorAll(".examples")) {
    place.append(...examples[Number(place.dataset.table)].map(example));
  }
  root.dataset.ready = "yes";
})();

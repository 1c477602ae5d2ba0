"use strict";
// Draws each figure when it scrolls into view, in the colours of the theme, so that a page of hundreds opens at once.
// A figure with details shows them when it is zoomed in. On a page with a common time a zoom in time holds for all.
(() => {
  const root = document.documentElement;
  const darkOfLight = JSON.parse(document.getElementById("colours").textContent);
  const packed = document.getElementById("plotly");
  const figures = [...document.querySelectorAll(".figure")];
  const hasCommonTime = document.querySelector("main").hasAttribute("data-common-time");
  const drawn = new Set();
  const pointsShown = 6000;  // of a line that is zoomed in: more than a large screen has pixels
  const config = {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"],
    showSendToCloud: false, plotlyServerURL: "",  // a plant's data stays in the page
  };
  let time = null;  // [from, to] in ms since 1970, to which the figures are zoomed; null for all of it

  const recoloured = value => {
    if (typeof value === "string") return darkOfLight[value] || value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value === null || typeof value !== "object" || "bdata" in value) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recoloured(inner)]));
  };

  const inflate = text => {
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  };

  // Draws a figure as it is zoomed: a range in time is that of all, one of values its own.
  const draw = async figure => {
    const isNew = !drawn.has(figure);
    drawn.add(figure);
    const plain = JSON.parse(figure.nextElementSibling.textContent);
    const {data, layout} = root.dataset.theme === "dark" ? recoloured(plain) : plain;
    if (hasCommonTime) layout.uirevision = "values";
    if (time) {
      const shown = time, details = await detailsOf(figure);
      if (details) details.forEach((line, i) => Object.assign(data[i], cut(line, ...shown)));
      layout.xaxis.range = [...shown];
      layout.xaxis.uirevision = String(shown);
    }
    await Plotly.react(figure, data, layout, config);
    if (isNew && hasCommonTime) figure.on("plotly_relayout", change => onZoom(figure, change));
  };

  // The details of a figure: times and values of its first traces. They are unpacked once.
  const detailsOf = figure => {
    const script = figure.nextElementSibling.nextElementSibling;
    if (!script || !script.classList.contains("details")) return null;
    figure.details = figure.details || inflate(script.textContent).arrayBuffer().then(buffer => {
      const end = new Uint8Array(buffer).indexOf(10);
      const head = JSON.parse(new TextDecoder().decode(buffer.slice(0, end)));
      let offset = end + 1;
      return head.points.map(n => {
        const steps = new Uint32Array(buffer.slice(offset, offset + 4 * n));
        const values = new Float32Array(buffer.slice(offset + 4 * n, offset + 8 * n));
        offset += 8 * n;
        const times = new Float64Array(n);
        let sum = 0;
        for (let i = 0; i < n; i++) {
          sum += steps[i];
          times[i] = head.start + sum * head.unit;
        }
        return {times, values};
      });
    });
    return figure.details;
  };

  const firstAfter = (times, time) => {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] > time) high = middle;
      else low = middle + 1;
    }
    return low;
  };

  // The points of a line within [from, to] and one beyond each end: of each run the first, least, greatest and last,
  // and points along its levels, because hovering shows points only.
  const cut = ({times, values}, from, to) => {
    const first = Math.max(0, firstAfter(times, from) - 1), end = Math.min(times.length, firstAfter(times, to) + 1);
    const run = Math.max(1, Math.ceil(4 * (end - first) / pointsShown));
    const step = (to - from) / 300;
    const x = [], y = [];
    const add = i => {
      const before = x.length - 1;
      if (before >= 0 && y[before] === values[i]) {
        for (let t = Math.max(x[before], from) + step; t < Math.min(times[i], to); t += step) {
          x.push(t);
          y.push(values[i]);
        }
      }
      x.push(times[i]);
      y.push(values[i]);
    };
    for (let start = first; start < end; start += run) {
      const stop = Math.min(start + run, end);
      let least = start, greatest = start;
      const chosen = new Set([start, stop - 1]);
      for (let i = start; i < stop; i++) {
        if (Number.isNaN(values[i])) chosen.add(i);
        if (values[i] < values[least]) least = i;
        if (values[i] > values[greatest]) greatest = i;
      }
      chosen.add(least).add(greatest);
      [...chosen].sort((a, b) => a - b).forEach(add);
    }
    return {x, y};
  };

  const toMs = value => typeof value === "number" ? value : Date.parse(value.replace(" ", "T") + "Z");

  const onZoom = (figure, change) => {
    const range = change["xaxis.range"] || (change["xaxis.range[0]"] !== undefined &&
      [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    if (!range && !change["xaxis.autorange"]) return;
    const full = JSON.parse(figure.nextElementSibling.textContent).layout.xaxis.range;
    const zoomed = range ? range.map(toMs) : null;
    time = zoomed && (zoomed[0] > full[0] || zoomed[1] < full[1]) ? zoomed : null;
    drawn.forEach(draw);
  };

  const turn = theme => {
    root.dataset.theme = theme;
    return Promise.all([...drawn].map(draw));
  };

  const unpack = async () => {
    const script = document.createElement("script");
    script.textContent = await inflate(packed.textContent).text();
    document.head.append(script);
  };

  const filter = document.getElementById("filter");
  if (filter) {
    const sections = [...document.querySelectorAll("main > section")];
    const textOf = section => [...section.querySelectorAll("h2, p")].map(part => part.textContent).join(" ").toLowerCase();
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const matching = sections.filter(section => words.every(word => textOf(section).includes(word)));
      sections.forEach(section => { section.hidden = !matching.includes(section); });
      document.getElementById("matches").textContent = words.length ? `${matching.length} of ${sections.length}` : "";
    });
  }
  document.getElementById("theme").addEventListener("click", () => turn(root.dataset.theme === "dark" ? "light" : "dark"));
  if (!packed) return;
  unpack().then(() => {
    const sight = new IntersectionObserver(entries => {
      for (const {isIntersecting, target} of entries) {
        if (isIntersecting) {
          sight.unobserve(target);
          draw(target);
        }
      }
    }, {rootMargin: "600px"});
    figures.forEach(figure => sight.observe(figure));
    let before = root.dataset.theme;
    addEventListener("beforeprint", () => {
      before = root.dataset.theme;
      root.dataset.theme = "light";
      figures.forEach(draw);
    });
    addEventListener("afterprint", () => turn(before));
  }).catch(error => {
    for (const figure of figures) figure.textContent = "This browser cannot draw the figure: " + error.message;
  });
})();

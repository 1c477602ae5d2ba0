"use strict";
// Draws each figure when it scrolls into view, in the colours of the theme, so that a page of hundreds opens at once.
(() => {
  const root = document.documentElement;
  const darkOfLight = JSON.parse(document.getElementById("colours").textContent);
  const packed = document.getElementById("plotly");
  const figures = [...document.querySelectorAll(".figure")];
  const drawn = new Set();
  const config = {
    responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"],
    showSendToCloud: false, plotlyServerURL: "",  // a plant's data stays in the page
  };

  const recoloured = value => {
    if (typeof value === "string") return darkOfLight[value] || value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value === null || typeof value !== "object" || "bdata" in value) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recoloured(inner)]));
  };

  const draw = figure => {
    drawn.add(figure);
    const plain = JSON.parse(figure.nextElementSibling.textContent);
    const {data, layout} = root.dataset.theme === "dark" ? recoloured(plain) : plain;
    return Plotly.react(figure, data, layout, config);
  };

  const turn = theme => {
    root.dataset.theme = theme;
    return Promise.all([...drawn].map(draw));
  };

  const unpack = async () => {
    const bytes = Uint8Array.from(atob(packed.textContent), c => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

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

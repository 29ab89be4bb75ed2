// What the page does by itself: says how long ago something was. Everything else is HTML and htmx.
"use strict";
(() => {
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  function ago(secs) {
    if (secs < 2) return "now";
    const [size, unit] = UNITS.find(([size]) => secs >= size);
    return `${Math.floor(secs / size)} ${unit} ago`;
  }

  function tell(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = Date.parse(time.dateTime);
      time.textContent = ago((Date.now() - at) / 1000);
      time.title = new Date(at).toLocaleString();
    }
  }

  tell(document);
  setInterval(() => tell(document), 1000);
  document.body.addEventListener("htmx:sseMessage", () => tell(document));
  document.body.addEventListener("htmx:sseError", () => document.body.classList.add("lost"));
  document.body.addEventListener("htmx:sseOpen", () => document.body.classList.remove("lost"));
})();

// Starts the page. Trunk would put this into the document itself, where the Content-Security-Policy of `quorate serve`
// allows no script.

// The theme comes first, so that the page never shows the other one. The page keeps it under the same name.
try {
  const theme = localStorage.getItem("quorate.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing for this page has the theme of the system.
}

const { default: init } = await import("./quorate-web.js");
await init();

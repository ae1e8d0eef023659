// Starts the page. Trunk would put this into the document itself, where the Content-Security-Policy of `quorate serve`
// allows no script.
import init from "./quorate-web.js";

await init();

// Keys for readers who have scripts; nothing on a page needs them. j and k lead to the next and the one before, / to the search field,
// arrows from cell to cell of a picture. Keys of one letter can be turned off at the foot of the page.
(() => {
  const STORE = "penfield-keys";
  const isOff = () => {
    try {
      return localStorage.getItem(STORE) === "off";
    } catch {
      return false;
    }
  };
  const find = (...selectors) => selectors.map((one) => document.querySelector(one)).find(Boolean);
  const keys = {
    j: () => find('a[rel="next"]')?.click(),
    k: () => find('a[rel="prev"]', 'a[rel="first"]')?.click(),
    "/": () => find('[role="search"] input[name="q"]')?.focus(),
  };
  const isTyping = (node) => node.closest?.("input, textarea, select, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (!Object.hasOwn(keys, event.key) || isOff()) return;
    event.preventDefault();
    keys[event.key]();
  });

  // Cells of a picture: one of them can be reached by Tab, arrows lead on, and what a cell says is read out and stands below.
  for (const grid of document.querySelectorAll("g[data-columns]")) {
    const cells = [...grid.querySelectorAll("rect")];
    const nColumns = Number(grid.dataset.columns);
    // Rows that are drawn upwards count from the bottom.
    const down = grid.dataset.upwards ? -nColumns : nColumns;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: down, ArrowUp: -down };
    const said = document.createElement("p");
    said.className = "said";
    said.setAttribute("role", "status");
    grid.closest(".drawing")?.after(said);
    cells.forEach((cell, i) => {
      cell.setAttribute("tabindex", i === 0 ? "0" : "-1");
      cell.setAttribute("role", "img");
      cell.setAttribute("aria-label", cell.querySelector("title")?.textContent ?? "");
    });
    // Pictures whose parts can be reached are groups, not images.
    grid.closest("svg")?.setAttribute("role", "group");
    grid.addEventListener("focusin", (event) => {
      said.textContent = event.target.getAttribute("aria-label");
    });
    grid.addEventListener("keydown", (event) => {
      const at = cells.indexOf(event.target);
      const step = steps[event.key];
      if (at < 0 || step === undefined) return;
      event.preventDefault();
      const sideways = step === 1 || step === -1;
      const to = at + step;
      const next = cells[to];
      if (!next) return;
      if (sideways && Math.floor(to / nColumns) !== Math.floor(at / nColumns)) return;
      cells[at].setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  }

  const grids = document.querySelector("g[data-columns]");
  if (!grids && !find('a[rel="next"]', 'a[rel="prev"]', '[role="search"] input[name="q"]')) return;
  const foot = document.createElement("footer");
  const button = document.createElement("button");
  const say = () => {
    button.textContent = isOff() ? "Turn keys on" : "Turn keys off";
  };
  button.type = "button";
  button.addEventListener("click", () => {
    try {
      localStorage.setItem(STORE, isOff() ? "on" : "off");
    } catch {}
    say();
  });
  say();
  foot.append("Keys: j next, k before, / search, arrows in pictures. ", button);
  document.body.append(foot);
})();

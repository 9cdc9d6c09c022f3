// Sorts, searches and filters the label table; without it the table is static.
(() => {
  const table = document.getElementById("label-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const search = document.getElementById("label-search");
  const group = document.getElementById("label-group");
  const only = document.getElementById("label-only");
  const count = document.getElementById("label-count");
  const key = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();

  function show() {
    const wanted = search.value.trim().toLowerCase();
    let n = 0;
    for (const row of rows) {
      const fits = (!wanted || row.cells[0].textContent.toLowerCase().includes(wanted))
        && (!group.value || row.dataset.group === group.value)
        && (!only.value || row.dataset.flags.includes(only.value));
      row.hidden = !fits;
      n += fits;
    }
    count.textContent = n + " of " + rows.length + " labels";
  }

  function sort(head, column) {
    const up = head.getAttribute("aria-sort") === "descending"
      || (head.dataset.kind === "text" && head.getAttribute("aria-sort") !== "ascending");
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const sign = up ? 1 : -1;
    const numeric = head.dataset.kind !== "text";
    rows.sort((a, b) => {
      const x = key(a, column), y = key(b, column);
      if (!numeric) return sign * x.localeCompare(y);
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (x - y);
    });
    body.append(...rows);
  }

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, column));
  });
  for (const field of [search, group, only]) field.addEventListener("input", show);
  document.getElementById("label-tools").hidden = false;
  show();
})();

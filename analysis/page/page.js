"use strict";
// Sorting of tables and a filter for the runs; everything else is plain HTML.
function value(row, column) {
  const cell = row.cells[column];
  const number = parseFloat(cell.dataset.value);
  return Number.isNaN(number) ? cell.textContent.trim() : number;
}
function compare(a, b, down) {
  const numbers = [a, b].map((x) => typeof x === "number");
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1; // rows without a number stand last
  const up = numbers[0] ? a - b : a.localeCompare(b, undefined, { numeric: true });
  return down ? -up : up;
}
function sort(head) {
  const table = head.closest("table");
  const column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[table.tHead.rows.length - 1].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(value(a, column), value(b, column), down));
  table.tBodies[0].append(...rows);
}
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sort(button.closest("th")));
}
const filter = document.getElementById("filter");
if (filter) {
  const shown = document.getElementById("shown");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const run of document.querySelectorAll("details.run")) {
      const text = run.querySelector("summary").textContent.toLowerCase();
      run.hidden = !words.every((word) => text.includes(word));
      count += run.hidden ? 0 : 1;
    }
    shown.textContent = `${count} shown`;
  });
}

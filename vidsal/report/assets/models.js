// Sorts each table by a column: the headings become buttons. Without this script they stay in the order of the ranks.
"use strict";
for (const table of document.querySelectorAll(".models table")) {
  const headings = [...table.tHead.rows[0].cells];
  const rows = table.tBodies[0];
  const key = (row, place) => {
    const cell = row.cells[place];
    const value = cell.dataset.value;
    return value === undefined ? cell.textContent.trim() : value === "" ? NaN : Number(value);
  };
  const sortBy = (place, sign) => {
    const order = [...rows.rows].sort((a, b) => {
      const [one, other] = [key(a, place), key(b, place)];
      if (typeof one === "string") return sign * one.localeCompare(other);
      // What is not known comes last, either way.
      if (Number.isNaN(one) || Number.isNaN(other)) return Number(Number.isNaN(one)) - Number(Number.isNaN(other));
      return sign * (one - other);
    });
    rows.append(...order);
  };
  headings.forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    const falling = button.textContent.endsWith("+");
    button.addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const next = now === null ? (falling ? "descending" : "ascending") : now === "ascending" ? "descending" : "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", next);
      sortBy(place, next === "ascending" ? 1 : -1);
    });
  });
  headings[0].setAttribute("aria-sort", "ascending");
}

"use strict";
// Elements, and lists and tables of any length of which only what is in view is drawn. Texts go in as text only.

function element(tag, attributes, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...inside.filter((one) => one !== null && one !== undefined));
  return made;
}

function drawing(tag, attributes, ...inside) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

// A list of rows of one height. `row(index)` makes the cells of a row; arrows move, Enter chooses.
//   options: {count, row, choose, height, role, label, keys}; keys(event, index) may handle a key: returns true then.
function virtualList(options) {
  const height = options.height || 26;
  const inner = element("div", { class: "rows" });
  const list = element("div", {
    class: "list " + (options.class || ""), tabindex: "0", role: options.role || "listbox", "aria-label": options.label,
  }, inner);
  let count = 0;
  let at = 0;
  let drawn = [-1, -1];
  const id = "list" + virtualList.next++;

  function draw(again) {
    const first = Math.max(0, Math.floor(list.scrollTop / height) - 8);
    const last = Math.min(count, Math.ceil((list.scrollTop + (list.clientHeight || 600)) / height) + 8);
    if (!again && first === drawn[0] && last === drawn[1]) return;
    drawn = [first, last];
    const rows = [];
    for (let index = first; index < last; index++) {
      const row = options.row(index);
      row.classList.add("row");
      row.id = id + "-" + index;
      row.style.top = index * height + "px";
      row.style.height = height + "px";
      row.setAttribute("role", options.role === "tree" ? "treeitem" : "option");
      row.setAttribute("aria-selected", index === at ? "true" : "false");
      row.setAttribute("aria-posinset", index + 1);
      row.setAttribute("aria-setsize", count);
      row.addEventListener("click", (event) => {
        move(index);
        options.choose(index, event);
      });
      rows.push(row);
    }
    inner.replaceChildren(...rows);
    if (count) list.setAttribute("aria-activedescendant", id + "-" + at);
  }

  function move(index) {
    at = Math.max(0, Math.min(count - 1, index));
    const top = at * height;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + height > list.scrollTop + list.clientHeight) list.scrollTop = top + height - list.clientHeight;
    draw(true);
  }

  function refresh(keep) {
    count = options.count();
    inner.style.height = count * height + "px";
    if (!keep) at = 0;
    at = Math.max(0, Math.min(count - 1, at));
    draw(true);
  }

  list.addEventListener("scroll", () => draw(false));
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -count, End: count };
    if (options.keys && options.keys(event, at)) event.preventDefault();
    else if (event.key in steps) {
      event.preventDefault();
      move(at + steps[event.key]);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (count) options.choose(at, event);
    }
  });
  new ResizeObserver(() => draw(true)).observe(list);
  return { element: list, refresh, move, get at() { return at; } };
}
virtualList.next = 0;

// A table of many rows with a head that sorts. columns: [{title, text(index), value(index), class}]
function virtualTable({ label, columns, indices, choose, note }) {
  let order = indices.slice();
  let sorted = { column: -1, down: true };
  const widths = columns.map((column) => column.width || "1fr").join(" ");
  const list = virtualList({
    label, count: () => order.length, choose: (at) => choose && choose(order[at]),
    row: (at) => {
      const cells = columns.map((column) => element("span", { class: column.class }, column.text(order[at])));
      cells.forEach((cell) => { cell.title = cell.textContent; });
      const row = element("div", { class: "cells" }, ...cells);
      row.style.gridTemplateColumns = widths;
      return row;
    },
  });
  const heads = columns.map((column, number) => element("button", {
    type: "button", class: column.class, title: "Sort by " + column.title,
    onclick: () => {
      sorted = { column: number, down: sorted.column === number ? !sorted.down : column.class === "number" };
      const sign = sorted.down ? -1 : 1;
      const of = column.value || column.text;
      order = indices.slice().sort((a, b) => {
        const [x, y] = [of(a), of(b)];
        return sign * (x < y ? -1 : x > y ? 1 : 0) || a - b;
      });
      heads.forEach((head, one) => head.setAttribute("aria-pressed", one === number ? "true" : "false"));
      list.refresh();
    },
  }, column.title));
  const head = element("div", { class: "cells head" }, ...heads);
  head.style.gridTemplateColumns = widths;
  const filter = element("input", {
    type: "search", placeholder: "filter", "aria-label": "Filter " + label, class: "filter",
    oninput: () => {
      const wanted = filter.value.toLowerCase();
      order = indices.filter((index) => columns.some((one) => String(one.text(index)).toLowerCase().includes(wanted)));
      list.refresh();
    },
  });
  const whole = element("section", { class: "table" },
    element("h2", {}, label, element("small", {}, indices.length.toLocaleString("en"), note ? " · " + note : ""), filter),
    head, list.element);
  list.element.style.setProperty("--rows", Math.min(indices.length, 18));
  queueMicrotask(() => list.refresh());
  return whole;
}

"use strict";
// Draws the report: a tab for each part, and beside it what is selected.

const model = makeModel(JSON.parse(document.getElementById("data").textContent));
const { data } = model;
const byId = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
const bytes = (value) => quantity(value) + "B";
const short = (title) => title.split("/").pop();
// Mesh positions that are drawn one by one.
const MOST_DEVICES = 64;

// -- parts -------------------------------------------------------------------------------------------------------------

const PARTS = {
  Summary: summary,
  Arguments: signatureTables,
  Memory: memoryPlot,
  Time: timeTables,
  Outline: outline,
  Collectives: collectiveTable,
  ...(data.conflicts.axes.length ? { "Not taken": conflictTable } : {}),
  ...(data.difference ? { Changes: changes } : {}),
  ...(data.comparison ? { Plans: plans } : {}),
};
const drawn = new Map();

function show(name) {
  if (!drawn.has(name)) drawn.set(name, PARTS[name]());
  const part = drawn.get(name);
  byId("panel").replaceChildren(...part.elements);
  byId("panel").setAttribute("aria-label", name);
  for (const tab of byId("tabs").children) {
    const chosen = tab.textContent === name;
    tab.setAttribute("aria-selected", chosen ? "true" : "false");
    tab.tabIndex = chosen ? 0 : -1;
  }
  if (part.shown) part.shown();
  if (location.hash.slice(1) !== name) history.replaceState(null, "", "#" + name);
}

function section(title, ...inside) {
  return [element("h2", {}, title), ...inside];
}

function summary() {
  const total = new Map(data.totals.rows.map(([title, unit, values]) => [title, [values[0], unit]]));
  const cards = [["peak memory", "peak memory of a device"], ["seconds, nothing overlaps", "a run, if nothing overlaps"],
    ["FLOPs", "FLOPs of a device"], ["bytes sent", "sent by a device"]].map(([key, words]) => {
    const [value, unit] = total.get(key);
    return element("div", { class: "card" }, element("b", {}, amount(value, unit)), element("span", {}, words));
  });
  const limit = data.device.memory;
  const fit = limit === null ? "" : data.memory.peak <= limit
    ? "fits into the " + bytes(limit) + " of a device" : "does not fit into the " + bytes(limit) + " of a device";
  const figures = element("dl", {}, ...data.totals.rows.flatMap(([title, unit, values]) =>
    values[0] === null ? [] : [element("dt", {}, title), element("dd", {}, amount(values[0], unit))]));
  return {
    elements: [
      element("div", { class: "cards" }, ...cards),
      fit && element("p", { class: data.memory.peak <= limit ? "soft" : "warn", id: "fit" }, fit),
      ...section("Figures of one device", figures),
      ...section("Mesh", meshPicture()),
      ...(data.remarks.length ? section("To know", ...data.remarks.map((one) => element("p", {}, one))) : []),
      ...section("Keys", element("p", { class: "soft" },
        "/ searches; arrows move in lists and open the tree; Enter selects; Escape closes the search; ",
        "left and right move along the memory plot and between tabs.")),
    ].filter(Boolean),
  };
}

function meshPicture() {
  if (!data.mesh) return element("p", { class: "soft" }, "no mesh: every tensor is whole on every device");
  const { axes, devices } = data.mesh;
  const words = axes.map(([name, size]) => name + "=" + size).join(" x ") + ": " + devices.length + " devices";
  const grid = element("div", { class: "mesh mono", "aria-hidden": "true" });
  grid.style.gridTemplateColumns = "repeat(" + (axes.length ? axes[axes.length - 1][1] : 1) + ", auto)";
  if (devices.length <= MOST_DEVICES) grid.append(...devices.map((device) => element("span", {}, String(device))));
  return element("div", {}, element("p", {}, words), grid);
}

function signatureTables() {
  const { tensors } = data;
  const whole = (at) => (data.signature[at] ? data.signature[at][0] : "");
  const indices = [...Array(model.argumentCount).keys()];
  const total = indices.reduce((sum, at) => sum + tensors.bytes[at], 0);
  const elements = [virtualTable({
    label: "Arguments", indices, note: bytes(total) + " on each device",
    choose: (at) => selectTensor(at),
    columns: [
      { title: "name", width: "3fr", text: (at) => model.tensorTitle(at) },
      { title: "whole", width: "2fr", text: whole },
      { title: "on each device", width: "2fr", text: (at) => model.text(tensors.type[at]) },
      { title: "sharding", width: "3fr", text: (at) => model.text(tensors.spec[at]) },
      { title: "bytes", width: "9em", class: "number", text: (at) => number(tensors.bytes[at]), value: (at) => tensors.bytes[at] },
    ],
  })];
  const results = data.signature.slice(model.argumentCount);
  if (results.length) {
    elements.push(virtualTable({
      label: "Results", indices: [...results.keys()], columns: [
        { title: "name", width: "3fr", text: (at) => results[at][1] },
        { title: "whole", width: "2fr", text: (at) => results[at][0] },
        { title: "on each device", width: "2fr", text: (at) => results[at][2] },
        { title: "sharding", width: "3fr", text: (at) => results[at][3] },
        { title: "bytes", width: "9em", class: "number", text: (at) => number(results[at][4]), value: (at) => results[at][4] },
      ],
    }));
  }
  return { elements };
}

function memoryPlot() {
  const { memory } = data;
  const [width, height, left, bottom] = [1000, 300, 70, 22];
  const count = memory.bytes.length;
  const top = Math.max(memory.peak, 1) * 1.06;
  const x = (position) => left + (position / Math.max(1, count)) * (width - left);
  const y = (value) => height - bottom - (value / top) * (height - bottom - 6);
  const points = model.skyline(900);
  let path = "M" + left + " " + y(0);
  points.forEach(([start, best], at) => {
    const end = at + 1 < points.length ? points[at + 1][0] : count;
    path += "L" + x(start).toFixed(1) + " " + y(memory.bytes[best]).toFixed(1) + "L" + x(end).toFixed(1) + " " + y(memory.bytes[best]).toFixed(1);
  });
  path += "L" + x(count) + " " + y(0) + "Z";
  const cursor = drawing("line", { class: "cursor", y1: 0, y2: height - bottom });
  const plot = drawing("svg", {
    id: "plot", viewBox: "0 0 " + width + " " + height, preserveAspectRatio: "none", tabindex: "0", role: "slider",
    "aria-label": "Memory while each op runs", "aria-valuemin": 0, "aria-valuemax": Math.max(0, count - 1),
  },
  drawing("path", { class: "area", d: path }),
  drawing("rect", { class: "given", x: left, width: width - left, y: y(memory.arguments), height: y(0) - y(memory.arguments) }));
  for (let part = 0; part <= 4; part++) {
    const value = (top * part) / 4.24;
    plot.append(drawing("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, bytes(value)));
  }
  for (let part = 0; part <= 4; part++) {
    const position = Math.round((count * part) / 4);
    plot.append(drawing("text", { x: Math.min(x(position), width - 30), y: height - 6, "text-anchor": "middle" }, "op " + number(position)));
  }
  if (data.device.memory !== null && data.device.memory < top) {
    plot.append(drawing("line", { class: "limit", x1: left, x2: width, y1: y(data.device.memory), y2: y(data.device.memory) }));
  }
  plot.append(cursor);
  const words = element("p", { id: "moment" });
  const below = element("div", { id: "held" });
  let at = -1;
  const moveTo = (position) => {
    if (!count) return;
    at = Math.max(0, Math.min(count - 1, position));
    cursor.setAttribute("x1", x(at + 0.5));
    cursor.setAttribute("x2", x(at + 0.5));
    const op = memory.ops[at];
    const peak = memory.bytes[at] === memory.peak ? ", the peak" : "";
    const said = bytes(memory.bytes[at]) + " in memory" + peak + ", while this runs: ";
    plot.setAttribute("aria-valuenow", at);
    plot.setAttribute("aria-valuetext", said + model.opTitle(op));
    words.replaceChildren(said, link(model.opTitle(op), () => selectOp(op)), " ", element("span", { class: "soft" }, model.text(data.ops.label[op])));
    below.replaceChildren(heldTable(at));
  };
  const positionAt = (event) => {
    const box = plot.getBoundingClientRect();
    return Math.floor((((event.clientX - box.left) / box.width) * width - left) / ((width - left) / Math.max(1, count)));
  };
  plot.addEventListener("click", (event) => moveTo(positionAt(event)));
  plot.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.round(count / 50));
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -page, PageDown: page, Home: -count, End: count };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    moveTo(at + steps[event.key]);
  });
  const parts = [["peak", memory.peak], ["arguments", memory.arguments], ["results", memory.results],
    ["temporaries", memory.peak - memory.arguments - memory.results], ["constants, in the executable", memory.constants]];
  moveTo(model.peakAt());
  return {
    elements: [
      ...section("Memory of one device over the run", plot), words, below,
      ...section("At the peak", element("dl", {}, ...parts.flatMap(([title, value]) => [
        element("dt", {}, title), element("dd", {}, number(value) + " bytes"),
      ]))),
    ],
    shown: () => below.querySelector(".list") && below.replaceChildren(heldTable(at)),
  };
}

function heldTable(at) {
  const { held, given } = model.heldAt(at);
  const all = [...held, ...given.map((one) => [...one, "argument"])];
  return virtualTable({
    label: "In memory then", indices: [...all.keys()], choose: (row) => selectTensor(all[row][0]),
    columns: [
      { title: "tensor", width: "3fr", text: (row) => model.tensorTitle(all[row][0]) },
      { title: "type", width: "2fr", text: (row) => model.text(data.tensors.type[all[row][0]]) },
      { title: "what", width: "7em", text: (row) => all[row][2] },
      { title: "bytes", width: "9em", class: "number", text: (row) => number(all[row][1]), value: (row) => all[row][1] },
    ],
  });
}

function bars(rows, kind) {
  const most = Math.max(...rows.map((row) => row[6]), 1e-30);
  const total = rows.reduce((sum, row) => sum + row[6], 0) || 1;
  return element("div", { class: "bars mono" }, ...rows.slice(0, 24).flatMap((row) => {
    const bar = element("span", { class: "bar " + kind });
    bar.style.setProperty("--part", (100 * row[6]) / most + "%");
    return [element("span", { title: row[0] }, row[0]), bar, element("span", { class: "number" }, duration(row[6])),
      element("span", { class: "number soft" }, ((100 * row[6]) / total).toFixed(1) + " %")];
  }));
}

function timeTables() {
  const { by_op: kinds, by_collective: exchanges, by_place: places } = data.time;
  const figure = (title, of, say) => ({ title, width: "8em", class: "number", text: (at) => say(of(places[at])), value: (at) => of(places[at]) });
  return {
    elements: [
      ...section("By op", bars(kinds, "")),
      ...(exchanges.length ? section("Collectives", bars(exchanges, "sent")) : []),
      virtualTable({
        label: "By place", indices: [...places.keys()], columns: [
          { title: "place", width: "5fr", text: (at) => places[at][0] },
          figure("ops", (row) => row[1], number), figure("FLOPs", (row) => row[3], quantity),
          figure("memory", (row) => row[4], bytes), figure("sent", (row) => row[5], bytes),
          figure("time", (row) => row[6], duration),
        ],
      }),
    ],
  };
}

function outline() {
  const rows = { now: [] };
  const total = model.tree().time || 1;
  const list = virtualList({
    label: "Program by place", role: "tree", class: "tall", count: () => rows.now.length,
    row: (at) => {
      const { node, depth, op } = rows.now[at];
      const time = node ? node.time : data.ops.time[op];
      const share = element("span", { class: "share" });
      share.style.setProperty("--part", (100 * time) / total + "%");
      const name = element("span", { class: "name" }, node ? (node.open ? "▾ " : "▸ ") + node.name : "  " + model.opTitle(op),
        " ", element("span", { class: "soft" }, node ? number(node.count) : data.ops.count[op] ? model.text(data.tensors.type[data.ops.first[op]]) : ""));
      name.style.paddingLeft = depth * 1.2 + "em";
      const row = element("div", { class: "tree" }, name,
        element("span", { class: "figure" }, duration(time * 1e-9)), share);
      row.setAttribute("aria-level", depth + 1);
      if (node) row.setAttribute("aria-expanded", node.open ? "true" : "false");
      return row;
    },
    choose: (at) => {
      const { node, op } = rows.now[at];
      if (node) toggle(at, !node.open);
      else selectOp(op);
    },
    keys: (event, at) => {
      const row = rows.now[at];
      if (!row || (event.key !== "ArrowRight" && event.key !== "ArrowLeft")) return false;
      if (event.key === "ArrowRight") {
        if (row.node && !row.node.open) toggle(at, true);
        else list.move(at + 1);
      } else if (row.node && row.node.open) toggle(at, false);
      else {
        let up = at - 1;
        while (up > 0 && rows.now[up].depth >= row.depth) up--;
        list.move(up);
      }
      return true;
    },
  });
  const byTime = element("input", { type: "checkbox", onchange: () => again() });
  const again = () => {
    rows.now = model.visible(byTime.checked);
    list.refresh(true);
  };
  const toggle = (at, open) => {
    rows.now[at].node.open = open;
    again();
  };
  outline.reveal = (op) => {
    model.reveal(op);
    show("Outline");
    list.move(rows.now.findIndex((row) => row.op === op));
  };
  return {
    elements: [element("h2", {}, "Program by place", element("small", {}, number(model.opCount) + " ops"),
      element("label", {}, byTime, " most expensive first")), list.element],
    shown: again,
  };
}

function collectiveTable() {
  const { ops } = data;
  const found = model.collectives();
  const why = (at) => (ops.reason[found[at]] ? data.collectives[ops.reason[found[at]] - 1] : null);
  return {
    elements: [virtualTable({
      label: "Collectives", indices: [...found.keys()], choose: (at) => selectOp(found[at]), columns: [
        { title: "kind", width: "11em", text: (at) => model.text(ops.name[found[at]]) },
        { title: "over", width: "8em", text: (at) => (why(at) ? why(at)[1] || why(at)[2] + " devices" : "") },
        { title: "what", width: "2fr", text: (at) => (why(at) ? why(at)[4] : model.opTitle(found[at])) },
        { title: "from", width: "1.5fr", text: (at) => (why(at) ? why(at)[5] : "") },
        { title: "to", width: "1.5fr", text: (at) => (why(at) ? why(at)[6] : "") },
        { title: "for", width: "2fr", text: (at) => (why(at) ? why(at)[7] : "") },
        { title: "sent", width: "6em", class: "number", text: (at) => bytes(ops.sent[found[at]]), value: (at) => ops.sent[found[at]] },
        { title: "time", width: "6em", class: "number", text: (at) => duration(ops.time[found[at]] * 1e-9), value: (at) => ops.time[found[at]] },
      ],
    })],
  };
}

// What tensors might have got from others and did not: who wanted what where, and why it lost.
function conflictTable() {
  const { tensors, conflicts } = data;
  const shown = new Map();
  tensors.missed.forEach((found, tensor) => found.forEach((one) => shown.has(one) || shown.set(one, tensor)));
  const found = [...shown.entries()];
  return {
    elements: [
      element("p", { class: "soft" }, "Where two tensors meet at an op and share a dimension, but not its sharding: data may have to move there."),
      virtualTable({
        label: "Not taken", indices: [...found.keys()], choose: (at) => selectTensor(found[at][1]), columns: [
          { title: "axes", width: "7em", text: (at) => model.text(conflicts.axes[found[at][0]]) },
          { title: "by", width: "2fr", text: (at) => model.tensorTitle(found[at][1]) + ", dimension " + conflicts.dimension[found[at][0]] },
          { title: "because", width: "4fr", text: (at) => model.text(conflicts.because[found[at][0]]) },
          { title: "which has them", width: "2.5fr", text: (at) => model.text(conflicts.other[found[at][0]]) + ", dimension " + conflicts.other_dimension[found[at][0]] },
          { title: "at", width: "2fr", text: (at) => [model.text(conflicts.op[found[at][0]]), model.text(conflicts.where[found[at][0]])].filter(Boolean).join(" ") },
        ],
      }),
    ],
  };
}

function changes() {
  const { title, kinds, places, removals, silent } = data.difference;
  const count = (name, of) => ({ title: name, width: "7em", class: "number", text: (at) => number(of(at)), value: of });
  const sum = (column) => kinds.reduce((total, row) => total + row[column], 0);
  return {
    elements: [
      element("p", {}, title + ": " + number(sum(1)) + " ops before, " + number(sum(2)) + " after"),
      ...(removals.length ? [virtualTable({
        label: "Why ops went", indices: [...removals.keys()], columns: [
          { title: "pass", width: "10em", text: (at) => removals[at][0] },
          { title: "why", width: "3fr", text: (at) => removals[at][1] },
          { title: "op", width: "12em", text: (at) => removals[at][2] },
          { title: "place", width: "3fr", text: (at) => removals[at][3] },
          count("ops", (at) => removals[at][4]),
        ],
      })] : []),
      ...(silent.length ? [element("p", { class: "soft" }, "native passes do not say what they take out: " + silent.join(", "))] : []),
      virtualTable({
        label: "By kind", indices: [...kinds.keys()], columns: [
          { title: "op", width: "3fr", text: (at) => kinds[at][0] }, count("before", (at) => kinds[at][1]),
          count("after", (at) => kinds[at][2]), count("change", (at) => kinds[at][2] - kinds[at][1]),
        ],
      }),
      virtualTable({
        label: "Places that changed", indices: [...places.keys()], columns: [
          { title: "op", width: "12em", text: (at) => places[at][0] }, { title: "place", width: "4fr", text: (at) => places[at][1] },
          count("before", (at) => places[at][2]), count("after", (at) => places[at][3]),
        ],
      }),
    ],
  };
}

function plans() {
  const { titles, rows } = data.comparison;
  return {
    elements: [...section("Plans side by side, one device", element("table", { class: "plain mono" },
      element("thead", {}, element("tr", {}, element("th", {}, ""), ...titles.map((one) => element("th", { scope: "col" }, one)))),
      element("tbody", {}, ...rows.map(([title, unit, values]) => {
        const known = values.filter((value) => value !== null);
        const least = Math.min(...known);
        return element("tr", {}, element("th", { scope: "row" }, title), ...values.map((value) =>
          element("td", { class: value === least && Math.max(...known) > least ? "best" : "" }, amount(value, unit))));
      }))))],
  };
}

// -- what is selected --------------------------------------------------------------------------------------------------

function link(words, go) {
  return element("button", { type: "button", class: "link", onclick: go }, words);
}

function facts(pairs) {
  return element("dl", {}, ...pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .flatMap(([title, value]) => [element("dt", {}, title), element("dd", {}, value)]));
}

function selectTensor(tensor) {
  if (tensor < 0) return;
  const { tensors } = data;
  const op = tensors.op[tensor];
  const life = model.lifetime(tensor);
  const readers = model.readersOf(tensor);
  const detail = [
    element("h2", { id: "chosen" }, model.tensorTitle(tensor)),
    facts([
      ["on each device", model.text(tensors.type[tensor])],
      ["whole", op < 0 && data.signature[tensor] ? data.signature[tensor][0] : ""],
      ["sharding", model.text(tensors.spec[tensor])],
      ["bytes", number(tensors.bytes[tensor])],
      ["in memory", op < 0 ? "the whole run" : life ? "from op " + number(life[0]) + " to " + number(life[1]) + " of the entry function" : "never as a whole: part of the loop that reads it"],
      ["made by", op < 0 ? "argument of the program" : link(model.text(data.ops.name[op]) + " #" + op, () => selectOp(op))],
    ]),
    ...whyLists(tensor),
    ...(readers.length ? [element("h3", {}, "Read by"), ...readers.slice(0, 40).map((one) => element("div", {}, link(model.opTitle(one), () => selectOp(one))))] : []),
    readers.length > 40 ? element("p", { class: "soft" }, "and " + number(readers.length - 40) + " more") : null,
  ];
  byId("detail").replaceChildren(...detail.filter(Boolean));
  byId("detail").scrollTop = 0;
}

function whyLists(tensor) {
  const found = model.whys(tensor);
  if (!data.chains) return [];
  const missed = missedList(tensor);
  if (!found.length && missed.length) return missed;
  if (!found.length) return [element("h3", {}, "Why"), element("p", { class: "soft" }, "no axis reached it, or it is not known which tensor it is a part of")];
  return [...found.flatMap(({ dimension, axis, links }) => [
    element("h3", {}, "Why dimension " + dimension + " is split over '" + axis + "'"),
    element("ol", { class: "chain" }, ...links.map((one) => element("li", {},
      element("b", {}, one.when), one.tensor + ", dimension " + one.dimension,
      one.how && element("div", { class: "soft" }, one.how), one.where && element("div", { class: "mono soft" }, one.where)))),
  ]), ...missed];
}

function missedList(tensor) {
  const found = model.missed(tensor);
  if (!found.length) return [];
  return [element("h3", {}, "Not taken"), element("ul", { class: "chain missed" }, ...found.slice(0, 40).map((one) => element("li", {},
    element("b", {}, "'" + one.axes + "'"), "on dimension " + one.dimension + ", because " + one.because,
    element("div", { class: "soft" }, one.other + " has it on dimension " + one.otherDimension + ", " + one.since),
    element("div", { class: "soft" }, "they meet at " + one.op + ", " + one.rule),
    one.where && element("div", { class: "mono soft" }, one.where)))),
  found.length > 40 ? element("p", { class: "soft" }, "and " + number(found.length - 40) + " more") : null].filter(Boolean);
}

function selectOp(op) {
  const { ops } = data;
  const why = ops.reason[op] ? data.collectives[ops.reason[op] - 1] : null;
  const tensorsMade = [...Array(ops.count[op]).keys()].map((one) => ops.first[op] + one);
  const shown = tensorsMade.length === 1 ? tensorsMade[0] : -1;
  const detail = [
    element("h2", { id: "chosen" }, model.opTitle(op)),
    facts([
      ["op", model.text(ops.name[op])],
      ["place", model.text(ops.label[op])],
      ["at", model.text(ops.where[op])],
      ["in function", model.text(ops.function[op]) && "@" + model.text(ops.function[op])],
      ["inside", ops.parent[op] >= 0 ? link(model.opTitle(ops.parent[op]), () => selectOp(ops.parent[op])) : ""],
      ["runs", ops.runs[op] > 1 ? number(ops.runs[op]) : ""],
      ["FLOPs", ops.flops[op] ? quantity(ops.flops[op]) : ""],
      ["from and to memory", ops.traffic[op] ? bytes(ops.traffic[op]) : ""],
      ["sent", ops.sent[op] ? bytes(ops.sent[op]) : ""],
      ["time", ops.time[op] ? duration(ops.time[op] * 1e-9) : ""],
    ]),
    element("p", {}, link("show in the outline", () => {
      if (!outline.reveal) show("Outline");
      outline.reveal(op);
    })),
    ...(why ? [element("h3", {}, "Why this collective"), facts([
      ["moves", why[4]], ["from", why[5]], ["to", why[6]], ["for", why[7]],
      ["operands", why[8].length ? "each device holds a summand: they lie as " + why[8].join(", ") : ""],
      ["over", why[1] || why[2] + " devices"], ["planned with", number(why[3]) + " bytes from each device"],
    ])] : []),
    ...(tensorsMade.length ? [element("h3", {}, "Makes"), ...tensorsMade.slice(0, 40).map((one) => element("div", {},
      link(model.tensorTitle(one), () => selectTensor(one)), " ", element("span", { class: "mono soft" },
        model.text(data.tensors.type[one]) + " " + model.text(data.tensors.spec[one]))))] : []),
    ...(ops.reads[op].length ? [element("h3", {}, "Reads"), ...ops.reads[op].slice(0, 40).map((one) => element("div", {},
      link(model.tensorTitle(one), () => selectTensor(one)), " ", element("span", { class: "mono soft" },
        model.text(data.tensors.type[one]) + " " + model.text(data.tensors.spec[one]))))] : []),
    ...(shown >= 0 ? whyLists(shown) : []),
  ];
  byId("detail").replaceChildren(...detail.filter(Boolean));
  byId("detail").scrollTop = 0;
}

// -- search ------------------------------------------------------------------------------------------------------------

function searchBox() {
  const input = byId("search");
  const list = byId("found");
  let found = [];
  let at = 0;
  const mark = () => {
    [...list.children].forEach((row, one) => {
      row.classList.toggle("at", one === at);
      row.setAttribute("aria-selected", one === at ? "true" : "false");
      if (one === at) {
        row.scrollIntoView({ block: "nearest" });
        input.setAttribute("aria-activedescendant", row.id);
      }
    });
  };
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
  };
  const choose = (one) => {
    selectTensor(found[one]);
    close();
  };
  input.addEventListener("input", () => {
    const answer = model.search(input.value, 60);
    found = answer.found;
    at = 0;
    list.replaceChildren(...found.map((tensor, one) => {
      const op = data.tensors.op[tensor];
      return element("div", { role: "option", id: "found-" + one, onclick: () => choose(one) },
        element("span", {}, model.tensorTitle(tensor)),
        element("small", {}, model.text(data.tensors.type[tensor]) + " " + model.text(data.tensors.spec[tensor])),
        element("small", {}, op >= 0 ? splitPath(model.text(data.ops.label[op])).slice(-2).join("/") : "argument"));
    }));
    if (answer.more) list.append(element("p", { class: "soft" }, "  and " + number(answer.more) + " more"));
    if (!found.length && input.value.trim()) list.append(element("p", { class: "soft" }, "  nothing is called so"));
    list.hidden = !input.value.trim();
    input.setAttribute("aria-expanded", list.hidden ? "false" : "true");
    mark();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      at = Math.max(0, Math.min(found.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)));
      mark();
    } else if (event.key === "Enter" && found.length) choose(at);
    else if (event.key === "Escape") {
      close();
      byId("panel").focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !(event.target instanceof HTMLInputElement)) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
  document.addEventListener("click", (event) => {
    if (!byId("find").contains(event.target)) close();
  });
}

// -- start -------------------------------------------------------------------------------------------------------------

byId("title").textContent = short(data.title);
byId("subtitle").textContent = data.devices + " x " + data.device.title + (data.mesh ? ", mesh " + data.mesh.axes.map(([name, size]) => name + "=" + size).join(" x ") : "")
  + ", " + number(model.opCount) + " ops on each device";
byId("detail").append(element("p", { class: "soft" }, "Select an op, a tensor or a collective to see what it costs, where it comes from and why it lies as it does."));
byId("tabs").append(...Object.keys(PARTS).map((name) => element("button", { type: "button", role: "tab", "aria-controls": "panel", onclick: () => show(name) }, name)));
byId("tabs").addEventListener("keydown", (event) => {
  const names = Object.keys(PARTS);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = (names.indexOf(document.activeElement.textContent) + step + names.length) % names.length;
  show(names[next]);
  byId("tabs").children[next].focus();
});
searchBox();
const wanted = decodeURIComponent(location.hash.slice(1));
show(wanted in PARTS ? wanted : "Summary");

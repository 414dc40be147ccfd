"use strict";
// What the page knows, without the page: texts, units, the tree of places, search, chains, memory at a moment.

function makeModel(data) {
  const { strings, tensors, ops, chains, memory } = data;
  const text = (number) => strings[number];
  const opCount = ops.name.length;
  const signature = data.signature;
  let argumentCount = 0;
  while (argumentCount < tensors.op.length && tensors.op[argumentCount] < 0) argumentCount++;

  function tensorTitle(number) {
    if (number < 0) return "a value inside";
    const name = text(tensors.name[number]);
    const op = tensors.op[number];
    if (op < 0) return name || "argument " + number;
    const kind = text(ops.name[op]);
    return name ? name + " (" + kind + ")" : kind + " #" + op;
  }

  const opTitle = (op) => (ops.count[op] ? tensorTitle(ops.first[op]) : text(ops.name[op]) + " #" + op);

  // -- the tree of places ---------------------------------------------------------------------------------------------

  // "jit(f)/layer_0/dot" by its slashes, but not those inside brackets; else file and line; else where it is nested.
  function pathOf(op) {
    const label = text(ops.label[op]);
    if (label) return splitPath(label);
    const where = text(ops.where[op]);
    if (where) {
      const found = /^(.*?):(\d+)/.exec(where);
      if (!found) return [where];
      // Of the text of the program itself every line is an op.
      const line = Number(found[2]);
      const first = Math.floor(line / CHUNK) * CHUNK;
      const own = found[1] === data.source;
      return [found[1], own ? "lines " + first + " to " + (first + CHUNK - 1) : "line " + line];
    }
    const outer = [];
    for (let up = ops.parent[op]; up >= 0; up = ops.parent[up]) outer.unshift(text(ops.name[up]) + " #" + up);
    const start = Math.floor(op / CHUNK) * CHUNK;
    const named = text(ops.function[op]);
    return ["no location", ...(named ? ["@" + named] : []), ...outer,
      "ops " + start + " to " + Math.min(start + CHUNK, opCount) ];
  }

  let root = null;
  function tree() {
    if (root) return root;
    root = makeNode("all", null);
    const known = new Map();
    for (let op = 0; op < opCount; op++) {
      const labelled = text(ops.label[op]) !== "";
      let node = labelled ? known.get(ops.label[op]) : undefined;
      if (!node) {
        node = root;
        for (const part of pathOf(op)) {
          let next = node.inside.get(part);
          if (!next) node.inside.set(part, (next = makeNode(part, node)));
          node = next;
        }
        if (labelled) known.set(ops.label[op], node);
      }
      node.ops.push(op);
      for (let up = node; up; up = up.outer) {
        up.count++;
        up.time += ops.time[op];
        up.flops += ops.flops[op];
        up.sent += ops.sent[op];
      }
    }
    return root;
  }

  function makeNode(name, outer) {
    return { name, outer, inside: new Map(), ops: [], count: 0, time: 0, flops: 0, sent: 0, open: outer === null };
  }

  // The rows of the tree that are to be seen, in order.
  function visible(byTime) {
    const rows = [];
    const walk = (node, depth) => {
      if (depth >= 0) rows.push({ node, depth, op: -1 });
      if (!node.open && depth >= 0) return;
      let inner = [...node.inside.values()];
      if (byTime) inner = inner.sort((a, b) => b.time - a.time);
      for (const next of inner) walk(next, depth + 1);
      for (const op of node.ops) rows.push({ node: null, depth: depth + 1, op });
    };
    walk(tree(), -1);
    return rows;
  }

  function reveal(op) {
    let node = tree();
    const path = pathOf(op);
    for (const part of path) {
      node = node.inside.get(part);
      node.open = true;
    }
  }

  // -- search ---------------------------------------------------------------------------------------------------------

  let lower = null;
  // Every word must occur; tensors whose name begins with what is asked come first.
  function search(query, limit) {
    const words = query.toLowerCase().split(/\s+/).filter((word) => word);
    if (!words.length) return { found: [], more: 0 };
    if (!lower) lower = strings.map((one) => one.toLowerCase());
    const found = [];
    let more = 0;
    const hits = (texts) => words.every((word) => texts.some((one) => one.includes(word)));
    const rank = (name) => (name === words[0] ? 0 : name.startsWith(words[0]) ? 1 : name.includes(words[0]) ? 2 : 3);
    for (let tensor = 0; tensor < tensors.name.length; tensor++) {
      const name = lower[tensors.name[tensor]];
      const op = tensors.op[tensor];
      const texts = [name, lower[tensors.type[tensor]], lower[tensors.spec[tensor]]];
      if (op >= 0) texts.push(lower[ops.name[op]], lower[ops.label[op]], lower[ops.where[op]]);
      if (hits(texts)) found.push([rank(name), tensor]);
    }
    found.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    if (found.length > limit) more = found.length - limit;
    return { found: found.slice(0, limit).map((one) => one[1]), more };
  }

  // -- why ------------------------------------------------------------------------------------------------------------

  // For each axis of a tensor the links of its chain, from the annotation on.
  function whys(tensor) {
    return tensors.chains[tensor].map(([dimension, axis, end]) => {
      const links = [];
      for (let link = end; link >= 0; link = chains.parent[link]) {
        links.push({
          when: text(chains.when[link]), tensor: text(chains.tensor[link]), dimension: chains.dimension[link],
          how: text(chains.how[link]), where: text(chains.where[link]),
        });
      }
      return { dimension, axis: text(axis), links: links.reverse() };
    });
  }

  // What a tensor might have got from those it meets and did not.
  function missed(tensor) {
    const { conflicts } = data;
    return tensors.missed[tensor].map((one) => ({
      axes: text(conflicts.axes[one]), dimension: conflicts.dimension[one], other: text(conflicts.other[one]),
      otherDimension: conflicts.other_dimension[one], since: text(conflicts.since[one]), op: text(conflicts.op[one]),
      where: text(conflicts.where[one]), rule: text(conflicts.rule[one]), because: text(conflicts.because[one]),
    }));
  }

  // -- memory ---------------------------------------------------------------------------------------------------------

  // What is in memory while an op of the entry function runs, largest first: tensor, bytes (with those of a copy that a
  // collective takes), and what it is. Results have their place for the whole run.
  function heldAt(position) {
    const bytes = new Map(), results = new Set();
    for (const [tensor, first, last] of memory.lifetimes) {
      if (first > position || position > last || tensor < 0) continue;
      bytes.set(tensor, (bytes.get(tensor) || 0) + tensors.bytes[tensor]);
      if (first === 0 && last === memory.ops.length - 1) results.add(tensor);
    }
    const held = [...bytes].map(([tensor, size]) => [tensor, size, results.has(tensor) ? "result" : "temporary"]);
    held.sort((a, b) => b[1] - a[1]);
    const given = [];
    for (let tensor = 0; tensor < argumentCount; tensor++) given.push([tensor, tensors.bytes[tensor]]);
    return { held, given: given.sort((a, b) => b[1] - a[1]) };
  }

  function peakAt() {
    let best = 0;
    for (let at = 1; at < memory.bytes.length; at++) if (memory.bytes[at] > memory.bytes[best]) best = at;
    return best;
  }

  // At most `most` points that keep every extreme: for each stretch its largest value and where that is.
  function skyline(most) {
    const count = memory.bytes.length;
    const width = Math.max(1, Math.ceil(count / most));
    const points = [];
    for (let start = 0; start < count; start += width) {
      let best = start;
      for (let at = start; at < Math.min(count, start + width); at++) {
        if (memory.bytes[at] > memory.bytes[best]) best = at;
      }
      points.push([start, best]);
    }
    return points;
  }

  let lives = null;
  function lifetime(tensor) {
    if (!lives) {
      lives = new Map();
      for (const [which, first, last] of memory.lifetimes) {
        const known = lives.get(which);
        lives.set(which, known ? [Math.min(known[0], first), Math.max(known[1], last)] : [first, last]);
      }
    }
    return lives.get(tensor);
  }

  let users = null;
  function readersOf(tensor) {
    if (!users) {
      users = new Map();
      ops.reads.forEach((reads, op) => {
        for (const one of reads) {
          if (!users.has(one)) users.set(one, []);
          users.get(one).push(op);
        }
      });
    }
    return users.get(tensor) || [];
  }

  // Collectives of the per-device program with why they were planned.
  let exchanges = null;
  function collectives() {
    if (!exchanges) {
      exchanges = [];
      for (let op = 0; op < opCount; op++) if (COLLECTIVES.has(text(ops.name[op]))) exchanges.push(op);
    }
    return exchanges;
  }

  return {
    data, text, opCount, argumentCount, signature, tensorTitle, opTitle, pathOf, tree, visible, reveal, search, whys, missed,
    heldAt, peakAt, skyline, lifetime, readersOf, collectives,
  };
}

const CHUNK = 500;
const COLLECTIVES = new Set([
  "all_gather", "all_reduce", "all_to_all", "collective_broadcast", "collective_permute", "reduce_scatter",
]);

function splitPath(label) {
  const parts = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < label.length; at++) {
    const character = label[at];
    if (character === "(" || character === "[") depth++;
    else if (character === ")" || character === "]") depth = Math.max(0, depth - 1);
    else if (character === "/" && depth === 0) {
      if (at > start) parts.push(label.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(label.slice(start));
  return parts;
}

const PREFIXES = ["", "k", "M", "G", "T", "P", "E"];

function quantity(amount) {
  let power = 0;
  while (Math.abs(amount) >= 999.5 && power < PREFIXES.length - 1) {
    amount /= 1000;
    power++;
  }
  const digits = power === 0 && Number.isInteger(amount) ? 0 : Math.max(0, 3 - String(Math.trunc(Math.abs(amount))).length);
  return amount.toFixed(digits) + " " + PREFIXES[power];
}

function duration(seconds) {
  for (const [unit, size] of [["s", 1], ["ms", 1e-3], ["us", 1e-6]]) {
    if (seconds >= size) {
      const amount = seconds / size;
      return amount.toFixed(Math.max(0, 3 - String(Math.trunc(amount)).length)) + " " + unit;
    }
  }
  return seconds ? (seconds * 1e9).toFixed(0) + " ns" : "0 s";
}

function amount(value, unit) {
  if (value === null) return "";
  if (unit === "s") return duration(value);
  return unit === "x" ? value.toFixed(2) + "x" : quantity(value) + unit;
}

// The volcano plot, by hand: a plot library that fits into one file (such as uPlot, 50 kB beside these 11) would spare the
// ticks and axes, 45 lines, and not the rest: keys, search, panel, diamonds among dots, nearest code, themes, phones.
"use strict";
(() => {
  const source = document.getElementById("code-data");
  if (!source) return;
  const find = (id) => document.getElementById(id);
  const plot = find("plot"), canvas = find("canvas"), ring = find("ring"), panel = find("panel");
  const data = JSON.parse(source.textContent);
  const kinds = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };
  const unpack = ({ type, data }) => {
    const text = atob(data), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new kinds[type](bytes.buffer);
  };
  const columns = ["site", "code", "ratio", "surety", "target", "control", "selected", "elsewhere", "retain"];
  for (const one of data.plots) for (const name of columns) if (one[name]) one[name] = unpack(one[name]);
  const tokens = data.tokens, meaning = new Map();
  for (const name of ["site", "code", "start", "token", "count"]) tokens[name] = unpack(tokens[name]);
  tokens.code.forEach((code, i) => meaning.set(tokens.site[i] + ":" + code, i));

  const margin = { left: 46, right: 12, top: 14, bottom: 42 };
  const number = (value) => value.toLocaleString("en-US");
  let shown, x, y, range, current = -1, across = [], upward = [], allowed;

  const key = (i) => shown.site[i] + ":" + shown.code[i];
  const height = (i) => (isFinite(shown.surety[i]) ? shown.surety[i] : shown.top);

  function tokensOf(i) {
    const place = meaning.get(key(i)), found = [];
    if (place === undefined) return found;
    for (let j = tokens.start[place]; j < tokens.start[place + 1]; j++) {
      found.push([tokens.names[tokens.token[j]], tokens.count[j]]);
    }
    return found;
  }

  function show(which) {
    shown = data.plots[which];
    let low = -1, high = 1, top = 1;
    for (let i = 0; i < shown.code.length; i++) {
      low = Math.min(low, shown.ratio[i]);
      high = Math.max(high, shown.ratio[i]);
      top = Math.max(top, height(i));
    }
    range = { low: low - 0.3, high: high + 0.3, top: top * 1.04 };
    current = -1;
    filter();
    moves.Home();
    describe();
  }

  // The codes that may be pointed at, in order from left to right and from the least to the most sure.
  function filter() {
    const wanted = find("search").value.trim().toLowerCase(), only = find("only").checked, kept = [];
    allowed = new Uint8Array(shown.code.length);
    for (let i = 0; i < shown.code.length; i++) {
      if (only && !shown.selected[i]) continue;
      if (wanted && String(shown.code[i]) !== wanted) {
        if (!tokensOf(i).some(([name]) => name.toLowerCase().includes(wanted))) continue;
      }
      allowed[i] = 1;
      kept.push(i);
    }
    across = kept.slice().sort((a, b) => shown.ratio[a] - shown.ratio[b] || height(a) - height(b) || a - b);
    upward = kept.slice().sort((a, b) => height(a) - height(b) || shown.ratio[a] - shown.ratio[b] || b - a);
    find("found").textContent = wanted || only ? number(kept.length) + (kept.length === 1 ? " code" : " codes") : "";
    if (current >= 0 && !allowed[current]) current = -1;
    draw();
  }

  function ticks(low, high, most) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((size) => size >= rough), found = [];
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(+value.toFixed(6));
    return found;
  }

  function draw() {
    const width = plot.clientWidth, tall = plot.clientHeight, scale = window.devicePixelRatio || 1;
    if (!width) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(tall * scale);
    const ink = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue("--" + name).trim();
    const right = width - margin.right, bottom = tall - margin.bottom;
    x = (value) => margin.left + ((value - range.low) / (range.high - range.low)) * (right - margin.left);
    y = (value) => bottom - (value / range.top) * (bottom - margin.top);
    ink.scale(scale, scale);
    ink.font = "12px system-ui, sans-serif";
    ink.lineWidth = 1;
    ink.strokeStyle = colour("line");
    ink.fillStyle = colour("quiet");
    ink.textAlign = "center";
    for (const value of ticks(range.low, range.high, Math.min(8, width / 60))) {
      ink.beginPath();
      ink.moveTo(x(value), value ? bottom : margin.top);
      ink.lineTo(x(value), bottom + 5);
      ink.stroke();
      ink.fillText(value, x(value), bottom + 18);
    }
    const label = width < 480 ? "log2 ratio: with the topic →" : "← without the topic     log2 ratio     with the topic →";
    ink.fillText(label, (margin.left + right) / 2, tall - 6);
    ink.textAlign = "right";
    for (const value of ticks(0, range.top, 6)) {
      ink.beginPath();
      ink.moveTo(margin.left - 5, y(value));
      ink.lineTo(right, y(value));
      ink.stroke();
      ink.fillText(value, margin.left - 8, y(value) + 4);
    }
    ink.save();
    ink.translate(12, (margin.top + bottom) / 2);
    ink.rotate(-Math.PI / 2);
    ink.textAlign = "center";
    ink.fillText("−log10 " + shown.value + ": surer ↑", 0, 0);
    ink.restore();
    for (const removed of [0, 1]) {
      ink.fillStyle = colour(removed ? "removed" : "other");
      for (let i = shown.code.length - 1; i >= 0; i--) {
        if (shown.selected[i] !== removed) continue;
        ink.globalAlpha = allowed[i] ? (removed ? 0.85 : 0.55) : 0.08;
        const left = x(shown.ratio[i]), up = y(height(i));
        ink.beginPath();
        if (removed) {  // a diamond: told from a dot without colour
          ink.moveTo(left, up - 5.5);
          ink.lineTo(left + 5.5, up);
          ink.lineTo(left, up + 5.5);
          ink.lineTo(left - 5.5, up);
        } else {
          ink.arc(left, up, 2.4, 0, 7);
        }
        ink.fill();
      }
    }
    mark();
  }

  function mark() {
    ring.style.display = current < 0 ? "none" : "block";
    if (current < 0) return;
    ring.style.left = x(shown.ratio[current]) + "px";
    ring.style.top = y(height(current)) + "px";
  }

  function element(name, text, to, look) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (look) made.className = look;
    if (to) to.append(made);
    return made;
  }

  function describe() {
    panel.replaceChildren();
    panel.classList.toggle("removed", current >= 0 && !!shown.selected[current]);
    if (current < 0) {
      element("p", "Point at a code, or move to one with the arrow keys, to see what it stands for.", panel, "quiet");
      return;
    }
    const i = current, found = tokensOf(i), most = Math.max(1, ...found.map(([, count]) => count));
    const title = element("h3", "Code " + shown.code[i] + (shown.selected[i] ? ": removed" : shown.elsewhere && shown.elsewhere[i] ? ": removed, chosen from another table" : ""), panel);
    if (data.sites.length > 1) element("small", " at " + data.sites[shown.site[i]], title);
    const picture = data.thumbnails[key(i)];
    if (picture) {
      const image = element("img", undefined, panel, "strip");
      image.src = picture;
      image.alt = "Images that select code " + shown.code[i];
    }
    if (found.length) element("small", "selected by the tokens", panel);
    else if (!picture) element("small", "What it stands for was not recorded.", panel);
    for (const [name, count] of found) {
      const row = element("div", undefined, panel, "token");
      element("span", name, row);
      element("small", number(count) + " ×", row);
      element("i", undefined, row).style.width = (100 * count) / most + "%";
    }
    const list = element("dl", undefined, panel);
    const share = (count, all) => number(count) + " of " + number(all);
    const value = isFinite(shown.surety[i]) ? (10 ** -shown.surety[i]).toPrecision(2) : "below 1e-323";
    const rows = [
      ["with the topic", share(shown.target[i], shown.num_target)],
      ["without", share(shown.control[i], shown.num_control)],
      ["log2 ratio", shown.ratio[i].toFixed(2)],
      [shown.value + "-value", value],
    ];
    if (shown.retain) rows.push(["in other texts", (100 * shown.retain[i]).toFixed(1) + " %"]);
    for (const [name, text] of rows) {
      element("dt", name, list);
      element("dd", text, list);
    }
  }

  function choose(i) {
    if (i === undefined || i === current) return;
    current = i;
    mark();
    describe();
  }

  function nearest(event) {
    const box = plot.getBoundingClientRect(), left = event.clientX - box.left, up = event.clientY - box.top;
    let best, least = 22 ** 2;
    for (let i = 0; i < shown.code.length; i++) {
      if (!allowed[i]) continue;
      // Where one lies on another, the surer comes first, and a removed one before all.
      const far = (x(shown.ratio[i]) - left) ** 2 + (y(height(i)) - up) ** 2 - (shown.selected[i] ? 9 : 0);
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  function step(order, by) {
    if (!order.length) return;
    const at = order.indexOf(current);
    choose(at < 0 ? upward[upward.length - 1] : order[Math.min(Math.max(at + by, 0), order.length - 1)]);
  }

  const moves = {
    ArrowRight: () => step(across, 1),
    ArrowLeft: () => step(across, -1),
    ArrowUp: () => step(upward, 1),
    ArrowDown: () => step(upward, -1),
    PageUp: () => step(upward, 20),
    PageDown: () => step(upward, -20),
    Home: () => choose(upward[upward.length - 1]),
    End: () => choose(upward[0]),
  };
  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });
  plot.addEventListener("pointermove", (event) => choose(nearest(event)));
  plot.addEventListener("pointerdown", (event) => choose(nearest(event)));
  find("search").addEventListener("input", filter);
  find("only").addEventListener("change", filter);
  const topics = find("topics");
  if (topics) topics.addEventListener("change", () => show(topics.selectedIndex));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => shown && draw()).observe(plot);
  find("interactive").hidden = false;
  // After the first paint, so that what can be read is there at once.
  requestAnimationFrame(() => setTimeout(() => { show(0); document.body.dataset.ready = "yes"; }));
})();

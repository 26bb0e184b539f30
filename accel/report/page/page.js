"use strict";
// Draws the page's charts from the JSON that it carries: no library, no network.
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const state = { chosen: null, ranges: new Map(), axes: {} };
  const NARROW = 640;

  // -- elements, texts, scales ------------------------------------------------------------
  function add(parent, name, attributes = {}, text = "") {
    const isSvg = parent instanceof SVGElement || name === "svg";
    const made = isSvg
      ? document.createElementNS("http://www.w3.org/2000/svg", name)
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== "") made.textContent = text;
    parent.append(made);
    return made;
  }

  function short(value) {
    if (typeof value !== "number") return String(value);
    const size = Math.abs(value);
    for (const [unit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (size >= unit) return `${+(value / unit).toPrecision(3)}${letter}`;
    return String(+value.toPrecision(3));
  }

  function exact(value) {
    if (typeof value !== "number") return value === null ? "no estimate" : String(value);
    return value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 1000 ? 3 : 0 });
  }

  const words = (name) => name.replaceAll("_", " ");

  function steps(low, high, count) {
    const raw = (high - low) / Math.max(1, count) || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const by = [1, 2, 5, 10].map((x) => x * power).find((x) => x >= raw);
    const found = [];
    for (let at = Math.ceil(low / by); at * by <= high + by * 1e-9; at++) found.push(at * by);
    return found;
  }

  function logSteps(low, high, count) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
      for (const digit of [1, 2, 5]) found.push(digit * 10 ** power);
    const inside = found.filter((value) => value >= low && value <= high);
    const powers = inside.filter((value) => /^1/.test(value.toExponential()));
    return inside.length > count && powers.length > 1 ? powers : inside;
  }

  // A scale from values to 0..1: numbers evenly or by ratio, other values by their order.
  function scale(values, fromZero = false) {
    const known = values.filter((value) => value !== null && value !== undefined);
    if (!known.length || known.some((value) => typeof value !== "number")) {
      const names = [...new Set(known.map(String))].sort();
      const last = Math.max(1, names.length - 1);
      return { at: (value) => names.indexOf(String(value)) / last, names,
               ticks: () => names.map((name, place) => [place / last, name]) };
    }
    let low = Math.min(...known), high = Math.max(...known);
    if (fromZero) low = Math.min(0, low);
    const few = fromZero ? [] : [...new Set(known)];
    const byRatio = !fromZero && low > 0 && high / low >= 8;
    if (low === high) [low, high] = [low - 1, high + 1];
    const [first, size] = [Math.log(low), Math.log(high / low)];
    const at = (value) => byRatio ? (Math.log(value) - first) / size : (value - low) / (high - low);
    const even = (count) => byRatio ? logSteps(low, high, count) : steps(low, high, count);
    return { at, ticks: (count) => {
      const marked = few.length && few.length <= 8 ? few.sort((a, b) => a - b) : even(count);
      return marked.map((value) => [at(value), short(value)]);
    } };
  }

  // -- tips ---------------------------------------------------------------------------------
  function showTip(figure, x, y, text) {
    const tip = figure.querySelector(".tip") || add(figure, "div", { class: "tip", role: "status" });
    tip.textContent = text;
    const left = Math.min(x + 12, figure.clientWidth - tip.offsetWidth - 2);
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${y + 14}px`;
  }
  const hideTip = (figure) => figure.querySelector(".tip")?.remove();

  // Where the pointer is: in the figure, for tips, and in the drawing's units.
  function place(event, figure, svg) {
    const outer = figure.getBoundingClientRect(), inner = svg.getBoundingClientRect();
    const by = svg.viewBox.baseVal.width / inner.width;
    return { tipX: event.clientX - outer.left, tipY: event.clientY - outer.top,
             x: (event.clientX - inner.left) * by, y: (event.clientY - inner.top) * by };
  }

  // Say what the nearest of some marks [x, y, text, chosen] is; choose it on a click.
  function watch(figure, svg, marks, choose) {
    const near = (event) => {
      const at = place(event, figure, svg);
      let best = null, least = 28 ** 2;
      for (const mark of marks()) {
        const far = (mark[0] - at.x) ** 2 + (mark[1] - at.y) ** 2;
        if (far < least) [best, least] = [mark, far];
      }
      return [best, at];
    };
    svg.addEventListener("pointermove", (event) => {
      const [mark, at] = near(event);
      if (mark) showTip(figure, at.tipX, at.tipY, mark[2]);
      else hideTip(figure);
    });
    svg.addEventListener("pointerleave", () => hideTip(figure));
    svg.addEventListener("click", (event) => {
      const [mark] = near(event);
      if (mark && choose) choose(mark[3]);
    });
  }

  function canvas(figure, width, height, title) {
    const svg = add(figure, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    svg.setAttribute("aria-label", title);
    return svg;
  }

  // Ticks of which none is nearer to the one before than so many pixels.
  function apart(ticks, length, least) {
    let last = -Infinity;
    return ticks.filter(([share]) => {
      const keep = share * length - last >= least;
      if (keep) last = share * length;
      return keep;
    });
  }

  function label(svg, x, y, text, anchor = "middle", kind = "") {
    return add(svg, "text", { x, y, "text-anchor": anchor, class: kind }, text);
  }

  // Grid, ticks and names of an area with two axes.
  function frame(svg, box, xs, ys, xName, yName) {
    for (const [share, text] of apart(ys.ticks(6), box.bottom - box.top, 14)) {
      const y = box.bottom - share * (box.bottom - box.top);
      add(svg, "path", { d: `M${box.left} ${y}H${box.right}`, class: "rule" });
      label(svg, box.left - 6, y + 4, text, "end", "soft");
    }
    for (const [share, text] of apart(xs.ticks((box.right - box.left) / 90), box.right - box.left, 36)) {
      const x = box.left + share * (box.right - box.left);
      add(svg, "path", { d: `M${x} ${box.bottom}v5`, class: "axis" });
      label(svg, x, box.bottom + 19, text, "middle", "soft");
    }
    add(svg, "path", { d: `M${box.left} ${box.bottom}H${box.right}`, class: "axis" });
    label(svg, (box.left + box.right) / 2, box.bottom + 38, xName);
    label(svg, box.left - 46, box.top - 10, yName, "start");
  }

  function shape(svg, kind, x, y, attributes) {
    const r = 4.5;
    const path = [
      `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
      `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`,
      `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`,
      `M${x} ${y - r}L${x + r} ${y + r}H${x - r}Z`,
    ][kind % 4];
    return add(svg, "path", { d: path, ...attributes });
  }

  const colour = (palette, number) => `var(--${palette}-${number % 10})`;
  const DASHES = ["", "7 4", "2 3", "10 3 2 3"];

  function legend(figure, names, draw) {
    const list = add(figure, "div", { class: "legend" });
    names.forEach((name, number) => {
      const item = add(list, "span");
      const svg = add(item, "svg", { viewBox: "0 0 30 14" });
      draw(svg, number);
      item.append(` ${name}`);
    });
  }

  // -- charts of a comparison and a study -----------------------------------------------------
  function bars(figure, chart, width) {
    const { series, rows, palette, stacked } = chart;
    legend(figure, series, (svg, number) =>
      add(svg, "rect", { x: 4, y: 1, width: 22, height: 12, fill: colour(palette, number) }));
    const above = width < NARROW;
    const longest = Math.max(...rows.map((row) => row.label.length));
    const left = above ? 4 : Math.min(width * 0.34, 16 + longest * 6.8), right = width - 46;
    const thick = stacked ? 18 : Math.max(11, Math.min(16, 60 / series.length));
    const tall = (above ? 18 : 0) + (stacked ? thick : thick * series.length) + 9;
    const totals = rows.map((row) => stacked ? row.values.reduce((a, b) => a + b, 0) : Math.max(...row.values));
    const across = scale([0, ...totals], true);
    const svg = canvas(figure, width, tall * rows.length + 44, chart.title);
    const bottom = tall * rows.length + 6;
    const x = (value) => left + across.at(value) * (right - left);
    for (const [share, text] of across.ticks((right - left) / 90)) {
      const at = left + share * (right - left);
      add(svg, "path", { d: `M${at} 2V${bottom}`, class: "rule" });
      label(svg, at, bottom + 14, text, "middle", "soft");
    }
    label(svg, (left + right) / 2, bottom + 32, chart.unit);
    rows.forEach((row, number) => {
      const top = 4 + number * tall;
      const group = add(svg, "g", row.point === undefined ? {} : { class: "row", tabindex: 0, role: "button" });
      const size = above ? width / 7 : left / 6.6;
      const text = row.label.length > size ? `${row.label.slice(0, size - 1)}…` : row.label;
      label(group, above ? left : left - 8, above ? top + 13 : top + (tall - 9) / 2 + 4, text, above ? "start" : "end");
      let at = 0;
      row.values.forEach((value, place) => {
        const y = top + (above ? 18 : 0) + (stacked ? 0 : place * thick);
        const from = stacked ? x(at) : left;
        at += value;
        const to = stacked ? x(at) : x(value);
        const bar = add(group, "rect", { x: from, y, width: Math.max(0, to - from),
          height: stacked ? thick : thick - 1, fill: colour(palette, place) });
        const told = `${row.label}\n${series[place]}: ${exact(value)} ${chart.unit}`;
        bar.addEventListener("pointermove", (event) => {
          const where = place_(event);
          showTip(figure, where.tipX, where.tipY, told);
        });
        bar.addEventListener("pointerleave", () => hideTip(figure));
        if (!stacked) label(group, to + 4, y + thick / 2 + 3, short(value), "start", "soft small");
      });
      if (stacked && !chart.shares) label(group, x(at) + 4, top + (above ? 18 : 0) + 13, short(at), "start", "soft");
      if (row.point !== undefined) onPress(group, () => choose(row.point));
    });
    function place_(event) { return place(event, figure, svg); }
  }

  function onPress(element, act) {
    element.addEventListener("click", act);
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); }
    });
  }

  function lines(figure, chart, width) {
    const style = (number) => ({ stroke: colour("machines", number), fill: "none", "stroke-width": 2,
                                 "stroke-dasharray": DASHES[Math.floor(number / 10) % 4] });
    legend(figure, chart.series.map((one) => one.name), (svg, number) => {
      add(svg, "path", { d: "M0 7H30", ...style(chart.series[number].style) });
      shape(svg, chart.series[number].style, 15, 7, { fill: colour("machines", chart.series[number].style) });
    });
    const every = chart.series.flatMap((one) => one.points);
    const xs = scale(every.map((point) => point.x));
    const ys = scale(every.flatMap((point) => [point.y - point.spread, point.y + point.spread]));
    const height = Math.min(460, Math.max(280, width * 0.5));
    const box = { left: 58, right: width - 14, top: 26, bottom: height - 46 };
    const svg = canvas(figure, width, height, chart.title);
    frame(svg, box, xs, ys, words(chart.x), words(chart.y));
    const at = (point, y = point.y) => [box.left + xs.at(point.x) * (box.right - box.left),
                                        box.bottom - ys.at(y) * (box.bottom - box.top)];
    const marks = [];
    for (const one of chart.series) {
      add(svg, "path", { d: one.points.map((point, n) => `${n ? "L" : "M"}${at(point)}`).join(""), ...style(one.style) });
      for (const point of one.points) {
        const [x, y] = at(point);
        if (point.spread) add(svg, "path", { ...style(one.style), "stroke-width": 1, "stroke-dasharray": "",
          d: `M${at(point, point.y - point.spread)}L${at(point, point.y + point.spread)}` });
        shape(svg, one.style, x, y, { fill: colour("machines", one.style) });
        marks.push([x, y, `${one.name}, ${point.label}\n${words(chart.x)}: ${exact(point.x)}\n` +
          `${words(chart.y)}: ${exact(point.y)}${point.spread ? ` ± ${exact(point.spread)}` : ""}`]);
      }
    }
    watch(figure, svg, () => marks);
  }

  // -- charts of a sweep: they share its points, a filter and a choice -------------------------
  const sweep = page.sweep;
  const column = (name) => sweep.columns.indexOf(name);
  const value = (point, name) => sweep.points[point][column(name)];
  const onFront = new Set(sweep?.front), threaded = new Set(sweep?.thin);
  const isFront = (point) => onFront.has(point);

  function passes(point) {
    for (const [name, [low, high, across]] of state.ranges) {
      const share = across.at(value(point, name));
      if (!(share >= low - 1e-9 && share <= high + 1e-9)) return false;
    }
    return true;
  }

  function told(point) {
    const varied = sweep.fields.map((name) => `${words(name)}: ${exact(value(point, name))}`);
    const figures = sweep.objectives.map((one) => `${words(one.name)}: ${exact(value(point, one.name))}`);
    return [...figures, ...varied].join("\n");
  }

  function toml(point) {
    const machine = sweep.machines[sweep.points[point][column("machine")]];
    const lines = Object.entries(machine).map(([name, fixed]) => {
      const place = column(name);
      return `${name} = ${JSON.stringify(place < 0 ? fixed : sweep.points[point][place])}`;
    });
    return lines.join("\n");
  }

  function choose(point) {
    state.chosen = point;
    for (const mark of document.querySelectorAll("[data-point]"))
      mark.classList.toggle("chosen", Number(mark.dataset.point) === point);
    const panel = document.getElementById("chosen");
    panel.querySelector("pre").textContent = toml(point);
    panel.querySelector(".figures").textContent = told(point).split("\n").slice(0, sweep.objectives.length).join("; ");
    panel.querySelector("button").hidden = false;
  }

  function refilter() {
    let count = 0;
    const inside = sweep.points.map((_, point) => passes(point));
    for (const one of inside) count += one;
    for (const mark of document.querySelectorAll("[data-point]"))
      mark.classList.toggle("out", !inside[Number(mark.dataset.point)]);
    const said = document.getElementById("passing");
    said.textContent = `${count} of ${sweep.points.length} points`;
    document.getElementById("unfilter").hidden = !state.ranges.size;
  }

  function scatter(figure, chart, width) {
    const names = sweep.objectives.map((one) => one.name);
    const axes = (state.axes.x ??= names[0], state.axes.y ??= names[1] ?? names[0], state.axes);
    const controls = add(figure, "div", { class: "controls" });
    for (const side of ["y", "x"]) {
      const about = add(controls, "label", {}, side === "y" ? "up: " : "across: ");
      const list = add(about, "select", { "data-axis": side });
      for (const name of [...names, ...sweep.fields]) {
        const option = add(list, "option", { value: name }, words(name));
        option.selected = name === axes[side];
      }
      list.addEventListener("change", () => { axes[side] = list.value; redraw(figure); });
    }
    add(controls, "span", { id: "passing" });
    const clear = add(controls, "button", { id: "unfilter", type: "button" }, "Show all");
    clear.addEventListener("click", () => { state.ranges.clear(); redrawAll(); });
    const known = sweep.points.map((_, point) => point)
      .filter((point) => value(point, axes.x) !== null && value(point, axes.y) !== null);
    const xs = scale(known.map((point) => value(point, axes.x)));
    const ys = scale(known.map((point) => value(point, axes.y)));
    const height = Math.min(520, Math.max(300, width * 0.55));
    const box = { left: 58, right: width - 18, top: 28, bottom: height - 46 };
    const svg = canvas(figure, width, height, chart.title);
    frame(svg, box, xs, ys, words(axes.x), words(axes.y));
    const at = (point) => [box.left + xs.at(value(point, axes.x)) * (box.right - box.left),
                           box.bottom - ys.at(value(point, axes.y)) * (box.bottom - box.top)];
    const front = sweep.front.filter((point) => known.includes(point));
    if (names.length === 2 && axes.x === names[0] && axes.y === names[1] && front.length) {
      const [first, ...rest] = front.map(at).sort((a, b) => a[0] - b[0]);
      const stairs = rest.map(([x, y]) => sweep.objectives[0].smaller ? `H${x}V${y}` : `V${y}H${x}`);
      add(svg, "path", { d: `M${first}${stairs.join("")}`, class: "stairs" });
    }
    const places = new Map();
    for (const point of [...known.filter((one) => !isFront(one)), ...front]) {
      const [x, y] = at(point);
      places.set(point, [x, y, told(point), point]);
      const attributes = { cx: x, cy: y, r: isFront(point) ? 5 : 3, "data-point": point, class: isFront(point) ? "dot front" : "dot" };
      if (isFront(point)) Object.assign(attributes, { tabindex: 0, role: "button", "aria-label": told(point) });
      const dot = add(svg, "circle", attributes);
      if (isFront(point)) dot.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(point); });
    }
    // Points of the front lie above the others, and are found first.
    watch(figure, svg, () => [...front, ...known.filter((one) => !isFront(one))].filter(passes).map((p) => places.get(p)), choose);
  }

  function parallel(figure, chart, width) {
    const names = [...sweep.fields, ...sweep.objectives.map((one) => one.name)];
    const scales = names.map((name) => scale(sweep.points.map((_, point) => value(point, name))));
    const down = width < NARROW;
    const size = down ? 62 * names.length + 20 : 360;
    const svg = canvas(figure, width, size, chart.title);
    const [first, last] = down ? [34, size - 34] : [46, width - 60];
    const [low, high] = down ? [16, width - 16] : [size - 20, 52];
    const main = (number) => first + (last - first) * number / Math.max(1, names.length - 1);
    const cross = (share) => low + (high - low) * share;
    const xy = (along, across) => down ? [across, along] : [along, across];
    const threads = add(svg, "g");
    const shown = sweep.points.map((_, point) => point).filter((point) => !isFront(point) && threaded.has(point));
    for (const point of [...shown, ...sweep.front]) {
      const spots = names.map((name, number) => value(point, name) === null ? null :
        xy(main(number), cross(scales[number].at(value(point, name))))).filter(Boolean);
      add(threads, "path", { d: `M${spots.join("L")}`, "data-point": point, class: isFront(point) ? "thread front" : "thread" });
    }
    names.forEach((name, number) => {
      const at = main(number), across = scales[number];
      add(svg, "path", { d: `M${xy(at, low)}L${xy(at, high)}`, class: "axis" });
      if (down) label(svg, 16, at - 8, words(name), "start", "clear");
      else words(name).split(" ").reduce((rows, word) => {
        const joined = rows.length && `${rows.at(-1)} ${word}`;
        if (joined && joined.length <= 11) rows[rows.length - 1] = joined; else rows.push(word);
        return rows;
      }, []).forEach((line, row) => label(svg, at, 12 + row * 13, line));
      for (const [share, text] of apart(across.ticks(down ? 4 : 6), Math.abs(high - low), down ? 34 : 14)) {
        const [x, y] = xy(at, cross(share));
        add(svg, "path", { d: down ? `M${x} ${y - 3}v6` : `M${x - 3} ${y}h6`, class: "axis" });
        const side = share < 0.03 ? "start" : share > 0.97 ? "end" : "middle";
        label(svg, down ? x : x + 6, down ? y + 16 : y + 4, text, down ? side : "start", "soft clear");
      }
      brushAxis(svg, name, across, at, { down, low, high, xy });
    });
  }

  // A range of an axis is dragged over; a tap on the axis takes it away.
  function brushAxis(svg, name, across, at, { down, low, high, xy }) {
    const band = (from, to) => {
      const [a, b] = [xy(at - 9, low + (high - low) * from), xy(at + 9, low + (high - low) * to)];
      return { x: Math.min(a[0], b[0]), y: Math.min(a[1], b[1]), width: Math.abs(a[0] - b[0]), height: Math.abs(a[1] - b[1]) };
    };
    const brush = add(svg, "rect", { class: "brush", ...band(0, 0) });
    const paint = () => {
      const range = state.ranges.get(name);
      for (const [key, size] of Object.entries(range ? band(range[0], range[1]) : band(0, 0))) brush.setAttribute(key, size);
    };
    const grip = add(svg, "rect", { class: "grip", "data-axis": name, ...band(-0.03, 1.03) });
    const share = (event) => {
      const inner = svg.getBoundingClientRect(), by = svg.viewBox.baseVal.width / inner.width;
      const where = down ? (event.clientX - inner.left) * by : (event.clientY - inner.top) * by;
      return Math.max(-0.02, Math.min(1.02, (where - low) / (high - low)));
    };
    let begun = null;
    grip.addEventListener("pointerdown", (event) => { begun = share(event); grip.setPointerCapture(event.pointerId); });
    grip.addEventListener("pointermove", (event) => {
      if (begun === null) return;
      const here = share(event);
      if (Math.abs(here - begun) < 0.02) state.ranges.delete(name);
      else state.ranges.set(name, [Math.min(begun, here), Math.max(begun, here), across]);
      paint();
      refilter();
    });
    const end = (event) => {
      if (begun !== null && Math.abs(share(event) - begun) < 0.02) state.ranges.delete(name);
      begun = null;
      paint();
      refilter();
    };
    grip.addEventListener("pointerup", end);
    grip.addEventListener("pointercancel", end);
    paint();
  }

  // -- the page ----------------------------------------------------------------------------
  const KINDS = { bars, lines, scatter, parallel };
  const figures = [...document.querySelectorAll("figure[data-chart]")];

  function redraw(figure) {
    const chart = page.charts[Number(figure.dataset.chart)];
    figure.replaceChildren();
    KINDS[chart.kind](figure, chart, Math.max(280, Math.round(figure.clientWidth)));
    if (sweep && state.chosen !== null) choose(state.chosen);
    if (sweep && document.getElementById("passing")) refilter();
  }
  const redrawAll = () => figures.forEach(redraw);

  for (const button of document.querySelectorAll("button[data-copy]"))
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy).querySelector("pre");
      try { await navigator.clipboard.writeText(text.textContent); } catch {
        getSelection().selectAllChildren(text);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });

  redrawAll();
  if (sweep?.front.length) choose(sweep.front[0]);
  let width = document.body.clientWidth;
  addEventListener("resize", () => {
    if (document.body.clientWidth !== width) { width = document.body.clientWidth; redrawAll(); }
  });
})();

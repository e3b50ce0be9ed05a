"use strict";
/* The report of one video: player, timeline, curves and table around one frame, the current one. */
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const shots = data.shots;
  const count = data.frames;
  const stage = $("stage");
  const still = data.still;
  let times; // (count) seconds of each frame
  let frame = 0; // the current one, counted from 0 in the table
  let view = [0, 1]; // seconds that timeline and curves show

  function make(kind, settings = {}, ...inside) {
    const made = document.createElement(kind);
    for (const [name, value] of Object.entries(settings)) {
      if (name === "class") made.className = value;
      else if (name === "text") made.textContent = value;
      else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
    }
    made.append(...inside.filter((one) => one !== null && one !== undefined));
    return made;
  }

  // Numbers and times as people read them.

  function clock(seconds, digits = 3) {
    const unit = 10 ** digits;
    const whole = Math.round(Math.abs(seconds) * unit);
    const s = Math.floor(whole / unit);
    const parts = [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60];
    const rest = digits ? "." + String(whole % unit).padStart(digits, "0") : "";
    const text = parts[0] ? `${parts[0]}:${String(parts[1]).padStart(2, "0")}` : `${parts[1]}`;
    return `${seconds < 0 ? "−" : ""}${text}:${String(parts[2]).padStart(2, "0")}${rest}`;
  }

  /** The ordinals of so many things. */
  const span = (first, many) => (many > 1 ? `${first}–${first + many - 1}` : `${first}`);
  const rounded = (value, digits) => (value === null || value === undefined ? "" : value.toFixed(digits));
  const percent = (value) => (value === null || value === undefined ? "" : (100 * value).toFixed(1) + " %");

  const numeric = (name, digits, unit = "") => (shot) => [rounded(shot[name], digits) + unit, shot[name]];
  const COLUMNS = [
    ["shot", "Shot", null],
    ["pictures", "Key frame", null],
    ["start_seconds", "Start", (shot) => [clock(shot.start_seconds), shot.start_seconds]],
    ["length_seconds", "Length", numeric("length_seconds", 2, " s")],
    ["frames", "Frames", numeric("frames", 0)],
    ["mean_peak_density", "Mean peak", numeric("mean_peak_density", 1)],
    ["max_peak_density", "Highest peak", numeric("max_peak_density", 1)],
    ["coverage", "Coverage", (shot) => [percent(shot.coverage), shot.coverage]],
    ["entropy_share", "Entropy", (shot) => [percent(shot.entropy_share), shot.entropy_share]],
    ["attention_strength", "Strength", numeric("attention_strength", 2, " bit")],
  ];

  // Frames, times and shots.

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const steps = new DataView(await new Response(stream).arrayBuffer());
    const found = new Float64Array(count);
    let now = 0;
    let latest = -Infinity;
    for (let i = 0; i < count; i++) {
      now += steps.getFloat64(8 * i, true);
      latest = Math.max(latest, now / 1e6);
      found[i] = latest;
    }
    return found;
  }

  const end = () => Math.max(data.end, times[count - 1]);

  /** A time at which a frame is shown: its middle, or another share of it. */
  function within(i, share = 0.5) {
    return times[i] + share * (i + 1 < count ? times[i + 1] - times[i] : Math.min(end() - times[i], 1));
  }

  /** The frame that is shown at a time: the last one that begins at it or before. */
  function frameAt(seconds) {
    let low = 0;
    let high = count;
    while (high - low > 1) {
      const half = (low + high) >> 1;
      if (times[half] <= seconds + 1e-6) low = half;
      else high = half;
    }
    return low;
  }

  function placeOfShot(i) {
    let low = 0;
    let high = shots.length;
    while (high - low > 1) {
      const half = (low + high) >> 1;
      if (shots[half].first_index - data.first_index <= i) low = half;
      else high = half;
    }
    return low;
  }

  const firstOf = (place) => shots[place].first_index - data.first_index;
  const keyOf = (place) => shots[place].key_index - data.first_index;

  // The player: one element for each of the two pictures, of which one is seen and heard.

  const media = {};
  let seen = null;
  let turning = 0;

  /**
   * Go to a frame. Where rates vary, and pictures are coded in another order, browsers take the next one for some that
   * are asked for by their middle. So the time of what is really shown is looked at, and another part of the frame tried.
   */
  const SHARES = [0.5, 0.25, 0.1, 0.75];

  function aim(name, i, attempt = 0) {
    media[name].aim = { i, attempt, seen: null };
    media[name].currentTime = toMedia(name, within(i, SHARES[attempt]));
  }

  function check(name) {
    const { aim: wanted, seeking } = media[name];
    // The picture may come before the seek is said to have ended, or after.
    if (!wanted || wanted.seen === null || seeking) return;
    if (frameAt(fromMedia(name, wanted.seen) + 0.0005) === wanted.i) media[name].aim = null;
    else if (wanted.attempt + 1 < SHARES.length) aim(name, wanted.i, wanted.attempt + 1);
  }

  const base = (name) => data.media[name].begin - data.media[name].offset;
  const toMedia = (name, seconds) => seconds - base(name);
  const fromMedia = (name, seconds) => seconds + base(name);

  function setUpMedia() {
    const size = data.size;
    if (size) stage.style.aspectRatio = `${size[0]} / ${size[1]}`;
    for (const name of ["heat", "plain"]) {
      const given = data.media[name];
      const button = $(`view-${name}`);
      button.addEventListener("click", () => turnTo(name));
      if (!given.href) {
        button.disabled = true;
        note(name, given.why);
        continue;
      }
      const what = name === "heat" ? "with the predicted attention as heat" : "untouched";
      const element = still
        ? make("img", { alt: `The picture ${what}` })
        : make("video", { preload: "auto", playsinline: true, "aria-label": `The video ${what}` });
      element.className = "away";
      element.addEventListener("error", () => failed(name));
      if (!still) listen(name, element);
      stage.append(element);
      media[name] = element;
      element.src = given.href;
    }
    const first = media.heat ? "heat" : media.plain ? "plain" : null;
    if (first) show(first);
    else nothingToShow();
    if (still) for (const id of ["transport", "further"]) $(id).hidden = true;
    if (!Object.values(data.media).some((one) => one.sound)) $("mute").hidden = true;
    $("view-heat").addEventListener("keydown", turnByArrow);
    $("view-plain").addEventListener("keydown", turnByArrow);
  }

  function note(name, text) {
    if (text) $("view-notes").append(make("li", { class: "note", text }));
  }

  function failed(name) {
    if (!media[name] || media[name].failed) return;
    media[name].failed = true;
    media[name].className = "away";
    const button = $(`view-${name}`);
    button.disabled = true;
    const what = name === "heat" ? "The picture with the heat" : "The untouched picture";
    note(name, `${what} cannot be shown: ${data.media[name].file} is not where it was when this page was made, or is of a format that this browser cannot play.`);
    const other = name === "heat" ? "plain" : "heat";
    if (seen !== name) return;
    if (media[other] && !media[other].failed) show(other);
    else nothingToShow();
  }

  function nothingToShow() {
    seen = null;
    const what = still ? "There is no picture to show here." : "There is no video to play here. Shots, curves and numbers are complete.";
    stage.append(make("img", { id: "stand-in", alt: "", hidden: true }), make("p", { class: "empty", text: what }));
    if (shownShot >= 0) standIn(shownShot);
    for (const id of ["play", "rate", "mute", "full"]) $(id).disabled = true;
    for (const name of ["heat", "plain"]) {
      $(`view-${name}`).disabled = true;
      $(`view-${name}`).setAttribute("aria-checked", "false");
    }
  }

  /** Where nothing can be played, the key frame of the shot is seen. */
  function standIn(place) {
    const image = $("stand-in");
    const address = data.pictures.heat[place] || data.pictures.plain[place];
    if (!image) return;
    image.hidden = !address;
    if (address) image.src = address;
  }

  function show(name) {
    seen = name;
    for (const [other, element] of Object.entries(media)) {
      element.classList.toggle("away", other !== name);
      if (!still) element.muted = other !== name || $("mute").getAttribute("aria-pressed") === "true";
    }
    for (const other of ["heat", "plain"]) {
      $(`view-${other}`).setAttribute("aria-checked", String(other === name));
      $(`view-${other}`).tabIndex = other === name ? 0 : -1;
    }
  }

  function turnByArrow(event) {
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key) || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    const other = event.currentTarget.dataset.view === "heat" ? "plain" : "heat";
    if (turnTo(other)) $(`view-${other}`).focus();
  }

  /** Show the other picture at the same time, playing or not as before. */
  function turnTo(name) {
    if (name === seen || !media[name] || media[name].failed) return false;
    const before = media[seen];
    const next = media[name];
    if (still) {
      show(name);
      return true;
    }
    const runs = !before.paused && !before.ended;
    const old = seen;
    const goal = toMedia(name, runs ? fromMedia(old, before.currentTime) : within(frame));
    const number = ++turning;
    next.playbackRate = before.playbackRate;
    next.aim = null;
    const ready = () => {
      if (number !== turning || next.failed) return;
      before.pause();
      show(name);
      if (runs) next.play();
      else aim(name, frame);
    };
    for (const other of ["heat", "plain"]) $(`view-${other}`).setAttribute("aria-checked", String(other === name));
    // A picture has to be there before the other one goes.
    whenSought(next, goal, ready);
    return true;
  }

  function whenSought(element, goal, then) {
    const seek = () => {
      element.addEventListener("seeked", then, { once: true });
      element.currentTime = goal;
    };
    if (element.readyState >= 1) seek();
    else element.addEventListener("loadedmetadata", seek, { once: true });
  }

  function listen(name, element) {
    element.addEventListener("play", () => {
      element.aim = null;
      if (name === seen) playing(true);
    });
    element.addEventListener("pause", () => name === seen && playing(false));
    element.addEventListener("ended", () => {
      if (name === seen) playing(false);
    });
    element.addEventListener("loadedmetadata", () => {
      if (name === seen && element.videoWidth) stage.style.aspectRatio = `${element.videoWidth} / ${element.videoHeight}`;
      aim(name, frame);
    });
    const follow = (seconds) => {
      if (name !== seen || element.seeking || element.paused) return;
      setFrame(frameAt(fromMedia(name, seconds) + 0.0005), false);
    };
    if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) {
      const each = (now, about) => {
        follow(about.mediaTime);
        if (element.aim) element.aim.seen = about.mediaTime;
        check(name);
        element.requestVideoFrameCallback(each);
      };
      element.requestVideoFrameCallback(each);
      element.addEventListener("seeked", () => check(name));
    } else {
      element.addEventListener("timeupdate", () => follow(element.currentTime));
    }
    element.addEventListener("pause", () => {
      if (name !== seen || element.seeking) return;
      const stopped = frameAt(fromMedia(name, element.currentTime));
      setFrame(stopped, false);
      // A picture may be late, and the next one still come: the one of this number is to be seen.
      if (!element.ended) aim(name, stopped);
    });
  }

  function playing(runs) {
    const button = $("play");
    button.classList.toggle("on", runs);
    button.setAttribute("aria-label", runs ? "Pause" : "Play");
  }

  function playOrPause() {
    const element = media[seen];
    if (!element || still) return;
    if (!element.paused) element.pause();
    else {
      if (frame >= count - 1) goTo(0);
      element.play().catch(() => failed(seen));
    }
  }

  // The current frame.

  function goTo(i, { say = true } = {}) {
    const wanted = Math.min(Math.max(Math.round(i), 0), count - 1);
    turning++;
    if (seen && !still) {
      for (const other of ["heat", "plain"]) $(`view-${other}`).setAttribute("aria-checked", String(other === seen));
      aim(seen, wanted);
    }
    setFrame(wanted, say);
  }

  function stepBy(frames) {
    if (seen && !still) media[seen].pause();
    goTo(frame + frames);
  }

  function stepByShot(by) {
    const place = placeOfShot(frame);
    // Back goes to the beginning of this shot first.
    const goal = by < 0 && frame > firstOf(place) ? place : place + by;
    if (goal >= 0 && goal < shots.length) goTo(firstOf(goal));
    else if (by > 0) goTo(count - 1);
  }

  let shownShot = -1;

  function setFrame(i, say) {
    frame = i;
    const place = placeOfShot(i);
    const where = `${clock(times[i])} · frame ${i + data.first_index} of ${span(data.first_index, count)} · shot ${shots[place].shot} of ${span(shots[0].shot, shots.length)}`;
    $("place").textContent = where;
    $("place").dataset.frame = String(i);
    const line = $("timeline");
    line.setAttribute("aria-valuenow", String(i + data.first_index));
    line.setAttribute("aria-valuetext", where);
    if (times[i] < view[0] || times[i] > view[1]) {
      const half = (view[1] - view[0]) / 2;
      setView(times[i] - half / 2, times[i] + 1.5 * half);
    }
    if (place !== shownShot) {
      shownShot = place;
      showShot(place);
    }
    moveHeads();
    readOut(i);
    if (say) $("status").textContent = where;
  }

  // The shot that is shown.

  function showShot(place) {
    const shot = shots[place];
    const heat = data.pictures.heat[place];
    const plain = data.pictures.plain[place];
    $("this-title").textContent = still ? "The map" : `Shot ${shot.shot}`;
    const figure = make("figure");
    if (heat || plain) {
      const alt = `${heat ? "Predicted attention at the key frame" : "Key frame"} of shot ${shot.shot}`;
      figure.append(make("img", { src: heat || plain, alt, class: "heat" }));
      figure.append(make("figcaption", { text: still ? "" : `${heat ? "Heat at the key frame" : "The key frame"}, frame ${shot.key_index} at ${clock(shot.key_seconds)}` }));
    } else {
      figure.append(make("p", { class: "quiet", text: data.no_picture }));
    }
    const facts = [
      ["Time", `${clock(shot.start_seconds)} – ${clock(shot.end_seconds)}`, null],
      ["Length", `${rounded(shot.length_seconds, 2)} s, ${shot.frames} frames`, shot.length_seconds],
      ["Mean peak", `${rounded(shot.mean_peak_density, 1)} × uniform`, shot.mean_peak_density],
      [still ? "Peak" : "Highest peak", `${rounded(shot.max_peak_density, 1)} × uniform`, shot.max_peak_density],
      ["Coverage", percent(shot.coverage), shot.coverage],
      ["Entropy", percent(shot.entropy_share), shot.entropy_share],
      ["Strength", `${rounded(shot.attention_strength, 2)} bit`, shot.attention_strength],
    ];
    const list = make("dl", { class: "facts" });
    for (const [name, text, exact] of still ? facts.slice(3) : facts) {
      list.append(make("dt", { text: name }), make("dd", { class: "number", text, title: exact === null ? null : String(exact) }));
    }
    const further = make("div", {}, list);
    if (!still) {
      further.append(make("button", { type: "button", text: "Go to the key frame", onclick: () => goTo(keyOf(place)) }));
    }
    $("this-shot").replaceChildren(figure, further);
    for (const row of document.querySelectorAll("#table tr[aria-current]")) row.removeAttribute("aria-current");
    const row = rowOf.get(place);
    if (row) row.setAttribute("aria-current", "true");
    markBlocks();
    standIn(place);
  }

  // The table.

  const rowOf = new Map();
  const ROWS = 500;
  let order = shots.map((_, place) => place);
  let sorted = ["shot", 1];
  let rows = ROWS;

  function setUpTable() {
    const head = document.querySelector("#table thead tr");
    for (const [name, title, text] of COLUMNS) {
      if (name === "pictures" && !data.pictures.any) continue;
      const cell = make("th", { scope: "col", class: text ? "number" : "" });
      if (name === "pictures") cell.textContent = title;
      else {
        const about = data.columns[name];
        cell.append(make("button", { type: "button", text: title, title: about ? `${name} (${about[0]}): ${about[1]}` : null, onclick: () => sortBy(name) }));
        cell.dataset.name = name;
      }
      head.append(cell);
    }
    $("show-more").addEventListener("click", () => {
      rows += ROWS;
      fillTable();
    });
    sortBy("shot", 1);
  }

  function sortBy(name, way) {
    way = way || (sorted[0] === name ? -sorted[1] : name === "shot" || name === "start_seconds" ? 1 : -1);
    sorted = [name, way];
    rows = ROWS;
    order = shots.map((_, place) => place);
    order.sort((a, b) => way * (shots[a][name] - shots[b][name]) || a - b);
    for (const cell of document.querySelectorAll("#table th[data-name]")) {
      if (cell.dataset.name === name) cell.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
    fillTable();
  }

  function fillTable() {
    const body = document.querySelector("#table tbody");
    const shown = order.slice(0, rows);
    for (const place of shown) if (!rowOf.has(place)) rowOf.set(place, makeRow(place));
    body.replaceChildren(...shown.map((place) => rowOf.get(place)));
    const left = shots.length - shown.length;
    $("more").hidden = !left;
    $("show-more").textContent = `Show ${Math.min(left, ROWS)} more of ${left}`;
  }

  function makeRow(place) {
    const shot = shots[place];
    const row = make("tr");
    for (const [name, , text] of COLUMNS) {
      if (name === "pictures" && !data.pictures.any) continue;
      if (name === "shot") {
        const go = make("button", { type: "button", class: "go", text: `Shot ${shot.shot}`, onclick: () => goTo(firstOf(place)) });
        row.append(make("th", { scope: "row" }, still ? `Shot ${shot.shot}` : go));
      } else if (name === "pictures") {
        row.append(make("td", { class: "pictures" }, pictureButton(place, "plain"), pictureButton(place, "heat")));
      } else {
        const [said, exact] = text(shot);
        row.append(make("td", { class: "number", text: said, title: String(exact), "data-value": String(exact) }));
      }
    }
    row.addEventListener("click", (event) => {
      if (!event.target.closest("button") && !String(getSelection())) goTo(firstOf(place));
    });
    if (place === shownShot) row.setAttribute("aria-current", "true");
    return row;
  }

  function pictureButton(place, name) {
    const address = data.pictures[name][place];
    if (!address) return null;
    const what = name === "heat" ? "predicted attention at the key frame" : "key frame";
    const image = make("img", { src: address, alt: `Go to the ${what} of shot ${shots[place].shot}` });
    if (still) return image;
    return make("button", { type: "button", class: "picture", onclick: () => goTo(keyOf(place)) }, image);
  }

  // The timeline: the shots that are in view, those too narrow to be seen joined to one block.

  let blocks = [];

  function drawTimeline() {
    const line = $("timeline");
    const width = line.clientWidth;
    const height = line.clientHeight;
    const scale = width / (view[1] - view[0]);
    line.replaceChildren();
    blocks = [];
    let place = placeOfShot(frameAt(view[0]));
    let free = -Infinity;
    for (; place < shots.length && shots[place].start_seconds < view[1]; place++) {
      const from = (shots[place].start_seconds - view[0]) * scale;
      const to = place + 1 < shots.length ? (shots[place + 1].start_seconds - view[0]) * scale : (end() - view[0]) * scale;
      if (to - free < 2) continue;
      const left = Math.max(from, free, -1);
      const right = Math.min(to, width + 1);
      free = right;
      const block = make("div", { class: place % 2 ? "shot odd" : "shot" });
      block.style.left = `${left}px`;
      block.style.width = `${right - left}px`;
      const address = data.pictures.plain[place] || data.pictures.heat[place];
      const tiles = data.tiles.filter((tile) => tile[0] === place);
      for (const [, begin, after, picture] of tiles) {
        const image = make("img", { src: picture, alt: "", class: "tile" });
        image.style.left = `${(begin - view[0]) * scale - left}px`;
        image.style.width = `${(after - begin) * scale}px`;
        block.append(image);
      }
      if (!tiles.length && address && right - left > 16) {
        const image = make("img", { src: address, alt: "" });
        // Around the key frame, as far as the block has room.
        const wide = height * data.shape;
        const key = (shots[place].key_seconds - view[0]) * scale - left;
        const room = right - left - wide;
        image.style.marginLeft = `${room < 0 ? room / 2 : Math.max(0, Math.min(key - wide / 2, room))}px`;
        block.append(image);
      }
      if (right - left > 28) block.append(make("span", { class: "label", text: String(shots[place].shot) }));
      blocks.push([place, block]);
      line.append(block);
    }
    line.append(make("div", { class: "play-head" }));
    markBlocks();
    moveHeads();
  }

  function markBlocks() {
    for (const [place, block] of blocks) block.classList.toggle("now", place === shownShot);
  }

  function setUpTimeline() {
    const line = $("timeline");
    line.setAttribute("aria-valuemin", String(data.first_index));
    line.setAttribute("aria-valuemax", String(data.first_index + count - 1));
    let held = false;
    const go = (event, say) => {
      const box = line.getBoundingClientRect();
      const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
      goTo(frameAt(view[0] + share * (view[1] - view[0])), { say });
    };
    line.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      held = true;
      line.setPointerCapture(event.pointerId);
      go(event, true);
    });
    line.addEventListener("pointermove", (event) => held && go(event, false));
    for (const name of ["pointerup", "pointercancel"]) line.addEventListener(name, () => (held = false));
    $("zoom-in").addEventListener("click", () => zoom(0.5));
    $("zoom-out").addEventListener("click", () => zoom(2));
    $("zoom-all").addEventListener("click", () => setView(times[0], end()));
    new ResizeObserver(drawTimeline).observe(line);
  }

  function zoom(factor) {
    const length = (view[1] - view[0]) * factor;
    const share = (times[frame] - view[0]) / (view[1] - view[0]);
    setView(times[frame] - share * length, times[frame] + (1 - share) * length);
  }

  function setView(from, to) {
    const all = [times[0], end()];
    const least = Math.min(all[1] - all[0], Math.max(((all[1] - all[0]) / count) * 8, 0.02));
    let length = Math.min(Math.max(to - from, least), all[1] - all[0]);
    let begin = Math.min(Math.max(from, all[0]), all[1] - length);
    if (!(length > 0)) [begin, length] = [all[0] - 0.5, 1];
    view = [begin, begin + length];
    for (const plot of plots) plot.setScale("x", { min: view[0], max: view[1] });
    drawTimeline();
  }

  // The curves.

  const PLOTS = [
    { title: "Peak density", series: [["peak_density", "Peak", "× uniform", 1, 1]], range: null, unit: "×" },
    { title: "Coverage and entropy", series: [["coverage", "Coverage", "%", 2, 100], ["entropy_share", "Entropy", "%", 3, 100]], range: [0, 100], unit: "%" },
    { title: "Masses of the regions", series: [["region1_mass", "Largest region", "%", 1, 100], ["region2_mass", "Second", "%", 2, 100], ["region3_mass", "Third", "%", 4, 100]], range: null, unit: "%" },
  ];
  if (data.areas) {
    // Up to four areas a plot, so that their colours can be told apart; what was measured is dashed.
    const { names, low, high } = data.areas;
    Object.assign(data.curves.low, low);
    Object.assign(data.curves.high, high);
    for (let first = 0; first < names.length; first += 4) {
      const series = [];
      names.slice(first, first + 4).forEach((name, place) => {
        const own = `area${first + place}`;
        series.push([own, `${name}, predicted`, "%", place + 1, 100]);
        if (`${own}_measured` in low) series.push([`${own}_measured`, `${name}, dwell`, "%", place + 1, 100, [5, 4]]);
      });
      PLOTS.push({ title: "Predicted share of areas", series, range: null, unit: "%" });
    }
  }
  let plots = [];
  let readers = [];
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const digitsFor = (marks) => {
    const step = marks.length > 1 ? marks[1] - marks[0] : 1;
    // As many as the step has: 0.25 needs two, or marks would stand beside their times.
    return [0, 1, 2].find((digits) => Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) < 1e-6) ?? 3;
  };

  // A label that would be cut off at the right edge is left out.
  const labels = (u, marks) =>
    marks.map((mark) => {
      const text = clock(mark, digitsFor(marks));
      const room = ((view[1] - mark) / (view[1] - view[0])) * (u.width - 60);
      return room < 3.5 * text.length - 12 ? null : text;
    });

  function drawCurves() {
    for (const plot of plots) plot.destroy();
    plots = [];
    readers = [];
    const place = $("curves");
    place.replaceChildren();
    const narrow = matchMedia("(max-width: 600px)").matches;
    const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
    PLOTS.forEach((plan, number) => {
      const last = number === PLOTS.length - 1;
      const keys = make("div", { class: "keys" });
      const target = make("div", { class: "plot", role: "img", "aria-label": describe(plan) });
      place.append(make("div", { class: "curve" }, keys, target));
      const series = [{}];
      const bands = [];
      const columns = [data.curves.start];
      for (const [name, , , hue, factor, dash] of plan.series) {
        const stroke = color(`--curve-${hue}`);
        const scaled = (values) => (factor === 1 ? values : values.map((value) => (value === null ? null : value * factor)));
        series.push({ stroke, width: 1.5, dash, points: { show: false } });
        columns.push(scaled(data.curves.high[name]));
        if (data.curves.stride > 1 && !dash) {
          series.push({ stroke, width: 1, points: { show: false } });
          columns.push(scaled(data.curves.low[name]));
          bands.push({ series: [series.length - 2, series.length - 1], fill: stroke + "66" });
        }
        const value = make("b");
        const [, title, unit] = plan.series.find((one) => one[0] === name);
        keys.append(make("span", { class: dash ? `key c${hue} dashed` : `key c${hue}` }, make("span", { class: "said" }, `${title} `, value, ` ${unit}`)));
        readers.push([name, value, factor]);
      }
      const plot = new uPlot(
        {
          width: Math.max(target.clientWidth, 200),
          height: last ? 132 : 108,
          padding: [8, narrow ? 6 : 12, last ? 0 : 4, 0],
          legend: { show: false },
          scales: { x: { time: false, range: () => view }, y: { range: plan.range ? () => plan.range : (u, low, high) => [0, Math.max(high, 1) * 1.05] } },
          axes: [
            { ...axis, show: last, size: 24, values: labels },
            { ...axis, size: narrow ? 40 : 48, splits: plan.range ? () => [0, 50, 100] : undefined, values: (u, marks) => marks.map((mark) => mark + plan.unit) },
          ],
          cursor: { sync: { key: "vidsal", setSeries: false }, y: false, points: { show: false }, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => null } },
          series,
          bands,
          hooks: {
            setSelect: [
              (u) => {
                if (u.select.width > 5) setView(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
                if (u.select.width) u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
              },
            ],
            setCursor: [(u) => u === hovered && readOut(u.cursor.left >= 0 ? frameAt(u.posToVal(u.cursor.left, "x")) : frame)],
            draw: [drawCuts],
          },
        },
        columns,
        target,
      );
      plot.over.append(make("div", { class: "play-head" }));
      plot.over.addEventListener("pointerenter", () => (hovered = plot));
      plot.over.addEventListener("pointerleave", () => {
        hovered = null;
        readOut(frame);
      });
      let pressed = null;
      plot.over.addEventListener("mousedown", (event) => (pressed = event.clientX));
      plot.over.addEventListener("click", (event) => {
        if (pressed === null || Math.abs(event.clientX - pressed) > 5) return;
        const box = plot.over.getBoundingClientRect();
        goTo(frameAt(plot.posToVal(event.clientX - box.left, "x")));
      });
      plot.over.addEventListener("dblclick", () => setView(times[0], end()));
      plots.push(plot);
    });
    moveHeads();
    readOut(frame);
  }

  let hovered = null;

  function describe(plan) {
    const said = plan.series.map(([name, title, unit, , factor]) => {
      const low = data.curves.low[name].filter((value) => value !== null);
      if (!low.length) return `${title}: none`;
      const ends = [low.reduce((a, b) => Math.min(a, b)), data.curves.high[name].reduce((a, b) => Math.max(a, b ?? a), low[0])];
      return `${title} from ${(ends[0] * factor).toFixed(1)} to ${(ends[1] * factor).toFixed(1)} ${unit}`;
    });
    return `Curve over time. ${said.join("; ")}.`;
  }

  function drawCuts(u) {
    const first = placeOfShot(frameAt(view[0]));
    const last = placeOfShot(frameAt(view[1]));
    if (last - first > u.bbox.width / devicePixelRatio / 20) return;
    u.ctx.save();
    u.ctx.strokeStyle = color("--quiet");
    u.ctx.globalAlpha = 0.4;
    u.ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    u.ctx.beginPath();
    for (let place = Math.max(first, 1); place <= last; place++) {
      const x = u.valToPos(shots[place].start_seconds, "x", true);
      if (x < u.bbox.left) continue;
      u.ctx.moveTo(x, u.bbox.top);
      u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
    }
    u.ctx.stroke();
    u.ctx.restore();
  }

  function moveHeads() {
    const share = (times[frame] - view[0]) / (view[1] - view[0]);
    for (const head of document.querySelectorAll("#time .play-head")) {
      head.style.left = `${100 * share}%`;
      head.hidden = share < 0 || share > 1;
    }
  }

  function readOut(i) {
    const point = Math.floor(i / data.curves.stride);
    for (const [name, target, factor] of readers) {
      const low = data.curves.low[name][point];
      const high = data.curves.high[name][point];
      const text = (value) => (value * factor).toFixed(1);
      target.textContent = low === null ? "–" : text(low) === text(high) ? text(high) : `${text(low)}–${text(high)}`;
    }
  }

  function setUpCurves() {
    const stride = data.curves.stride;
    if (stride > 1) $("stride-note").textContent = ` Each point of a curve stands for ${stride} frames, from the lowest to the highest value.`;
    drawCurves();
    let width = $("curves").clientWidth;
    new ResizeObserver(() => {
      if ($("curves").clientWidth === width) return;
      width = $("curves").clientWidth;
      drawCurves();
    }).observe($("curves"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCurves);
  }

  // Buttons and keys.

  function setUpControls() {
    $("play").addEventListener("click", playOrPause);
    $("frame-back").addEventListener("click", () => stepBy(-1));
    $("frame-on").addEventListener("click", () => stepBy(1));
    $("shot-back").addEventListener("click", () => stepByShot(-1));
    $("shot-on").addEventListener("click", () => stepByShot(1));
    $("rate").addEventListener("change", (event) => {
      for (const element of Object.values(media)) element.playbackRate = Number(event.target.value);
    });
    $("mute").addEventListener("click", mute);
    $("full").addEventListener("click", fullScreen);
    $("help-open").addEventListener("click", help);
    document.addEventListener("keydown", onKey);
  }

  function mute() {
    const off = $("mute").getAttribute("aria-pressed") !== "true";
    $("mute").setAttribute("aria-pressed", String(off));
    if (seen) media[seen].muted = off;
  }

  function fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else stage.requestFullscreen?.().catch(() => null);
  }

  const help = () => $("help").showModal();

  function onKey(event) {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (target.closest?.("input, select, textarea")) return;
    const onButton = target.closest?.("button, summary, a");
    const near = target.closest?.("#player, #time");
    const scrolls = target.closest?.(".scroll") === target;
    const keys = {
      " ": () => playOrPause(),
      ArrowLeft: () => (event.shiftKey ? stepByShot(-1) : stepBy(-1)),
      ArrowRight: () => (event.shiftKey ? stepByShot(1) : stepBy(1)),
      PageUp: () => stepByShot(-1),
      PageDown: () => stepByShot(1),
      Home: () => goTo(0),
      End: () => goTo(count - 1),
      h: () => turnTo(seen === "heat" ? "plain" : "heat"),
      k: () => goTo(keyOf(placeOfShot(frame))),
      "+": () => zoom(0.5),
      "=": () => zoom(0.5),
      "-": () => zoom(2),
      0: () => setView(times[0], end()),
      m: mute,
      f: fullScreen,
      "?": help,
    };
    if (!(event.key in keys)) return;
    if (still && !["h", "?", "f"].includes(event.key)) return;
    if (event.key === " " && onButton) return;
    if (event.key.startsWith("Arrow") && scrolls) return;
    if (["PageUp", "PageDown", "Home", "End"].includes(event.key) && !near) return;
    event.preventDefault();
    keys[event.key]();
  }

  async function begin() {
    times = await unpacked(data.times);
    view = [times[0], Math.max(end(), times[0] + 1e-6)];
    setUpTable();
    setUpControls();
    setUpMedia();
    if (still) {
      $("time").hidden = true;
      $("shots").parentElement.hidden = true;
      $("place").hidden = true;
      showShot(0);
    } else {
      setUpTimeline();
      setUpCurves();
      setView(times[0], end());
      setFrame(0, false);
    }
    document.documentElement.dataset.ready = "true";
  }

  begin();
})();

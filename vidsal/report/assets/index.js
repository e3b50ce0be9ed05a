// The index of many videos: search, sorting, filter and pages over the data that stand in the page.
"use strict";
(() => {
  const PAGE = 60;
  const STATES = ["done", "damaged", "failed", "skipped", "waiting", "running", "unfinished"];
  const find = (id) => document.getElementById(id);
  const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const number = new Intl.NumberFormat(undefined);
  const one = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const search = find("search"), sort = find("sort"), order = find("order"), states = find("states");
  const list = find("videos"), count = find("count"), pages = find("pages"), none = find("none");
  const page = find("page"), previous = find("previous"), next = find("next"), pageCount = find("page-count");

  const KEYS = {
    name: (video) => video.name,
    length: (video) => video.seconds,
    shots: (video) => video.shots,
    strength: (video) => video.strength,
    state: (video) => STATES.indexOf(video.state),
    made: (video) => video.made,
  };
  let videos = [], sorted = [], found = [], strongest = 1;
  const chosen = { q: "", sort: "name", desc: false, page: 1, without: new Set() };

  function element(kind, className, text) {
    const made = document.createElement(kind);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function time(seconds) {
    if (seconds === null) return "";
    if (seconds < 60) return `${one.format(seconds)} s`;
    const whole = Math.round(seconds), two = (n) => String(n).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    return minutes < 60
      ? `${minutes}:${two(whole % 60)}`
      : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
  }

  function long(seconds) {
    const minutes = Math.round(seconds / 60);
    if (seconds < 120) return `${number.format(Math.round(seconds))} s`;
    return minutes < 60 ? `${minutes} min` : `${number.format(Math.floor(minutes / 60))} h ${minutes % 60} min`;
  }

  const counted = (n, what) => `${number.format(n)}\u00a0${what}${n === 1 ? "" : "s"}`;

  function take(data) {
    videos = data.videos.map((values) => {
      const video = Object.fromEntries(data.columns.map((name, i) => [name, values[i]]));
      const tags = Object.entries(video.tags).map(([name, value]) => `${name}=${value}`);
      video.tagged = tags;
      video.text = fold([video.folder, video.name, ...tags, video.state, video.note].join(" "));
      return video;
    });
    strongest = Math.max(1e-9, ...videos.map((video) => video.strength ?? 0));
    const seconds = videos.reduce((sum, video) => sum + (video.seconds ?? 0), 0);
    find("total").textContent = seconds ? `${long(seconds)} of video` : "";
    drawStates();
    arrange();
  }

  function drawStates() {
    const counts = new Map();
    for (const video of videos) counts.set(video.state, (counts.get(video.state) ?? 0) + 1);
    states.hidden = counts.size < 2 && !chosen.without.size;
    states.querySelectorAll("label").forEach((label) => label.remove());
    for (const state of STATES.filter((state) => counts.has(state))) {
      const label = element("label", "state-choice"), box = element("input");
      box.type = "checkbox";
      box.checked = !chosen.without.has(state);
      box.addEventListener("change", () => {
        if (box.checked) chosen.without.delete(state);
        else chosen.without.add(state);
        chosen.page = 1;
        filter();
      });
      label.append(box, ` ${state} (${number.format(counts.get(state))})`);
      states.append(label);
    }
  }

  function arrange() {
    const key = KEYS[chosen.sort], sign = chosen.desc ? -1 : 1;
    const compare = (a, b) => {
      const x = key(a), y = key(b);
      // What is not known stands last, whichever way.
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "string" ? collator.compare(x, y) : x - y);
    };
    sorted = [...videos].sort((a, b) => compare(a, b) || collator.compare(a.name, b.name)
      || collator.compare(a.folder, b.folder));
    filter();
  }

  function filter() {
    const words = fold(chosen.q).split(/\s+/).filter(Boolean);
    found = sorted.filter((video) => !chosen.without.has(video.state) && words.every((word) => video.text.includes(word)));
    draw();
  }

  function draw() {
    const last = Math.max(1, Math.ceil(found.length / PAGE));
    chosen.page = Math.min(Math.max(1, chosen.page), last);
    const first = (chosen.page - 1) * PAGE, shown = found.slice(first, first + PAGE);
    list.replaceChildren(...shown.map(card));
    none.hidden = found.length > 0;
    none.textContent = videos.length ? "No video fits. Search for less, or choose more states." : "No results yet.";
    const of = found.length === videos.length ? "" : ` of ${number.format(videos.length)}`;
    const range = last > 1 ? `, ${number.format(first + 1)} to ${number.format(first + shown.length)} on this page` : "";
    const told = `${number.format(found.length)}${of} video${videos.length === 1 ? "" : "s"}${range}`;
    if (count.textContent !== told) count.textContent = told;
    pages.hidden = last === 1;
    page.value = chosen.page;
    page.max = last;
    pageCount.textContent = `of ${number.format(last)}`;
    previous.disabled = chosen.page === 1;
    next.disabled = chosen.page === last;
    remember();
  }

  function card(video) {
    const item = element("li"), made = element("article", "card"), text = element("div", "card-text");
    const picture = element("div", "picture");
    if (video.thumbnail) {
      const image = element("img");
      image.loading = "lazy";
      image.decoding = "async";
      image.alt = "";
      image.src = video.thumbnail;
      picture.append(image);
    } else {
      picture.append(element("span", "no-picture", video.state === "done" ? "no picture" : video.state));
    }
    if (video.seconds !== null) picture.append(element("span", "length", time(video.seconds)));
    const title = element("h3"), name = video.report ? element("a", "", video.name) : element("span", "", video.name);
    if (video.report) name.href = video.report;
    title.append(name);
    title.title = video.name;
    text.append(title);
    if (video.folder) text.append(element("p", "folder", video.folder));
    const facts = [];
    if (video.shots !== null) facts.push(counted(video.shots, "shot"));
    if (video.width !== null && video.height !== null) facts.push(`${video.width}\u00a0×\u00a0${video.height}`);
    if (facts.length) text.append(element("p", "facts", facts.join(" · ")));
    if (video.strength !== null) {
      const strength = element("p", "strength"), bar = element("span", "bar"), part = element("span");
      part.style.width = `${(100 * video.strength) / strongest}%`;
      bar.setAttribute("aria-hidden", "true");
      bar.append(part);
      strength.append(bar, `strength ${one.format(video.strength)} bit`);
      text.append(strength);
    }
    if (video.state !== "done") {
      const note = element("p", "reason"), badge = element("strong", `state ${video.state}`, video.state);
      note.append(badge, video.note ? ` ${video.note}` : "");
      note.title = video.note;
      text.append(note);
    }
    if (video.tagged.length) {
      const tags = element("p", "tags");
      for (const tag of video.tagged) {
        const button = element("button", "tag", tag);
        button.type = "button";
        button.title = `search for ${tag}`;
        button.addEventListener("click", () => {
          search.value = tag.split(/\s+/).every((word) => fold(chosen.q).includes(fold(word))) ? "" : tag;
          look();
          search.focus();
        });
        tags.append(button);
      }
      text.append(tags);
    }
    made.append(picture, text);
    item.append(made);
    return item;
  }

  function look() {
    chosen.q = search.value;
    chosen.page = 1;
    filter();
  }

  function turn(to) {
    if (!Number.isFinite(to)) return;
    chosen.page = Math.round(to);
    draw();
    find("list").scrollIntoView({ block: "start" });
  }

  // What was chosen stands in the address: the way back from a report leads to the same place.
  function remember() {
    const kept = new URLSearchParams();
    if (chosen.q) kept.set("q", chosen.q);
    if (chosen.sort !== "name") kept.set("sort", chosen.sort);
    if (chosen.desc) kept.set("desc", "1");
    if (chosen.page > 1) kept.set("page", String(chosen.page));
    if (chosen.without.size) kept.set("without", [...chosen.without].join(","));
    const text = kept.toString();
    if (text === location.hash.slice(1)) return;
    try {
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    } catch {
      // Too many changes at once: the next one is remembered.
    }
  }

  function recall() {
    const kept = new URLSearchParams(location.hash.slice(1));
    chosen.q = search.value = kept.get("q") ?? "";
    chosen.sort = sort.value = kept.get("sort") in KEYS ? kept.get("sort") : "name";
    chosen.desc = kept.get("desc") === "1";
    chosen.page = Number(kept.get("page")) || 1;
    chosen.without = new Set((kept.get("without") ?? "").split(",").filter((state) => STATES.includes(state)));
    showOrder();
  }

  function showOrder() {
    const text = chosen.desc ? "descending" : "ascending";
    order.textContent = `${chosen.desc ? "↓" : "↑"} ${text}`;
    order.setAttribute("aria-label", `order: ${text}`);
  }

  search.addEventListener("input", look);
  sort.addEventListener("change", () => {
    chosen.sort = sort.value;
    // Most first, but for names.
    chosen.desc = !["name", "state"].includes(chosen.sort);
    chosen.page = 1;
    showOrder();
    arrange();
  });
  order.addEventListener("click", () => {
    chosen.desc = !chosen.desc;
    chosen.page = 1;
    showOrder();
    arrange();
  });
  previous.addEventListener("click", () => turn(chosen.page - 1));
  next.addEventListener("click", () => turn(chosen.page + 1));
  page.addEventListener("change", () => turn(page.valueAsNumber || chosen.page));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape" && event.target === search && search.value) {
      search.value = "";
      look();
    }
  });
  document.addEventListener("vidsal:videos", (event) => take(event.detail));
  addEventListener("hashchange", () => {
    recall();
    drawStates();
    arrange();
  });

  recall();
  take(JSON.parse(find("videos-data").textContent));
})();

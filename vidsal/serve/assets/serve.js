// The page of `vidsal serve`: videos are dropped on it, sent one after the other, and watched until their report is there.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const settings = JSON.parse(find("settings").textContent);
  const zone = find("drop"), input = find("file"), list = find("uploads"), told = find("told"), box = find("uploads-box");
  const sending = [];
  let jobs = [], busy = false, count = 0;
  const percent = (part) => `${Math.floor(100 * part)} %`;

  function element(kind, className, text) {
    const made = document.createElement(kind);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function size(bytes) {
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    let n = bytes, unit = 0;
    while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
    return `${n.toLocaleString(undefined, { maximumFractionDigits: n < 10 && unit ? 1 : 0 })} ${units[unit]}`;
  }

  function say(text) {
    told.textContent = text;
  }

  function take(files) {
    for (const file of files) {
      const upload = { key: `u${(count += 1)}`, name: file.name, file, state: "to send", sent: 0, message: "", request: null };
      const dot = file.name.lastIndexOf(".");
      const ending = dot < 0 ? "" : file.name.slice(dot).toLowerCase();
      if (!settings.endings.includes(ending)) {
        refuse(upload, `This is no video that vidsal knows${ending ? ` (${ending})` : ""}. Send an mp4, mov, mkv, webm, avi or the like.`);
      } else if (!file.size) {
        refuse(upload, "This file is empty.");
      } else if (file.size > settings.maxBytes) {
        refuse(upload, `It has ${size(file.size)}, and this server takes up to ${size(settings.maxBytes)} (--max-upload).`);
      }
      sending.push(upload);
    }
    draw();
    send();
  }

  function refuse(upload, message) {
    upload.state = "not sent";
    upload.message = message;
    say(`${upload.name}: ${message}`);
  }

  function send() {
    if (busy) return;
    const upload = sending.find((one) => one.state === "to send");
    if (!upload) return;
    busy = true;
    upload.state = "sending";
    const request = (upload.request = new XMLHttpRequest());
    const end = (message) => {
      busy = false;
      upload.request = null;
      if (message) refuse(upload, message);
      else sending.splice(sending.indexOf(upload), 1);
      draw();
      send();
    };
    request.open("POST", `/-/uploads?name=${encodeURIComponent(upload.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => {
      upload.sent = event.loaded / upload.file.size;
      draw();
    });
    request.addEventListener("load", () => {
      if (request.status === 201) {
        show(JSON.parse(request.responseText).uploads);
        say(`${upload.name} was sent.`);
        end("");
      } else {
        end(request.responseText || `The server refused it (${request.status}).`);
      }
    });
    request.addEventListener("error", () => end("The connection to the server was lost. Is it still running? Send it again."));
    request.addEventListener("abort", () => end(""));
    request.send(upload.file);
    draw();
  }

  function words(job) {
    switch (job.state) {
      case "to send": return "waits to be sent";
      case "sending": return `sending, ${percent(job.sent)}`;
      case "waiting": return "waits for its turn";
      case "running": {
        if (!job.frames) return "starting";
        const part = job.total ? `${percent(Math.min(1, job.frames / job.total))}, ` : "";
        return `${part}${job.frames.toLocaleString()}${job.total ? ` of ${job.total.toLocaleString()}` : ""} frames`;
      }
      case "cancelling": return "is being cancelled";
      case "done": return "done";
      case "damaged": return "done, with damage in the video";
      default: return job.state;
    }
  }

  function row(job) {
    const item = element("li", `upload ${job.state.replace(" ", "-")}`);
    item.dataset.key = job.key;
    const name = job.report ? element("a", "upload-name", job.name) : element("span", "upload-name", job.name);
    if (job.report) name.href = job.report;
    const state = element("span", "upload-state", words(job));
    item.append(name, state);
    if (["sending", "running"].includes(job.state)) {
      const bar = element("progress");
      bar.setAttribute("aria-label", `${job.name}: ${job.state}`);
      bar.max = 1;
      if (job.state === "sending") bar.value = job.sent;
      else if (job.total) bar.value = Math.min(1, job.frames / job.total);
      item.append(bar);
    }
    const buttons = element("span", "upload-buttons");
    const button = (text, work) => {
      const made = element("button", "", text);
      made.type = "button";
      made.dataset.does = text;
      made.setAttribute("aria-label", `${text}: ${job.name}`);
      made.addEventListener("click", work);
      buttons.append(made);
    };
    if (job.file) {
      button(job.state === "not sent" ? "Dismiss" : "Cancel", () => {
        if (job.request) job.request.abort();
        else { sending.splice(sending.indexOf(job), 1); draw(); }
      });
    } else {
      if (job.report) {
        const open = element("a", "open", "Open the report");
        open.href = job.report;
        open.setAttribute("aria-label", `Open the report of ${job.name}`);
        buttons.append(open);
      }
      if (job.state === "failed") button("Try again", () => ask("POST", `/-/uploads/${job.id}/retry`));
      const active = ["waiting", "running"].includes(job.state);
      if (job.state !== "cancelling") button(active ? "Cancel" : job.state === "failed" ? "Remove" : "Dismiss", () => ask("DELETE", `/-/uploads/${job.id}`));
    }
    item.append(buttons);
    if (job.message) item.append(element("p", "upload-message", job.message));
    return item;
  }

  // Progress goes into the row that is there: a button that is being pressed must not be replaced.
  function taken(before, made) {
    const [bar, newer] = [before, made].map((item) => item.querySelector("progress"));
    const button = (item) => item.querySelector("button")?.dataset.does;
    if (before.className !== made.className || !bar !== !newer || button(before) !== button(made)) return false;
    if (before.querySelector(".upload-message")?.textContent !== made.querySelector(".upload-message")?.textContent) return false;
    before.querySelector(".upload-state").textContent = made.querySelector(".upload-state").textContent;
    if (bar && newer.hasAttribute("value")) bar.value = newer.value;
    return true;
  }

  function draw() {
    const all = [...sending, ...[...jobs].reverse()];
    // The focus stays where it was, and what has not changed is left alone.
    const held = document.activeElement?.closest?.("#uploads li")?.dataset.key;
    const does = document.activeElement?.dataset?.does;
    const old = new Map([...list.children].map((item) => [item.dataset.key, item]));
    const items = all.map((job) => {
      const made = row(job), before = old.get(job.key);
      return before && taken(before, made) ? before : made;
    });
    if (items.length !== list.children.length || items.some((item, i) => item !== list.children[i])) list.replaceChildren(...items);
    if (held) {
      const item = [...list.children].find((one) => one.dataset.key === held);
      const again = item && ([...item.querySelectorAll("button")].find((one) => one.dataset.does === does) ?? item.querySelector("button, a"));
      if (item && !again) item.tabIndex = -1;
      (again ?? item ?? input).focus({ preventScroll: true });
    }
    box.hidden = all.length === 0;
  }

  function show(listing) {
    const before = new Map(jobs.map((job) => [job.id, job]));
    jobs = listing.map((job) => ({ ...job, key: `j${job.id}` }));
    for (const job of jobs) {
      const was = before.get(job.id)?.state;
      if (was === undefined || was === job.state) continue;
      if (job.state === "running") say(`${job.name}: started.`);
      if (job.state === "done" || job.state === "damaged") say(`${job.name} is done. Its report can be opened.`);
      if (job.state === "failed") say(`${job.name} failed: ${job.message}`);
      if (job.state === "cancelled") say(`${job.name} was cancelled.`);
      if (job.state === "done" || job.state === "damaged") refresh();
    }
    draw();
  }

  async function ask(method, address) {
    try {
      const answer = await fetch(address, { method });
      if (!answer.ok) return say(await answer.text());
      show((await answer.json()).uploads);
    } catch {
      say("The connection to the server was lost. Is it still running?");
    }
  }

  async function refresh() {
    try {
      const answer = await fetch("/-/videos.json");
      if (answer.ok) document.dispatchEvent(new CustomEvent("vidsal:videos", { detail: await answer.json() }));
    } catch {
      // The next event brings it.
    }
  }

  // A server that is gone, refuses, or drops every connection is asked ever less often, by each page at another time.
  const soonest = 1000, latest = 30000, steady = 10000;
  let wait = soonest;
  function watch() {
    const events = new EventSource("/-/events"), begun = Date.now();
    events.addEventListener("uploads", (event) => {
      find("lost").hidden = true;
      show(JSON.parse(event.data));
    });
    events.addEventListener("error", () => {
      events.close();
      find("lost").hidden = false;
      if (Date.now() - begun > steady) wait = soonest;
      setTimeout(watch, wait * (0.75 + Math.random() / 2));
      wait = Math.min(2 * wait, latest);
    }, { once: true });
  }
  watch();

  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let inside = 0;
  document.addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    inside += 1;
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", () => {
    inside = Math.max(0, inside - 1);
    if (!inside) zone.classList.remove("over");
  });
  document.addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    inside = 0;
    zone.classList.remove("over");
    take(event.dataTransfer.files);
  });
  input.addEventListener("change", () => {
    take(input.files);
    input.value = "";
  });
  addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });
  show(settings.uploads);
})();

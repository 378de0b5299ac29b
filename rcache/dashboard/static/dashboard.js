// What the pages do beyond being read: they renew themselves, follow the log, and filter their rows. All of it can be missing.
"use strict";

const byId = (id) => document.getElementById(id);
const says = (row, text) => row.textContent.toLowerCase().includes(text);

// Rows of a table that contain what was typed.

const filters = Array.from(document.querySelectorAll("[data-filter]"), (label) => {
  label.hidden = false;
  const input = label.querySelector("input");
  const apply = () => {
    const text = input.value.trim().toLowerCase();
    for (const row of byId(label.dataset.filter)?.rows ?? []) row.hidden = !says(row, text);
  };
  input.addEventListener("input", apply);
  return apply;
});

// Parts of a page that are fetched anew while somebody looks at it.

const EVERY = 3000;
const LATE = 10000;
const parts = Array.from(document.querySelectorAll("[data-live]"), (part) => part.id);
const toggle = byId("live-toggle");
const said = byId("live-said");
const kept = {
  get off() { try { return sessionStorage.getItem("rcache-live") === "off"; } catch { return false; } },
  set off(value) { try { sessionStorage.setItem("rcache-live", value ? "off" : "on"); } catch { /* the choice is for this page alone */ } },
};

const isInUse = (part) => part.contains(document.activeElement) || part.matches(":hover") || part.querySelector("details[open]");

const replace = (fresh) => {
  for (const id of parts) {
    const old = byId(id);
    const part = fresh.getElementById(id);
    if (old && part && !isInUse(old)) old.replaceChildren(...part.childNodes);
  }
  for (const apply of filters) apply();
};

const renew = async () => {
  if (document.hidden || toggle.getAttribute("aria-pressed") !== "true") return;
  try {
    const response = await fetch(location.href, { signal: AbortSignal.timeout(LATE), redirect: "error" });
    if (!response.ok) throw new Error(response.status);
    replace(new DOMParser().parseFromString(await response.text(), "text/html"));
    if (said.textContent) said.textContent = "";
  } catch {
    const text = "The page could not be renewed; it is tried again.";
    if (said.textContent !== text) said.textContent = text;
  }
};

if (parts.length) {
  byId("live").hidden = false;
  toggle.setAttribute("aria-pressed", kept.off ? "false" : "true");
  toggle.addEventListener("click", () => {
    const isOn = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(isOn));
    kept.off = !isOn;
    if (isOn) renew();
  });
  const again = async () => { await renew(); setTimeout(again, EVERY); };
  setTimeout(again, EVERY);
}

// The log, as it happens.

const MOST_ROWS = 500;
const NEW = 4000;
const stream = byId("stream");
const rows = byId("log-rows");
const form = byId("log-filter");

const wanted = (row) => {
  const kinds = Array.from(form.querySelectorAll("[type=checkbox]:checked"), (box) => box.value);
  return kinds.includes(row.dataset.kind) && says(row, byId("log-text").value.trim().toLowerCase());
};

const follow = () => {
  const status = byId("stream-said");
  const pause = byId("stream-toggle");
  const waiting = [];
  let source;
  let last = stream.dataset.after;

  const show = (html) => {
    // The server has escaped every value in it, and the policy of the page runs nothing that stands in a page.
    const holder = document.createElement("template");
    holder.innerHTML = html;
    const row = holder.content.querySelector("tr");
    // Whoever comes back is told again of what may have been told late.
    if (!row || (row.dataset.number !== "0" && rows.querySelector(`[data-number="${row.dataset.number}"]`))) return;
    row.classList.add("is-new");
    row.hidden = !wanted(row);
    rows.prepend(row);
    while (rows.rows.length > MOST_ROWS) rows.rows[rows.rows.length - 1].remove();
    byId("log-none").hidden = true;
    setTimeout(() => row.classList.remove("is-new"), NEW);
  };
  const tell = (text, isLive) => {
    if (status.textContent !== text) status.textContent = text;
    stream.classList.toggle("is-live", isLive);
  };
  const isPaused = () => pause.getAttribute("aria-pressed") === "true";
  const state = () => (isPaused() ? tell(`Paused, ${waiting.length} waiting`, false) : tell("Live", true));

  const open = () => {
    const url = new URL(stream.dataset.stream, location.href);
    url.searchParams.set("after", last);
    source = new EventSource(url);
    source.onopen = state;
    source.onmessage = (event) => {
      if (event.lastEventId) last = event.lastEventId;
      const html = JSON.parse(event.data);
      if (isPaused()) waiting.push(html); else show(html);
      if (waiting.length > MOST_ROWS) waiting.shift();
      if (isPaused()) state();
    };
    source.addEventListener("lost", () => tell("The store cannot be reached", false));
    source.onerror = () => {
      // A stream that ended in order is opened anew within a second, which nobody needs to hear of.
      if (source.readyState !== EventSource.CLOSED) return;
      tell("Lost; trying again", false);
      setTimeout(open, 5000);
    };
  };
  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!isPaused()));
    if (!isPaused()) for (const html of waiting.splice(0)) show(html);
    state();
  });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  stream.hidden = false;
  tell("Connecting", false);
  open();
};

if (form) {
  form.hidden = false;
  form.addEventListener("input", () => { for (const row of rows.rows) row.hidden = !wanted(row); });
  form.addEventListener("submit", (event) => event.preventDefault());
}
if (stream) follow();

"use strict";
// Whatever comes from the fleet is put on the page as text, never as markup.

const EVERY = 2000;
const PATIENCE = 6000;
const OLD = 10000;
const MARKS = { running: "●", recovering: "◐", circuit_open: "✖", refused: "■", paused: "‖", shedding: "↓", unknown: "?" };
const SIGNS = { bad: "✖ Trouble:", warn: "▲ Look:", info: "ℹ Note:" };
const SVG = "http://www.w3.org/2000/svg";

const $ = (id) => document.getElementById(id);
const whole = (value) => Math.round(value).toLocaleString("en-US");
const clock = (ms) => new Date(ms).toISOString().slice(11, 19) + " UTC";

let last = null;
let silentSince = null;
let drawnAt = null;

// What steers a terminal or turns the direction of writing is shown, not obeyed.
function plain(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
}

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.map((piece) => (typeof piece === "string" ? plain(piece) : piece)));
  return element;
}

function span(seconds) {
  if (seconds < 60) return seconds > 0 && seconds < 10 ? seconds.toFixed(1) + "s" : Math.floor(seconds) + "s";
  const units = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const first = units.findIndex(([size]) => seconds >= size);
  const [size, unit] = units[first];
  const [smaller, name] = units[first + 1];
  const rest = Math.floor((seconds % size) / smaller);
  return Math.floor(seconds / size) + unit + (rest ? " " + rest + name : "");
}

const ago = (ms, now) => span(Math.floor(Math.max(0, now - ms) / 1000));

// A row of cells [label, class, content]; the first names the row.
function row(cells) {
  const made = cells.map(([label, className, content], i) => {
    const cell = make(i ? "td" : "th", className, content);
    cell.setAttribute("role", i ? "cell" : "rowheader");
    if (i) cell.dataset.label = label;
    else cell.scope = "row";
    return cell;
  });
  const line = make("tr", "", ...made);
  line.setAttribute("role", "row");
  return line;
}

const figure = (value) => [value ? "n" : "n zero", value === null ? "–" : whole(value)];

function fill(id, rows) {
  const table = $(id);
  table.tBodies[0].replaceChildren(...rows);
  table.hidden = !rows.length;
  const none = table.parentElement.querySelector(".none");
  if (none) none.hidden = Boolean(rows.length);
}

function state(account) {
  if (!account.configured) return make("span", "state unknown", "not configured");
  const mark = make("i", "", MARKS[account.state]);
  mark.setAttribute("aria-hidden", "true");
  return make("span", "state " + account.state, mark, account.state.replace("_", " "));
}

function use(account) {
  if (account.rate_use === null) return "–";
  const share = Math.min(1, Math.max(0, account.rate_use));
  const filled = make("b");
  filled.style.width = (share * 100).toFixed(1) + "%";
  const waits = account.ready + account.scheduled > 0;
  const bar = make("span", account.rate_use >= 0.95 && waits ? "bar full" : "bar", filled);
  bar.setAttribute("aria-hidden", "true");
  return make("span", "use", bar, make("output", "", Math.round(account.rate_use * 100) + " %"));
}

function trend(account) {
  const paces = account.delivered_trail;
  if (paces.length < 2) return "–";
  const top = Math.max(account.rate_effective || 0, ...paces, 1);
  const drawing = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "polyline");
  const floor = document.createElementNS(SVG, "line");
  const points = paces.map((pace, i) => `${(60 - paces.length + i).toFixed(0)},${(19 - (pace / top) * 18).toFixed(1)}`);
  drawing.setAttribute("class", "trend");
  drawing.setAttribute("viewBox", "0 0 60 20");
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("role", "img");
  const [low, high] = [Math.min(...paces), Math.max(...paces)];
  drawing.setAttribute("aria-label", `between ${whole(low)} and ${whole(high)} per second`);
  line.setAttribute("points", points.join(" "));
  for (const [name, value] of [["x1", 0], ["x2", 60], ["y1", 19.5], ["y2", 19.5]]) floor.setAttribute(name, value);
  drawing.append(floor, line);
  return drawing;
}

function accountRow(account) {
  const lowered = account.rate_effective !== null && account.rate_effective < account.rate_configured;
  const rate = account.rate_effective === null ? "–" : whole(account.rate_effective) + (lowered ? ` of ${whole(account.rate_configured)}` : "");
  const hour = account.dead_last_hour;
  const died = hour ? "+" + whole(hour) : "–";
  return row([
    ["account", "", account.account],
    ["state", "is", state(account)],
    ["delivered/s", ...figure(account.delivered_per_second)],
    ["rate/s", lowered ? "n lowered" : "n", rate],
    ["use", "", use(account)],
    ["delivered, last minute", "wide", trend(account)],
    ["delivered", ...figure(account.books.delivered)],
    ["ready", ...figure(account.ready)],
    ["leased", ...figure(account.leased)],
    ["scheduled", ...figure(account.scheduled)],
    ["oldest", account.oldest_age_seconds ? "n" : "n zero", account.oldest_age_seconds ? span(account.oldest_age_seconds) : "–"],
    ["dead", ...figure(account.dead)],
    ["dead, last hour", hour ? (account.dead_last_minute ? "n fresh" : "n late") : "n zero", died],
  ]);
}

function errorRow(account, now) {
  const error = account.last_error;
  return row([
    ["account", "", account.account],
    ["ago", "n", ago(error.at_ms, now)],
    ["class", "", error.class],
    ["code", "code", error.code || "–"],
    ["message", "text", error.message || "–"],
  ]);
}

function workerRow(worker, now) {
  const silent = worker.seen_at_ms === null ? null : now - worker.seen_at_ms;
  const seen = !worker.alive ? "gone" : silent === null ? "–" : silent < 2000 ? "now" : ago(worker.seen_at_ms, now) + " ago";
  const flight = worker.in_flight === null ? "–" : whole(worker.in_flight) + (worker.concurrency ? ` of ${whole(worker.concurrency)}` : "");
  return row([
    ["worker", "", worker.worker],
    ["host", "", worker.host || "–"],
    ["pid", "n", worker.pid === null ? "–" : String(worker.pid)],
    ["leased", ...figure(worker.leased)],
    ["in flight", "n", flight],
    ["up", "n", worker.started_at_ms === null ? "–" : ago(worker.started_at_ms, now)],
    ["seen", !worker.alive ? "n gone" : silent > 5000 ? "n late" : "n", seen],
    ["version", "", worker.version || "–"],
    ["serves", "", worker.serves === null ? "–" : worker.serves.join(", ") || "none"],
  ]);
}

function note({ level, text }) {
  const known = Object.hasOwn(SIGNS, level) ? level : "info";
  return make("li", known, make("span", "level", SIGNS[known]), text);
}

function mood(word, className) {
  $("mood").textContent = word;
  $("mood").className = "mood " + className;
  document.title = (className === "good" ? "" : className === "bad" ? "✖ " : "▲ ") + "otpreport: " + word;
}

// Rows do not update while text is selected; the rest of the page does.
function draw(fleet) {
  const now = fleet.at_ms;
  const still = drawnAt !== null && !getSelection().isCollapsed;
  if (!still) drawnAt = now;
  const old = now - drawnAt > OLD;
  const notes = old ? [...fleet.notes, { level: "info", text: `Rows as of ${clock(drawnAt)}: they do not update while text is selected.` }] : fleet.notes;
  const levels = new Set(fleet.notes.map(({ level }) => level));
  mood(...(levels.has("bad") ? ["degraded", "bad"] : levels.has("warn") ? ["warnings", "warn"] : ["healthy", "good"]));
  const silent = fleet.workers_silent ? `, ${whole(fleet.workers_silent)} silent` : "";
  $("workers").textContent = (fleet.workers === 1 ? "1 worker" : whole(fleet.workers) + " workers") + silent;
  $("redis").textContent = fleet.redis;
  $("at").textContent = clock(now);
  $("h-notes").textContent = notes.length && !levels.has("bad") && !levels.has("warn") ? "Notes" : "Needs attention";
  $("notes").replaceChildren(...(notes.length ? notes.map(note) : [make("li", "", "Nothing.")]));
  for (const table of document.querySelectorAll("table")) table.classList.toggle("old", old);
  if (still) return;
  const matters = (a) => a.configured || a.ready + a.scheduled + a.leased + a.dead > 0;
  fill("accounts", fleet.accounts.filter(matters).map(accountRow));
  fill("errors", fleet.accounts.filter((a) => a.last_error).map((a) => errorRow(a, now)));
  fill("workerlist", fleet.worker_list.map((worker) => workerRow(worker, now)));
}

// Show why the figures are stale; set once, as a screen reader repeats changes.
function warn(text) {
  const alert = $("alert");
  if (alert.textContent !== text) alert.textContent = text;
  alert.hidden = !text;
  $("figures").hidden = !last;
  $("figures").classList.toggle("old", Boolean(text));
}

function show(fleet) {
  silentSince = null;
  if (fleet.redis_up) {
    last = fleet;
    draw(fleet);
    warn("");
    return;
  }
  mood("redis unreachable", "bad");
  $("redis").textContent = fleet.redis || "";
  warn(`${plain(fleet.reason).replace(/\.$/, "")}, since ${clock(fleet.at_ms)}. Web apps spool their events meanwhile; nothing is lost.` + (last ? ` Figures below as of ${clock(last.at_ms)}.` : ""));
}

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    show(await answer.json());
  } catch {
    silentSince ??= Date.now();
    mood("exporter unreachable", "bad");
    warn(`The exporter has not answered since ${clock(silentSince)}.` + (last ? ` Figures below as of ${clock(last.at_ms)}.` : ""));
  }
}

async function keepFresh() {
  await refresh();
  setTimeout(keepFresh, EVERY);
}

document.addEventListener("visibilitychange", refresh);
keepFresh();

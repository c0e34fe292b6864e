"use strict";
// Everything that comes from the server is shown as text, never as HTML: file names and code are not to be trusted.

const at = id => document.getElementById(id);
let points = [], chosen = -1, asked = 0, shown = new Set();
const usual = new Set(["the", "and", "for", "with", "from", "that", "this", "are", "how", "what", "where", "when", "does"]);

async function ask(path, values) {
  const token = sessionStorage.getItem("token");
  const response = await fetch(path + "?" + new URLSearchParams(values || {}), {headers: token ? {Authorization: "Bearer " + token} : {}});
  if (response.status === 401) {
    const given = prompt("This server needs its token");
    if (given) { sessionStorage.setItem("token", given); return ask(path, values); }
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ? answer.error.message : "error " + response.status);
  return answer;
}

function made(tag, words, name) {
  const element = document.createElement(tag);
  if (words !== undefined) element.textContent = words;
  if (name) element.className = name;
  return element;
}

// The words of the query, marked where they occur in a line.
function marked(line, words) {
  const whole = document.createDocumentFragment();
  const pattern = words.length ? new RegExp("(" + words.map(word => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|") + ")", "i") : null;
  for (let rest = line; rest;) {
    const found = pattern && pattern.exec(rest);
    if (!found) { whole.append(rest); break; }
    whole.append(rest.slice(0, found.index), made("mark", found[0]));
    rest = rest.slice(found.index + found[0].length);
  }
  return whole;
}

function card(hit, words) {
  const item = made("li", undefined, "hit"), head = made("header"), code = made("pre");
  item.tabIndex = -1;
  head.append(made("span", hit.path + ":" + hit.start_line, "place"), made("span", hit.name || hit.kind, "name"));
  const button = made("button", "similar");
  button.type = "button";
  button.onclick = () => similar(hit.path, hit.start_line);
  head.append(made("span", hit.score.toFixed(3), "score"), button);
  hit.text.split("\n").forEach((line, number) => {
    code.append(made("span", String(hit.start_line + number), "number"), marked(line, words), "\n");
  });
  item.append(head, code);
  return item;
}

async function show(question, title, words) {
  const own = ++asked;
  at("title").className = "";
  at("title").textContent = "searching ...";
  try {
    const answer = await question;
    if (own !== asked) return;
    at("results").replaceChildren(...answer.results.map(hit => card(hit, words)));
    const many = answer.results.length;
    const notes = [answer.partial, ...answer.unused_filters.map(option => "no indexed file matches " + option)].filter(Boolean);
    at("title").textContent = (many ? many + " results" : "nothing found") + " " + title + (notes.length ? " (" + notes.join("; ") + ")" : "");
    choose(-1);
    shown = new Set(answer.results.map(hit => hit.path + ":" + hit.start_line));
    draw();
  } catch (error) {
    if (own !== asked) return;
    at("title").textContent = error.message;
    at("title").className = "error";
  }
}

function search() {
  const query = at("query").value.trim();
  if (!query) return;
  const values = {q: query, language: at("language").value, glob: at("glob").value, limit: 20};
  history.replaceState(null, "", "#" + encodeURIComponent(query));
  show(ask("search", values), "for “" + query + "”", query.split(/\W+/).filter(word => word.length > 2 && !usual.has(word.toLowerCase())));
}

function similar(path, line) { show(ask("similar", {path, line, limit: 20}), "like " + path + ":" + line, []); }

function choose(number) {
  const items = [...document.querySelectorAll("li.hit")];
  items.forEach(item => item.removeAttribute("aria-current"));
  chosen = Math.max(-1, Math.min(number, items.length - 1));
  if (chosen >= 0) {
    items[chosen].setAttribute("aria-current", "true");
    items[chosen].focus();
    items[chosen].scrollIntoView({block: "nearest"});
  }
}

// The map: colours by the first folder, or by the root if there are several. Paths are then absolute.
const colours = ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#9d755d", "#ff9da6", "#79706e"];
let roots = [];
const rootOf = path => roots.find(root => path.startsWith(root + "/")) || path;
const folderOf = path => roots.length > 1 ? rootOf(path) : path.includes("/") ? path.split("/").slice(0, 2).join("/").replace(/\/[^/]*\.[^/]*$/, "") : ".";
let folders = [];

function draw() {
  const canvas = at("map"), pen = canvas.getContext("2d"), size = canvas.width - 24;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const point of points) {
    const own = folders.indexOf(folderOf(point.path)), found = shown.has(point.path + ":" + point.line);
    pen.fillStyle = colours[own < 0 ? colours.length - 1 : own];
    pen.globalAlpha = found ? 1 : 0.55;
    pen.beginPath();
    pen.arc(12 + point.x * size, 12 + point.y * size, found ? 9 : 3.2, 0, 7);
    pen.fill();
    if (found) { pen.globalAlpha = 1; pen.lineWidth = 2; pen.strokeStyle = getComputedStyle(document.body).color; pen.stroke(); }
  }
}

function nearest(event) {
  const canvas = at("map"), box = canvas.getBoundingClientRect(), size = canvas.width - 24;
  const x = ((event.clientX - box.left) / box.width * canvas.width - 12) / size;
  const y = ((event.clientY - box.top) / box.height * canvas.height - 12) / size;
  let best = null, least = 0.001;
  for (const point of points) {
    const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (distance < least) { least = distance; best = point; }
  }
  return best;
}

async function loadMap() {
  try {
    const answer = await ask("map");
    points = answer.points;
    roots = answer.roots.sort((a, b) => b.length - a.length);
  } catch (error) { return; }
  const counts = new Map();
  for (const point of points) counts.set(folderOf(point.path), (counts.get(folderOf(point.path)) || 0) + 1);
  folders = [...counts].sort((a, b) => b[1] - a[1]).slice(0, colours.length - 1).map(([name]) => name);
  at("legend").replaceChildren(...folders.map((name, number) => {
    const item = made("li"), dot = made("span");
    dot.style.background = colours[number];
    item.append(dot, name);
    return item;
  }));
  draw();
}

let mapped = -1;
async function loadStatus() {
  let wait = 30000;
  try {
    const states = (await ask("status")).folders, partial = states.map(one => one.partial).find(Boolean);
    const sum = count => states.reduce((total, one) => total + one[count], 0);
    const more = states.length > 1 ? " and " + (states.length - 1) + " more" : "";
    at("status").textContent = states[0].root + more + ": " + sum("files").toLocaleString("en") + " files, " +
      sum("chunks").toLocaleString("en") + " chunks" + (partial ? ", " + partial : "");
    if (partial) wait = 2000;
    if (sum("chunks") !== mapped) { mapped = sum("chunks"); loadMap(); }
  } catch (error) { at("status").textContent = error.message; }
  setTimeout(loadStatus, wait);
}

at("form").onsubmit = event => { event.preventDefault(); search(); };
at("map").onmousemove = event => {
  const point = nearest(event);
  if (point) at("point").textContent = point.path + ":" + point.line + " " + point.name;
};
at("map").onclick = event => { const point = nearest(event); if (point) similar(point.path, point.line); };
document.onkeydown = event => {
  const typing = ["INPUT", "SELECT"].includes(document.activeElement.tagName);
  if (event.key === "Escape" || (event.key === "/" && !typing)) { event.preventDefault(); at("query").focus(); at("query").select(); }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j") choose(chosen + 1);
  if (event.key === "k") choose(Math.max(0, chosen - 1));
  if (event.key === "s" && chosen >= 0) document.querySelectorAll("li.hit")[chosen].querySelector("button").click();
};
matchMedia("(prefers-color-scheme: dark)").onchange = draw;
if (location.hash) { at("query").value = decodeURIComponent(location.hash.slice(1)); search(); }
loadStatus();

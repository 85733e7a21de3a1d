"use strict";
const box = document.getElementById("search");
const said = document.getElementById("found");
const entries = [...document.querySelectorAll("[data-words]")];
const groups = [...document.querySelectorAll("section.task")];

// The address by which this browser reaches the server is the one that its commands are to name.
for (const place of document.querySelectorAll(".here")) place.textContent = location.origin;

const IDLE = new Set("a an and can do for how i in is it look my of on or see the to want with".split(" "));
const heads = new Map(entries.map((entry) => [entry, (entry.querySelector("summary") || entry).textContent.toLowerCase()]));

// `files` and `file` are one word to whoever searches.
const stem = (word) => (word.length > 3 ? word.replace(/s$/, "") : word);

function score(entry, word) {
  const { name, also = "", words } = entry.dataset;
  if (name === word) return 100;
  if (!words.includes(word) && !words.includes(stem(word))) return 0;
  if (entry.tagName === "TR") return 1;  // an error: what can be done comes first
  const parts = name.split(".").map(stem);
  if (parts.includes(stem(word))) return 10;
  if (also.split(" ").includes(word)) return 6;
  if (parts.some((part) => part.startsWith(stem(word)))) return 5;
  return heads.get(entry).split(/[^\p{L}\d]+/u).map(stem).includes(stem(word)) ? 3 : 1;
}

// The best first, within each group and among the groups; without a search, all as they were.
function arrange(scores) {
  const best = (group) => Math.max(0, ...[...group.querySelectorAll("[data-words]")].map((entry) => scores.get(entry)));
  const sorted = (items, value) => [...items].sort((one, other) => value(other) - value(one));
  for (const entry of sorted(entries, (entry) => scores.get(entry))) entry.parentElement.append(entry);
  for (const group of sorted(groups, best)) group.parentElement.append(group);
}

function search() {
  const asked = box.value.toLowerCase().replace(/\bback up\b/g, "backup").split(/\s+/).filter(Boolean);
  const told = asked.filter((word) => !IDLE.has(word));
  const words = told.length ? told : asked;
  const scores = new Map();
  for (const entry of entries) {
    const found = words.map((word) => score(entry, word));
    const fits = found.every((value) => value > 0);
    entry.hidden = !fits;
    scores.set(entry, fits ? found.reduce((sum, value) => sum + value, 0) : 0);
  }
  arrange(scores);
  for (const group of groups) {
    group.hidden = words.length > 0 && !group.querySelector("[data-words]:not([hidden])");
    for (const more of group.querySelectorAll("details.more")) more.open = words.length > 0 && group.id === "errors";
  }
  said.textContent = words.length ? `${entries.filter((entry) => !entry.hidden).length} found` : "";
}

function first() {
  return document.querySelector("[data-words]:not([hidden])");
}

function show(entry) {
  if (!entry) return;
  for (let place = entry; place; place = place.parentElement) {
    if (place.tagName === "DETAILS") place.open = true;
  }
  entry.scrollIntoView();
  const focused = entry.querySelector("summary");
  if (focused) focused.focus({ preventScroll: true });
}

async function copy(button) {
  const text = button.parentElement.querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // over plain HTTP from elsewhere a browser gives no clipboard to pages
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.hidden) {
    box.value = "";
    search();
  }
  if (target && target.matches("[data-words]")) show(target);
}

for (const hidden of document.querySelectorAll(".scripted")) hidden.hidden = false;
box.addEventListener("input", search);
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {  // the key would go on to what gets the focus, and close it again
    event.preventDefault();
    show(first());
  }
  if (event.key === "Escape") { box.value = ""; search(); }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== box) { event.preventDefault(); box.focus(); }
});
document.addEventListener("click", (event) => {
  if (event.target.matches(".line button")) copy(event.target);
});
addEventListener("hashchange", follow);
follow();

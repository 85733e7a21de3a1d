"use strict";
const box = document.getElementById("search");
const said = document.getElementById("found");
const entries = [...document.querySelectorAll("[data-words]")];
const groups = [...document.querySelectorAll("section.task")];

// The address by which this browser reaches the server is the one that its commands are to name.
for (const place of document.querySelectorAll(".here")) place.textContent = location.origin;

function search() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const entry of entries) {
    const name = entry.dataset.name;
    const fits = words.every((word) => entry.dataset.words.includes(word));
    entry.hidden = !fits;
    count += fits ? 1 : 0;
    entry.classList.toggle("exact", words.length === 1 && name === words[0]);
  }
  for (const group of groups) {
    group.hidden = words.length > 0 && !group.querySelector("[data-words]:not([hidden])");
    for (const more of group.querySelectorAll("details.more")) more.open = words.length > 0 && group.id === "errors";
  }
  said.textContent = words.length ? `${count} found` : "";
}

function first() {
  return entries.find((entry) => !entry.hidden && entry.classList.contains("exact")) || entries.find((entry) => !entry.hidden);
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

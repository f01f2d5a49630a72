// What pages gain with script: ids are copied by a click, and times go on. Everything works without it.
"use strict";

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    } catch {
      button.textContent = "not copied";
    }
  });
}

for (const box of document.querySelectorAll("input[data-tick-all]")) {
  box.hidden = false;
  box.addEventListener("change", () => {
    for (const other of box.form.querySelectorAll("input[type=checkbox][name]")) {
      other.checked = box.checked;
    }
  });
}

function ago(milliseconds) {
  const seconds = Math.floor(Math.abs(milliseconds) / 1000);
  if (seconds < 60) return seconds + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  if (seconds < 86400) return Math.floor(seconds / 3600) + " h";
  return null;
}

setInterval(() => {
  for (const time of document.querySelectorAll("time[datetime][title]")) {
    const past = Date.now() - Date.parse(time.dateTime);
    const words = ago(past);
    if (words && past > 1000) time.textContent = words + " ago";
  }
}, 15000);

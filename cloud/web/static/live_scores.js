// Bars that follow what a device hears, while somebody watches: the device sends scores only then, and never sound.
const button = document.getElementById("watch");
const state = document.getElementById("watch-state");
const rows = new Map([...document.querySelectorAll("tr[data-event]")].map((row) => [row.dataset.event, row]));
const idle = state.textContent;
const SILENT_MS = 5000;
let stream = null;
let silence = 0;

function say(words) {
  if (state.textContent !== words) state.textContent = words; // a screen reader says each change, and nothing else
}

function expect() {
  clearTimeout(silence);
  silence = setTimeout(() => say("The device sends nothing: it is offline or busy."), SILENT_MS);
}

function show(message) {
  const { scores, thresholds } = JSON.parse(message.data);
  expect();
  say("Watching.");
  for (const [name, row] of rows) {
    const score = scores[name] ?? 0;
    const threshold = thresholds[name];
    const needed = row.querySelector(".needed");
    row.querySelector(".level").style.width = `${score * 100}%`;
    row.querySelector(".score").textContent = score.toFixed(2);
    row.querySelector(".from").textContent = threshold === undefined ? "–" : threshold.toFixed(2);
    row.classList.toggle("off", threshold === undefined);
    row.classList.toggle("over", threshold !== undefined && score >= threshold);
    needed.hidden = threshold === undefined;
    if (threshold !== undefined) needed.style.left = `${threshold * 100}%`;
  }
}

function stop(words) {
  clearTimeout(silence);
  stream?.close();
  stream = null;
  button.textContent = "Watch";
  button.setAttribute("aria-pressed", "false");
  for (const row of rows.values()) {
    row.querySelector(".level").style.width = "0";
    row.querySelector(".score").textContent = "–";
    row.classList.remove("over");
  }
  say(words);
}

function watch() {
  stream = new EventSource(`/devices/${button.dataset.device}/scores`);
  stream.addEventListener("scores", show);
  stream.addEventListener("full", () => stop("Too many pages watch this device. Close one of them."));
  stream.addEventListener("error", () => {
    if (stream?.readyState === EventSource.CLOSED) stop("The server takes no more: load the page again.");
  });
  button.textContent = "Stop";
  button.setAttribute("aria-pressed", "true");
  say("Asking the device…");
  expect();
}

button.hidden = false;
button.addEventListener("click", () => (stream ? stop(idle) : watch()));
// A page that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && stream) stop("Stopped while this page was hidden.");
});
window.addEventListener("pagehide", () => stream && stop(idle));

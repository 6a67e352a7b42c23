// Refreshes the part of a page that shows what has just happened. Without it the page reloads by itself.
const shown = document.querySelector("[data-live]");
let isFetching = false;
let isStale = false;

async function refresh() {
  if (isFetching) {
    isStale = true;
    return;
  }
  const isInUse = shown.contains(document.activeElement) && document.activeElement.matches("select, input");
  if (isInUse) return;
  isFetching = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      const wasOpen = shown.querySelector("details")?.open ?? false;
      if (fresh && fresh.innerHTML !== shown.innerHTML) shown.replaceChildren(...fresh.childNodes);
      const details = shown.querySelector("details");
      if (details) details.open = wasOpen;
    }
  } catch {
    // The server is away; the stream connects again and tells.
  } finally {
    isFetching = false;
    if (isStale) {
      isStale = false;
      refresh();
    }
  }
}

new EventSource("/live").addEventListener("changed", refresh);

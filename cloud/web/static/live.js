// Refreshes the part of a page that shows what has just happened. Without it the page reloads by itself.
let isFetching = false;
let isStale = false;

function shownPart() {
  return document.querySelector("[data-live]");
}

// Somebody fills in a form or has opened something: what they look at must not change under their hands.
function isInUse(shown) {
  const focused = document.activeElement;
  return (shown.contains(focused) && focused.matches("select, input, summary")) || shown.querySelector("details[open]");
}

async function refresh() {
  if (isFetching) {
    isStale = true;
    return;
  }
  const shown = shownPart();
  if (!shown || isInUse(shown)) return;
  isFetching = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) return; // signed out
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      const now = shownPart();
      if (fresh && now && !isInUse(now) && fresh.innerHTML !== now.innerHTML) {
        const focused = now.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        now.replaceChildren(...fresh.childNodes);
        if (window.htmx) window.htmx.process(now);
        if (focused) now.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
      }
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

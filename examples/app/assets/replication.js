"use strict";
// Puts what the server sends where it belongs. The page is whole without it.
(() => {
  const EVENTS = "/api/replication/events";
  // Nothing is heard for that long only if the connection is dead: the server says something, if
  // only that it is there, more often.
  const SILENCE_MS = 30_000;
  const RETRY_MS = 3_000;

  const live = document.getElementById("live");
  const databases = document.getElementById("databases");
  const shown = new Map();
  let source = null;
  let timer = 0;

  function say(text) {
    if (live.textContent !== text) live.textContent = text;
  }

  function fill(id, html) {
    const element = document.getElementById(id);
    if (element && shown.get(id) !== html) {
      element.innerHTML = html; // The server escapes every value in it.
      shown.set(id, html);
    }
  }

  function show(message) {
    const event = JSON.parse(message.data);
    if (databases.dataset.shape !== event.shape && event.whole !== null) {
      databases.innerHTML = event.whole;
      databases.dataset.shape = event.shape;
      shown.clear();
    }
    for (const [id, html] of Object.entries(event.pieces)) fill(id, html);
    say("It keeps itself up to date.");
    wait(SILENCE_MS);
  }

  function wait(ms) {
    clearTimeout(timer);
    timer = setTimeout(listen, ms);
  }

  function hush() {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  }

  function listen() {
    hush();
    source = new EventSource(EVENTS);
    source.onmessage = show;
    source.onerror = () => {
      hush();
      say("The server does not answer; it is asked again.");
      wait(RETRY_MS);
    };
    timer = setTimeout(listen, SILENCE_MS);
  }

  // A page that nobody looks at needs no connection.
  document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
  if (!document.hidden) listen();
})();

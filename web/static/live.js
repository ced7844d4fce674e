// Keeps the page new: listens for changes, fetches the same page again and puts its <main> in place of the old one.
// Everything is readable without this. What the reader has opened, chosen, written or scrolled to stays as it is.
"use strict";
(() => {
  const main = document.getElementById("main");
  const sign = document.getElementById("live");
  if (!main || !sign || !main.dataset.token || !window.EventSource) return;

  const SHORTEST = 1000; // milliseconds between two fetches
  const STALE = 5000; // milliseconds without a connection before it is said
  let skew = Date.now() / 1000 - Number(main.dataset.now); // our clock against the store's
  let wanted = ""; // the newest token that was heard of
  let timer = 0;
  let fetching = false;
  let last = Date.now();
  let lostAt = 0;

  const say = (text, off) => {
    if (sign.textContent !== text) sign.textContent = text;
    sign.classList.toggle("off", off);
    sign.hidden = false;
  };

  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();

  const relative = (then) => {
    const distance = Date.now() / 1000 - skew - then;
    const seconds = Math.abs(distance);
    if (seconds < 5) return "just now";
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
      if (seconds >= size) {
        const amount = `${Math.floor(seconds / size)} ${unit}`;
        return distance < 0 ? `in ${amount}` : `${amount} ago`;
      }
    }
    return "just now";
  };

  const age = () => {
    for (const time of main.querySelectorAll("time")) {
      const then = Date.parse(time.dateTime) / 1000;
      const text = relative(then);
      if (!Number.isNaN(then) && time.textContent !== text) time.textContent = text;
    }
  };

  // What the reader did to the old content, to be done to the new.
  const remember = () => {
    const open = new Map();
    for (const part of main.querySelectorAll("details[data-key]")) open.set(part.dataset.key, part.open);
    const scrolled = new Map();
    for (const part of main.querySelectorAll("pre[data-key], .drawing")) {
      const atEnd = part.scrollTop + part.clientHeight >= part.scrollHeight - 4;
      scrolled.set(part.dataset.key || "drawing", [part.scrollLeft, part.scrollTop, atEnd && part.scrollTop > 0]);
    }
    const written = new Map();
    for (const field of main.querySelectorAll("input[id], select[id]")) written.set(field.id, field.value);
    const focused = main.contains(document.activeElement) ? document.activeElement : null;
    return { open, scrolled, written, focused };
  };

  const restore = ({ open, scrolled, written }) => {
    for (const part of main.querySelectorAll("details[data-key]")) {
      if (open.has(part.dataset.key)) part.open = open.get(part.dataset.key);
    }
    for (const part of main.querySelectorAll("pre[data-key], .drawing")) {
      const before = scrolled.get(part.dataset.key || "drawing");
      if (before) part.scrollTo(before[0], before[2] ? part.scrollHeight : before[1]);
    }
    for (const [id, value] of written) {
      const field = document.getElementById(id);
      if (field) field.value = value;
    }
  };

  const refocus = (old) => {
    if (!old) return;
    const path = old.id ? `#${CSS.escape(old.id)}` : old.getAttribute("href") ? `a[href="${CSS.escape(old.getAttribute("href"))}"]` : "";
    const found = path && main.querySelector(path);
    if (!found) return;
    found.focus({ preventScroll: true });
    if (old.selectionStart != null && found.setSelectionRange) found.setSelectionRange(old.selectionStart, old.selectionEnd);
  };

  const isBusy = () => {
    const chosen = document.getSelection();
    if (chosen && !chosen.isCollapsed && main.contains(chosen.anchorNode)) return true;
    return document.activeElement instanceof HTMLSelectElement && main.contains(document.activeElement);
  };

  const swap = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.getElementById("main");
    if (!fresh || !fresh.dataset.token) return;
    const before = remember();
    const top = window.scrollY;
    main.replaceChildren(...document.adoptNode(fresh).childNodes);
    Object.assign(main.dataset, fresh.dataset);
    skew = Date.now() / 1000 - Number(main.dataset.now);
    document.title = page.title;
    const foot = page.querySelector("footer time");
    if (foot) document.querySelector("footer time").replaceWith(document.adoptNode(foot));
    restore(before);
    refocus(before.focused);
    window.scrollTo({ top, behavior: "instant" });
  };

  const renew = async () => {
    timer = 0;
    if (fetching || document.hidden) return;
    if (isBusy()) {
      timer = setTimeout(renew, SHORTEST);
      return;
    }
    fetching = true;
    sign.classList.add("fetching");
    const asked = wanted;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) swap(await answer.text());
    } catch {
      // the stream's own state says that there is no connection
    } finally {
      fetching = false;
      last = Date.now();
      sign.classList.remove("fetching");
    }
    if (wanted !== asked) plan(0);
  };

  const plan = (spread) => {
    if (timer || fetching) return;
    const soonest = Math.max(0, last + SHORTEST - Date.now());
    timer = setTimeout(renew, soonest + Math.random() * spread * 1000);
  };

  const hear = (message) => {
    const told = JSON.parse(message.data);
    wanted = message.type === "refresh" ? `${told.token}!` : told.token;
    if (wanted !== main.dataset.token) plan(told.spread);
  };

  const listen = () => {
    const source = new EventSource("/events");
    for (const name of ["hello", "change", "refresh"]) source.addEventListener(name, hear);
    source.onopen = () => {
      lostAt = 0;
      say("Live", false);
    };
    source.onerror = () => {
      lostAt = lostAt || Date.now();
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    };
  };

  setInterval(() => {
    if (lostAt && Date.now() - lostAt > STALE) say(`No connection: this is from ${clock(Number(main.dataset.now) + skew)}`, true);
    age();
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && wanted && wanted !== main.dataset.token) plan(0);
  });
  listen();
})();

// SPDX-License-Identifier: Apache-2.0
/*
 * Small helps for pages that work without them. Nothing here decides, and nothing that came over the
 * network becomes markup: only textContent is ever written.
 *
 *   [data-decision]           the form: its button says what it will do; a grant waits until the end
 *                             of the text ([data-end]) was on the screen and the box was ticked
 *   [data-remaining-ms]       a silent countdown; [data-timer-notice] hears of 5 min, 1 min and the end
 *   [data-events="approval"]  tells of changes (server-sent events), of one thing with data-id
 *   code[data-copy]           gets a button that copies it
 */
const SECOND = 1000;
const MINUTE = 60 * SECOND;

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/* --- the decision ---------------------------------------------------------------------------- */

const guardDecision = (form) => {
  const what = form.dataset.what;
  const grant = form.querySelector("[data-grant]");
  const read = form.querySelector("[data-read]");
  const button = form.querySelector("[data-submit]");
  const end = document.querySelector("[data-end]");
  const hint = document.getElementById("read-hint");
  const said = hint ? hint.textContent : "";
  let isShown = !read || !end || read.defaultChecked; // ticked by the server: it was shown before

  const update = () => {
    if (read) read.disabled = !isShown;
    grant.disabled = !isShown;
    button.disabled = grant.checked && (!isShown || Boolean(read && !read.checked));
    button.textContent = `${grant.checked ? "Grant once" : "Refuse"}: ${what}`;
    if (hint) hint.textContent = isShown ? said : "Scroll to the end of the text above first. Refusing needs no reading.";
  };

  if (!isShown) {
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      isShown = true;
      observer.disconnect();
      update();
    });
    observer.observe(end);
  }
  form.addEventListener("change", update);
  window.addEventListener("pageshow", update);
  update();
};

/* --- time ------------------------------------------------------------------------------------- */

const spanText = (ms) => {
  const seconds = Math.max(0, Math.floor(ms / SECOND));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (days) return `${days} d ${hours % 24} h left`;
  if (hours) return `${hours} h ${minutes % 60} min left`;
  if (minutes >= 10) return `${minutes} min left`;
  if (minutes) return `${minutes} min ${seconds % 60} s left`;
  return seconds ? `${seconds} s left` : "over";
};

const NOTICES = [
  [0, "The time is over. What nobody granted is refused."],
  [MINUTE, "One minute left to decide."],
  [5 * MINUTE, "Five minutes left to decide."],
];

const runTimers = (timers) => {
  const start = performance.now();
  const notice = document.querySelector("[data-timer-notice]");
  const spans = timers.map((timer) => [timer, Number(timer.dataset.remainingMs)]);
  let told = notice && spans.length ? spans[0][1] : 0;
  const tick = () => {
    const passed = performance.now() - start;
    for (const [timer, span] of spans) {
      const text = spanText(span - passed);
      if (timer.textContent !== text) timer.textContent = text;
    }
    if (notice && spans.length) {
      const left = spans[0][1] - passed;
      const due = NOTICES.find(([at]) => told > at && left <= at);
      if (due) notice.textContent = due[1];
      told = left;
    }
  };
  tick();
  if (timers.length) setInterval(tick, SECOND);
};

/* --- changes ---------------------------------------------------------------------------------- */

const STATES = {
  PENDING: "has a new vote",
  GRANTED: "was granted",
  CONSUMED: "was granted and used",
  REFUSED: "was refused",
  EXPIRED: "has expired",
  CANCELLED: "was cancelled",
};

const listen = (places) => {
  const here = places[0].dataset.url || location.pathname;
  const notice = document.createElement("div");
  notice.className = "notice status";
  notice.setAttribute("role", "status");
  document.getElementById("main").append(notice);

  const say = (text, { isLinked = true } = {}) => {
    if (!document.title.startsWith("\u2022 ")) document.title = `\u2022 ${document.title}`;
    notice.textContent = `${text} `;
    if (!isLinked) return;
    const link = document.createElement("a");
    link.href = here;
    link.textContent = "Show how it stands now";
    notice.append(link);
  };

  const changed = (kind, data) => {
    for (const place of places) {
      if (place.dataset.events !== kind) continue;
      const { id, version } = place.dataset;
      if (id === undefined) {
        say(kind === "agent" ? "The containment of an agent has changed." : "The approvals have changed.");
      } else if (id === data.id && (version === undefined || data.version > Number(version))) {
        say(kind === "agent" ? "The containment of this agent has changed." : `This approval ${STATES[data.state] || "has changed"}.`);
      }
    }
  };

  const look = async () => {
    const place = places.find((item) => item.dataset.version !== undefined);
    if (!place) return;
    const answer = await fetch(here, { headers: { Accept: "application/json", "X-Quiet": "1" } });
    if (!answer.ok) return;
    const { state, version } = await answer.json();
    changed("approval", { id: place.dataset.id, state, version });
  };

  const source = new EventSource("/events");
  let hasOpened = false;
  const on = (kind, handle) => source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
  source.addEventListener("open", () => {
    if (places.some((place) => place.dataset.version !== undefined)) look().catch(() => {});
    else if (hasOpened) say("The connection was interrupted; something may have changed.");
    hasOpened = true;
  });
  on("approval", (data) => changed("approval", data));
  on("agent", (data) => changed("agent", data));
  on("missed", () => say("Much has changed."));
  on("end", () => {
    source.close();
    say("You are signed out.", { isLinked: false });
  });
  on("displaced", () => source.close());
  window.addEventListener("pagehide", () => source.close());
};

/* --- copying ---------------------------------------------------------------------------------- */

const addCopy = (code) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${code.textContent}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2 * SECOND);
  });
  code.after(button);
};

all("form[data-decision]").forEach(guardDecision);
runTimers(all("[data-remaining-ms]"));
const places = all("[data-events]");
if (places.length) listen(places);
if (navigator.clipboard) all("code[data-copy]").forEach(addCopy);

/** The page: its frame, which view is shown, and who is signed in. */

import { AlarmNotices } from "./alarm_notices.js";
import { alarmView } from "./alarm_view.js";
import { alarmsView } from "./alarms_view.js";
import { ConnectionSign } from "./connection_sign.js";
import { element, fill, say } from "./elements.js";
import { FleetFeed } from "./fleet_feed.js";
import { fleetView } from "./fleet_view.js";
import { machineView } from "./machine_view.js";
import { forgetName } from "./operator.js";
import { routeOf } from "./route.js";
import { wordsOf } from "./service.js";
import { session, showSignIn, signOut } from "./sign_in.js";
import { glyph } from "./state_sign.js";
import { tryView } from "./try_view.js";

const VIEWS = { fleet: fleetView, machine: machineView, alarms: alarmsView, alarm: alarmView, try: tryView };
const PLACES = { fleet: "fleet", machine: "fleet", alarms: "alarms", alarm: "alarms", try: "try" };

const main = document.getElementById("main");
const feed = new FleetFeed();
const notices = new AlarmNotices(feed);
new ConnectionSign(feed);

/** @type {{close: () => void} | null} */
let shown = null;
let signed = false;

/** Show the view that the address names. */
function show({ moveFocus = true } = {}) {
  if (!signed) return;
  const route = routeOf(location.hash);
  shown?.close();
  const make = VIEWS[route.view] ?? nowhere;
  const view = make(route, { feed, notices });
  shown = view;
  fill(main, view.node);
  markPlace(PLACES[route.view]);
  notices.setTitle(view.title);
  if (moveFocus) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function nowhere() {
  const node = element("div", {}, element("h1", {}, "There is nothing here"), element("p", {}, element("a", { href: "#/" }, "All machines")));
  return { node, title: "Not found", close() {} };
}

/** @param {string | undefined} place */
function markPlace(place) {
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === place) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function begin() {
  signed = true;
  feed.open();
  show({ moveFocus: false });
}

function askToSignIn() {
  if (!signed && main.querySelector(".sign-in")) return;
  signed = false;
  shown?.close();
  shown = null;
  feed.signOut();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  notices.setTitle("Sign in");
  document.getElementById("sign-out").hidden = true;
  showSignIn(main, start);
}

/** Find out whether a key is needed; again and again where the service cannot be reached. */
async function start() {
  try {
    const found = await session();
    document.getElementById("sign-out").hidden = !(found.key_needed && found.signed_in);
    if (found.key_needed && !found.signed_in) askToSignIn();
    else if (!signed) begin();
  } catch (error) {
    if (!signed) fill(main, element("p.quiet", { role: "status" }, `${wordsOf(error)} Trying again…`));
    setTimeout(start, 2_000);
  }
}

/** A stream was refused: look whether that is for want of a session. */
async function lookAtSession() {
  try {
    const found = await session();
    if (found.key_needed && !found.signed_in) askToSignIn();
  } catch {
    /* it cannot be reached; the stream is opened again by itself */
  }
}

function dressFrame() {
  for (const place of document.querySelectorAll("[data-glyph]")) place.append(glyph(place.dataset.glyph));
  const toggle = document.getElementById("theme");
  const next = { auto: "light", light: "dark", dark: "auto" };
  const words = { auto: "as the system's", light: "light", dark: "dark" };
  const pictures = { auto: "auto", light: "sun", dark: "moon" };
  const draw = () => {
    const choice = globalThis.humwatchTheme.choice();
    fill(toggle, glyph(pictures[choice]));
    toggle.setAttribute("aria-label", `Colours: ${words[choice]}. Change to ${words[next[choice]]}.`);
    toggle.title = `Colours: ${words[choice]}`;
  };
  toggle.addEventListener("click", () => {
    globalThis.humwatchTheme.choose(next[globalThis.humwatchTheme.choice()]);
    draw();
  });
  draw();
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  document.getElementById("sign-out").addEventListener("click", async () => {
    forgetName();
    await signOut().catch((error) => say(document.getElementById("announcer"), wordsOf(error)));
    askToSignIn();
  });
}

dressFrame();
addEventListener("hashchange", () => show());
document.addEventListener("signedout", askToSignIn);
document.addEventListener("streamrefused", lookAtSession);
start();

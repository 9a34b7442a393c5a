/** All machines: the one in trouble first. */

import { askCalibration } from "./commissioning_form.js";
import { button, element, fill } from "./elements.js";
import { FleetHistory } from "./fleet_history.js";
import { FleetTile } from "./fleet_tile.js";
import { keepQuery, machineAddress } from "./route.js";
import { stateShape } from "./state_sign.js";
import { byTrouble, countsOf, KINDS, stateOfKind, troubleOf } from "./trouble.js";

/** @param {import("./route.js").Route} route @param {{feed: import("./fleet_feed.js").FleetFeed}} page */
export function fleetView(route, { feed }) {
  const fleet = new Fleet(feed, route.query.get("find") ?? "", route.query.get("state") ?? "");
  return { node: fleet.node, title: "Machines", close: () => fleet.close() };
}

/** The view and its filters. */
class Fleet {
  constructor(feed, find, kind) {
    this._feed = feed;
    this._find = find;
    this._kind = KINDS.some(([known]) => known === kind) ? kind : "";
    /** @type {Map<string, FleetTile>} */
    this._tiles = new Map();
    this._history = new FleetHistory(feed, () => this._tiles.forEach((tile) => tile.redraw()));
    this._counts = element("div.counts", { role: "group", "aria-label": "Show only machines in a state" });
    this._search = element("input", { type: "search", id: "find", placeholder: "Find a machine", value: find, "aria-label": "Find a machine by its name", autocomplete: "off" });
    this._list = element("ul.fleet");
    this._empty = element("div.empty");
    this._commission = button("Commission a new machine", () => askNew());
    this.node = element("div.fleet-view", {}, element("h1.unseen", {}, "Machines"), element("div.filters", {}, this._counts, this._search), this._list, this._empty, element("p.more", {}, this._commission));
    this._search.addEventListener("input", () => this._narrow(this._search.value, this._kind));
    this._all = () => this._showAll();
    this._some = (event) => this._showSome(event.detail);
    this._second = () => this._tiles.forEach((tile) => tile.age());
    feed.addEventListener("fleet", this._all);
    feed.addEventListener("tiles", this._some);
    feed.addEventListener("second", this._second);
    this._resized = new ResizeObserver(() => this._tiles.forEach((tile) => tile.redraw()));
    this._resized.observe(this._list);
    this._drawCounts();
    this._showAll();
  }

  close() {
    this._feed.removeEventListener("fleet", this._all);
    this._feed.removeEventListener("tiles", this._some);
    this._feed.removeEventListener("second", this._second);
    this._resized.disconnect();
    this._history.close();
    this._tiles.forEach((tile) => tile.close());
  }

  _narrow(find, kind) {
    this._find = find;
    this._kind = kind;
    keepQuery("#/", { find, state: kind });
    this._arrange();
    this._drawCounts();
  }

  _showAll() {
    for (const id of this._tiles.keys()) if (!this._feed.tiles.has(id)) this._forget(id);
    this._showSome([...this._feed.tiles.keys()]);
    this._history.read();
  }

  _showSome(ids) {
    for (const id of ids) {
      const told = this._feed.tiles.get(id);
      if (told === undefined) {
        this._forget(id);
        continue;
      }
      if (!this._tiles.has(id)) this._tiles.set(id, new FleetTile(id, this._history));
      this._history.note(told);
      this._tiles.get(id).show(told);
    }
    this._arrange();
    this._drawCounts();
  }

  _forget(id) {
    this._tiles.get(id)?.close();
    this._tiles.get(id)?.node.remove();
    this._tiles.delete(id);
  }

  /** Put tiles in order; one that stays in its place is not touched, and the focus stays where it is. */
  _arrange() {
    const wanted = [...this._feed.tiles.values()].filter((tile) => this._isShown(tile)).sort(byTrouble);
    const nodes = wanted.map((tile) => this._tiles.get(tile.machine_id).node);
    const focused = document.activeElement;
    const kept = new Set(nodes);
    for (const node of [...this._list.children]) if (!kept.has(node)) node.remove();
    nodes.forEach((node, at) => {
      if (this._list.children[at] !== node) this._list.insertBefore(node, this._list.children[at] ?? null);
    });
    if (focused instanceof HTMLElement && focused !== document.activeElement && this._list.contains(focused)) focused.focus({ preventScroll: true });
    this._sayEmpty(wanted.length);
  }

  _isShown(tile) {
    const found = `${tile.machine_id} ${tile.machine_type ?? ""}`.toLowerCase().includes(this._find.trim().toLowerCase());
    return found && (this._kind === "" || troubleOf(tile) === this._kind);
  }

  _drawCounts() {
    const counts = countsOf(this._feed.tiles.values());
    const told = [...counts].filter(([kind, count]) => count > 0 || kind === this._kind).map(([kind, count]) => `${kind}${count}`).join() + this._kind;
    if (told === this._told) return;
    this._told = told;
    const focused = this._counts.contains(document.activeElement) ? document.activeElement.dataset.kind : null;
    const all = this._count("", "All", this._feed.tiles.size);
    const some = KINDS.filter(([kind]) => counts.get(kind) > 0 || kind === this._kind).map(([kind, words]) => this._count(kind, words, counts.get(kind)));
    fill(this._counts, all, ...some);
    if (focused !== null) (this._counts.querySelector(`[data-kind="${focused}"]`) ?? all).focus();
  }

  _count(kind, words, count) {
    const made = button("", () => this._narrow(this._find, this._kind === kind ? "" : kind), { kind: "count-button", "aria-pressed": String(this._kind === kind), data: { kind, state: stateOfKind(kind) } });
    made.append(...(kind ? [stateShape(stateOfKind(kind))] : []), element("b", {}, count), " ", element("span", {}, words));
    return made;
  }

  _sayEmpty(shown) {
    this._empty.hidden = shown > 0 || !this._feed.known;
    if (this._empty.hidden) return;
    const none = this._feed.tiles.size === 0;
    if (none && this._empty.dataset.said !== "none") fill(this._empty, ...noMachines());
    if (!none) {
      fill(this._empty, element("h2", {}, "No machine is like this"), element("p", {}, "No machine matches the filter."), button("Show all machines", () => {
        this._search.value = "";
        this._narrow("", "");
        this._search.focus();
      }));
    }
    this._empty.dataset.said = none ? "none" : "filtered";
  }
}

/** Commission a machine, and look at it. */
async function askNew() {
  const progress = await askCalibration(null);
  if (progress) location.hash = machineAddress(progress.machine_id);
}

/** What to do next where there is nothing yet. */
function noMachines() {
  return [
    element("h2", {}, "There is no machine yet"),
    element("p", {}, "A machine appears here when the service has a model for it, or when a calibration listens for it."),
    element("ol", {},
      element("li", {}, "Make a model from normal recordings: ", element("code", {}, "humwatch calibrate MACHINE FOLDER --from MODEL"), "."),
      element("li", {}, "Then let its microphone send: ", element("code", {}, "humwatch listen --machine MACHINE --device NAME"), "."),
      element("li", {}, "To see how it looks, start the service with ", element("code", {}, "humwatch serve --demo"), ".")),
    button("Look again", () => location.reload()),
  ];
}

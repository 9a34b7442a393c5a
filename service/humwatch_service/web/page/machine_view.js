/** One machine: its sound as it comes, what is thought of it, and what can be done. */

import { alarmRow } from "./alarm_rows.js";
import { askCalibration } from "./commissioning_form.js";
import { CommissioningPanel } from "./commissioning_panel.js";
import { DayHistory } from "./day_history.js";
import { DriftPanel } from "./drift_panel.js";
import { button, element, factList, fill, panel, say } from "./elements.js";
import { EventStream } from "./event_stream.js";
import { detectorTitle, isOfMoments, showExplanation } from "./explanation.js";
import { MachineOrders } from "./machine_orders.js";
import { MachineState } from "./machine_state.js";
import { percentText, rateText, scoreText } from "./numbers.js";
import { PromisesPanel } from "./promises.js";
import { RulePanel } from "./rule_panel.js";
import { isLeft, part, read } from "./service.js";
import { SoundStack } from "./sound_stack.js";
import { clockText } from "./times.js";
import { VersionsPanel } from "./versions_panel.js";

/** @param {import("./route.js").Route} route @param {{feed: import("./fleet_feed.js").FleetFeed}} page */
export function machineView(route, { feed }) {
  const machine = new MachinePage(feed, route.id);
  return { node: machine.node, title: route.id, close: () => machine.close() };
}

/** A stretch of time by the clock. @param {{start_s: number, end_s: number}} stretch */
function clockSpan({ start_s, end_s }) {
  return `at ${clockText(start_s)}, for ${(end_s - start_s).toFixed(2)} s`;
}

/** The view. */
class MachinePage {
  constructor(feed, machine_id) {
    this._feed = feed;
    this._id = machine_id;
    this._path = `../v1/machines/${part(machine_id)}`;
    this._left = new AbortController();
    this._status = null;
    this._state = new MachineState(machine_id);
    this._stack = new SoundStack();
    this._orders = new MachineOrders(machine_id, (status) => this._showStatus(status));
    this.node = element("div.machine", {}, element("p.quiet", {}, "Loading…"));
    this._begun = false;
    this._listen();
    if (feed.known) this._again();
  }

  close() {
    this._left.abort();
    this._stream?.close();
    this._stack.close();
  }

  _listen() {
    const listen = (kind, heard) => this._feed.addEventListener(kind, heard, { signal: this._left.signal });
    listen("fleet", () => this._again());
    listen("tiles", (event) => event.detail.includes(this._id) && (this._begun ? this._showTile() : this._again()));
    listen("alarm", (event) => this._begun && event.detail.machine_id === this._id && (this._loadAlarms(), this._promises.load()));
    listen("second", () => {
      this._state.age();
      this._stack.second();
    });
  }

  /** All machines are known, anew after a break: everything may have changed. */
  _again() {
    if (!this._feed.tiles.has(this._id) && !this._begun) return this._sayMissing();
    if (!this._begun) this._begin();
    else this._versions.load();
    this._showTile();
    this._loadAlarms();
    if (this._hasModel) this._loadJudged();
    else fill(this._card, element("p.quiet", {}, "There is no model of this machine yet."));
  }

  _begin() {
    this._begun = true;
    this._build();
    this._stream = new EventStream(`${this._path}/live`, {
      hello: (told) => this._hello(told),
      sound: (told) => this._sound(told),
      status: (told) => this._showStatus(told),
      tick: () => {},
      missed: () => {},
    }, () => {}, () => document.dispatchEvent(new CustomEvent("streamrefused")), { rests: true });
  }

  _sayMissing() {
    const start = async () => (await askCalibration(this._id)) && location.reload();
    fill(this.node, element("p.crumbs", {}, element("a", { href: "#/" }, "Machines"), ` / ${this._id}`), element("h1", {}, this._id),
      element("div.empty", {}, element("h2", {}, "There is no such machine"), element("p", {}, "No machine of this name has a model, and none is being commissioned."), button("Commission it", start), element("p", {}, element("a", { href: "#/" }, "All machines"))));
  }

  _build() {
    const signal = this._left.signal;
    this._hears = element("div", { "aria-live": "off" });
    this._hearsNote = element("p.quiet");
    this._rule = new RulePanel(signal);
    this._promises = new PromisesPanel(this._id, signal, () => this._versions.load());
    this._drift = new DriftPanel(this._id, signal, () => this._commissioning.look());
    this._card = element("div");
    this._alarms = element("ul.alarm-rows.short");
    this._versions = new VersionsPanel(this._id, signal, () => this._hasModel);
    const day = new DayHistory(this._id, signal, () => this._warn_level);
    this._commissioning = new CommissioningPanel(this._id, signal, () => this._versions.load());
    const side = element("div.side", {}, this._state.node,
      panel("What it thinks it hears", {}, this._hears, this._hearsNote));
    fill(this.node,
      element("p.crumbs", {}, element("a", { href: "#/" }, "Machines"), " / ", this._id),
      element("h1", {}, this._id),
      element("div.split", {}, element("div.main-side", {}, this._stack.node, this._rule.node, day.node), side),
      element("div.panels", {},
        panel("Last alarms", {}, this._alarms, element("p", {}, element("a", { href: `#/alarms?machine=${encodeURIComponent(this._id)}` }, "All alarms of this machine"))),
        this._orders.node, this._commissioning.node, this._promises.node, this._drift.node, this._versions.node, ...this._versions.parts, panel("Model", {}, this._card)));
    fill(this._hears, element("p.quiet", {}, "Nothing was heard yet."));
  }

  _hello(told) {
    this._warn_level = told.warn_level;
    this._stack.hello(told);
    this._rule.show(told.rule, told.decision, told.warn_level);
  }

  _sound(told) {
    this._stack.sound(told);
    if (told.nearest) this._rule.near(told.nearest);
    const heard = { detector: told.detector ?? null, irregular_times: told.irregular_times ?? [], line: told.line ?? null, bands: told.bands ?? [] };
    const explained = JSON.stringify(heard);
    if (explained !== this._explained) {
      this._explained = explained;
      // Below the warning level no detector says what it found; which one came nearest would only flicker.
      const decided = told.score >= (this._warn_level ?? 1) || isOfMoments(heard);
      showExplanation(this._hears, decided ? heard : { ...heard, detector: null }, { spanText: clockSpan });
    }
    say(this._hearsNote, `Of the last ten seconds; score ${scoreText(told.score)}. Shown below the warning level as well: without a warning it is what normal sound varies by.`);
  }

  _showTile() {
    const tile = this._feed.tiles.get(this._id);
    this._warn_level ??= tile?.warn_level ?? null;
    this._state.show(tile, this._status);
    if (tile?.model_version && this._judged && tile.model_version !== this._judged) {
      this._loadJudged();
      this._versions.load();
    }
    if (tile && (!tile.connected || tile.score === null)) this._hearNothing(tile);
  }

  /** What was heard before says nothing of now. */
  _hearNothing(tile) {
    this._explained = null;
    const waits = tile.connected ? "Its sound is not judged now; the state says why." : "No sound comes.";
    if (this._hearsNote.textContent !== waits) fill(this._hears);
    say(this._hearsNote, waits);
  }

  _showStatus(status) {
    const drifted = JSON.stringify(status.drift) !== JSON.stringify(this._status?.drift ?? null);
    this._status = status;
    this._orders.show(status);
    this._rule.show(status.rule, status.decision, this._warn_level ?? null);
    this._commissioning.follow(status.commissioned);
    this._versions.follow(status.shadowed);
    this._showTile();
    if (drifted && this._hasModel) this._drift.load();
  }

  get _hasModel() {
    return Boolean(this._feed.tiles.get(this._id)?.model_version);
  }

  /** What is known of the version that judges; anew when another does. */
  _loadJudged() {
    this._judged = this._feed.tiles.get(this._id).model_version;
    this._loadCard();
    this._promises.load();
    this._drift.load();
  }

  async _loadCard() {
    try {
      const card = await read(this._path, { signal: this._left.signal });
      this._warn_level = card.thresholds.warn;
      const { value, low, high, promised } = card.expected_false_alarms_a_day;
      fill(this._card, factList([
        ["Kind of machine", card.machine_type], ["Version", card.model_version],
        ["Score", card.scoring.kind.replaceAll("_", " ")], ["Warning level", scoreText(card.thresholds.warn)],
        ["False alarms", `${rateText(value)} clips a day expected (${rateText(low)} to ${rateText(high)})${promised ? ", promised" : ", not promised"}`],
        card.detectors?.length ? ["Detectors", card.detectors.map(({ detector, share }) => `${detectorTitle(detector).toLowerCase()} ${percentText(share)}`).join(", ") + " of the false alarms"] : null,
        ["Learned from", `${card.calibration.recordings} recordings, ${card.calibration.clips} clips`],
        ["Made", `${card.created_at.slice(0, 10)} by ${card.created_by}`], ["Licence", card.licence], ["Attribution", card.attribution],
      ]), ...card.calibration.warnings.map((warning) => element("p.warned", {}, warning)));
    } catch (error) {
      if (!isLeft(error)) fill(this._card, element("p.quiet", {}, error.status === 404 ? "There is no model of this machine yet." : error.message));
    }
  }

  async _loadAlarms() {
    try {
      const { alarms } = await read(`../v1/alarms?limit=5&machine_id=${part(this._id)}`, { signal: this._left.signal });
      fill(this._alarms, ...(alarms.length ? alarms.map((alarm) => alarmRow(alarm, { named: false })) : [element("li.quiet", {}, "No alarm was ever raised.")]));
    } catch (error) {
      if (!isLeft(error)) fill(this._alarms, element("li.quiet", {}, error.message));
    }
  }
}

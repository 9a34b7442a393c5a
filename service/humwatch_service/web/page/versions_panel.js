/** Versions of a machine's model, the ways to try one before it is used, and the way back. */

import { BacktestPanel } from "./backtest_panel.js";
import { button, element, fill, panel } from "./elements.js";
import { rateText, scoreText } from "./numbers.js";
import { askOrder } from "./order_form.js";
import { promiseSentence } from "./promises.js";
import { isLeft, part, read, send, wordsOf } from "./service.js";
import { ShadowPanel } from "./shadow_panel.js";

/** What a version promises, in words. @param {Object} facts */
function promise(facts) {
  const { value, low, high, promised } = facts.expected_false_alarms_a_day;
  const expected = `${rateText(value)} clips of normal sound a day over the alarm level (${rateText(low)} to ${rateText(high)})`;
  return promised ? `promises at most ${expected}` : `expects ${expected}; too few recordings to promise it`;
}

/** Lists versions; activates and rolls back. */
export class VersionsPanel {
  /** @param {string} machine_id @param {AbortSignal} left @param {() => boolean} hasModel */
  constructor(machine_id, left, hasModel) {
    this._shadow = new ShadowPanel(machine_id, left, (version) => this._askFor(version));
    this._backtest = new BacktestPanel(machine_id, left, (version) => this._askFor(version));
    this.parts = [this._backtest.node, this._shadow.node];
    this._hasModel = hasModel;
    this._id = machine_id;
    this._path = `../v1/machines/${part(machine_id)}`;
    this._left = left;
    this._list = element("ul.versions");
    this._back = button("Roll back", () => this._askBack());
    this.node = panel("Model versions", {}, this._list, element("div.row", {}, this._back));
    this.node.hidden = true;
    this.load();
  }

  /** Whether a candidate runs beside, as the machine's status says. @param {boolean} there */
  follow(there) {
    this._shadow.follow(there);
  }

  /** Read them anew. */
  async load() {
    if (!this._hasModel()) return;
    try {
      this._show(await read(`${this._path}/versions`, { signal: this._left }));
    } catch (error) {
      if (!isLeft(error)) this._refused(error);
    }
  }

  _refused(error) {
    this.node.hidden = error.status === 404;
    fill(this._list, element("li", {}, wordsOf(error)));
    this._back.hidden = true;
  }

  _show({ versions, in_use }) {
    this.node.hidden = false;
    this._back.hidden = versions.length < 2;
    fill(this._list, ...[...versions].reverse().map((card) => this._row(card, in_use)));
  }

  _row(card, in_use) {
    const used = card.version === in_use;
    const facts = card.facts;
    const words = facts === null ? `cannot be used: ${card.reason}` : `${facts.score.replaceAll("_", " ")}, ${facts.calibration.recordings} recordings, warning from ${scoreText(facts.thresholds.warn)}; ${promise(facts)}`;
    const stage = facts?.commissioning;
    const decides = facts === null ? null : facts.false_alarms_a_week ? promiseSentence(facts.false_alarms_a_week) : "It has no limits of its own: the on-delay decides.";
    const made = stage ? `Stage ${stage.stage} of a commissioning, from ${stage.minutes} of ${stage.planned_minutes} minutes${stage.provisional ? ", provisional" : ""}. ` : "";
    const mark = used ? element("span.mark", {}, "in use") : card.active ? element("span.mark", {}, "active, but refused") : null;
    const named = (verb) => ({ "aria-label": `${verb} version ${card.version}` });
    const acts = used || facts === null ? [] : [
      button("Try on kept sound", () => this._backtest.run(card.version), named("Try on kept sound:")),
      button("Run beside", () => this._askShadow(card.version), named("Run beside:")),
      button("Activate", () => this._askFor(card.version), named("Activate")),
    ];
    return element("li", {}, element("div", {}, element("b", {}, `Version ${card.version}`), " ", mark, element("p.quiet", {}, facts ? `${facts.created_at.slice(0, 10)}: ${words}` : words), decides && element("p.quiet", {}, `${made}${decides}`), ...(facts?.calibration.warnings ?? []).map((warning) => element("p.warned", {}, warning))), acts.length ? element("div.row.wrap.acts", {}, ...acts) : null);
  }

  async _askFor(version) {
    const give = (order) => send(`${this._path}:activate`, { ...order, version });
    this._changed(await askOrder({ title: `Use version ${version} of ${this._id}`, text: "It judges from now on. No second of the stream is lost, and the version before is kept.", verb: "Activate", give }));
  }

  async _askShadow(version) {
    const give = (order) => send(`${this._path}/shadow`, { ...order, version });
    const report = await askOrder({ title: `Run version ${version} beside the one in use`, text: "It hears what the version in use hears, raises no alarm and tells nobody. What it would have raised is listed.", verb: "Start", give });
    if (report) this._shadow.begun(report);
  }

  async _askBack() {
    const give = (order) => send(`${this._path}:rollback`, order);
    this._changed(await askOrder({ title: `Roll back ${this._id}`, text: "The version that was used before judges again.", verb: "Roll back", danger: true, give }));
  }

  _changed(list) {
    if (list) this._show(list);
  }
}

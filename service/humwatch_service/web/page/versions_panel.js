/** Versions of a machine's model, and the way back. */

import { button, element, fill, panel } from "./elements.js";
import { rateText, scoreText } from "./numbers.js";
import { askOrder } from "./order_form.js";
import { isLeft, part, read, send, wordsOf } from "./service.js";

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
    this._hasModel = hasModel;
    this._id = machine_id;
    this._path = `/v1/machines/${part(machine_id)}`;
    this._left = left;
    this._list = element("ul.versions");
    this._back = button("Roll back", () => this._askBack());
    this.node = panel("Model versions", {}, this._list, element("div.row", {}, this._back));
    this.node.hidden = true;
    this.load();
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
    const mark = used ? element("span.mark", {}, "in use") : card.active ? element("span.mark", {}, "active, but refused") : null;
    const act = used || facts === null ? null : button("Activate", () => this._askFor(card.version), { "aria-label": `Activate version ${card.version}` });
    return element("li", {}, element("div", {}, element("b", {}, `Version ${card.version}`), " ", mark, element("p.quiet", {}, facts ? `${facts.created_at.slice(0, 10)}: ${words}` : words), ...(facts?.calibration.warnings ?? []).map((warning) => element("p.warned", {}, warning))), act);
  }

  async _askFor(version) {
    const give = (order) => send(`${this._path}:activate`, { ...order, version });
    this._changed(await askOrder({ title: `Use version ${version} of ${this._id}`, text: "It judges from now on. No second of the stream is lost, and the version before is kept.", verb: "Activate", give }));
  }

  async _askBack() {
    const give = (order) => send(`${this._path}:rollback`, order);
    this._changed(await askOrder({ title: `Roll back ${this._id}`, text: "The version that was used before judges again.", verb: "Roll back", danger: true, give }));
  }

  _changed(list) {
    if (list) this._show(list);
  }
}

/** A candidate: a version that hears what the one in use hears and tells nobody, and what it would have raised. */

import { comparisonCounts, episodeList } from "./comparison.js";
import { button, element, factList, fill, panel } from "./elements.js";
import { askOrder } from "./order_form.js";
import { promiseSentence } from "./promises.js";
import { isLeft, part, read, send, wordsOf } from "./service.js";
import { silence } from "./sound_button.js";
import { durationText, timeOf } from "./times.js";

const LOOK_MS = 5_000;

/** Follows the candidate of a machine. */
export class ShadowPanel {
  /** @param {string} machine_id @param {AbortSignal} left @param {(version: string) => void} activate asks for that */
  constructor(machine_id, left, activate) {
    this._id = machine_id;
    this._path = `../v1/machines/${part(machine_id)}/shadow`;
    this._left = left;
    this._activate = activate;
    this._head = element("div");
    this._episodes = element("div");
    this._acts = element("div.row.wrap.acts");
    this.node = panel("Candidate", { kind: "candidate" }, this._head, this._episodes, this._acts);
    this.node.hidden = true;
    left.addEventListener("abort", () => {
      clearTimeout(this._timer);
      silence();
    });
  }

  /** Whether there is one, as the machine's status says. @param {boolean} there */
  follow(there) {
    if (there === this._there) return;
    this._there = there;
    if (there) this.look();
    else if (!this._ended) this.node.hidden = true;
  }

  async look() {
    clearTimeout(this._timer);
    try {
      this.show(await read(this._path, { signal: this._left }));
    } catch (error) {
      if (isLeft(error)) return;
      if (error.status === 404) return void (this.node.hidden = true);
      this.node.hidden = false;
      fill(this._head, element("p.quiet", {}, wordsOf(error)));
    }
    this._timer = setTimeout(() => document.hidden ? this._wait() : this.look(), LOOK_MS);
  }

  _wait() {
    document.addEventListener("visibilitychange", () => !this._left.aborted && this.look(), { once: true, signal: this._left });
  }

  /** One was started. @param {Object} told its report */
  begun(told) {
    this.show(told);
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.look(), LOOK_MS);
  }

  /** @param {Object} told its report @param {{ended?: boolean}} [given] */
  show(told, { ended = false } = {}) {
    this._there = !ended;
    this._ended = ended;
    this.node.hidden = false;
    const state = ended ? "It was stopped; this is its last report." : told.running ? "It runs beside the one in use, and tells nobody." : `It runs no more${told.failure ? `: ${told.failure}` : ""}. The version in use was not touched.`;
    fill(this._head,
      element(told.running || ended ? "p" : "p.warned", {}, element("b", {}, `Version ${told.version}`), ` beside version ${told.in_use}. ${state}`),
      comparisonCounts(told, "would have raised"),
      factList([
        ["Heard", told.heard_s > 0 ? durationText(told.heard_s) : "nothing yet"],
        ["Since", element("span", {}, timeOf(told.started_s), ` by ${told.who}${told.why ? `: ${told.why}` : ""}`)],
        ["False alarms", told.expected ? promiseSentence(told.expected) : "not estimated yet: it has to hear more"],
      ]));
    const episodes = JSON.stringify(told.episodes);
    if (episodes !== this._told) {
      this._told = episodes;
      silence();
      fill(this._episodes, episodeList(told.episodes.map((episode) => ({ ...episode, at_s: episode.start_s })), told.in_use, told.version));
    }
    const acts = JSON.stringify([told.version, told.in_use, told.running, ended]);
    if (acts === this._actsTold) return;
    this._actsTold = acts;
    fill(this._acts,
      told.version !== told.in_use && button(`Activate version ${told.version}`, () => this._activate(told.version), { kind: "primary" }),
      !ended && button(told.running ? "Stop the candidate" : "Put it away", () => this._askStop(told)));
  }

  async _askStop({ version }) {
    const report = await askOrder({ title: `Stop version ${version} beside the one in use`, text: "Its report goes to the audit trail, its scores are kept.", verb: "Stop", give: (order) => send(`${this._path}:stop`, order) });
    if (!report) return;
    clearTimeout(this._timer);
    this.show(report, { ended: true });
  }
}

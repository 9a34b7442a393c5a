/** A version over the sound and history that are kept of its machine, beside the one in use. */

import { comparisonCounts, episodeList } from "./comparison.js";
import { button, element, factList, fill, panel } from "./elements.js";
import { rateText } from "./numbers.js";
import { promiseSentence } from "./promises.js";
import { ask, isLeft, part, wordsOf } from "./service.js";
import { silence } from "./sound_button.js";
import { durationText } from "./times.js";

const KINDS = Object.freeze({ recording: "recordings", alarm: "sound of alarms", normal: "kept normal sound", shadow: "sound of alarms of candidates", history: "scores of the history" });

/** Runs a backtest, and shows its report. */
export class BacktestPanel {
  /** @param {string} machine_id @param {AbortSignal} left @param {(version: string) => void} activate asks for that */
  constructor(machine_id, left, activate) {
    this._path = `../v1/machines/${part(machine_id)}/versions/`;
    this._left = left;
    this._activate = activate;
    this._body = element("div", { role: "status" });
    this._episodes = element("div");
    this._acts = element("div.row.wrap.acts");
    this.node = panel("Backtest", { kind: "backtest", tabindex: -1 }, this._body, this._episodes, this._acts);
    this.node.hidden = true;
    left.addEventListener("abort", silence);
  }

  /** Play what is kept through a version and the one in use. @param {string} version */
  async run(version) {
    this._stop?.abort();
    const stop = this._stop = new AbortController();
    silence();
    this.node.hidden = false;
    fill(this._body, element("progress", { "aria-label": "the backtest runs" }), element("p", {}, `What is kept of this machine is played through version ${version} and the one in use. It may take minutes.`));
    fill(this._episodes);
    fill(this._acts, button("Stop", () => stop.abort()));
    this.node.focus({ preventScroll: true });
    this.node.scrollIntoView({ block: "nearest" });
    try {
      const signal = AbortSignal.any([stop.signal, this._left]);
      this._show(await (await ask(`${this._path}${part(version)}:backtest`, { method: "POST", json: {}, signal })).json());
    } catch (error) {
      if (this._left.aborted || stop !== this._stop) return;
      fill(this._acts);
      fill(this._body, element("p", {}, isLeft(error) ? "It was stopped." : wordsOf(error)));
    }
  }

  /** @param {Object} told */
  _show(told) {
    const { old, new: made, verdicts } = told;
    fill(this._body,
      element("p", {}, element("b", {}, `Version ${made.version}`), ` beside version ${old.version}, over what is kept.`),
      comparisonCounts(told, "raise"),
      factList([
        sideOf(old), sideOf(made),
        ["Played", told.heard.filter(({ pieces }) => pieces > 0).map(({ kind, pieces, distinct_s }) => `${kind === "history" ? "" : `${pieces} × `}${KINDS[kind]}, ${durationText(distinct_s)}`).join("; ") || "nothing"],
        ["Alarms that it had", verdictWords(verdicts)],
      ]),
      ...told.notes.map((note) => element("p.warned", {}, note)));
    fill(this._episodes, episodeList(told.episodes, old.version, made.version));
    fill(this._acts, made.version !== old.version && button(`Activate version ${made.version}`, () => this._activate(made.version), { kind: "primary" }),
      button("Close", () => {
        silence();
        this.node.hidden = true;
      }));
  }
}

/** One of the two versions. @param {Object} side @returns {[string, string]} */
function sideOf({ version, alarms, clips_over, expected }) {
  const heard = clips_over.heard === null ? "" : `; ${rateText(clips_over.heard)} clips a day over the alarm level heard, ${rateText(clips_over.expected)} expected`;
  return [`Version ${version}`, `${alarms} ${alarms === 1 ? "alarm" : "alarms"}${heard}. ${expected ? promiseSentence(expected) : "False alarms a week: not estimated."}`];
}

/** What becomes of the alarms that the machine had. @param {Object} counts */
function verdictWords(counts) {
  const words = [
    [counts.true_kept, "true, raised again"], [counts.true_lost, "true, lost"],
    [counts.false_removed, "false, gone"], [counts.false_kept, "false, raised again"],
    [counts.false_added, "new ones on normal sound"], [counts.undecided, "undecided, as their sound ends too soon"],
    [counts.unjudged_kept, "judged by nobody, raised again"], [counts.unjudged_lost, "judged by nobody, not raised"],
  ].filter(([count]) => count > 0).map(([count, text]) => `${text}: ${count}`);
  return words.length ? words.join("; ") : "none whose sound is kept";
}

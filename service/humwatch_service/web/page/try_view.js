/** A recording of one's own: which state, which frequencies, how it looks and sounds. */

import { Curve } from "./curve.js";
import { element, factList, fill, panel, say } from "./elements.js";
import { detectorTitle, secondsText, showExplanation } from "./explanation.js";
import { bytesText, levelText, rateText, scoreText } from "./numbers.js";
import { Player } from "./player.js";
import { keepQuery } from "./route.js";
import { ask, isLeft, part, read, wordsOf } from "./service.js";
import { stateSign } from "./state_sign.js";

/** @param {import("./route.js").Route} route */
export function tryView(route) {
  const view = new TryFile(route.query.get("machine") ?? "");
  return { node: view.node, title: "Try a file", close: () => view.close() };
}

/** The view. */
class TryFile {
  constructor(machine_id) {
    this._left = new AbortController();
    this._asked = new AbortController();
    this._addresses = [];
    this._file = null;
    this._machine = /** @type {HTMLSelectElement} */ (element("select", { id: "try-machine" }));
    this._input = /** @type {HTMLInputElement} */ (element("input.unseen", { type: "file", id: "try-file", accept: "audio/*,.wav,.bwf,.rf64,.w64,.flac,.aif,.aiff,.au,.caf,.mp3,.ogg,.opus,.m4a,.aac,.3gp,.amr,.wma,.mka" }));
    this._drop = element("label.drop", { for: "try-file" }, element("b", {}, "Drop a recording here, or choose one"), element("span.quiet", {}, "WAV, FLAC, MP3 and others. It is scored, and not kept."));
    this._note = element("p", { role: "status" });
    this._trouble = element("p.trouble", { role: "alert" });
    this._result = element("div");
    this.node = element("div.try", {}, element("h1", {}, "Try a file"),
      element("div.filters", {}, element("span.field.line", {}, element("label", { for: "try-machine" }, "Judge it as"), this._machine)),
      this._input, this._drop, this._note, this._trouble, this._result);
    this._listen();
    this._loadMachines(machine_id);
  }

  close() {
    this._left.abort();
    this._asked.abort();
    this._clear();
  }

  _listen() {
    this._input.addEventListener("change", () => this._take(this._input.files[0]));
    this._machine.addEventListener("change", () => {
      keepQuery("#/try", { machine: this._machine.value });
      if (this._file) this._take(this._file);
    });
    const over = (event) => {
      event.preventDefault();
      this._drop.classList.toggle("over", event.type === "dragover");
    };
    this.node.addEventListener("dragover", over);
    this.node.addEventListener("dragleave", over);
    this.node.addEventListener("drop", (event) => {
      over(event);
      this._take(event.dataTransfer.files[0]);
    });
  }

  async _loadMachines(wanted) {
    try {
      const machines = await read("../v1/machines", { signal: this._left.signal });
      fill(this._machine, ...machines.map((m) => element("option", { value: m.machine_id, selected: m.machine_id === wanted }, `${m.machine_id} (${m.machine_type})`)));
      if (!machines.length) say(this._trouble, "There is no model yet that could judge a recording.");
    } catch (error) {
      if (!isLeft(error)) say(this._trouble, wordsOf(error));
    }
  }

  _clear() {
    this._player?.close();
    this._curve?.close();
    this._player = this._curve = null;
    for (const address of this._addresses) URL.revokeObjectURL(address);
    this._addresses = [];
    fill(this._result);
  }

  /** @param {File | undefined} file */
  async _take(file) {
    if (!file) return;
    this._asked.abort();
    this._asked = new AbortController();
    this._clear();
    this._file = file;
    say(this._trouble, "");
    say(this._note, `Judging ${file.name} (${bytesText(file.size)})…`);
    try {
      const answer = await (await this._score(file, "")).json();
      say(this._note, `${file.name} is judged.`);
      this._show(file, answer);
      this._showPicture(await (await this._score(file, "?plot=png")).blob());
    } catch (error) {
      if (isLeft(error)) return;
      say(this._note, "");
      say(this._trouble, `${file.name}: ${wordsOf(error)}`);
    }
    this._input.value = "";
  }

  _score(file, query) {
    const form = new FormData();
    form.append("file", file, file.name);
    const path = `../v1/machines/${part(this._machine.value)}/score${query}`;
    return ask(path, { method: "POST", body: form, signal: this._asked.signal, accept: query ? "image/png" : "application/json" });
  }

  _address(blob) {
    const address = URL.createObjectURL(blob);
    this._addresses.push(address);
    return address;
  }

  _show(file, answer) {
    this._player = new Player([{ name: file.name, address: this._address(file), moment: () => answer.worst.start_s, marks: () => answer.irregular_times }], "the worst");
    const bands = element("div");
    showExplanation(bands, answer, { spanText: ({ start_s, end_s }) => secondsText(start_s, end_s), hear: (stretch) => this._player?.hear(stretch.start_s) });
    const place = element("div.curve");
    this._picture = panel("What it looks like", { kind: "seen" }, element("p.quiet", {}, "Being drawn…"));
    fill(this._result,
      element("div.split", {},
        element("div.main-side", {}, panel("Listen", { kind: "listen" }, this._player.node), this._picture, panel("Score over time", {}, place)),
        element("div.side", {}, this._head(answer), panel("What made the score", {}, bands), panel("Facts", {}, factsOf(answer)))));
    this._drawCurve(place, answer);
  }

  _head(answer) {
    return element("section.panel.head", { "aria-label": "Result", data: { state: answer.state } },
      element("div.big-state", {}, stateSign(answer.state)),
      element("p.since", {}, `score ${scoreText(answer.score)}: the worst ${answer.score_scale}, ${answer.worst.start_s.toFixed(1)} to ${answer.worst.end_s.toFixed(1)} s`),
      element("ul.reasons", {}, ...answer.warnings.map((warning) => element("li", {}, warning.message))));
  }

  _drawCurve(place, answer) {
    const clip = answer.timeline.some((moment) => moment.clip_score !== null);
    this._curve = new Curve(place, {
      height: 170, seconds: true, warn_level: () => answer.thresholds.warn,
      series: [{ name: "second", colour: "--second", width: 1.5, points: true }, { name: "clip", colour: "--curve", width: 2.2, points: true }],
      marks: () => [
        ...answer.irregular_times.map(({ start_s, end_s }) => ({ at: (start_s + end_s) / 2, name: "", colour: "--stretch" })),
        ...(this._player ? [{ at: this._player.place_s ?? 0, name: "", colour: "--ink" }] : []),
      ],
    });
    this._curve.show([answer.timeline.map((m) => m.end_s), answer.timeline.map((m) => m.score), answer.timeline.map((m) => (clip ? m.clip_score : null))]);
    this._curve.window(0, answer.duration_s);
    this._player.addEventListener("time", () => this._curve?.redraw());
  }

  _showPicture(blob) {
    const picture = element("img.evidence", { src: this._address(blob), alt: "Spectrogram, departure from what the model expects, and score of the recording" });
    this._picture.querySelector("p").replaceWith(picture);
  }
}

/** @param {Object} answer */
function factsOf(answer) {
  const { value, low, high, promised } = answer.expected_false_alarms_a_day;
  return factList([
    ["Machine", `${answer.machine_id}, model version ${answer.model_version}`],
    ["Decided by", detectorTitle(answer.detector)],
    ["Levels", `warning ${scoreText(answer.thresholds.warn)}, alarm ${scoreText(answer.thresholds.alarm)}`],
    ["Normal clips as high", `${(answer.p_value * 100).toFixed(1)} %`],
    ["Length", `${answer.duration_s.toFixed(2)} s`], ["Level", levelText(answer.level_dbfs)], ["Raw score", answer.raw_score.toPrecision(4)],
    ["False alarms", `${rateText(value)} clips a day expected (${rateText(low)} to ${rateText(high)})${promised ? ", promised" : ", not promised"}`],
  ]);
}

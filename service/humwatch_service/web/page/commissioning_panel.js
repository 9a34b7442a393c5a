/** Commissioning: what is normal for a machine, learned from its own live sound by a plan, in stages. */

import { askCalibration } from "./commissioning_form.js";
import { button, element, factList, fill, panel } from "./elements.js";
import { levelText, percentText, rateText, scoreText } from "./numbers.js";
import { OddMinutes } from "./odd_minutes.js";
import { askOrder } from "./order_form.js";
import { promiseSentence } from "./promises.js";
import { isLeft, part, read, send, wordsOf } from "./service.js";
import { silence } from "./sound_button.js";
import { stageList } from "./stage_list.js";
import { durationText, momentText, nowS, timeOf } from "./times.js";
import { adviceText, reasonText } from "./words.js";

const LOOK_MS = 2_000;

const PLANS = Object.freeze({
  in_a_row: "minutes in a row",
  day: "five minutes at once, then spread over a day",
  week: "five minutes at once, then spread over a week",
});

const WAITS = Object.freeze({
  sound: "Waits for sound",
  candidate: "A version scores beside the one in use",
  period: "Waits for the end of the time that was declared normal",
  operator: "Waits for you",
});

/** Follows a commissioning. */
export class CommissioningPanel {
  /** @param {string} machine_id @param {AbortSignal} left @param {() => void} made a new version is there, or is used */
  constructor(machine_id, left, made) {
    this._id = machine_id;
    this._path = `../v1/machines/${part(machine_id)}/calibration`;
    this._left = left;
    this._made = made;
    this._stages = "";
    this._running = null;
    this._trouble = element("p.quiet", { role: "status" });
    this._meter = element("progress", { max: 1, value: 0, "aria-label": "minutes of normal sound" });
    this._waits = element("p.waits");
    this._facts = element("div");
    this._list = element("div");
    this._odd = new OddMinutes(machine_id, (told) => this._show(told));
    this._acts = element("div.row.wrap.acts");
    this._going = element("div.going", {}, this._waits, this._meter, this._facts, this._odd.node, this._list, this._acts);
    this._none = element("div", {},
      element("p", {}, "Learns what is normal for this machine from what it sounds like from now on. It has to run well meanwhile, at every load that it will be judged at. After five minutes it is watched provisionally."),
      element("div.row", {}, button("Start a commissioning", () => this._ask())));
    this._report = element("div.made", { role: "status" });
    this.node = panel("Commissioning", {}, this._trouble, this._going, this._none, this._report);
    this._going.hidden = this._trouble.hidden = true;
    left.addEventListener("abort", () => {
      clearTimeout(this._timer);
      silence();
    });
  }

  /** Whether one goes on, as the machine's status says. @param {boolean} running */
  follow(running) {
    if (running === this._running) return;
    const before = this._running;
    this._running = running;
    if (running) this.look();
    else this._ended(before === true);
  }

  /** Read how far it is, and go on doing so. */
  async look() {
    clearTimeout(this._timer);
    try {
      this._show(await read(this._path, { signal: this._left }));
      this._again(LOOK_MS);
    } catch (error) {
      if (isLeft(error)) return;
      if (error.status === 404) return this._ended(true);
      this._trouble.hidden = false;
      fill(this._trouble, wordsOf(error));
      this._again(5 * LOOK_MS);
    }
  }

  _again(after_ms) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => document.hidden ? this._wait() : this.look(), after_ms);
  }

  _wait() {
    document.addEventListener("visibilitychange", () => !this._left.aborted && this.look(), { once: true, signal: this._left });
  }

  /** None goes on. @param {boolean} did whether one just did: what it made is told */
  async _ended(did) {
    clearTimeout(this._timer);
    this._going.hidden = true;
    this._none.hidden = false;
    this._trouble.hidden = true;
    this._odd.show([]);
    this._told = null;
    if (!did || this._cancelled) return;
    this._made();
    const report = await read(`${this._path}/report`, { signal: this._left }).catch(() => null);
    if (report) this._showReport(report);
  }

  /** @param {Object} told */
  _show(told) {
    this._running = true;
    this._cancelled = false;
    this._trouble.hidden = this._none.hidden = true;
    this._going.hidden = false;
    fill(this._report);
    const share = Math.min(1, told.minutes / told.wanted_minutes);
    if (this._meter.value !== share) this._meter.value = share;
    this._going.dataset.waits = told.waits_for;
    const lines = JSON.stringify([told, Math.floor(nowS() / 10)]);
    if (lines === this._told) return;
    this._told = lines;
    const asks = told.waits_for !== "operator" && told.stages.find(({ state }) => state === "waiting");
    fill(this._waits, element("b", {}, `${WAITS[told.waits_for]}: `), `${told.waits_why}.`, asks && element("span", {}, ` Version ${asks.version} waits for you to accept it.`));
    fill(this._facts, ...provisionalOf(told), factList(factsOf(told)), element("p.promise", {}, promiseWords(told)), ...troublesOf(told));
    this._odd.show(told.odd_minutes);
    this._showStages(told);
    this._showActs(told);
  }

  _showStages(told) {
    fill(this._list, element("h3", {}, "Stages"), stageList(told.stages, told.plan.stage_minutes));
    const stages = JSON.stringify(told.stages.map(({ version, state }) => [version, state]));
    if (stages !== this._stages && this._stages !== "") this._made();
    this._stages = stages;
  }

  /** The buttons are kept while they say the same, so that none loses the focus. */
  _showActs(told) {
    const waiting = told.stages.find(({ state }) => state === "candidate" || state === "waiting");
    const acts = JSON.stringify([waiting?.version, told.can_finish, told.finishing]);
    if (acts === this._actsTold) return;
    this._actsTold = acts;
    const accept = waiting && button(`Accept version ${waiting.version}`, () => this._askAccept(waiting), { kind: "primary", disabled: told.finishing });
    const finish = button(told.finishing ? "Being made…" : "Finish now", () => this._askFinish(told), { kind: waiting ? "" : "primary", disabled: told.finishing || !told.can_finish });
    const few = told.can_finish ? null : element("span.quiet", {}, "It can be finished from 3 minutes on.");
    fill(this._acts, accept, finish, button("Cancel the commissioning", () => this._askCancel(), { disabled: told.finishing }), few);
  }

  async _ask() {
    const told = await askCalibration(this._id);
    if (told) this.begun(told);
  }

  /** One was started. @param {Object} told how far it is */
  begun(told) {
    this._stages = "";
    this._show(told);
    this._again(LOOK_MS);
  }

  async _askAccept(stage) {
    const text = `It judges from now on. It rests on ${stage.minutes} minutes. ${stage.reason.replace(/^./, (first) => first.toUpperCase())}.`;
    const answer = await this._order({ title: `Accept version ${stage.version} of ${this._id}`, text, verb: "Accept", give: (order) => send(`${this._path}:accept`, order) });
    if (!answer) return;
    if (answer.activated === undefined) this._show(answer);
    else this._finished(answer);
    this._made();
  }

  async _askFinish(told) {
    const field = { name: "activate", label: "Use the new version from now on", kind: "check", value: true };
    const report = await this._order({ title: `Finish the commissioning of ${this._id}`, text: `${promiseWords(told)} No more minutes are collected.`, verb: "Finish", fields: [field], give: (order) => send(`${this._path}:finish`, order) });
    if (!report) return;
    this._finished(report);
    this._made();
  }

  async _askCancel() {
    const answer = await this._order({ title: `Cancel the commissioning of ${this._id}`, text: "The minutes so far are lost. Versions that it made stay, also one in use.", verb: "Cancel the commissioning", danger: true, give: (order) => send(`${this._path}:cancel`, order) });
    if (!answer) return;
    this._cancelled = true;
    this._running = false;
    await this._ended(false);
  }

  /** Ask, and look no more meanwhile. */
  async _order(asked) {
    clearTimeout(this._timer);
    const answer = await askOrder(asked);
    if (!answer || answer.activated === undefined) this._again(LOOK_MS);
    return answer;
  }

  async _finished(report) {
    this._running = false;
    await this._ended(false);
    this._showReport(report);
  }

  _showReport(report) {
    const alarms = report.expected_false_alarms_a_day;
    const cost = report.decision ? promiseSentence(report.decision.rate) : `Its alarms are decided by the on-delay${report.decision_reason ? `: ${report.decision_reason}` : ""}.`;
    fill(this._report, element("h3", {}, `Version ${report.version} was made${report.activated ? " and is in use" : ", and is not in use"}`),
      element("p", {}, `Warning from ${scoreText(report.thresholds.warn)}. ${rateText(alarms.value)} clips of normal sound a day are expected over the alarm level (${rateText(alarms.low)} to ${rateText(alarms.high)}); ${alarms.promised ? "this is promised" : "this is not promised"}.`),
      element("p", {}, cost),
      ...report.warnings.map((warning) => element("p.warned", {}, warning)));
  }
}

/** @param {Object} told */
function provisionalOf(told) {
  if (told.provisional_since_s === null) return [];
  return [element("p.warned", {}, "The machine is watched provisionally since ", timeOf(told.provisional_since_s), ", with a wider level: faint faults may be missed until the last version is used.")];
}

/** @param {Object} told @returns {Array<[string, any] | null>} */
function factsOf(told) {
  const { plan } = told;
  const spread = plan.stretch_s > 0 && told.minutes >= plan.at_once_minutes ? `, one in ${durationText(plan.stretch_s)}` : "";
  return [
    ["Minutes", `${told.minutes} of ${told.wanted_minutes}${told.done ? ": all are there" : ""}`],
    ["Plan", `${PLANS[plan.kind] ?? plan.kind}${spread}`],
    ["Next minute", nextWords(told)],
    plan.stretch_s > 0 ? ["Hours of the day", hoursWords(plan.minutes_by_hour)] : null,
    plan.collect_until_s === null ? null : ["Collects until", timeOf(plan.collect_until_s)],
    plan.normal_until_s === null ? null : ["Declared normal", element("span", {}, "until ", timeOf(plan.normal_until_s))],
    ["New versions", told.accept === "automatic" ? "are used by themselves within that time, never after it" : "wait for an operator"],
    ["Level", levelText(told.level_dbfs)],
    ["Not used", told.rejected_s > 0 ? rejectedWords(told) : "nothing"],
    told.lost_minutes.length ? ["Thrown out", told.lost_minutes.map((minute) => `minute ${minute.number} (${minute.reason})`).join("; ")] : null,
    ["Started", element("span", {}, timeOf(told.started_s), ` by ${told.who}${told.why ? `: ${told.why}` : ""}`)],
    ["Network", `${told.from_machine}, version ${told.from_version}`],
  ];
}

/** @param {Object} told */
function nextWords({ plan, done }) {
  if (done || plan.next_wanted_s === null) return "none is wanted any more";
  const heard_s = plan.heard_s ?? nowS();
  return plan.next_wanted_s <= heard_s ? "is collected now, or waited for" : `from ${momentText(plan.next_wanted_s)} on`;
}

/** Which hours of the day are there, and which are missing. @param {number[]} counts */
function hoursWords(counts) {
  const there = counts.filter(Boolean).length;
  return there === 24 ? "all 24 are there" : `${there} of 24 are there`;
}

/** @param {Object} told */
function troublesOf(told) {
  const words = [
    told.paused ? "The machine is said to stand: nothing is collected." : null,
    told.trouble,
    ...told.faults.map((fault) => `${reasonText(fault.code)} ${adviceText(fault.code) ?? ""}`),
  ];
  return words.filter(Boolean).map((each) => element("p.warned", {}, each));
}

/** @param {Object} told */
function rejectedWords(told) {
  const worst = Object.entries(told.rejected).sort(([, a], [, b]) => b - a).map(([reason, seconds]) => `${durationText(seconds)}: ${reasonText(reason).replace(/\.$/, "")}`);
  return `${durationText(told.rejected_s)} (${worst.join("; ")})`;
}

/** What could be promised if it were finished now. @param {Object} told */
function promiseWords(told) {
  const wanted = `${percentText(told.alarm_rate)} of normal clips over the alarm level needs ${told.minutes_needed} minutes`;
  if (told.promised_rate === null) return `These minutes promise nothing yet. ${wanted}.`;
  return `Finished now, at best ${percentText(told.promised_rate)} of normal clips over the alarm level could be promised (${rateText(told.promised_false_alarms_a_day)} a day of running). ${wanted}.`;
}

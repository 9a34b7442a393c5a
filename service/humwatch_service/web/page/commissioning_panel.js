/** Thresholds for a machine from its own live sound: start, watch, finish. */

import { button, element, factList, fill, panel } from "./elements.js";
import { levelText, percentText, rateText, scoreText } from "./numbers.js";
import { askOrder } from "./order_form.js";
import { part, read, send, isLeft, wordsOf } from "./service.js";
import { durationText, timeOf } from "./times.js";
import { adviceText, reasonText } from "./words.js";

const LOOK_MS = 2_000;
const MILESTONES = ["calibration_started", "calibration_cancelled", "calibrated"];

/**
 * Ask for a calibration, of a machine or of a new one.
 * @param {string | null} machine_id null: it is asked for
 * @returns {Promise<Object | null>} how far it is; null when it was not started
 */
export async function askCalibration(machine_id) {
  const machines = await read("/v1/machines").catch(() => []);
  const own = machines.some((machine) => machine.machine_id === machine_id);
  const others = machines.filter((machine) => machine.machine_id !== machine_id).map((machine) => [machine.machine_id, `${machine.machine_id} (${machine.machine_type})`]);
  const choices = [...(own ? [[null, "its own"]] : []), ...others];
  const name = { name: "machine_id", label: "Name of the machine", rules: { required: true, maxlength: 64, pattern: "[a-z0-9][a-z0-9._\\-]*", autocapitalize: "none" }, hint: "a to z, 0 to 9, dot, underscore and hyphen. Its microphone sends to this name." };
  const fields = [
    ...(machine_id === null ? [name] : []),
    { name: "minutes", label: "Minutes of normal sound", kind: "number", value: 100, rules: { min: 3, max: 240, step: 1, required: true }, hint: "From 99 minutes on a false-alarm rate of 1 % of clips can be promised." },
    ...(choices.length > 1 || !own ? [{ name: "from_machine", label: "Whose network", kind: "select", choices, value: choices[0]?.[0] }] : []),
  ];
  return askOrder({
    title: machine_id === null ? "Commission a new machine" : `Calibrate ${machine_id}`, verb: "Start", fields,
    text: "What is heard from now on is normal from then on. Has somebody looked at the machine?",
    give: ({ machine_id: named = machine_id, ...order }) => send(`/v1/machines/${part(named)}/calibration`, order),
  });
}

/** Follows a calibration. */
export class CommissioningPanel {
  /** @param {string} machine_id @param {AbortSignal} left @param {() => void} made a new version is there */
  constructor(machine_id, left, made) {
    this._id = machine_id;
    this._path = `/v1/machines/${part(machine_id)}/calibration`;
    this._left = left;
    this._made = made;
    this._body = element("div");
    this._report = element("div", { role: "status" });
    this.node = panel("Commissioning", {}, this._body, this._report);
    left.addEventListener("abort", () => clearTimeout(this._timer));
    this._showNone();
    this._lookIfStarted();
  }

  /** Whether a calibration was started and did not end is in the audit trail. */
  async _lookIfStarted() {
    try {
      const { events } = await read(`/v1/machines/${part(this._id)}/events?limit=200`, { signal: this._left });
      const last = events.find((event) => MILESTONES.includes(event.kind));
      if (last?.kind === "calibration_started") this._look();
    } catch (error) {
      if (!isLeft(error)) fill(this._report, element("p.quiet", {}, wordsOf(error)));
    }
  }

  async _look() {
    clearTimeout(this._timer);
    try {
      this._showProgress(await read(this._path, { signal: this._left }));
      this._timer = setTimeout(() => document.hidden ? this._wait() : this._look(), LOOK_MS);
    } catch (error) {
      if (isLeft(error)) return;
      if (error.code === "calibration_not_found" || error.status === 404) this._showNone();
      else {
        fill(this._body, element("p.quiet", {}, wordsOf(error)));
        this._timer = setTimeout(() => this._look(), 5 * LOOK_MS);
      }
    }
  }

  _wait() {
    document.addEventListener("visibilitychange", () => !this._left.aborted && this._look(), { once: true, signal: this._left });
  }

  _showNone() {
    fill(this._body,
      element("p", {}, "Learns what is normal for this machine from what it sounds like from now on. It has to run well meanwhile, at every load that it will be judged at."),
      button("Start a calibration", () => this._askStart()));
  }

  _showProgress(told) {
    const share = Math.min(1, told.minutes / told.wanted_minutes);
    const meter = element("progress", { max: 1, value: share, "aria-label": "minutes of normal sound" });
    fill(this._body, meter, factList([
      ["Minutes", `${told.minutes} of ${told.wanted_minutes}${told.done ? ": all are there, finish it" : ""}`],
      ["Level", levelText(told.level_dbfs)],
      ["Not used", told.rejected_s > 0 ? rejectedWords(told) : "nothing"],
      ["Started", element("span", {}, timeOf(told.started_s), ` by ${told.who}${told.why ? `: ${told.why}` : ""}`)],
      ["Network", `${told.from_machine}, version ${told.from_version}`],
    ]), element("p.promise", {}, promiseWords(told)), ...this._troubles(told), element("div.row.wrap", {}, ...this._acts(told)));
  }

  _troubles(told) {
    const paused = told.paused ? [element("p.warned", {}, "The machine is said to stand: nothing is collected.")] : [];
    return [...paused, ...told.faults.map((fault) => element("p.warned", {}, `${reasonText(fault.code)} ${adviceText(fault.code) ?? ""}`))];
  }

  _acts(told) {
    const finish = button(told.finishing ? "Being made…" : "Finish", () => this._askFinish(told), { kind: "primary", disabled: told.finishing || !told.can_finish });
    const few = told.can_finish ? null : element("span.quiet", {}, "It can be finished from 3 minutes on.");
    return [finish, button("Cancel the calibration", () => this._askCancel(), { disabled: told.finishing }), few].filter(Boolean);
  }

  async _askStart() {
    if (await askCalibration(this._id)) this._look();
  }

  async _askFinish(told) {
    const field = { name: "activate", label: "Use the new version from now on", kind: "check", value: true };
    clearTimeout(this._timer);
    const report = await askOrder({ title: `Finish the calibration of ${this._id}`, text: promiseWords(told), verb: "Finish", fields: [field], give: (order) => send(`${this._path}:finish`, order) });
    if (!report) return this._look();
    this._showReport(report);
    this._made();
    this._showNone();
  }

  async _askCancel() {
    clearTimeout(this._timer);
    const answer = await askOrder({ title: `Cancel the calibration of ${this._id}`, text: "The minutes so far are lost.", verb: "Cancel the calibration", danger: true, give: (order) => send(`${this._path}:cancel`, order) });
    if (answer) this._showNone();
    else this._look();
  }

  _showReport(report) {
    const alarms = report.expected_false_alarms_a_day;
    fill(this._report, element("h3", {}, `Version ${report.version} is made${report.activated ? " and in use" : ""}`),
      element("p", {}, `Warning from ${scoreText(report.thresholds.warn)}. ${rateText(alarms.value)} clips of normal sound a day are expected over the alarm level (${rateText(alarms.low)} to ${rateText(alarms.high)}); ${alarms.promised ? "this is promised" : "this is not promised"}.`),
      ...report.warnings.map((warning) => element("p.warned", {}, warning)));
  }
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

/** What an operator can have done to a machine. */

import { button, element, panel } from "./elements.js";
import { askOrder } from "./order_form.js";
import { part, send } from "./service.js";
import { durationText } from "./times.js";

const SHELVES_S = [900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400, 604_800];

/** Durations that a rule allows, its longest among them. @param {number} longest_s */
export function shelfChoices(longest_s) {
  const allowed = SHELVES_S.filter((seconds) => seconds < longest_s);
  return [...allowed, longest_s].map((seconds) => [seconds, durationText(seconds)]);
}

/** Ask how long nobody is to be told. @param {string} path @param {string} of @param {number} longest_s */
export function askShelf(path, of, longest_s) {
  const choices = shelfChoices(longest_s);
  const usual = choices.findLast(([seconds]) => seconds <= 3_600) ?? choices[0];
  return askOrder({
    title: `Shelve alarms of ${of}`, verb: "Shelve",
    text: "Nobody is told of alarms for a while. They are still raised, shown and recorded.",
    fields: [{ name: "for_s", label: "For how long", kind: "select", choices, value: usual[0], hint: `The rule allows ${durationText(longest_s)} at most.` }],
    give: (order) => send(path, order),
  });
}

/** Buttons that fit the state. */
export class MachineOrders {
  /** @param {string} machine_id @param {(status: Object) => void} changed */
  constructor(machine_id, changed) {
    this._id = machine_id;
    this._path = `../v1/machines/${part(machine_id)}`;
    this._changed = changed;
    this._out = button("Take out of service", () => this._order("out-of-service", { title: `Take ${machine_id} out of service`, text: "It is judged no more, until it is returned.", verb: "Take out of service", danger: true }));
    this._in = button("Return to service", () => this._order("in-service", { title: `Return ${machine_id} to service`, verb: "Return to service" }), { kind: "primary" });
    this._shelve = button("Shelve alarms", () => this._askShelf());
    this._unshelve = button("End the shelf", () => this._order("unshelve", { title: `Tell people of alarms of ${machine_id} again`, verb: "End the shelf" }));
    this._run = button("Say whether it runs", () => this._askRun());
    this._note = element("p.quiet");
    this.node = panel("Orders", {}, element("div.row.wrap", {}, this._out, this._in, this._shelve, this._unshelve, this._run), this._note);
    this.node.hidden = true;
  }

  /** @param {Object | null} status */
  show(status) {
    this.node.hidden = status === null;
    if (status === null) return;
    this._status = status;
    this._out.hidden = status.out_of_service !== null;
    this._in.hidden = status.out_of_service === null;
    this._unshelve.hidden = status.shelf === null;
    const said = { true: "it is said to run", false: "it is said to stand", null: "its level decides" };
    this._note.textContent = `Whether it runs: ${said[String(status.run_signal)]}.`;
  }

  async _order(name, asked) {
    const answer = await askOrder({ ...asked, give: (order) => send(`${this._path}:${name}`, order) });
    if (answer) this._changed(answer);
  }

  async _askShelf() {
    const answer = await askShelf(`${this._path}:shelve`, this._id, this._status.rule.shelve_max_s);
    if (answer) this._changed(answer);
  }

  async _askRun() {
    const choices = [[true, "It runs"], [false, "It stands: do not judge it"], [null, "Leave it to the level of the sound"]];
    const field = { name: "running", label: "Does it run?", kind: "radio", choices, value: this._status.run_signal };
    await this._order("run-state", { title: `Does ${this._id} run?`, text: "This goes before what the level says, and survives a restart.", verb: "Say so", fields: [field] });
  }
}

/** The order that starts a commissioning: of a machine with a model, or of a new one. */

import { askOrder } from "./order_form.js";
import { part, read, send } from "./service.js";

const PLANS = Object.freeze([
  ["day", "Over a day: five minutes at once, then one in each quarter of an hour"],
  ["week", "Over a week: the same, at all hours of all days"],
  ["in_a_row", "Minutes in a row, then it ends"],
]);

const ACCEPT = Object.freeze([
  ["automatic", "By itself, within the time that the machine is declared to run normally (50 hours of a day's plan, 252 of a week's), never after it"],
  ["operator", "An operator accepts each version"],
]);

/** The minutes and who accepts are asked by the plan. @param {Object} order */
const isInARow = (order) => order.plan === "in_a_row";

/**
 * Ask for a commissioning.
 * @param {string | null} machine_id null: it is asked for
 * @param {{why?: string}} [given] the reason at first
 * @returns {Promise<Object | null>} how far it is; null when it was not started
 */
export async function askCalibration(machine_id, { why = "" } = {}) {
  const machines = await read("../v1/machines").catch(() => []);
  const own = machines.some((machine) => machine.machine_id === machine_id);
  const others = machines.filter((machine) => machine.machine_id !== machine_id).map((machine) => [machine.machine_id, `${machine.machine_id} (${machine.machine_type})`]);
  const choices = [...(own ? [[null, "its own"]] : []), ...others];
  const name = { name: "machine_id", label: "Name of the machine", rules: { required: true, maxlength: 64, pattern: "[a-z0-9][a-z0-9._\\-]*", autocapitalize: "none" }, hint: "a to z, 0 to 9, dot, underscore and hyphen. Its microphone sends to this name." };
  const fields = [
    ...(machine_id === null ? [name] : []),
    { name: "plan", label: "Which minutes", kind: "radio", choices: PLANS, value: "day" },
    { name: "minutes", label: "Minutes of normal sound", kind: "number", value: 100, rules: { min: 3, max: 240, step: 1, required: true }, hint: "From 99 minutes on a false-alarm rate of 1 % of clips can be promised.", asked: isInARow },
    { name: "accept", label: "Who accepts a new version", kind: "radio", choices: ACCEPT, value: "automatic", asked: (order) => !isInARow(order) },
    ...(choices.length > 1 || !own ? [{ name: "from_machine", label: "Whose network", kind: "select", choices, value: choices[0]?.[0] }] : []),
  ];
  return askOrder({
    title: machine_id === null ? "Commission a new machine" : `Commission ${machine_id}`, verb: "Start", fields, because: why,
    text: "What is heard from now on is normal from then on. Has somebody looked at the machine?",
    give: ({ machine_id: named = machine_id, ...order }) => send(`../v1/machines/${part(named)}/calibration`, order),
  });
}

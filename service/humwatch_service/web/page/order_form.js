/** A dialog for an order: who, why, and what else it needs. It stays open, with the reason, when it is refused. */

import { button, element } from "./elements.js";
import { rememberedName, rememberName } from "./operator.js";
import { wordsOf } from "./service.js";

/**
 * @typedef {Object} Field
 * @property {string} name in the order
 * @property {string} label
 * @property {"text" | "number" | "select" | "radio" | "check"} [kind]
 * @property {any} [value] at first
 * @property {Array<[any, string]>} [choices] values and their words
 * @property {string} [hint]
 * @property {Object<string, any>} [rules] attributes of the input: min, max, maxlength, required
 * @property {(order: Object) => boolean} [asked] whether it is asked, by what is filled in; always without
 */

let count = 0;

/** @param {Field} field @returns {{node: HTMLElement, value: () => any}} */
function fieldOf(field) {
  const id = `field-${++count}`;
  const hint = field.hint ? element("p.hint", { id: `${id}-hint` }, field.hint) : null;
  const described = hint ? { "aria-describedby": hint.id } : {};
  if (field.kind === "radio") return radioOf(field, id, hint);
  if (field.kind === "select") {
    const choices = field.choices.map(([value, words], index) => element("option", { value: index, selected: value === field.value }, words));
    const select = element("select", { id, ...described }, ...choices);
    return labelled(field.label, id, select, hint, () => field.choices[Number(select.value)][0]);
  }
  if (field.kind === "check") {
    const box = element("input", { id, type: "checkbox", checked: field.value === true });
    const node = element("div.field.check", {}, box, element("label", { for: id }, field.label), hint);
    return { node, value: () => box.checked };
  }
  const input = element("input", { id, type: field.kind ?? "text", value: field.value ?? "", autocomplete: "off", ...described, ...field.rules });
  return labelled(field.label, id, input, hint, () => (field.kind === "number" ? Number(input.value) : input.value.trim()));
}

/** @param {string} label @param {string} id @param {HTMLElement} input @param {HTMLElement | null} hint @param {() => any} value */
function labelled(label, id, input, hint, value) {
  return { node: element("div.field", {}, element("label", { for: id }, label), input, hint), value };
}

/** @param {Field} field @param {string} id @param {HTMLElement | null} hint */
function radioOf(field, id, hint) {
  const inputs = field.choices.map(([value], index) =>
    element("input", { type: "radio", name: id, id: `${id}-${index}`, checked: value === field.value, required: true }),
  );
  const rows = field.choices.map(([, words], index) =>
    element("div.choice", {}, inputs[index], element("label", { for: `${id}-${index}` }, words)),
  );
  const node = element("fieldset.field", {}, element("legend", {}, field.label), ...rows, hint);
  return { node, value: () => field.choices[inputs.findIndex((input) => input.checked)]?.[0] };
}

/** Fields that every order has. @param {string} why @param {string} because the reason at first */
function signature(why, because) {
  return [
    { name: "who", label: "Your name", value: rememberedName(), rules: { required: true, maxlength: 80 }, hint: "Kept with the order, in the audit trail." },
    { name: "why", label: why, value: because, rules: { maxlength: 500 } },
  ];
}

/**
 * Ask for an order and give it.
 * @param {{title: string, text?: string, verb: string, danger?: boolean, fields?: Field[], why?: string | null, because?: string,
 *          give: (order: Object) => Promise<any>}} asked `give` sends it; what it raises is shown in the dialog
 * @returns {Promise<any>} what `give` returned; null when it was closed
 */
export function askOrder({ title, text = "", verb, danger = false, fields = [], why = "Why (may be empty)", because = "", give }) {
  const wanted = [...fields, ...signature(why ?? "", because)].filter((field) => why !== null || field.name !== "why");
  const made = wanted.map((field) => [field.name, { ...fieldOf(field), asked: field.asked ?? (() => true) }]);
  const filled = () => Object.fromEntries(made.map(([name, field]) => [name, field.value()]));
  const show = () => {
    const order = filled();
    for (const [, field] of made) {
      field.node.hidden = !field.asked(order);
      for (const input of field.node.querySelectorAll("input, select")) input.disabled = field.node.hidden;
    }
  };
  const trouble = element("p.trouble", { role: "alert" });
  const submit = element("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
  const heading = element("h2", { id: `dialog-${++count}` }, title);
  return new Promise((resolve) => {
    const close = button("Cancel", () => dialog.close());
    const form = element("form", { method: "dialog" }, heading, text ? element("p", {}, text) : null, ...made.map(([, field]) => field.node), trouble, element("div.row.end", {}, close, submit));
    const dialog = /** @type {HTMLDialogElement} */ (element("dialog.order", { "aria-labelledby": heading.id }, form));
    let answer = null;
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    form.addEventListener("change", show);
    show();
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const all = filled();
      const order = Object.fromEntries(made.filter(([, field]) => field.asked(all)).map(([name]) => [name, all[name]]));
      rememberName(order.who);
      submit.disabled = true;
      trouble.textContent = "";
      try {
        answer = (await give(order)) ?? true;
        dialog.close();
      } catch (error) {
        trouble.textContent = wordsOf(error);
      } finally {
        submit.disabled = false;
      }
    });
    document.body.append(dialog);
    dialog.showModal();
    focusFirst(made.map(([, field]) => field.node), submit);
  });
}

/** The first thing that is to be said: an empty field, else the button. @param {HTMLElement[]} nodes @param {HTMLElement} submit */
function focusFirst(nodes, submit) {
  const inputs = nodes.flatMap((node) => [...node.querySelectorAll("input, select")]);
  const empty = inputs.find((input) => input.required && !input.value);
  (inputs.some((input) => input.type === "radio") ? inputs[0] : empty ?? submit).focus();
}

// Draws a header that was taken apart: as one line, and part by part with what each part means.

import { make } from "./page.js";

// A header as it is in the request, each part of it marked, and the id of the span that sent it marked as such.
export function headerLine({ name, parts, separator }, sender) {
  const texts = parts.flatMap(({ part, label, text }, index) => [
    index ? separator : "",
    make("span", { "data-part": part, "data-label": label, class: text === sender ? "sender-id" : null }, text),
  ]);
  return make("code", { class: "header" }, make("b", {}, `${name}: `), ...texts);
}

// A list of the parts. The one that is the id of the sender is marked, and `same` says so in words.
export function partList({ parts }, sender = null, same = null) {
  const isSender = ({ value }) => sender !== null && value === sender;
  return make("dl", { class: "parts" }, ...parts.map((part) => partOf(part, isSender(part) ? same : null)));
}

function partOf({ part, label, value, means, wrong, bits = [] }, same) {
  return fact(label,
    make("code", { "data-part": part, class: same && "sender-id" }, value || "nothing"),
    same && make("b", {}, same),
    make("span", { class: "means" }, means),
    wrong && failure(wrong),
    ...bits.map(bitOf));
}

const bitOf = ({ name, bits, means }) =>
  make("span", { class: "bit", "data-bit": name }, make("code", {}, bits), ` ${name}: ${means}`);

// A term and what there is to say of it, for a <dl>.
export const fact = (term, ...words) => make("div", {}, make("dt", {}, term), make("dd", {}, ...words));

export const failure = (sentence) => make("span", { class: "failed" }, sentence);

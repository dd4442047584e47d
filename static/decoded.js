// Draws a header that was taken apart: as one line, and part by part with what each part means.

import { fact, failure, make } from "./page.js";

// A header as it is in the request, with a label under each part; the id of the span that sent it is marked.
export function headerLine({ name, parts, separator }, sender) {
  const texts = parts.flatMap(({ label, text, isMember }, index) => [
    index ? separator : "",
    make("span", { "data-label": isMember ? null : label, class: text === sender ? "sender-id" : null }, text),
  ]);
  return make("code", { class: "header" }, make("b", {}, `${name}: `), ...texts);
}

// A list of the parts. The one that is the id of the sender is marked, and `same` says so in words.
export function partList({ parts }, sender = null, same = null) {
  const isSender = ({ value }) => sender !== null && value === sender;
  return make("dl", { class: "parts" }, ...parts.map((part) => partOf(part, isSender(part) ? same : null)));
}

function partOf({ label, value, means, wrong, bits = [] }, same) {
  return fact(label,
    make("code", { class: same && "sender-id" }, value || "nothing"),
    same && make("b", {}, same),
    means && make("span", { class: "means" }, means),
    wrong && failure(wrong),
    ...bits.map(bitOf));
}

const bitOf = ({ name, bits, means }) =>
  make("span", { class: "bit" }, make("code", {}, bits), ` ${name}: ${means}`);

// The function around a line of Python: a pure function, which Node runs too.

// A line without a statement: it is blank, or closes the parameters of a function.
const isEmpty = (line) => /^\s*(\)|$)/.test(line);
const indentOf = (line) => line.search(/\S|$/);

// [{ number, text, isComment }, ...] from the decorators to the last line; [] if no function contains the line.
export function functionAround(source, number) {
  const lines = source.split("\n");
  const def = number > lines.length ? -1 : defAbove(lines, number - 1);
  if (def < 0) return [];
  const indent = indentOf(lines[def]);
  const isBeyond = (line, index) => index > def && !isEmpty(line) && indentOf(line) <= indent;
  const end = lines.findIndex(isBeyond);
  let first = def;
  while (lines[first - 1]?.startsWith(`${" ".repeat(indent)}@`)) first--;
  let isDocstring = false;
  return lines.slice(first, end < 0 ? lines.length : end).join("\n").trimEnd().split("\n").map((text, index) => {
    const quotes = text.split('"""').length - 1;
    const isComment = isDocstring || quotes > 0 || /^\s*#/.test(text);
    if (quotes === 1) isDocstring = !isDocstring;
    return { number: first + index + 1, text, isComment };
  });
}

// Upwards, by lines that are less and less indented, to the first `def` among them.
function defAbove(lines, index) {
  let indent = Infinity;
  for (; index >= 0; index--) {
    if (isEmpty(lines[index]) || indentOf(lines[index]) >= indent) continue;
    indent = indentOf(lines[index]);
    if (/^\s*(async )?def /.test(lines[index])) return index;
  }
  return -1;
}

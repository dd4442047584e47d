// The function around a line of Python: a pure function, which Node runs too.

const indentOf = (line) => line.length - line.trimStart().length;
const isDef = (line) => /^\s*(async )?def /.test(line);

// [{ number, text, isComment }, ...] from the decorators to the last line; [] if no function contains the line.
export function functionAround(source, number) {
  const lines = source.split("\n");
  const def = defAbove(lines, number - 1);
  if (def === null) return [];
  let first = def;
  while (lines[first - 1]?.startsWith(`${" ".repeat(indentOf(lines[def]))}@`)) first--;
  let isDocstring = false;
  return lines.slice(first, endBelow(lines, def)).map((text, index) => {
    const quotes = text.split('"""').length - 1;
    const isComment = isDocstring || quotes > 0 || /^\s*#/.test(text);
    if (quotes === 1) isDocstring = !isDocstring;
    return { number: first + index + 1, text, isComment };
  });
}

// Upwards, by lines that are less and less indented, to the first `def` among them.
function defAbove(lines, index) {
  let indent = Infinity;
  for (; index >= 0 && indent > 0; index--) {
    if (!lines[index]?.trim() || indentOf(lines[index]) >= indent) continue;
    indent = indentOf(lines[index]);
    if (isDef(lines[index])) return index;
  }
  return null;
}

// Down to the next line that is indented as little as the `def`; blank lines before it belong to neither.
function endBelow(lines, def) {
  let end = def + 1;
  while (end < lines.length && (!lines[end].trim() || indentOf(lines[end]) > indentOf(lines[def]))) end++;
  while (!lines[end - 1].trim()) end--;
  return end;
}

// Where the keys lead in the rows of a trace: pure functions, which Node runs too.

// The key of the row to which an arrow, Home or End leads from the row `from`; that of `from` itself if there is none.
export function destination(rows, from, pressed) {
  const index = rows.findIndex(({ key }) => key === from);
  const parent = rows.findIndex(({ key }) => key === rows[index].parent);
  const child = rows[index].isExpanded ? index + 1 : index;
  const indexes = {
    ArrowUp: index - 1,
    ArrowDown: index + 1,
    ArrowLeft: parent,
    ArrowRight: child,
    Home: 0,
    End: rows.length - 1,
  };
  return rows[indexes[pressed]]?.key ?? from;
}

// Whether a key opens a row that is closed, or closes a row that is open.
export const isToggle = ({ isExpanded }, pressed) =>
  (pressed === "ArrowRight" && isExpanded === false) || (pressed === "ArrowLeft" && isExpanded === true);

// The keys of the rows around a row, from the inside out: they must be open for it to be seen.
export function keysAround(rows, key) {
  const parent = rows.find((row) => row.key === key)?.parent;
  return parent ? [parent, ...keysAround(rows, parent)] : [];
}

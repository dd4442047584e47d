"""A way back into the walkthrough, which is README.md beside this file.

    python3 no-tracing/walk.py 3 [--force]    make my-shop/ as it is after step 3 (0 to 10)
    python3 no-tracing/walk.py refresh        write no-tracing/*.py from the finished files

In my-shop/, `paste` makes the changes of a diff, and `copy kitchen.py B3` copies the finished B3.
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
FILES = ("kitchen.py", "microdonuts.py")


def load(folder):
    """Return {name: text} of the two files in a folder."""
    return {name: (folder / name).read_text(encoding="utf-8") for name in FILES}


def save(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def walk(files, first, last, backwards=False):
    """Make the edits of steps first to last in files, or take them back. Return the files."""
    text, step, edits = (HERE / "README.md").read_text(encoding="utf-8"), 0, []
    for match in re.finditer(r"(?ms)^## Step (\d+)|^```(\w*)\n(.*?)^```$", text):
        step = int(match[1] or step)
        place = (f"no-tracing/README.md, step {step}", text.count("\n", 0, match.start()) + 2)
        command = re.search(r"walk\.py copy ((?:\\\n|.)+)", match[3] or "")
        if command and first <= step <= last:
            edits.append((copy, command[1].replace("\\\n", "").split(), place))
        elif match[2] == "diff" and first <= step <= last:
            edits.append((change, match[3], place))
    for edit, argument, place in reversed(edits) if backwards else edits:
        edit(files, argument, backwards, *place)
    return files


def change(files, diff, backwards=False, place="the diff", line=1):
    """Make the changes of a diff. A hunk has no numbers: its old lines are in the file once."""
    hunks, file = [], "no file (paste all of the change, from --- on)"
    for number, text in enumerate(diff.splitlines(), line):
        if text.startswith("+++ "):
            file = text[4:]
        elif text.startswith("@@"):
            hunks.append((number, file, ["\n"], ["\n"]))
        elif hunks and not text.startswith(("--- ", "```")):
            for other_sign, side in zip("+-", hunks[-1][2:], strict=True):
                if not text.startswith(other_sign):
                    side.append(text[1:] + "\n")
    for number, file, *sides in reversed(hunks) if backwards else hunks:
        old, new = map("".join, reversed(sides) if backwards else sides)
        text = f"\n{files[file]}" if file in files else ""
        if text.count(old) != 1 or (old in new and new in text):
            missing = [line for line in old.splitlines() if line not in text.splitlines()]
            shown = "\n".join(missing) or f"{old}(changed already, or not together: mend this hunk)"
            sys.exit(f"{place}, line {number}: these lines are not once in {file}:\n{shown}")
        files[file] = text.replace(old, new)[1:]
    return len(hunks)


def apply(folder, argument, edit=change):
    """Make an edit in the files of a folder. Return the number of changes or definitions."""
    files = load(folder)
    count = edit(files, argument)
    save(folder, files)
    return count


def copy(files, names, backwards=False, place="this command", line=1):
    """Copy finished definitions, each above the one that it is above there, or take them out."""
    for name in names:
        if name in FILES:
            file, finished = name, load(ROOT)[name]
            continue
        # A definition has the comments above it, and ends where the next line without indent is.
        pattern = rf"(?m)^(#.*\n|@.*\n)*(def |class |){name}\b.*\n([ )].*\n|\n)*"
        piece = re.search(r'(?ms)^""".*?^"""\n\n' if name == "docstring" else pattern, finished)
        if not piece:
            sys.exit(f"{place}, line {line}: {file} has no {name} to copy")
        text = "\n" + files[file]
        if backwards:
            text = text.replace(piece[0], "").rstrip("\n") + "\n"
        elif piece[0] not in text:
            # The last BLOCK is empty before.
            text = re.sub(r"(#\n)\Z", r"\1\n", text)
            below = re.findall(r"(?m)^[^\s)].*\n", finished[piece.end() :])
            start = next((text.index(f"\n{x}") + 1 for x in below if f"\n{x}" in text), len(text))
            text = text[:start] + piece[0] + text[start:]
        files[file] = text[1:]
    return sum(name not in FILES for name in names)


def main(command="", *names):
    if command == "refresh":
        save(HERE, walk(load(ROOT), 1, 10, backwards=True))
    elif command == "paste":
        print("Paste the diff, and press Enter and Ctrl-D.")
        count = apply(pathlib.Path(), sys.stdin.read().rstrip("\n"))
        print("changes made:", count or "none (paste all of the change, from --- on)")
    elif command == "copy":
        print("definitions copied:", apply(pathlib.Path(), names, copy))
    elif re.fullmatch(r"\d|10", command):
        shop = ROOT / "my-shop"
        if shop.exists() and "--force" not in names:
            sys.exit("my-shop/ is there already: rename it, or add --force to write over it.")
        shop.mkdir(exist_ok=True)
        save(shop, walk(load(HERE), 1, int(command)))
        print(f"my-shop/ is as it is after step {command}. Go on with the text, in that folder.")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A way back into the walkthrough, which is README.md beside this file.

    python3 no-tracing/walk.py 3         make my-shop/ as it is after step 3 (--force: over one)
    python3 ../no-tracing/walk.py copy kitchen.py B3    in my-shop/: copy a finished definition
    python3 no-tracing/walk.py refresh   write no-tracing/*.py anew from the finished files
"""

import ast
import pathlib
import re
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
FILES = ["kitchen.py", "microdonuts.py"]


class Misfit(Exception):
    """An edit that does not fit."""


def write(path, text):
    path.write_text(text, encoding="utf-8", newline="\n")


def edits():
    """Return (step, line, function, its argument) for each edit of the walkthrough, in order."""
    text, step, found = (HERE / "README.md").read_text(encoding="utf-8"), 0, []
    for match in re.finditer(r"(?ms)^## Step (\d+)|^```(\w*)\n(.*?)^```$", text):
        step = int(match[1] or step)
        line = text.count("\n", 0, match.start()) + 2
        command = re.search(r"walk\.py copy ((?:\\\n|.)+)", match[3] or "")
        if command:
            found.append((step, line, copy, command[1].replace("\\\n", "").split()))
        elif match[2] == "diff":
            found.append((step, line, apply, match[3]))
    return found


def apply(folder, diff, backwards=False, line=1):
    """Change files of a folder by a diff. A hunk has no numbers: its old lines are there once."""
    hunks = []
    for number, text in enumerate(diff.splitlines(), line):
        if text.startswith("+++ "):
            name = text[4:]
        elif text.startswith("@@"):
            hunks.append((number, name, [], []))
        elif not text.startswith("--- "):
            _, _, old, new = hunks[-1]
            old += [text[1:] + "\n"] * (text[:1] != "+")
            new += [text[1:] + "\n"] * (text[:1] != "-")
    for number, name, *sides in reversed(hunks) if backwards else hunks:
        old, new = ["\n" + "".join(side) for side in (reversed(sides) if backwards else sides)]
        text = "\n" + (folder / name).read_text(encoding="utf-8")
        if text.count(old) != 1:
            times = f"{text.count(old)} times, and not once"
            raise Misfit(f"line {number}: {name} has these lines {times}:\n{old}")
        write(folder / name, text.replace(old, new)[1:])


def pieces(path):
    """Return {name: text} of a file's banners and statements, each with the comments above it."""
    text, found, end = path.read_text(encoding="utf-8"), {}, 0
    lines = text.splitlines(keepends=True)
    for node in ast.parse(text + "\nthe_end").body:
        piece = "".join(lines[end : node.end_lineno])
        # A banner is a piece of its own, so that it stays when all below it goes.
        while banner := re.match(r"\n*##### (BLOCK \d+).*\n", piece):
            found[banner[1]] = banner[0]
            piece = piece[banner.end() :]
        target = getattr(node, "targets", [node])[0]
        unnamed = "docstring" if isinstance(getattr(node, "value", None), ast.Constant) else piece
        found[getattr(target, "name", getattr(target, "id", unnamed))] = piece
        end = node.end_lineno
    return found


def copy(folder, names, backwards=False, line=1):
    """Copy finished definitions, each below the one that it follows there, or take them out."""
    for name in names:
        if name.endswith(".py"):
            file = name
            continue
        finished, mine = pieces(ROOT / file), pieces(folder / file)
        if (name in mine) != backwards or name not in finished:
            raise Misfit(f"line {line}: {name} is to be copied to {file} once")
        if backwards:
            del mine[name]
        else:
            above = list(finished)[: list(finished).index(name)]
            place = max([list(mine).index(each) for each in above if each in mine], default=-1) + 1
            items = list(mine.items())
            items.insert(place, (name, finished[name]))
            mine = dict(items)
        write(folder / file, "".join(mine.values()))


def walk(source, folder, chosen, backwards=False):
    """Copy the two files to a folder, and make or take back the chosen edits there."""
    for name in FILES:
        write(folder / name, (source / name).read_text(encoding="utf-8"))
    for step, line, change, argument in chosen:
        try:
            change(folder, argument, backwards, line)
        except Misfit as misfit:
            raise Misfit(f"no-tracing/README.md, step {step}, {misfit}") from None


def make(folder, last):
    """Write the shop as it is after a step into a folder."""
    walk(HERE, folder, [edit for edit in edits() if edit[0] <= last])


def take_back(folder):
    """Write the shop without tracing into a folder: the finished one, with all steps taken back."""
    walk(ROOT, folder, reversed(edits()), backwards=True)


def main(arguments):
    if arguments[:1] == ["copy"]:
        copy(pathlib.Path.cwd(), arguments[1:])
    elif arguments == ["refresh"]:
        with tempfile.TemporaryDirectory() as folder:
            take_back(pathlib.Path(folder))
            for name in FILES:
                write(HERE / name, (pathlib.Path(folder) / name).read_text(encoding="utf-8"))
    elif re.fullmatch(r"(\d|10)( --force)?", " ".join(arguments)):
        shop, step = ROOT / "my-shop", int(arguments[0])
        if shop.exists() and "--force" not in arguments:
            sys.exit("my-shop/ is there already. Rename it, or add --force to write over its files.")
        shop.mkdir(exist_ok=True)
        make(shop, step)
        then = f"go on with step {step + 1}" if step < 10 else "this is the finished shop"
        print(f"my-shop/ is as it is after step {step}: cd my-shop, and {then}.")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Misfit, SyntaxError) as error:
        sys.exit(f"walk.py: {error}")

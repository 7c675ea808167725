"""Pages that are made when the site is built: the reference, one page a room, and the model cards (a hook of mkdocs).

The reference is read from the faces themselves, so that it cannot fall behind them. They are lazy, so a reader of the
source alone sees no names there: each name is followed to the module that defines it.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE, CARDS = ROOT / "src", ROOT / "model_cards"


def on_config(config):
    """Puts the pages into the navigation, before its last entry."""
    cards = [{folder.name: f"model_cards/{folder.name}/README.md"} for folder in sorted(CARDS.iterdir())]
    reference = [{name: f"reference/{file}.md"} for name, file in page_files().items()]
    config.nav[-1:-1] = [{"Model cards": cards}, {"Reference": reference}]
    return config


def on_files(files, config):
    """Adds the pages, and what the model cards show and link."""
    from mkdocs.structure.files import File  # all else here needs no mkdocs

    for name, file in page_files().items():
        files.append(File.generated(config, f"reference/{file}.md", content=reference(name)))
    for path in sorted(CARDS.rglob("*")):
        if path.is_file():
            uri = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links between docs/ and model_cards/: in the repository these lie beside each other, here one in the other."""
    up = "../" * page.file.src_uri.count("/")
    return markdown.replace(f"({up}../model_cards/", f"({up}model_cards/").replace("(../../docs/", "(../../")


def page_files() -> dict[str, str]:
    """The name of each module that has a page, and of its file."""
    rooms = next(ast.literal_eval(node.value) for node in parsed("excise").body if assigns(node, "ROOMS"))
    return {"excise": "index"} | {f"excise.{room}": room for room in rooms}


def reference(module: str) -> str:
    """The page of a face: what it is, and all that it offers."""
    names, folders = offered(module)
    lines = [f"# {module}", ast.get_docstring(parsed(module))]
    if module == "excise":
        lines += ["`from excise import ...` gives these names; each is described where it belongs."]
        lines += ["\n".join(f"- [`{name}`][{definition(module, name)}]" for name in sorted(names))]
        own = {name: room for name, room in names.items() if (SOURCE / "excise" / f"{room}.py").is_file()}
        lines += [described(definition(module, name), inherited_members="true") for name in own]
        return "\n\n".join(lines) + "\n"
    lines += [described(definition(module, name)) for name in sorted(names)]
    for folder in folders:
        lines += [f"## {module}.{folder}", ast.get_docstring(parsed(f"{module}.{folder}"))]
        lines += [
            described(definition(f"{module}.{folder}", name), heading_level=3)
            for name in offered(f"{module}.{folder}")[0]
        ]
    return "\n\n".join(lines) + "\n"


def described(path: str, **options) -> str:
    """What mkdocstrings replaces by the docstrings of a path."""
    lines = [f"::: {path}", "    options:", "      show_root_full_path: false"]
    return "\n".join([*lines, *(f"      {name}: {value}" for name, value in options.items())])


def definition(module: str, name: str) -> str:
    """The full name under which something that a face offers is defined."""
    inside = offered(module)[0].get(name)
    return f"{module}.{name}" if inside is None else definition(f"{module}.{inside}", name)


def offered(module: str) -> tuple[dict[str, str | None], list[str]]:
    """The names that a module offers, each with the module inside it that it comes from, and the folders it offers."""
    for call in ast.walk(parsed(module)):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "lazy_loader.attach":
            given = {word.arg: word.value for word in call.keywords}
            names = ast.literal_eval(given["submod_attrs"])
            folders = given.get("submodules", ast.List([]))
            listed = ast.literal_eval(folders) if isinstance(folders, ast.List) else []
            return {name: inside for inside, those in names.items() for name in those}, listed
    tree = parsed(module)
    whole = next((ast.literal_eval(node.value) for node in tree.body if assigns(node, "__all__")), ())
    origin = {
        alias.name: node.module.removeprefix(f"{module}.")
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{module}.")
        for alias in node.names
    }
    return {name: origin.get(name) for name in whole}, []


def parsed(module: str) -> ast.Module:
    """The source of a module."""
    path = SOURCE / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def assigns(node: ast.stmt, name: str) -> bool:
    """Whether a statement gives a name its value."""
    return isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name

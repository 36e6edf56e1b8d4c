"""What every peer answers: whether it is here, and the commands that save and restore."""

import shutil

from ..place import tree_bytes


class Peer:
    """A program that stores things, with one new store a round.

    `tag` names what is saved within the store: each save has one of its own, and restores name the one they want. A
    source keeps its base name, so that a restored file is at `target / source.name` unless `restored` says otherwise.
    """

    name = ""
    # Programs that have to be on the path.
    needs = ()
    # Whether a second version in the same store can be cheaper than the first.
    keeps_versions = True
    # Whether the same is saved once more even so.
    saves_again = False
    # How often what it saved is brought back in a round.
    restores = 1
    # Whether its commands delete as many files as they handle, which slows down what comes next.
    deletes = False

    def __init__(self, setting):
        self.setting = setting
        self.place = None

    def absent(self):
        """Why this peer cannot be measured here, or None."""
        missing = [program for program in self.needs if shutil.which(program) is None]
        return f"{', '.join(missing)} is not installed" if missing else None

    def version(self):
        """What version it is, in one line, or an empty text."""
        return ""

    def begin(self, place):
        """Makes an empty store below a folder, untimed."""
        self.place = place
        self.store = place / "store"
        self.store.mkdir()

    def end(self):
        """Ends what `begin` started."""

    def prepare(self, source, tag):
        """What has to be there before a save, untimed."""

    def rebase(self, source, tag):
        """Has the store see `source` last once more, untimed, where it compares with what it saw last only."""

    def save(self, source, tag):
        """The command that saves a file or folder."""
        raise NotImplementedError

    def restore(self, source, tag, target):
        """The command that restores it below a folder that exists and is empty."""
        raise NotImplementedError

    def restored(self, source, tag, target):
        """Where the restored file or folder is; None if `compare` looks by itself."""
        return target / source.name

    def compare(self, source, tag):
        """A command that fails if what is stored differs, for peers that do not restore to a place."""
        raise NotImplementedError

    def stored(self):
        """The bytes in the store."""
        return tree_bytes(self.store)

    def ask(self, *argv, **env):
        """The first line that a command writes, or an empty text."""
        return self.setting.first_line(argv, env)

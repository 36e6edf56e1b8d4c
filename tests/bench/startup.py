"""What the agent adds to a command that does nothing, to a chain of a hundred steps, and as a hundred inits in each other."""

import shutil

from .measure import Command
from .peers.kale_agent import PIPELINE

TIMES = 50
CHAIN = 100
WORKLOAD = "startup"
BARE, EMPTY, STEP, CHAINED = "true", "run -- true", "run --step … -- true", f"chain of {CHAIN}"
NESTED = f"run -- run -- … true, {CHAIN} deep"
# Other inits in each other, where they are installed.
INITS = {f"tini, {CHAIN} deep": ["tini", "-s", "--"], f"dumb-init, {CHAIN} deep": ["dumb-init", "--"]}
HUNDREDS = (CHAINED, NESTED, *INITS)


def run(setting):
    """Measures all of it, interleaved with the bare command."""
    place = setting.place.fresh("startup")
    store = place / "store"
    env = {"KALE_STORE": store, "KALE_PIPELINE": PIPELINE, "KALE_RUN": "v1"}
    meter, agent = setting.meter, setting.agent

    def note(peer, command, base):
        cost = meter.run(command)
        sample = {"workload": WORKLOAD, "peer": peer, "op": "run", "seconds": cost["seconds"], "rss": cost["rss"]}
        setting.samples.append({**sample, "round": number, "base": base or cost})
        return cost

    try:
        meter.run(Command([agent, "init", "--quiet", store]))
        for number in range(1, TIMES + 1):
            bare = note(BARE, Command(["true"]), None)
            note(EMPTY, Command([agent, "run", "--", "true"]), bare)
            bare = note(BARE, Command(["true"]), None)
            note(STEP, Command([agent, "run", "--quiet", "--step", f"s{number}", "--", "true"], env), bare)
        inits = {name: words for name, words in INITS.items() if shutil.which(words[0])}
        for number in range(1, TIMES // 5 + 1):
            for name, words in {NESTED: [agent, "run", "--"], **inits}.items():
                bare = note(BARE, Command(["true"]), None)
                note(name, Command([*words * CHAIN, "true"]), bare)
        for number in range(1, setting.rounds + 1):
            folder = place / f"files{number}"
            folder.mkdir()
            script = (
                'echo 0 > "$1/0"; i=1; while [ $i -le $2 ]; do cp "$1/$((i-1))" "$1/$i" || exit 1; i=$((i+1)); done'
            )
            base = meter.run(Command(["sh", "-c", script, "sh", folder, CHAIN]))
            script = (
                '"$1" run -q --step c0 --out o -- sh -c \'echo 0 > "$KALE_OUT_O"\' || exit 1; i=1; '
                'while [ $i -le $2 ]; do "$1" run -q --step c$i --in "o=c$((i-1)):o" --out o -- '
                'sh -c \'cp "$KALE_IN_O" "$KALE_OUT_O"\' || exit 1; i=$((i+1)); done'
            )
            note(
                CHAINED, Command(["sh", "-c", script, "sh", agent, CHAIN], {**env, "KALE_RUN": f"chain{number}"}), base
            )
        setting.say("  startup measured")
    finally:
        setting.place.discard(place)

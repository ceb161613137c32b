import json
import subprocess
import sys

import gristlm

HEAVY = ("torch", "pyarrow", "pydantic", "typer", "rich", "transformers")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import json, sys, time; begun = time.process_time()\n"
        "import gristlm; gristlm.Tokenizer; gristlm.dedup; gristlm.clean\n"
        f"print(json.dumps([time.process_time() - begun, [name for name in {HEAVY} if name in sys.modules]]))"
    )
    results = [json.loads(run(code)) for _ in range(3)]
    assert results[0][1] == []
    assert min(seconds for seconds, _ in results) < 0.2


def test_the_command_line_begins_without_torch() -> None:
    """A second of torch before every `--help` is a second too much."""
    heavy = ("torch", "pyarrow", "transformers")
    code = f"import sys, gristlm.cli.app; print([name for name in {heavy} if name in sys.modules])"
    assert run(code).strip() == "[]"


def test_a_missing_extra_names_the_command_to_run() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import gristlm\n"
        "try: gristlm.Model\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    assert "MissingExtraError" in run(code)
    assert "pip install 'gristlm[train]'" in run(code)


def test_every_public_name_is_there_and_no_other() -> None:
    for name in gristlm.__all__:
        assert getattr(gristlm, name) is not None
        assert name in dir(gristlm)
    assert not hasattr(gristlm, "no_such_name")

r"""What a row of training data says, whichever of the usual formats it is written in.

| format | row |
|---|---|
| messages | `{"messages": [{"role", "content"}, …], "tools"?}`, or the list alone |
| sharegpt | `{"conversations": [{"from", "value"}, …], "system"?}` |
| prompt_completion | `{"prompt": text or messages, "completion": text or messages}` |
| question_answer | `{"question", "answer"}` |
| alpaca | `{"instruction", "input"?, "output"}`; of `instances: [{"input", "output"}, …]` the first counts |
| preference | `{"prompt": text or messages, "chosen", "rejected"}`; `conversations` or `messages` may hold the prompt |
| preference_implicit | `{"chosen": messages, "rejected": messages}`; the prompt is what both begin with |
| hh | `{"chosen", "rejected"}`, texts of turns that begin `\n\nHuman:` and `\n\nAssistant:` |
| label | `{"prompt", "completion", "label": true or false}`, or `messages` with a `label` |
| ranking | `{"prompt", "responses": [text or messages, …]}`, best first, or with `ranks` (1 is best) or `scores` |

Tools stand beside the messages as `tools`, a list of JSON schemas or its JSON text; a call is a message's `tool_calls`,
or in sharegpt a turn from `function_call` whose value is the JSON of the call.

Plain texts become one user and one assistant message: what is trained here are chat models.
"""

from gristlm.chat_formats.examples import Conversation, Example, Labelled, Message, Pair, Ranking, Tools
from gristlm.chat_formats.parsing import FORMATS, detect, parse
from gristlm.chat_formats.unparsing import unparse

__all__ = [
    "FORMATS", "Conversation", "Example", "Labelled", "Message", "Pair", "Ranking", "Tools", "detect", "parse",
    "unparse",
]  # fmt: skip

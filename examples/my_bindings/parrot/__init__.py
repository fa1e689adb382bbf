"""A binding in a folder: it answers with what it is asked."""

from lollms_client import MSG_TYPE, LollmsLLMBinding

BindingName = "ParrotBinding"


class ParrotBinding(LollmsLLMBinding):
    def __init__(self, model_name="grey", times=1, **kwargs):
        super().__init__("parrot")
        self.model_name = model_name or "grey"
        self.times = times

    def generate_text(self, prompt, streaming_callback=None, **kwargs):
        text = ""
        for word in [*prompt.split()] * self.times:
            piece = f" {word}" if text else word
            text += piece
            if streaming_callback is not None and not streaming_callback(piece, MSG_TYPE.MSG_TYPE_CHUNK):
                break  # the caller wants no more
        return text

    def tokenize(self, text):
        return text.split()

    def detokenize(self, tokens):
        return " ".join(tokens)

    def list_models(self):
        return [{"model_name": "grey"}, {"model_name": "green"}]

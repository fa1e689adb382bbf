import os

import pipmaster as pm

pm.ensure_packages(["msgspec", "packaging"])

from ascii_colors import ASCIIColors, trace_exception  # noqa: E402

from lollms_client.lollms_llm_binding import LollmsLLMBinding  # noqa: E402

BindingName = "TinyOracleBinding"


class OracleService:
    """Stands in for the client library of a service."""

    def __init__(self, key, mood):
        self.key = key
        self.mood = mood

    def complete(self, model, messages):
        if not self.key:
            raise PermissionError("401: no API key")
        if any("riddle" in str(message["content"]) for message in messages):
            raise ValueError("The oracle does not answer riddles.")
        roles = ",".join(message["role"] for message in messages)
        last = messages[-1]["content"]
        if isinstance(last, list):
            last = "+".join(part["type"] for part in last)
        return f"{model} ({self.mood}) to {roles}: {last}"


class TinyOracleBinding(LollmsLLMBinding):
    def __init__(self, **kwargs):
        super().__init__(binding_name="tiny_oracle", **kwargs)
        self.model_name = kwargs.get("model_name") or "delphi"
        key = kwargs.get("api_key") or os.getenv("TINY_ORACLE_API_KEY", "")
        self.service = OracleService(key, kwargs["mood"])
        ASCIIColors.info(f"The oracle {self.model_name} listens.")

    def chat(self, discussion, **kwargs):
        try:
            messages = discussion.export("openai_chat")
            answer = self.service.complete(self.model_name, messages)
            ASCIIColors.green("Generation complete.")
            return answer
        except Exception as e:
            trace_exception(e)
            return {"status": "error", "message": str(e)}

    def generate_text(self, prompt, **kwargs):
        try:
            return self.service.complete(self.model_name, [{"role": "user", "content": prompt}])
        except Exception as e:
            trace_exception(e)
            return {"status": "error", "message": str(e)}

    def tokenize(self, text):
        return text.split()

    def detokenize(self, tokens):
        return " ".join(tokens)

    def count_tokens(self, text):
        return len(self.tokenize(text))

    def listModels(self):
        return ["delphi", "dodona"]

    def embed(self, text):
        raise NotImplementedError("The oracle has no embeddings.")


if __name__ == "__main__":
    binding = TinyOracleBinding(api_key="test", mood="calm")
    print(binding.listModels())
    print(binding.generate_text("What time is it?"))

# ruff: noqa: SIM102, UP006, UP007, UP035, UP045
from pathlib import Path
from typing import Callable, List, Optional, Union

from lollms_client.lollms_llm_binding import MSG_TYPE, LollmsLLMBinding

BindingName = "PhraseBookBinding"


class PhraseBookBinding(LollmsLLMBinding):
    """Answers with the phrases of a text file, followed by what it was asked."""

    def __init__(self, model_identifier: str, phrases_folder: str):
        super().__init__(binding_name="phrase_book")
        self.model_name = model_identifier
        self.phrases_folder = Path(phrases_folder)
        self.phrases: List[str] = []
        if not self.load_model(model_identifier):
            raise RuntimeError(f"Failed to load model {model_identifier}")

    def load_model(self, model_name: str) -> bool:
        print(f"Loading model: {model_name} from {self.phrases_folder}")
        path = self.phrases_folder / f"{model_name}.txt"
        if not path.exists():
            return False
        self.phrases = path.read_text(encoding="utf-8").splitlines()
        self.model_name = model_name
        return True

    def generate_text(
        self,
        prompt: str,
        images: Optional[List[str]] = None,
        system_prompt: str = "",
        n_predict: Optional[int] = None,
        stream: Optional[bool] = None,
        temperature: Optional[float] = None,
        top_k: Optional[int] = None,
        top_p: Optional[float] = None,
        repeat_penalty: Optional[float] = None,
        repeat_last_n: Optional[int] = None,
        seed: Optional[int] = None,
        n_threads: Optional[int] = None,
        ctx_size: Optional[int] = None,
        streaming_callback: Optional[Callable[[str, MSG_TYPE], None]] = None,
        split: Optional[bool] = False,
        user_keyword: Optional[str] = "!@>user:",
        ai_keyword: Optional[str] = "!@>assistant:",
    ) -> Union[str, dict]:
        if split:
            messages = self.split_discussion(prompt, user_keyword=user_keyword, ai_keyword=ai_keyword)
            asked = " / ".join(f"{message['role']} said {message['content']}" for message in messages)
        else:
            asked = prompt
        if "fail" in asked:
            return {"error": "The book has no such page."}
        words = self.phrases[(seed or 0) % len(self.phrases)].split()
        if system_prompt:
            words += ["under", *system_prompt.split()]
        for image in images or []:
            words += ["seeing", Path(image).suffix, str(Path(image).stat().st_size)]
        words += ["on", *asked.split()]
        if n_predict:
            words = words[:n_predict]

        text = ""
        for word in words:
            chunk = f" {word}" if text else word
            text += chunk
            if streaming_callback and stream:
                if not streaming_callback(chunk, MSG_TYPE.MSG_TYPE_CHUNK):
                    break
        return text

    def tokenize(self, text: str) -> list:
        return [ord(character) for character in text]

    def detokenize(self, tokens: list) -> str:
        return "".join(chr(token) for token in tokens)

    def count_tokens(self, text: str) -> int:
        return len(self.tokenize(text))

    def embed(self, text: Union[str, List[str]], **kwargs) -> list:
        if isinstance(text, list):
            return [self.embed(each) for each in text]
        return [float(len(text)), float(text.count(" "))]

    def get_model_info(self) -> dict:
        return {"model_name": self.model_name, "phrases": len(self.phrases), "supports_vision": True}

    def listModels(self) -> list:
        return [{"model_name": path.stem} for path in sorted(self.phrases_folder.glob("*.txt"))]

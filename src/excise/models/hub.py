"""Models from the hub, at a pinned commit."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from excise.errors import UserError

HUB = "hub:"
NAMED = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")
# weights as safetensors only: nothing that is unpickled is fetched, and no second precision; nor the whole model in one
# file, which many repositories have beside the folders
WANTED = ["model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors"]
UNWANTED = ["*.fp16.safetensors", "*.fp16-*.safetensors", "*.non_ema.safetensors", "safety_checker/*"]
UNWANTED += ["text_encoders/*"]  # Stable Diffusion 3.5's, once more, for programs that read one file each


def fetch_hub(path: str, remedy: str) -> Path:
    """The local folder of ``hub:OWNER/NAME@REVISION``, fetched if it is not there yet.

    Raises:
        UserError: the revision is no full commit hash, or the hub cannot be reached and nothing is here.
    """
    from huggingface_hub import snapshot_download

    named = NAMED.fullmatch(path)
    if named is None:
        raise UserError(
            f"model.path is '{path}': write hub:OWNER/NAME@REVISION with all 40 letters of a commit's hash, so that "
            "everybody gets the same model."
        )
    what = {"repo_id": named["name"], "revision": named["revision"]}
    try:  # first: what is here may have been fetched in part
        return Path(snapshot_download(**what, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except Exception as error:  # the hub's errors have no common base
        with suppress(Exception):
            return Path(snapshot_download(**what, local_files_only=True))
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"'{path}' cannot be fetched ({reason.rstrip('.')}): {remedy}") from None

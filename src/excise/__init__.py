"""Cut a concept out of a text-to-image diffusion model, and measure how often it comes back."""

__version__ = "0.1.0"


def __getattr__(name: str):
    # `from excise import Eraser` without paying for torch on every `kedro` command
    if name == "Eraser":
        from excise.erasers.eraser import Eraser

        return Eraser
    raise AttributeError(f"module 'excise' has no attribute '{name}'")

"""Clean a corpus: `python -m pipeline.run` runs the built-in demo into out/demo.

Exit codes: 0 done, 1 the run failed (one line; detail in OUT/run.log), 2 a mistake in what was asked, 130 stopped
by Ctrl-C or SIGTERM.
"""

import argparse
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from pipeline.config import STAGES, Config, ConfigError, Input, load
from pipeline.demo import DEMO_PATHS
from pipeline.object_store import StoreFailed

DEMO_CONFIG = Path(__file__).with_name("demo.toml")
DEMO_OUTPUT = "out/demo"
EPILOG = "Every other option goes to Beam: --runner=FlinkRunner, --runner=DirectRunner, --project=…"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    line = argparse.ArgumentParser(
        prog="python -m pipeline.run",
        description=__doc__,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    line.add_argument("--config", metavar="FILE", help="TOML file: the whole configuration (README, Configuration)")
    line.add_argument("--input", metavar="GLOB", nargs="+", action="extend", default=[],
                      help="files to read: JSONL, Parquet, WARC, WET, ARC or text; local, gs:// or s3://")  # fmt: skip
    line.add_argument("--output", metavar="OUT", help=f"folder or URL for the results (the demo: {DEMO_OUTPUT})")
    line.add_argument("--until", choices=STAGES, default="report", help="stop after this stage")
    line.add_argument("--sample", type=float, metavar="SHARE", help="run on a share of the input, chosen by hash")
    line.add_argument("--evaluator", metavar="FOLDER", default="", help="take trained evaluators: an OUT/evaluator")
    line.add_argument("--evaluator-is-external", action="store_true",
                      help="take evaluators that do not say, or were not, trained on this corpus's folds")  # fmt: skip
    line.add_argument("--sample-only", action="store_true",
                      help="stop when a training sample is drawn, and say how to train judges elsewhere")  # fmt: skip
    line.add_argument("--train-only", action="store_true",
                      help="stop when a round's judges are trained, before any document is read")  # fmt: skip
    line.add_argument("--score-only", action="store_true",
                      help="only read documents, under torchrun each rank its part on its own GPU")  # fmt: skip
    line.add_argument("--against", metavar="OUT_OLD", nargs="+", action="extend", default=[],
                      help="finished runs: what duplicates a document of theirs is rejected")  # fmt: skip
    line.add_argument("--labels", metavar="FILE", nargs="+", action="extend", default=[],
                      help="what people said of a sample of pipeline.review")  # fmt: skip
    line.add_argument("--direct_num_workers", type=workers, metavar="N",
                      help="processes of a run on this machine (default: one a core)")  # fmt: skip
    line.add_argument("--force", action="store_true", help="do finished stages again")
    line.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    return line


def workers(text: str) -> int:
    """Return a number of processes; raises ArgumentTypeError below 0, which is one a core."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {number}")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line and return the exit code."""
    asked, beam_options = parser().parse_known_args(arguments)
    console = Console(soft_wrap=True, markup=False)
    logging.getLogger().setLevel(logging.ERROR)  # Beam warns of cloud clients at its import
    try:
        without_blas()
        if beam_options:  # one may be a misspelt option of ours, which is then what is missing
            from pipeline.beam_runner import check_options  # Beam takes half a second to import

            check_options(beam_options, asked.direct_num_workers)
        config, output = configure(asked)
        from pipeline.session import run  # compiled kernels: not for --help

        return run(asked, config, output, beam_options, console)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StoreFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def without_blas() -> None:
    """Let Numba do without BLAS, which no kernel calls: to look for one it imports a third of SciPy, for 0.2 s.

    A user's own compiled function cannot call it either, where Numba has not been imported before.
    """
    blas = "scipy.linalg.cython_blas"
    if "numba.np.arraymath" in sys.modules or blas in sys.modules:
        return
    sys.modules[blas] = None  # type: ignore[assignment]  # what import takes for: not there
    import numba.np.arraymath  # noqa: F401

    del sys.modules[blas]


def configure(asked: argparse.Namespace) -> tuple[Config, str]:
    """Return the configuration and the output folder that the command line asks for.

    Raises ConfigError for every mistake that can be seen without reading the input.
    """
    from filters.families import FAMILIES  # compiled kernels: not for --help

    demo = not asked.input and not asked.config
    path = asked.config or (DEMO_CONFIG if demo else None)
    config = load(str(path), frozenset(FAMILIES)) if path else Config()
    if asked.input:
        if config.input:
            raise ConfigError("--input and [[input]] tables cannot be given together")
        config = replace(config, input=(Input(paths=tuple(asked.input)),))
    if asked.sample is not None:
        if not 0 < asked.sample <= 1:
            raise ConfigError(f"--sample must be above 0 and at most 1, got {asked.sample:g}")
        config = replace(config, sample=asked.sample)
    if demo:
        config = replace(config, input=(Input(name="demo", paths=DEMO_PATHS, source="source"),))
        return config, _folder(asked.output or DEMO_OUTPUT)
    if not config.input:
        raise ConfigError("no input: give --input or [[input]] tables")
    if not asked.output:
        raise ConfigError("--output is needed")
    return config, _folder(asked.output)


def _folder(output: str) -> str:
    """Return an output without the slashes at its end; raises ConfigError where it is a scheme or slashes alone."""
    if not output.rpartition("://")[2].strip("/"):
        raise ConfigError(f"--output {output} names no folder")
    return output.rstrip("/")


if __name__ == "__main__":
    gc.disable()  # until the work begins: to look through what is imported again and again takes 0.15 s
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a supervisor stops a run as a person does
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # to take down all that was imported would take half a second

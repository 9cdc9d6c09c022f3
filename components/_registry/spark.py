"""Runs a version on the executors of a Spark cluster, through MLflow's own `spark_udf`."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from components._frame.exit_codes import TemporaryError
from components._registry import trust
from components._registry.client import mlflow
from components._registry.worker import SETTINGS, Answer, ServedError
from longtail.errors import ParameterError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RESULT = "struct<labels: array<string>, scores: array<float>>"
# A task loads the version where MLflow keeps none for the next task (`local`), and takes a while to
# start everywhere; so a few tasks per question, and several questions at a time.
TASK_DOCS, TASKS = 2048, 4
MOST_AT_A_TIME = 32
QUIET = {"spark.log.level": "ERROR", "spark.ui.showConsoleProgress": "false"}
# Without a cluster, nothing listens beyond this machine.
ALONE = {"spark.ui.enabled": "false"}
ALONE_ENVIRONMENT = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}


def version_udf(spark: SparkSession, uri: str, **options: float) -> Any:
    """A Spark function from a column of texts to a struct of `labels` and `scores`, best first.

    The version is compared with what was registered, on the driver, before anything of it is run;
    executors get this very copy, and need MLflow and the version's requirements, but not this
    project. Use one version per session: a Python worker that has imported one keeps its modules.

    Args:
        spark: the session.
        uri: of the version (`models:/…`, `runs:/…`), or a folder with an `MLmodel` file.
        options: `threshold` and `top_k`, as in the version's signature.

    Raises:
        DataError, TemporaryError, ParameterError: as `trust.fetch`.
    """
    logging.getLogger("mlflow.pyfunc").setLevel(logging.ERROR)  # it advises other environments
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
    with tempfile.TemporaryDirectory(prefix="longtail-served-") as folder:
        copied = trust.fetch(uri, Path(folder))
        if not (copied / "MLmodel").is_file():
            raise ParameterError(
                f"Spark needs a registered version, or a folder with an MLmodel file; {uri} is "
                "neither. Pass --model models:/…, or leave --spark out."
            )
        # It makes a copy of its own, in a private folder, and hands that out.
        return mlflow.pyfunc.spark_udf(
            spark,
            str(copied),
            result_type=RESULT,
            env_manager="local",
            params=options or None,
            extra_env=SETTINGS,
        )


class Sparked:
    """A context manager around a Spark session; `ask` has its executors answer.

    Args:
        uri: of the version, or a folder with an `MLmodel` file.
        master: of the cluster, as Spark names it: `local[2]`, `spark://host:7077`, `yarn`, …; all
            other settings are Spark's own (`spark-defaults.conf`).
        options: `threshold` and `top_k`.

    Attributes:
        size: documents per question.
        at_a_time: questions that keep the executors busy.
    """

    size = TASK_DOCS * TASKS

    def __init__(self, uri: str, master: str, **options: float) -> None:
        self.uri, self.master, self.options = uri, master, options
        self.at_a_time = 1

    def __enter__(self) -> Sparked:
        self._spark = _session(self.master)
        try:
            self.at_a_time = min(self._spark.sparkContext.defaultParallelism, MOST_AT_A_TIME)
            self._answer = version_udf(self._spark, self.uri, **self.options)
        except BaseException:
            self._spark.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._spark.stop()

    def ask(self, texts: Sequence[str]) -> Answer:
        """Labels and scores of `texts`; several threads may ask.

        Raises:
            ServedError: the version does not load on an executor, or refuses a text.
            TemporaryError: Spark gave up, such as after losing executors several times.
        """
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException, PythonException

        asked = pa.table({"row": pa.array(range(len(texts))), "text": pa.array(texts, pa.string())})
        n_tasks = -(-len(texts) // TASK_DOCS)
        try:
            frame = self._spark.createDataFrame(asked).coalesce(n_tasks)
            answers = frame.select("row", self._answer("text").alias("answer"))
            found = answers.select("row", "answer.labels", "answer.scores").toArrow()
        except PythonException as error:
            lines = str(error).split("\n\nJVM stacktrace")[0].strip().splitlines()
            raise ServedError(f"{self.uri} failed on a Spark executor: {lines[-1]}") from None
        except (PySparkException, Py4JError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise TemporaryError(
                f"Spark gave up: {lines[0]} Try again; what is done stays."
            ) from None
        found = found.sort_by("row")
        return Answer(found["labels"].to_pylist(), found["scores"].to_pylist(), 0.0, 0.0)


def _session(master: str) -> SparkSession:
    """A new session.

    Raises:
        ParameterError: pyspark or Java is missing, or there is no such master.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ModuleNotFoundError:
        raise ParameterError(
            "--spark needs pyspark; install the extra `spark`, and Java 17 or newer."
        ) from None
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
    alone = master.startswith("local")
    if alone:
        os.environ.update(ALONE_ENVIRONMENT | os.environ)
    builder = SparkSession.builder.master(master).appName("longtail predict")
    for name, value in (QUIET | (ALONE if alone else {})).items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except PySparkException as error:
        raise ParameterError(
            f"--spark {master}: Spark does not start ({str(error).splitlines()[0]}); it needs Java "
            "17 or newer, and a master such as local[2], spark://host:7077, or yarn."
        ) from None

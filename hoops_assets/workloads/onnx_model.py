"""An ONNX model loaded for answers.

What belongs here: the one class that asks a model, light enough for the server: onnxruntime and numpy only. Making such
files is in `workloads.export`.

The model has one input `features`, float32 [n, number of features], and one output `home_win_probability`, float32 [n].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime

from hoops_assets.errors import ModelError

onnxruntime.disable_telemetry_events()

INPUT = "features"
OUTPUT = "home_win_probability"

BOUND_ROWS = 32
"""Rows up to which a call's buffers are kept."""


class OnnxModel:
    """An ONNX model loaded for answers, one thread.

    Raises:
        ModelError: the bytes are no ONNX model, or its input or output has another name.
    """

    def __init__(self, content: bytes, name: str = "model.onnx") -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors come as exceptions; warnings about optimisations are nobody's concern
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's classes share no base but Exception
            raise ModelError(f"{name} is not a readable ONNX model: {str(error)[:300]}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [i.name for i in inputs] != [INPUT] or [o.name for o in outputs] != [OUTPUT]:
            found = f"{[item.name for item in inputs]} and {[item.name for item in outputs]}"
            raise ModelError(f"{name} must have the input {INPUT} and the output {OUTPUT}, it has {found}")
        self.features: int | None = inputs[0].shape[1] if isinstance(inputs[0].shape[1], int) else None

    def home_win_probability(self, values: np.ndarray) -> np.ndarray:
        """float64 [n] of float32 [n, number of features]."""
        if self.features is not None and values.shape[1] != self.features:
            raise ModelError(f"the model takes {self.features} features, it was given {values.shape[1]}")
        return np.asarray(self._session.run([OUTPUT], {INPUT: values})[0], dtype="float64")

    def of_rows(self, table: np.ndarray) -> Callable[[list[int]], list[float]]:
        """The model's question about rows of a table, made ready: buffers are bound once for a number of rows.

        For few rows that halves what a call costs. Not for two threads at once.

        Args:
            table: float32 [n, number of features]; it must not change afterwards.

        Returns:
            Indices of rows -> their probabilities.
        """
        asked, answer = np.zeros((BOUND_ROWS, table.shape[1]), "float32"), np.zeros(BOUND_ROWS, "float32")
        bindings: dict[int, onnxruntime.IOBinding] = {}
        run = self._session.run_with_iobinding

        def bind(rows: int) -> onnxruntime.IOBinding:
            made = bindings[rows] = self._session.io_binding()
            made.bind_ortvalue_input(INPUT, onnxruntime.OrtValue.ortvalue_from_numpy(asked[:rows]))
            made.bind_ortvalue_output(OUTPUT, onnxruntime.OrtValue.ortvalue_from_numpy(answer[:rows]))
            return made

        def ask(indices: list[int]) -> list[float]:
            rows = len(indices)
            if rows > BOUND_ROWS:
                return self.home_win_probability(table[indices]).tolist()
            table.take(indices, 0, asked[:rows], "clip")
            answer[:rows] = np.nan  # an answer that is not written is no answer
            run(bindings.get(rows) or bind(rows))
            return answer[:rows].tolist()

        return ask

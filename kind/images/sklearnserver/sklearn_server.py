"""A scikit-learn model server on the kserve SDK: one joblib or pickle file from --model_dir, served as V1 and V2 over REST and gRPC.

KServe's own sklearnserver is not on PyPI; this one loads, answers and fails the same way.
"""
import argparse
import pathlib

import joblib
from kserve import Model, ModelServer, logging
from kserve.errors import InferenceError
from kserve.model_server import parser as kserve_flags
from kserve.utils.utils import get_predict_input, get_predict_response

SUFFIXES = (".joblib", ".pkl", ".pickle")


class SklearnModel(Model):
    def __init__(self, name: str, model_dir: str):
        super().__init__(name)
        self.model_dir = pathlib.Path(model_dir)

    def load(self) -> bool:
        files = sorted(p for p in self.model_dir.iterdir() if p.suffix in SUFFIXES)
        if not files:
            raise FileNotFoundError(f"no model file ({', '.join(SUFFIXES)}) in {self.model_dir}")
        if len(files) > 1:
            raise RuntimeError(f"more than one model file in {self.model_dir}: {[p.name for p in files]}")
        self._model = joblib.load(files[0])
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None):
        try:
            result = self._model.predict(get_predict_input(payload))
        except Exception as e:
            raise InferenceError(str(e)) from e
        return get_predict_response(payload, result, self.name)


if __name__ == "__main__":
    flags = argparse.ArgumentParser(parents=[kserve_flags])
    flags.add_argument("--model_dir", default="/mnt/models", help="folder that holds the model file")
    args, _ = flags.parse_known_args()
    logging.configure_logging(args.log_config_file)
    model = SklearnModel(args.model_name, args.model_dir)
    try:
        model.load()
    except FileNotFoundError as e:  # like KServe's own server: come up without a model, so that one can be loaded later
        logging.logger.error("failed to locate model file for model %s: %s", args.model_name, e)
    ModelServer().start([model] if model.ready else [])

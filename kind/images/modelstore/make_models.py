"""Makes the model files of the store, good and bad. usage, inside the sklearnserver image: make_models.py DIR"""
import pathlib
import pickle
import sys
import tarfile
import types

import joblib
from joblib.externals import cloudpickle
from sklearn import datasets, ensemble, svm

out = pathlib.Path(sys.argv[1])
X, y = datasets.load_iris(return_X_y=True)


def put(name, data, file="model.joblib"):
    path = out / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        joblib.dump(data, path)
    return path


class Slow:
    """Sleeps SLOW_SECONDS (20), then answers. Pickled by value."""

    def predict(self, X):
        import os
        import time

        import numpy as np

        time.sleep(float(os.environ.get("SLOW_SECONDS", "20")))
        return np.zeros(len(X), dtype=int)


class Hog:
    """Eats memory in predict until the kernel kills it."""

    def predict(self, X):
        import numpy as np

        keep = [np.ones(16 << 20) for _ in range(256)]
        return np.zeros(len(keep) and len(X), dtype=int)


class Foreign:
    """Its class lives in a module that the server does not have."""


good = put("iris", svm.SVC(gamma="scale").fit(X, y)).read_bytes()
put("iris2", ensemble.RandomForestClassifier(10, random_state=0).fit(X, y))  # a second version, for rollouts
put("corrupt", good[: len(good) // 2])  # a truncated pickle
put("textfile", b"<html>404 not found</html>\n")  # an error page saved as a model
put("wrongname", good, "model.bin")  # no suffix that the server looks for
put("two", good)
put("two", good, "model.pkl")
put("slow", cloudpickle.dumps(Slow()))
put("hog", cloudpickle.dumps(Hog()))

training = types.ModuleType("my_training_lib")
training.Foreign = Foreign
Foreign.__module__ = training.__name__
Foreign.__qualname__ = "Foreign"
sys.modules[training.__name__] = training
put("foreign", pickle.dumps(Foreign()))

(out / "empty").mkdir()
with tarfile.open(out / "iris.tar.gz", "w:gz") as archive:
    archive.add(out / "iris" / "model.joblib", "model.joblib")

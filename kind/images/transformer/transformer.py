"""A small KServe transformer: turns the instances into floats, calls the predictor, and marks what comes back."""
import argparse

import kserve
from kserve.model_server import parser as kserve_flags


class Transformer(kserve.Model):
    def __init__(self, name):
        super().__init__(name, return_response_headers=False)
        self.ready = True

    async def preprocess(self, payload, headers=None):
        if isinstance(payload, dict) and "instances" in payload:
            return {"instances": [[float(v) for v in row] for row in payload["instances"]]}
        return payload

    async def postprocess(self, result, headers=None):
        if isinstance(result, dict) and "predictions" in result:
            result["transformed"] = True
        return result


if __name__ == "__main__":
    args, _ = argparse.ArgumentParser(parents=[kserve_flags]).parse_known_args()
    kserve.ModelServer().start([Transformer(args.model_name)])

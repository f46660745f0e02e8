"""The newer development kit: `ADK(apply, load).init(...)`."""

import inspect
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from algorium import _manifest
from algorium._errors import FeatureNotImplemented
from algorium.compat.models import ModelData
from algorium.compat.serving import FIFO, failure_text, requests, result_text, write

if TYPE_CHECKING:
    from algorium.compat.client import Client


class ADK:
    """
    An algorithm that serves itself on the platform, and can be tried on a laptop.

    Args:
        apply_func: Takes the input, and what *load_func* returned, if it has two parameters.
        load_func: Called once, without arguments or with the model data of the manifest.
        client: Fetches the files of a model manifest; a client by default settings, if left out.

    Raises:
        TypeError: *load_func* takes more arguments.
    """

    def __init__(
        self,
        apply_func: Callable[..., Any],
        load_func: Callable[..., Any] | None = None,
        client: "Client | None" = None,
    ) -> None:
        self.apply_arity = len(inspect.signature(apply_func).parameters)
        self.load_arity = 0 if load_func is None else len(inspect.signature(load_func).parameters)
        if self.load_arity > 1:
            raise TypeError(
                "load function expects 0 parameters or 1 parameter to be used to store"
                " algorithm state"
            )
        self.apply_func = apply_func
        self.load_func = load_func
        self.is_local = not FIFO.exists()
        self.load_result: Any = None
        self.loading_exception: Exception | None = None
        self.manifest_path = _manifest.MANIFEST
        self.model_data = ModelData(client, self.manifest_path)

    def load(self) -> None:
        """Fetch the models of the manifest and call *load_func*; a failure is kept for later."""
        try:
            if self.model_data.available():
                self.model_data.initialize()
            if self.load_func is not None:
                given = (self.model_data,) if self.load_arity == 1 else ()
                self.load_result = self.load_func(*given)
        except Exception as error:  # each call is answered with it
            self.loading_exception = error
        sys.stdout.write("loading complete\n" if self.is_local else "PIPE_INIT_COMPLETE\n")
        sys.stdout.flush()

    def apply(self, payload: Any) -> str:
        """Return the answer to an input, as the platform takes it."""
        if self.loading_exception is not None:
            return failure_text(self.loading_exception, while_loading=True)
        try:
            if self.load_result and self.apply_arity == 2:
                return result_text(self.apply_func(payload, self.load_result))
            return result_text(self.apply_func(payload))
        except Exception as error:  # whatever it is, it is told to the platform
            return failure_text(error)

    def init(
        self,
        local_payload: Any = None,
        pprint: Callable[[Any], object] = print,
        mlops: bool = False,
    ) -> None:
        """
        Load, then answer requests until there are no more; on a laptop answer *local_payload*.

        Args:
            local_payload: The input to try.
            pprint: Takes the answer on a laptop, as text.
            mlops: Reporting to the old service's partner: not here.

        Raises:
            FeatureNotImplemented: *mlops* is asked for on the platform.
        """
        if mlops and not self.is_local:
            raise FeatureNotImplemented("ADK(...).init(mlops=True) has no counterpart here")
        self.load()
        if self.is_local and local_payload is not None:
            answer = self.apply(local_payload)
            if "error" in json.loads(answer):
                raise RuntimeError(answer)
            pprint(answer)
            return
        for value in requests():
            answer = self.apply(value)
            if self.is_local:
                pprint(answer)
            else:
                write(answer)

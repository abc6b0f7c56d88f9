"""A stand-in for the image API: a real HTTP server with its behaviour, its prices, and its faults as switches.

It shares no code with the product and has its own tables of what the API accepts, so that it can judge the product.
"""

from adloom.sandbox.faults import Fault
from adloom.sandbox.options import main
from adloom.sandbox.sandbox import Sandbox
from adloom.sandbox.server import running_sandbox, serve, serve_forever
from adloom.sandbox.settings import SandboxSettings
from adloom.sandbox.shapes import Charge

__all__ = ["Charge", "Fault", "Sandbox", "SandboxSettings", "main", "running_sandbox", "serve", "serve_forever"]

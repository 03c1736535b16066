"""Import this first in a program, for its effect: other modules load sooner."""

from eocontrast.runtime.garbage import start_loading

start_loading()

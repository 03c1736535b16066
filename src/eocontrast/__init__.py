"""How many labels does self-supervised pretraining save, on your own satellite images?"""

from eocontrast.errors import UserError

__all__ = ["UserError"]

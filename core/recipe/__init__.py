"""The recipe: one strict YAML file that describes a model from raw sources to scores.

:func:`load_recipe` reads it; the sections are pydantic models, one module each.
"""

from core.recipe.load import LoadedRecipe, load_recipe
from core.recipe.model import Recipe

__all__ = ["LoadedRecipe", "Recipe", "load_recipe"]

"""Plots of the report as inline SVG that follows the page's light or dark colours."""

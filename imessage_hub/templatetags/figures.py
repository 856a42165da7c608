"""How the home page writes numbers."""

from django import template

register = template.Library()


@register.filter
def figure(number: int) -> str:
    """A count with its thousands parted: 12,345."""
    return f"{number:,}"
